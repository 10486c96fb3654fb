//! What the tests of several rules begin with.

use std::collections::HashSet;

use crate::{
    config::{
        Config,
        domains::{Details, DomainList},
        file,
    },
    domain::Domain,
    report::{PolicyPublished, Stated},
    terms::Policy,
};

pub(super) fn domain() -> Domain {
    Domain::parse("example.com").unwrap()
}

/// The defaults, with [`domain`] as the only one.
pub(super) fn config(details: Details) -> Config {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rua-milter.toml");
    std::fs::write(&path, "").unwrap();
    let entries = [(domain(), details)].into_iter().collect();
    Config {
        domains: DomainList::new(entries, HashSet::new(), None, "+".into()),
        ..file::load(&path).unwrap()
    }
}

/// A policy of [`domain`] of which a report states `p` and nothing else.
pub(super) fn policy_published(p: Policy) -> PolicyPublished {
    PolicyPublished {
        domain: domain(),
        p: Stated::Known(p),
        sp: Stated::Not,
        np: Stated::Not,
        adkim: Stated::Not,
        aspf: Stated::Not,
        pct: None,
        fo: String::new(),
        testing: Stated::Not,
        discovery_method: Stated::Not,
    }
}

/// Numbers that look random and are the same every time (xorshift64).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, limit: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        i64::try_from(self.0 >> 1).unwrap() % limit
    }

    pub(super) fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(i64::try_from(of.len()).unwrap())).unwrap()]
    }
}
