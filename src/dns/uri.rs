//! One destination of reports: a URI of `rua` or `ruf`. Pure.

use std::{fmt, ops::Range};

use crate::domain::Domain;

/// A syntactically valid reporting URI (RFC 9989 section 4.7), as it was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportUri {
    text: Box<str>,
    /// Length of `text` without the size limit of RFC 7489.
    bare: usize,
}

impl ReportUri {
    /// Reads one item of the comma-separated list, blanks around it allowed.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        if !is_uri(text) {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        let bare = text.len() - size_limit(text);
        let uri = Self {
            text: text.into(),
            bare,
        };
        // An exclamation mark elsewhere has to be percent-encoded.
        let plain = !uri.bare().contains('!');
        let addressed = !uri.is_mailto() || uri.mailbox().is_some();
        (plain && addressed).then_some(uri)
    }

    /// The URI of an address: what has a meaning in a URI or a record is percent-encoded.
    pub fn mailto(address: &str) -> Option<Self> {
        let encoded = |byte: u8| match byte {
            b'@' | b'.' | b'-' | b'_' | b'+' => char::from(byte).to_string(),
            _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        };
        let text = format!(
            "mailto:{}",
            address.bytes().map(encoded).collect::<String>()
        );
        Self::parse(text.as_bytes())
    }

    /// The URI without a size limit.
    pub fn bare(&self) -> &str {
        &self.text[..self.bare]
    }

    /// Whether it carries a size limit such as `!10m` (RFC 7489; obsolete in RFC 9989).
    pub fn has_size_limit(&self) -> bool {
        self.bare < self.text.len()
    }

    /// The address of a `mailto:` URI, percent-decoded.
    pub fn mailbox(&self) -> Option<String> {
        if !self.is_mailto() {
            return None;
        }
        let rest = &self.bare()["mailto:".len()..];
        // RFC 6068: header fields may follow the address.
        let address = rest.split_once('?').map_or(rest, |(address, _)| address);
        let address = String::from_utf8(percent_decoded(address.as_bytes())).ok()?;
        let (local, host) = address.rsplit_once('@')?;
        (!local.is_empty() && !host.is_empty()).then_some(address)
    }

    /// The host of that address, as its own record names it.
    pub fn host(&self) -> Option<Domain> {
        Domain::parse(self.mailbox()?.rsplit_once('@')?.1)
    }

    /// Whether it is an address; receivers need not send anywhere else (RFC 9989 section 4.7).
    pub fn is_mailto(&self) -> bool {
        self.text
            .get(.."mailto:".len())
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("mailto:"))
    }
}

impl fmt::Display for ReportUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The items of a comma-separated list in `range` of a text: where each is, without the blanks around
/// it, and what it is.
pub fn list(
    text: &[u8],
    range: Range<usize>,
) -> impl Iterator<Item = (Range<usize>, Option<ReportUri>)> {
    let mut next = range.start;
    text[range].split(|&b| b == b',').map(move |item| {
        let start = next + (item.len() - item.trim_ascii_start().len());
        next += item.len() + 1;
        let item = item.trim_ascii();
        (start..start + item.len(), ReportUri::parse(item))
    })
}

/// The URI that `item` was probably meant to be; empty if nobody can know.
pub fn nearest(item: &[u8]) -> String {
    let Ok(item) = std::str::from_utf8(item) else {
        return String::new();
    };
    let tail = item
        .trim_start_matches("mailto")
        .trim_start_matches([':', '/', ' ']);
    let guesses = [
        format!("mailto:{tail}"),
        format!("mailto:{}", tail.replace('!', "%21")),
    ];
    let fits = |guess: &String| {
        let uri = ReportUri::parse(guess.as_bytes());
        uri.is_some_and(|uri| uri.host().is_some())
    };
    guesses.into_iter().find(fits).unwrap_or_default()
}

