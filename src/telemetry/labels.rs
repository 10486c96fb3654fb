//! The configured domains as metric attributes: at most so many, whatever happens.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use crate::{domain::Domain, terms};

/// A domain as it may appear in a metric: a configured one, or `other`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainLabel(Arc<str>);

impl DomainLabel {
    /// The attribute's value.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

/// Which configured domains metrics name.
///
/// The first `cap` in the order of the alphabet have their own label, so that every node of a
/// fleet names the same ones. A name that had a label keeps it until the program ends, and its
/// place with it: a series once begun stays in the SDK, and the cap is on series.
#[derive(Debug)]
pub struct DomainLabels {
    cap: usize,
    other: DomainLabel,
    named: RwLock<Named>,
}

#[derive(Debug, Default)]
struct Named {
    reloads: u64,
    ever: HashSet<Domain>,
    now: HashMap<Domain, DomainLabel>,
}

impl DomainLabels {
    /// Names at most `cap` of `domains`.
    pub fn new<'a>(cap: usize, domains: impl IntoIterator<Item = &'a Domain>) -> Self {
        let labels = Self {
            cap,
            other: DomainLabel(terms::OTHER.into()),
            named: RwLock::default(),
        };
        labels.replace(domains);
        labels
    }

    /// Takes a new list, each domain once, after a reload.
    pub fn replace<'a>(&self, domains: impl IntoIterator<Item = &'a Domain>) {
        // Only reloads write, so that nobody need wait while a long list is looked through.
        let ever = self.read().ever.clone();
        let is_old = |domain: &&Domain| ever.contains(*domain);
        let (mut chosen, mut new): (Vec<_>, Vec<_>) = domains.into_iter().partition(is_old);
        let places = self.cap.saturating_sub(ever.len());
        if places < new.len() {
            // Sorting a million for the first thousand would take as long as reading them.
            new.select_nth_unstable(places);
            new.truncate(places);
        }
        chosen.extend(new);
        let mut named = self.named.write().unwrap_or_else(PoisonError::into_inner);
        named.reloads += 1;
        named.ever.extend(chosen.iter().copied().cloned());
        let label = |domain: &Domain| (domain.clone(), DomainLabel(domain.as_str().into()));
        named.now = chosen.into_iter().map(label).collect();
    }

    /// The label of a configured domain. The caller passes the configured domain that covers a
    /// report, never the report's own text.
    pub fn label(&self, domain: &Domain) -> DomainLabel {
        self.read().now.get(domain).unwrap_or(&self.other).clone()
    }

    /// How many lists it was given.
    pub(super) fn reloads(&self) -> u64 {
        self.read().reloads
    }

    /// The label of a domain, unless it is `other`.
    pub fn named(&self, domain: &Domain) -> Option<DomainLabel> {
        self.read().now.get(domain).cloned()
    }

    /// The label of what may be no configured domain at all.
    pub fn label_of(&self, domain: Option<&Domain>) -> DomainLabel {
        domain.map_or_else(|| self.other.clone(), |domain| self.label(domain))
    }

    fn read(&self) -> RwLockReadGuard<'_, Named> {
        self.named.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains(names: &[&str]) -> Vec<Domain> {
        names.iter().map(|n| Domain::parse(n).unwrap()).collect()
    }

    fn label(labels: &DomainLabels, name: &str) -> String {
        labels.label(&Domain::parse(name).unwrap()).as_str().into()
    }

    #[test]
    fn beyond_the_cap_every_domain_is_other() {
        let labels = DomainLabels::new(2, &domains(&["c.example", "a.example", "b.example"]));
        assert_eq!(label(&labels, "a.example"), "a.example");
        assert_eq!(label(&labels, "b.example"), "b.example");
        assert_eq!(label(&labels, "c.example"), "other");
        assert_eq!(label(&labels, "stranger.example"), "other");
    }

    #[test]
    fn reloads_never_name_more_than_the_cap() {
        let labels = DomainLabels::new(2, &domains(&["a.example"]));
        labels.replace(&domains(&["b.example", "c.example"]));
        assert_eq!(label(&labels, "a.example"), "other");
        assert_eq!(label(&labels, "b.example"), "b.example");
        assert_eq!(label(&labels, "c.example"), "other");
        labels.replace(&domains(&["a.example", "c.example"]));
        assert_eq!(label(&labels, "a.example"), "a.example");
        assert_eq!(label(&labels, "c.example"), "other");
    }
}
