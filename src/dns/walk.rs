//! The DNS Tree Walk of RFC 9989 section 4.10, and beside it the way of RFC 7489 by the Public Suffix
//! List. Pure: a walk says which name to ask for next, and is told the answer.
//!
//! Names are those of domains; the question is asked at `_dmarc.` below them.

use super::{
    Answer,
    psl::SuffixList,
    record::{self, Record, Selection},
};
use crate::{
    domain::Domain,
    limits::WALK_QUERIES,
    terms::{DnsOutcome, Policy, Psd},
};

/// A walk from one domain up.
#[derive(Clone, Debug)]
pub struct Walk {
    start: Domain,
    /// The longest name first.
    steps: Vec<Step>,
}

/// What was found at one name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    domain: Domain,
    found: Option<Found>,
}

/// What a known answer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    One(Box<Record>),
    None,
    /// These count as none for the walk; by RFC 7489 they end everything.
    Several,
}

/// Whether a name exists: NXDOMAIN at the name itself means that it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existence {
    /// It does.
    Exists,
    /// It does not.
    Missing,
}

/// The record that applies to a domain, and where it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied<'a> {
    /// Where the record is.
    pub domain: &'a Domain,
    /// The record.
    pub record: &'a Record,
    /// Whether it is that of the very name it applies to.
    pub is_own: bool,
}

impl Applied<'_> {
    /// The policy for the domain, before `t` and `pct`: `p` of its own record, `sp` or `np` of another's.
    pub fn policy(&self, existence: Existence) -> Option<Policy> {
        match existence {
            _ if self.is_own => self.record.policy(),
            Existence::Exists => self.record.subdomain_policy(),
            Existence::Missing => self.record.nonexistent_policy(),
        }
    }

    /// That policy as it is enforced at least, which `t` and `pct` lower.
    pub fn enforced(&self, existence: Existence) -> Option<Policy> {
        let policy = self.policy(existence)?;
        Some(self.record.enforced(policy))
    }
}

/// A question about a walk that may meet an unknown answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known<T> {
    /// The answer.
    Yes(T),
    /// A lookup that matters said nothing.
    No,
}

impl Walk {
    /// A walk that has not begun.
    pub fn new(start: Domain) -> Self {
        Self {
            start,
            steps: Vec::new(),
        }
    }

    /// The domain to ask for next; `None`: the walk is over.
    pub fn next(&self) -> Option<Domain> {
        let Some(last) = self.steps.last() else {
            return Some(self.start.clone());
        };
        let ended = match &last.found {
            // Where nothing is known, nothing above helps.
            None => true,
            Some(Found::One(record)) => record.public_suffix() != Psd::Unknown,
            Some(_) => false,
        };
        if ended || self.steps.len() >= WALK_QUERIES {
            return None;
        }
        let labels = last.domain.as_str().split('.').count();
        // RFC 9989 section 4.10: of a long name, the seven labels on the right come next.
        let next = labels.min(WALK_QUERIES) - 1;
        last.domain
            .ancestors()
            .nth(labels - next)
            .and_then(Domain::parse)
    }

    /// Takes the answer for the [next](Self::next) domain.
    pub fn add(&mut self, answer: &Answer) {
        let Some(domain) = self.next() else {
            return;
        };
        let found =
            (answer.outcome != DnsOutcome::Unknown).then(|| match record::select(&answer.texts) {
                Selection::One(record) => Found::One(record),
                Selection::None { .. } => Found::None,
                Selection::Several(_) => Found::Several,
            });
        self.steps.push(Step { domain, found });
    }

    /// The organizational domain (RFC 9989 section 4.10.2).
    pub fn organizational(&self) -> Known<Domain> {
        if self.steps.iter().any(|step| step.found.is_none()) || self.next().is_some() {
            return Known::No;
        }
        // The first with psd=y or psd=n is the last of the walk.
        if let Some((step, record)) = self.records().last() {
            match record.public_suffix() {
                Psd::No => return Known::Yes(step.domain.clone()),
                Psd::Yes if step.domain != self.start => {
                    return Known::Yes(self.one_below(&step.domain));
                }
                Psd::Yes | Psd::Unknown => {}
            }
            // A psd=y at the start itself is a record like any other.
            return Known::Yes(step.domain.clone());
        }
        Known::Yes(self.start.clone())
    }