/// RFC 3986: a scheme, a colon, and characters of the right set; `,` and `;` are for the record.
fn is_uri(text: &[u8]) -> bool {
    let Some(colon) = text.iter().position(|&b| b == b':') else {
        return false;
    };
    let (scheme, rest) = (&text[..colon], &text[colon + 1..]);
    let scheme_fits = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b));
    let mut at = 0;
    while at < rest.len() {
        at += match rest[at] {
            b'%' if rest.len() > at + 2
                && rest[at + 1..at + 3].iter().all(u8::is_ascii_hexdigit) =>
            {
                3
            }
            b if b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+=".contains(&b) => 1,
            _ => return false,
        };
    }
    scheme_fits && !rest.is_empty()
}

/// Length of a trailing `!` with digits and perhaps one of `kmgt`, or 0.
fn size_limit(text: &str) -> usize {
    let Some(mark) = text.rfind('!') else {
        return 0;
    };
    let limit = &text[mark + 1..];
    let digits = limit
        .strip_suffix(|c: char| "kmgtKMGT".contains(c))
        .unwrap_or(limit);
    let fits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if fits { text.len() - mark } else { 0 }
}

/// Decodes `%xx`; [`is_uri`] has seen that each is whole.
fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| {
        text.get(at)
            .and_then(|&b| char::from(b).to_digit(16))
            .and_then(|d| u8::try_from(d).ok())
    };
    let mut plain = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let (byte, width) = match (text[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => (high * 16 + low, 3),
            (byte, ..) => (byte, 1),
        };
        plain.push(byte);
        at += width;
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_every_spelling() {
        for (text, address) in [
            ("mailto:rua@example.net", "rua@example.net"),
            (" MAILTO:Rua@Example.NET ", "Rua@Example.NET"),
            ("mailto:rua@example.net!10m", "rua@example.net"),
            ("mailto:r%75a%21@example.net!5", "rua!@example.net"),
            ("mailto:rua@example.net?subject=x", "rua@example.net"),
            ("mailto:rua+tag@example.net", "rua+tag@example.net"),
        ] {
            let uri = ReportUri::parse(text.as_bytes()).expect(text);
            assert_eq!(uri.mailbox().as_deref(), Some(address), "{text}");
        }
    }

    #[test]
    fn an_address_becomes_a_uri_and_comes_back() {
        for address in [
            "rua@example.net",
            "a!b,c;d%e@example.net",
            "r{x}+y@example.net",
        ] {
            let uri = ReportUri::mailto(address).expect(address);
            assert_eq!(uri.mailbox().as_deref(), Some(address), "{uri}");
        }
        assert_eq!(ReportUri::mailto("no address"), None);
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        for text in [
            "",
            "rua@example.net",
            "mailto:",
            "mailto:rua",
            "mailto:@example.net",
            "mailto:a!b@example.net",
            "mailto:a%4@example.net",
            "mailto:a b@example.net",
            ":x",
            "1http://x",
        ] {
            assert_eq!(ReportUri::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(ReportUri::parse(b"mailto:r\xffa@example.net"), None);
    }

    #[test]
    fn a_mistake_is_guessed() {
        for (item, meant) in [
            ("rua@example.net", "mailto:rua@example.net"),
            ("mailto rua@example.net", "mailto:rua@example.net"),
            ("mailto://rua@example.net", "mailto:rua@example.net"),
            ("mailto:a!b@example.net", "mailto:a%21b@example.net"),
            ("rua@example.net!10m", "mailto:rua@example.net!10m"),
            ("rua", ""),
            ("", ""),
        ] {
            assert_eq!(nearest(item.as_bytes()), meant, "{item}");
        }
    }

    #[test]
    fn another_scheme_is_a_destination_without_a_mailbox() {
        let uri = ReportUri::parse(b"https://example.net/dmarc!1k").expect("a URI");
        assert_eq!(uri.mailbox(), None);
        assert!(uri.has_size_limit());
        assert_eq!(uri.bare(), "https://example.net/dmarc");
    }
}
