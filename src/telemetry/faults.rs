//! What is out of order while mail is taken as ever: for those who ask for our health, and a metric.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
};

use opentelemetry::{KeyValue, metrics::Meter};

use super::{
    instruments::{Exports, state},
    metrics,
};
use crate::{
    limits,
    terms::{DnsOutcome, Fault},
};

/// The faults that there are now; setting and asking never waits.
#[derive(Debug, Default)]
pub struct Faults {
    store: AtomicBool,
    archive: AtomicBool,
    /// Look-ups in a row that said nothing.
    unanswered: AtomicU32,
    exports: Arc<Exports>,
}

impl Faults {
    pub(super) fn new(exports: Arc<Exports>) -> Self {
        Self {
            exports,
            ..Self::default()
        }
    }

    /// The back rooms work, or cannot for this.
    pub fn set_back_rooms(&self, fault: Option<Fault>) {
        self.store.store(fault == Some(Fault::Store), Relaxed);
        self.archive.store(fault == Some(Fault::Archive), Relaxed);
    }

    /// One look-up may say nothing for the fault of whoever serves that name; several in a row are
    /// likely ours.
    pub(super) fn looked_up(&self, outcome: DnsOutcome) {
        let one_more = |run: u32| match outcome {
            DnsOutcome::Unknown => Some(run.saturating_add(1)),
            _ => Some(0),
        };
        // Always a value, so it never fails.
        let _ = self.unanswered.fetch_update(Relaxed, Relaxed, one_more);
    }

    /// Look-ups begin anew, of other servers perhaps, or there are none any more.
    pub fn forget_lookups(&self) {
        self.unanswered.store(0, Relaxed);
    }

    /// Whether there is this one.
    pub fn has(&self, fault: Fault) -> bool {
        match fault {
            Fault::Store => self.store.load(Relaxed),
            Fault::Archive => self.archive.load(Relaxed),
            Fault::Dns => self.unanswered.load(Relaxed) >= limits::DNS_UNANSWERED,
            Fault::Collector => self.exports.is_failing(),
        }
    }

    /// All that there are.
    pub fn list(&self) -> Vec<Fault> {
        let all = Fault::ALL.iter().copied();
        all.filter(|fault| self.has(*fault)).collect()
    }
}

pub(super) fn observe(meter: &Meter, faults: &Arc<Faults>) {
    let faults = Arc::clone(faults);
    state(meter, &metrics::DEGRADED, move |out| {
        for fault in Fault::ALL {
            let attributes = [KeyValue::new("part", fault.as_str())];
            out.observe(u64::from(faults.has(*fault)), &attributes);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_that_nobody_serves_is_no_fault_of_ours() {
        let faults = Faults::default();
        let unknown = |times| (0..times).for_each(|_| faults.looked_up(DnsOutcome::Unknown));
        unknown(limits::DNS_UNANSWERED - 1);
        faults.looked_up(DnsOutcome::NoData);
        unknown(limits::DNS_UNANSWERED - 1);
        assert_eq!(faults.list(), []);
        unknown(1);
        faults.set_back_rooms(Some(Fault::Archive));
        faults.exports.count(false);
        assert_eq!(
            faults.list(),
            [Fault::Archive, Fault::Dns, Fault::Collector]
        );
        faults.set_back_rooms(None);
        faults.forget_lookups();
        assert!(!faults.has(Fault::Dns));
        unknown(limits::DNS_UNANSWERED);
        faults.looked_up(DnsOutcome::Found);
        faults.exports.count(true);
        assert_eq!(faults.list(), []);
    }
}
