//! What is observed of each domain, for those that metrics name.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrument, Meter},
};

use super::{
    instruments::{age, state},
    labels::DomainLabels,
    metrics,
};
use crate::{
    domain::Domain,
    terms::{Kind, Policy, YesNo},
};

/// A published DMARC policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// `p`.
    pub policy: Option<Policy>,
    /// `sp`, or `p` where there is none.
    pub subdomains: Option<Policy>,
    /// `t`.
    pub testing: Option<YesNo>,
}

/// States of the domains that metrics name: one `other` for all else would say nothing. After a reload,
/// which may name others, all has to be told again.
#[derive(Debug)]
pub struct DomainStates {
    labels: Arc<DomainLabels>,
    reported: Mutex<HashMap<(Domain, Kind), i64>>,
    published: Mutex<HashMap<Domain, Published>>,
    unanswered: Mutex<HashMap<Domain, i64>>,
}

impl DomainStates {
    pub(super) fn new(labels: Arc<DomainLabels>) -> Self {
        Self {
            labels,
            reported: Mutex::default(),
            published: Mutex::default(),
            unanswered: Mutex::default(),
        }
    }

    /// A report of this kind came, UTC epoch seconds.
    pub fn reported(&self, domain: Domain, kind: Kind, at: i64) {
        if self.labels.named(&domain).is_none() {
            return;
        }
        let mut reported = lock(&self.reported);
        let newest = reported.entry((domain, kind)).or_insert(at);
        *newest = at.max(*newest);
    }

    /// This is published now, if anything that receivers use.
    pub fn published(&self, domain: Domain, published: Option<Published>) {
        let mut all = lock(&self.published);
        match published.filter(|_| self.labels.named(&domain).is_some()) {
            Some(published) => all.insert(domain, published),
            None => all.remove(&domain),
        };
    }

    /// A look at this domain: since when the DNS says nothing about it, UTC epoch seconds, if so.
    pub fn looked_at(&self, domain: &Domain, unanswered_since: Option<i64>) {
        let mut all = lock(&self.unanswered);
        match unanswered_since.filter(|_| self.labels.named(domain).is_some()) {
            Some(since) => all.insert(domain.clone(), since),
            None => all.remove(domain),
        };
    }

    /// Nothing is known of looks any more: the next may be never, if nobody watches from now on.
    pub fn forget_looks(&self) {
        lock(&self.unanswered).clear();
    }

    /// How often other domains may have been named since the start.
    pub fn reloads(&self) -> u64 {
        self.labels.reloads()
    }

    fn ages(&self, out: &dyn AsyncInstrument<u64>, now: SystemTime) {
        for ((domain, kind), at) in &*lock(&self.reported) {
            if let Some(label) = self.labels.named(domain) {
                let attributes = [
                    KeyValue::new("domain", label.shared()),
                    KeyValue::new("kind", kind.as_str()),
                ];
                out.observe(age(*at, now), &attributes);
            }
        }
    }

    fn unknown(&self, out: &dyn AsyncInstrument<u64>, now: SystemTime) {
        for (domain, since) in &*lock(&self.unanswered) {
            if let Some(label) = self.labels.named(domain) {
                let attributes = [KeyValue::new("domain", label.shared())];
                out.observe(age(*since, now), &attributes);
            }
        }
    }

    fn policies(&self, out: &dyn AsyncInstrument<u64>) {
        // A record without `p` that names a destination is one with p=none (RFC 9989 section 4.7).
        let word = |policy: Option<Policy>| policy.unwrap_or(Policy::None).as_str();
        for (domain, published) in &*lock(&self.published) {
            if let Some(label) = self.labels.named(domain) {
                let testing = published.testing.unwrap_or(YesNo::No);
                let attributes = [
                    KeyValue::new("domain", label.shared()),
                    KeyValue::new("policy", word(published.policy)),
                    KeyValue::new("subdomains", word(published.subdomains)),
                    KeyValue::new("testing", testing.as_str()),
                ];
                out.observe(1, &attributes);
            }
        }
    }
}

pub(super) fn observe(meter: &Meter, states: &Arc<DomainStates>) {
    let of = Arc::clone(states);
    state(meter, &metrics::REPORTS_AGE, move |out| {
        of.ages(out, SystemTime::now());
    });
    let of = Arc::clone(states);
    state(meter, &metrics::POLICY, move |out| of.policies(out));
    let of = Arc::clone(states);
    state(meter, &metrics::UNKNOWN_AGE, move |out| {
        of.unknown(out, SystemTime::now());
    });
}

/// Each value is replaced whole, so a panic elsewhere leaves them usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
