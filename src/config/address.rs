//! An address in the one form in which we compare it. Pure.

use crate::{domain::Domain, limits};

/// An address: local part unquoted and lower case, host as A-labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recipient {
    /// What stands before the `@`.
    pub local: Box<str>,
    /// What stands behind it.
    pub host: Domain,
}

impl Recipient {
    /// Reads the argument of RCPT, with or without brackets, source route, quotes and trailing
    /// dot (RFC 5321 section 4.1.1.3); or an address as an operator writes it.
    ///
    /// RFC 5321 leaves the case of a local part to its host. We are the host, and fold it.
    pub fn parse(argument: &[u8]) -> Option<Self> {
        // It is remembered, a thousand times in one message.
        if argument.len() > limits::MAX_ADDRESS {
            return None;
        }
        let text = std::str::from_utf8(argument).ok()?.trim();
        let text = text
            .strip_prefix('<')
            .map_or(text, |t| t.strip_suffix('>').unwrap_or(t));
        // RFC 5321 appendix C: `@relay,@other:user@host`; what stands before the colon is ignored.
        let text = match text.strip_prefix('@') {
            Some(route) => route.split_once(':')?.1,
            None => text,
        };
        let (local, host) = text.rsplit_once('@')?;
        let local = unquote(local);
        let host = Domain::parse(host)?;
        (!local.is_empty()).then(|| Self {
            local: local.to_ascii_lowercase().into(),
            host,
        })
    }

    /// The same address without what follows the first delimiter: `rua+x` is `rua`.
    pub fn without_extension(&self, delimiters: &str) -> Self {
        let cut = self
            .local
            .char_indices()
            .skip(1)
            .find(|&(_, c)| delimiters.contains(c))
            .map_or(self.local.len(), |(at, _)| at);
        Self {
            local: self.local[..cut].into(),
            host: self.host.clone(),
        }
    }
}

impl std::fmt::Display for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.local, self.host)
    }
}

/// `"a\ b"` is `a b` (RFC 5321 section 4.1.2: a quoted string names the same mailbox).
fn unquote(local: &str) -> String {
    let Some(inner) = local.strip_prefix('"').and_then(|l| l.strip_suffix('"')) else {
        return local.to_owned();
    };
    let mut plain = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.extend(chars.next()),
            _ => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(argument: &str) -> Option<String> {
        Recipient::parse(argument.as_bytes()).map(|r| r.to_string())
    }

    #[test]
    fn every_spelling_of_an_address_is_one_address() {
        for argument in [
            "<rua@reports.example>",
            "rua@reports.example",
            "<RUA@Reports.EXAMPLE>",
            "<\"rua\"@reports.example>",
            "<\"r\\ua\"@reports.example>",
            "<@relay.example:rua@reports.example>",
            "<@a.example,@b.example:rua@reports.example>",
            "<rua@reports.example.>",
        ] {
            assert_eq!(
                read(argument).as_deref(),
                Some("rua@reports.example"),
                "{argument}"
            );
        }
    }

    #[test]
    fn what_is_no_address_is_none() {
        for argument in [
            "",
            "<>",
            "rua",
            "@reports.example",
            "<@relay.example>",
            "rua@[127.0.0.1]",
        ] {
            assert_eq!(read(argument), None, "{argument}");
        }
        assert_eq!(Recipient::parse(b"<r\xffa@reports.example>"), None);
    }

    #[test]
    fn the_extension_is_cut_at_the_first_delimiter() {
        let address = Recipient::parse(b"rua+a+b@reports.example").expect("an address");
        assert_eq!(&*address.without_extension("+").local, "rua");
        assert_eq!(&*address.without_extension("").local, "rua+a+b");
        let leading = Recipient::parse(b"+rua@reports.example").expect("an address");
        assert_eq!(&*leading.without_extension("+").local, "+rua");
    }
}