    /// The record that applies to the start (RFC 9989 section 4.10.1): its own, or the one from above.
    pub fn applied(&self) -> Known<Option<Applied<'_>>> {
        let own = self.at(&self.start).map(|(step, record)| Applied {
            domain: &step.domain,
            record,
            is_own: true,
        });
        own.map_or_else(|| self.inherited(), |own| Known::Yes(Some(own)))
    }

    /// The record that applies to names below the start, and to the start, if they have none of their
    /// own: that of the organizational domain, which may be the start, or of the public suffix above.
    pub fn inherited(&self) -> Known<Option<Applied<'_>>> {
        let Known::Yes(organizational) = self.organizational() else {
            return Known::No;
        };
        let suffix = || {
            let mut records = self.records();
            records.find(|(_, record)| record.public_suffix() == Psd::Yes)
        };
        let found = self.at(&organizational).or_else(suffix);
        Known::Yes(found.map(|(step, record)| Applied {
            domain: &step.domain,
            record,
            is_own: false,
        }))
    }

    /// The same by RFC 7489 sections 3.2 and 6.6.3: the domain's own record or that of the registrable
    /// domain, and nothing at all where there are several.
    pub fn applied_by_list(&self, list: &SuffixList) -> Known<Option<Applied<'_>>> {
        let registrable = list.registrable(&self.start);
        for (is_own, domain) in [(true, Some(&self.start)), (false, registrable.as_ref())] {
            let Some(domain) = domain else {
                continue;
            };
            let step = self.steps.iter().find(|step| step.domain == *domain);
            match step.map(|step| (&step.domain, &step.found)) {
                Some((domain, Some(Found::One(record)))) => {
                    return Known::Yes(Some(Applied {
                        domain,
                        record,
                        is_own,
                    }));
                }
                Some((_, Some(Found::Several))) => return Known::Yes(None),
                Some((_, Some(Found::None))) => {}
                Some((_, None)) | None => return Known::No,
            }
        }
        Known::Yes(None)
    }

    fn at(&self, domain: &Domain) -> Option<(&Step, &Record)> {
        self.records().find(|(step, _)| step.domain == *domain)
    }

    /// The records of the walk, the longest name first.
    fn records(&self) -> impl DoubleEndedIterator<Item = (&Step, &Record)> {
        self.steps.iter().filter_map(|step| match &step.found {
            Some(Found::One(record)) => Some((step, &**record)),
            _ => None,
        })
    }

    /// The name on the way from the start that has one label more than `domain`.
    fn one_below(&self, domain: &Domain) -> Domain {
        let labels = domain.as_str().split('.').count() + 1;
        let mut names = self.start.ancestors();
        names
            .find(|name| name.split('.').count() == labels)
            .and_then(Domain::parse)
            .unwrap_or_else(|| self.start.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::terms::DnsTrouble;

    fn domain(name: &str) -> Domain {
        Domain::parse(name).expect("a domain")
    }

    /// A walk over these records, and the names that it asked for. `?` is an unknown answer, `|`
    /// stands between several.
    fn walked(start: &str, zone: &[(&str, &str)]) -> (Walk, Vec<String>) {
        let zone: HashMap<_, _> = zone.iter().copied().collect();
        let mut walk = Walk::new(domain(start));
        let mut asked = Vec::new();
        while let Some(name) = walk.next() {
            walk.add(&match zone.get(name.as_str()) {
                None => Answer::absent(DnsOutcome::NxDomain, 60),
                Some(&"?") => Answer::unknown(DnsTrouble::Timeout),
                Some(texts) => Answer::found(texts.split('|').map(Into::into).collect(), 60),
            });
            asked.push(name.to_string());
        }
        (walk, asked)
    }

    fn organizational(start: &str, zone: &[(&str, &str)]) -> Option<String> {
        match walked(start, zone).0.organizational() {
            Known::Yes(name) => Some(name.to_string()),
            Known::No => None,
        }
    }

    /// Where the record that applies was found, and what it asks for the start.
    fn applied(start: &str, zone: &[(&str, &str)]) -> Option<(String, &'static str)> {
        let (walk, _) = walked(start, zone);
        let Known::Yes(applied) = walk.applied() else {
            return Some(("unknown".into(), ""));
        };
        let applied = applied?;
        let policy = applied
            .policy(Existence::Exists)
            .map_or("-", Policy::as_str);
        Some((applied.domain.to_string(), policy))
    }

    #[test]
    fn at_most_eight_names_are_asked_for() {
        let (_, asked) = walked("a.b.c.d.e.f.g.h.i.j.mail.example.com", &[]);
        assert_eq!(
            asked,
            [
                "a.b.c.d.e.f.g.h.i.j.mail.example.com",
                "g.h.i.j.mail.example.com",
                "h.i.j.mail.example.com",
                "i.j.mail.example.com",
                "j.mail.example.com",
                "mail.example.com",
                "example.com",
                "com",
            ]
        );
        let (_, asked) = walked("a.b.c.d.e.f.example.com", &[]);
        assert_eq!(
            (asked.len(), asked[1].as_str()),
            (8, "b.c.d.e.f.example.com")
        );
        let (_, asked) = walked("b.c.d.e.f.example.com", &[]);
        assert_eq!((asked.len(), asked[1].as_str()), (7, "c.d.e.f.example.com"));
        assert_eq!(walked("com", &[]).1, ["com"]);
    }

    #[test]
    fn only_psd_and_an_unknown_answer_end_a_walk() {
        let plain = [("a.example.com", "v=DMARC1; p=none")];
        assert_eq!(walked("a.example.com", &plain).1.len(), 3);
        for text in ["v=DMARC1; p=none; psd=n", "v=DMARC1; p=none; psd=y", "?"] {
            let zone = [("example.com", text)];
            assert_eq!(walked("a.example.com", &zone).1.len(), 2, "{text}");
        }
        // Several records are none, whatever they say.
        let several = [("example.com", "v=DMARC1; psd=n|v=DMARC1; psd=n")];
        assert_eq!(walked("a.example.com", &several).1.len(), 3);
    }

    #[test]
    fn the_organizational_domain_is_that_of_section_4_10_2() {
        let (none, y, n) = (
            "v=DMARC1; p=none",
            "v=DMARC1; p=none; psd=y",
            "v=DMARC1; p=none; psd=n",
        );
        for (zone, expected) in [
            (vec![], "b.a.example.com"),
            (vec![("example.com", none)], "example.com"),
            (
                vec![("a.example.com", none), ("example.com", none)],
                "example.com",
            ),
            (
                vec![("a.example.com", n), ("example.com", none)],
                "a.example.com",
            ),
            (vec![("com", y)], "example.com"),
            (vec![("com", y), ("a.example.com", none)], "example.com"),
            (vec![("example.com", y)], "a.example.com"),
            (vec![("b.a.example.com", y)], "b.a.example.com"),
            (
                vec![("b.a.example.com", n), ("example.com", none)],
                "b.a.example.com",
            ),
            (
                vec![("a.example.com", "v=DMARC1|v=DMARC1"), ("com", none)],
                "com",
            ),
        ] {
            let found = organizational("b.a.example.com", &zone);
            assert_eq!(found.as_deref(), Some(expected), "{zone:?}");
        }
        assert_eq!(organizational("a.example.com", &[("com", "?")]), None);
        // The walk skips from the start to seven labels, psd=y above them does not care.
        let deep = organizational("a.b.c.d.e.f.g.h.example.com", &[("com", y)]);
        assert_eq!(deep.as_deref(), Some("example.com"));
    }

    #[test]
    fn the_record_is_the_own_one_or_that_of_the_organizational_domain_or_the_suffix() {
        let at = |zone: &[(&str, &str)]| applied("a.example.com", zone);
        let is = |name: &str, policy| Some((name.to_owned(), policy));
        let reject = "v=DMARC1; p=reject; sp=quarantine";
        assert_eq!(at(&[]), None);
        assert_eq!(
            at(&[("a.example.com", reject), ("com", "?")]),
            is("a.example.com", "reject")
        );
        assert_eq!(
            at(&[("example.com", reject)]),
            is("example.com", "quarantine")
        );
        assert_eq!(
            at(&[("com", "v=DMARC1; p=none; sp=reject; psd=y")]),
            is("com", "reject")
        );
        // A suffix never overrides what the organization says.
        assert_eq!(
            at(&[("example.com", reject), ("com", "v=DMARC1; p=none; psd=y")]),
            is("example.com", "quarantine")
        );
        assert_eq!(at(&[("example.com", "?")]), is("unknown", ""));
    }

    #[test]
    fn names_that_do_not_exist_have_np_and_t_lowers_everything() {
        let zone = [("example.com", "v=DMARC1; p=reject; sp=none; np=reject; t=y")];
        let (walk, _) = walked("a.example.com", &zone);
        let Known::Yes(Some(applied)) = walk.applied() else {
            panic!("a record");
        };
        assert_eq!(applied.policy(Existence::Exists), Some(Policy::None));
        assert_eq!(applied.policy(Existence::Missing), Some(Policy::Reject));
        assert_eq!(
            applied.enforced(Existence::Missing),
            Some(Policy::Quarantine)
        );
    }

    #[test]
    fn by_the_list_names_in_between_do_not_count() {
        let list = SuffixList::parse("com\n");
        let at = |zone: &[(&str, &str)]| {
            let (walk, _) = walked("b.a.example.com", zone);
            match walk.applied_by_list(&list) {
                Known::Yes(applied) => applied.map(|it| it.domain.to_string()),
                Known::No => Some("unknown".into()),
            }
        };
        let none = "v=DMARC1; p=none";
        assert_eq!(at(&[("a.example.com", none)]), None);
        assert_eq!(at(&[("example.com", none)]).as_deref(), Some("example.com"));
        assert_eq!(
            at(&[("b.a.example.com", none)]).as_deref(),
            Some("b.a.example.com")
        );
        let several = [
            ("b.a.example.com", "v=DMARC1|v=DMARC1"),
            ("example.com", none),
        ];
        assert_eq!(at(&several), None);
        assert_eq!(at(&[("example.com", "?")]).as_deref(), Some("unknown"));
        // The walk ended before it came there.
        let early = [("a.example.com", "v=DMARC1; p=none; psd=n")];
        assert_eq!(at(&early).as_deref(), Some("unknown"));
    }
}
