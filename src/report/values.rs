//! Single values as reporters write them, read leniently and never wrapped or clipped in silence.

use std::{net::IpAddr, str::FromStr};

use super::Stated;
use crate::{limits::MAX_TEXT, terms::AuthResult};

/// A word of a closed set, trimmed and in any case.
pub(super) fn stated<T: FromStr>(text: &str) -> Stated<T> {
    let text = trimmed(text);
    if text.is_empty() {
        return Stated::Not;
    }
    match text.parse().or_else(|_| text.to_ascii_lowercase().parse()) {
        Ok(word) => Stated::Known(word),
        Err(_) => Stated::Other(bounded(text).to_owned()),
    }
}

/// A value that is more than a word, by what reads it.
pub(super) fn read<T>(text: &str, read: impl FnOnce(&str) -> Option<T>) -> Stated<T> {
    match read(text) {
        Some(value) => Stated::Known(value),
        None if text.is_empty() => Stated::Not,
        None => Stated::Other(text.to_owned()),
    }
}

/// An SPF result. RFC 7489 appendix C admits `unknown` and `error`; `hardfail` is docomo's word
/// for what `-all` asks.
pub(super) fn spf_result(text: &str) -> Stated<AuthResult> {
    match stated(text) {
        Stated::Other(word) => match &*word.to_ascii_lowercase() {
            "hardfail" => Stated::Known(AuthResult::Fail),
            "unknown" => Stated::Known(AuthResult::Temperror),
            "error" => Stated::Known(AuthResult::Permerror),
            _ => Stated::Other(word),
        },
        known => known,
    }
}

/// A text without the white space around it.
pub(super) fn trimmed(text: &str) -> &str {
    // Looking for white space of any script takes several times as long.
    if text.is_ascii() {
        text.trim_ascii()
    } else {
        text.trim()
    }
}

/// The same in lower case.
pub(super) fn lower_case(mut text: String) -> String {
    if !text.is_ascii() {
        return text.to_lowercase();
    }
    text.make_ascii_lowercase();
    text
}

/// The first [`MAX_TEXT`] characters.
pub(super) fn bounded(text: &str) -> &str {
    if text.len() <= MAX_TEXT {
        return text;
    }
    let end = text.char_indices().nth(MAX_TEXT);
    end.map_or(text, |(end, _)| &text[..end])
}

/// Seconds since 1970. 163.com writes them as a float, of which the whole part counts.
pub(super) fn epoch(text: &str) -> Option<i64> {
    let whole = match text.trim().split_once('.') {
        Some((whole, rest)) if rest.bytes().all(|byte| byte.is_ascii_digit()) => whole,
        Some(_) => return None,
        None => text.trim(),
    };
    whole.parse().ok()
}

/// Messages of a record: a whole number that 64 bits with sign hold, as the store's do.
pub(super) fn count(text: &str) -> Option<u64> {
    let text = text.trim();
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if zeros.bytes().all(|byte| byte == b'0') => whole,
        _ => text,
    };
    whole
        .parse()
        .ok()
        .filter(|&count| i64::try_from(count).is_ok())
}

/// An address. IPv4 mapped into IPv6 is IPv4; a zone or brackets are dropped. Octets with
/// leading zeros are refused, as nobody can say whether they are octal.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let text = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let text = text.split_once('%').map_or(text, |(address, _)| address);
    text.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// The character of a reference that needs no document type (XML 1.0 sections 4.1 and 4.6).
pub(super) fn reference(name: &str) -> Option<char> {
    let number = match name {
        "amp" => return Some('&'),
        "lt" => return Some('<'),
        "gt" => return Some('>'),
        "quot" => return Some('"'),
        "apos" => return Some('\''),
        _ => name.strip_prefix('#')?,
    };
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    char::from_u32(code.ok()?)
}

/// The policy domain in a file name `receiver!domain!begin!end[!id].xml` (RFC 9990 section 3.5.2).
pub(super) fn domain_in_name(name: &str) -> Option<&str> {
    let mut fields = name.split('!');
    let (_receiver, domain, begin, end) = (
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
    );
    let end = end.split('.').next()?;
    (epoch(begin).is_some() && epoch(end).is_some()).then_some(domain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::Disposition;

    #[test]
    fn a_word_may_be_padded_and_of_any_case() {
        assert_eq!(stated(" None\n"), Stated::Known(Disposition::None));
        assert_eq!(stated::<Disposition>(" "), Stated::Not);
        assert_eq!(stated::<Disposition>("Nil"), Stated::Other("Nil".into()));
        assert_eq!(spf_result("HardFail"), Stated::Known(AuthResult::Fail));
    }

    #[test]
    fn a_count_is_whole_and_fits() {
        assert_eq!(count(" 12 "), Some(12));
        assert_eq!(count("0"), Some(0));
        assert_eq!(count("3.0"), Some(3));
        for text in [
            "-1",
            "1.5",
            "100000000000000000000",
            "9223372036854775808",
            "",
            "x",
            ".",
        ] {
            assert_eq!(count(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_address_is_canonical() {
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
        assert_eq!(address("fe80::1%eth0"), address("fe80::1"));
        for text in ["", "108r.166.27.220", "010.1.1.1", "mail.example", "1.2.3"] {
            assert_eq!(address(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_file_name_tells_the_domain() {
        assert_eq!(
            domain_in_name("r.example!d.example!1700000000!1700086399!x.xml.gz"),
            Some("d.example")
        );
        assert_eq!(domain_in_name("!d.example!1!2.zip"), Some("d.example"));
        assert_eq!(domain_in_name("report.xml"), None);
        assert_eq!(domain_in_name("a!b!c!d"), None);
    }
}
