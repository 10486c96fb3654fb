//! Takes the local parts of addresses out of texts.
//!
//! One constant word stands in for all of them. RFC 6590 proposes a keyed hash, by which one person's
//! reports can be told from another's; who has the key, or a list of addresses to try, can tell whose
//! they are. In doubt more is taken out than need be.

/// Stands for a local part.
const REDACTED: &str = "redacted";
/// Property types of Authentication-Results (RFC 8601 section 2.3), whose `=` is no part of an
/// address: that of `bounce=example.com@example.net` is.
const PROPERTIES: [&str; 5] = ["smtp.", "header.", "body.", "policy.", "dns."];
/// The one property that names a person without an `@` (RFC 8601 section 2.7.4).
const LOGIN: &str = "smtp.auth=";

/// A text in which addresses may be.
pub(super) fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (at, _) in text.match_indices('@') {
        let before = &text[from..at];
        let start = local_start(before);
        out.push_str(&before[..start]);
        if start < before.len() {
            out.push_str(REDACTED);
        }
        out.push('@');
        from = at + 1;
    }
    out.push_str(&text[from..]);
    without_logins(out)
}

/// An address; without an `@` all of it is a local part.
pub(super) fn address(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((_, host)) => format!("{REDACTED}@{host}"),
        None if address.is_empty() => String::new(),
        None => REDACTED.to_owned(),
    }
}

/// Where the local part begins that ends with the text.
fn local_start(before: &str) -> usize {
    let before = before.trim_end();
    if before.ends_with('"') {
        // A quoted one may hold anything, quotes with a backslash included.
        let first = before.find('"').unwrap_or(0);
        if first + 1 == before.len() {
            return 0;
        }
        // Words may stand in front of it, joined by dots (RFC 5322 section 4.4).
        return word_start(&before[..first]);
    }
    word_start(before)
}

/// Where the word begins that ends with the text.
fn word_start(before: &str) -> usize {
    let is_end = |c: char| c.is_whitespace() || "<>(),;:\"[]".contains(c);
    let last = before.char_indices().rfind(|(_, c)| is_end(*c));
    let start = last.map_or(0, |(at, c)| at + c.len_utf8());
    let token = before[start..].to_ascii_lowercase();
    let is_property = PROPERTIES.iter().any(|name| token.starts_with(name));
    match token.find('=').filter(|_| is_property) {
        Some(equals) => start + equals + 1,
        None => start,
    }
}

fn without_logins(mut text: String) -> String {
    let mut from = 0;
    while let Some(at) = text[from..].to_ascii_lowercase().find(LOGIN) {
        let start = from + at + LOGIN.len();
        let value = &text[start..];
        let end = value.find(|c: char| c.is_whitespace() || c == ';');
        let end = end.unwrap_or(value.len());
        if !value[..end].contains('@') {
            text.replace_range(start..start + end, REDACTED);
        }
        from = start;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_local_part_stays_in_a_text() {
        for (before, after) in [
            ("user@example.com", "redacted@example.com"),
            (
                "<a.b+c@x.example>, d@y.example",
                "<redacted@x.example>, redacted@y.example",
            ),
            (
                "mx.example; spf=fail smtp.mailfrom=user@x.example",
                "mx.example; spf=fail smtp.mailfrom=redacted@x.example",
            ),
            (
                "smtp.mailfrom=bounce+1=b.example@x.example;",
                "smtp.mailfrom=redacted@x.example;",
            ),
            ("bounce+1=b.example@x.example", "redacted@x.example"),
            (
                "header.i=@x.example header.d=x.example",
                "header.i=@x.example header.d=x.example",
            ),
            ("header.i=\"user\"@x.example", "header.i=redacted@x.example"),
            ("\"john \\\"q\\\" doe\"@x.example", "redacted@x.example"),
            ("(a.\"b c\"@x.example)", "(redacted@x.example)"),
            ("by \"b c\"@x.example", "by redacted@x.example"),
            ("\"a@b\"@x.example", "\"redacted@redacted@x.example"),
            (
                "mailto:u@x.example (domain of v@y.example)",
                "mailto:redacted@x.example (domain of redacted@y.example)",
            ),
            (
                "für@x.example, 用户@y.example",
                "redacted@x.example, redacted@y.example",
            ),
            (
                "Smtp.Auth=user; smtp.auth=a@b.example",
                "Smtp.Auth=redacted; smtp.auth=redacted@b.example",
            ),
            ("no address", "no address"),
            ("", ""),
        ] {
            assert_eq!(text(before), after, "{before}");
        }
    }

    #[test]
    fn an_address_keeps_its_host() {
        assert_eq!(address("a@b@x.example"), "redacted@x.example");
        assert_eq!(address("user"), "redacted");
        assert_eq!(address(""), "");
    }
}
