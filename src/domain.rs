//! A domain name, in the one form in which we compare, store and print it.

use std::fmt;

/// A domain name as A-labels, lower case, without trailing dot (RFC 5890 section 2.3.2.1).
///
/// ```
/// # use rua_milter::domain::Domain;
/// assert_eq!(Domain::parse("Bücher.Example.").unwrap().as_str(), "xn--bcher-kva.example");
/// assert!(Domain::parse("no domain").is_none());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(Box<str>);

impl Domain {
    /// Reads a name as a person or a reporter writes it; `None` when it cannot be one.
    ///
    /// Underscores are allowed, as `_dmarc` names and some hosts have them.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_suffix('.').unwrap_or(text);
        // The wire form of a name has at most 255 octets (RFC 1035 section 2.3.4).
        if text.is_empty() || text.len() > 1_024 {
            return None;
        }
        let ascii = if text.is_ascii() {
            text.to_ascii_lowercase()
        } else {
            idna::domain_to_ascii(text).ok()?
        };
        let label_fits = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        (ascii.len() <= 253 && ascii.split('.').all(label_fits)).then(|| Self(ascii.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name itself, then each name above it: `a.b.c`, `b.c`, `c`.
    pub fn ancestors(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(Some(self.as_str()), |name| {
            name.split_once('.').map(|(_, up)| up)
        })
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl std::borrow::Borrow<str> for Domain {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl serde::Serialize for Domain {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Domain {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        Self::parse(&name).ok_or_else(|| serde::de::Error::custom("not a domain name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancestors_start_with_the_name_itself() {
        let name = Domain::parse("a.b.Example").unwrap();
        assert_eq!(
            name.ancestors().collect::<Vec<_>>(),
            ["a.b.example", "b.example", "example"]
        );
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            ".",
            "a..b",
            "a b",
            "-".repeat(64).as_str(),
            "a/b",
            "ex\u{0}ample",
        ] {
            assert_eq!(Domain::parse(text), None, "{text:?}");
        }
    }
}
