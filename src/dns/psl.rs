//! The Public Suffix List, by which receivers of RFC 7489 find the organizational domain. Pure.
//!
//! The list is the distribution's file, which it keeps up to date; a copy in the program would be as
//! old as the program.

use std::collections::HashSet;

use crate::domain::Domain;

/// The rules of a list, private ones included, as receivers take them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SuffixList {
    /// `com`, `*.ck`, `!www.ck`; as A-labels.
    rules: HashSet<Box<str>>,
}

impl SuffixList {
    /// Reads the format of <https://publicsuffix.org/list/>: one rule a line, up to the first blank;
    /// `//` starts a comment. What is no rule is left out.
    pub fn parse(text: &str) -> Self {
        let rule = |line: &str| {
            let rule = line.split_ascii_whitespace().next()?;
            let name = rule.trim_start_matches(['!', '*', '.']);
            let mark = &rule[..rule.len() - name.len()];
            let known = matches!(mark, "" | "!" | "*.") && !rule.starts_with("//");
            let name = Domain::parse(name).filter(|_| known)?;
            Some(format!("{mark}{name}").into())
        };
        Self {
            rules: text.lines().filter_map(rule).collect(),
        }
    }

    /// The registrable domain of a name: its public suffix and one label more; `None` if it is a
    /// public suffix itself. Where no rule fits, the last label is the suffix.
    pub fn registrable(&self, domain: &Domain) -> Option<Domain> {
        let mut below = None;
        for name in domain.ancestors() {
            let up = name.split_once('.').map_or("", |(_, up)| up);
            if self.has("!", name) {
                // An exception is no suffix, though the rule for all its siblings is.
                return Domain::parse(name);
            }
            if self.has("", name) || self.has("*.", up) || up.is_empty() {
                return below.and_then(Domain::parse);
            }
            below = Some(name);
        }
        None
    }

    fn has(&self, mark: &str, name: &str) -> bool {
        match mark {
            "" => self.rules.contains(name),
            mark => !name.is_empty() && self.rules.contains(&*format!("{mark}{name}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registrable_domain_follows_the_longest_rule() {
        let list = SuffixList::parse(
            "// a comment\ncom\nuk\nco.uk\n*.ck\n!www.ck\n\n公司.cn rest\nblogspot.com\n!\n*.\n",
        );
        for (name, expected) in [
            ("com", None),
            ("example.com", Some("example.com")),
            ("a.b.example.com", Some("example.com")),
            ("blogspot.com", None),
            ("a.b.blogspot.com", Some("b.blogspot.com")),
            ("co.uk", None),
            ("a.example.co.uk", Some("example.co.uk")),
            ("example.uk", Some("example.uk")),
            ("ck", None),
            ("b.ck", None),
            ("a.b.ck", Some("a.b.ck")),
            ("x.a.b.ck", Some("a.b.ck")),
            ("www.ck", Some("www.ck")),
            ("a.www.ck", Some("www.ck")),
            ("a.xn--55qx5d.cn", Some("a.xn--55qx5d.cn")),
            ("xn--55qx5d.cn", None),
            ("a.b.unlisted", Some("b.unlisted")),
            ("unlisted", None),
        ] {
            let found = list.registrable(&Domain::parse(name).expect("a domain"));
            assert_eq!(found.as_ref().map(Domain::as_str), expected, "{name}");
        }
    }
}
