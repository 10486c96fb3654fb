//! What the spool says of itself: its writer sets it, exports read it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use opentelemetry::{
    KeyValue,
    metrics::{Histogram, Meter},
};

use super::{
    instruments::{age, state},
    metrics,
};
use crate::terms::{EntryState, Stage};

/// The state of the spool, and how many jobs each of its commits did.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Entries that wait.
    pub entries_new: AtomicU64,
    /// Entries that are parked.
    pub entries_parked: AtomicU64,
    /// Bytes of those that wait.
    pub bytes_new: AtomicU64,
    /// Bytes of those that are parked.
    pub bytes_parked: AtomicU64,
    /// Arrival of the oldest that waits, UTC epoch seconds; 0: none waits.
    pub oldest_new: AtomicI64,
    /// The same of those that are parked.
    pub oldest_parked: AtomicI64,
    /// `None`: nobody counts.
    batch_size: Option<Histogram<u64>>,
}

impl Gauges {
    pub(super) fn new(batch_size: Histogram<u64>) -> Self {
        Self {
            batch_size: Some(batch_size),
            ..Self::default()
        }
    }

    /// A commit of the spool did so many jobs.
    pub fn committed(&self, jobs: usize) {
        if let Some(size) = &self.batch_size {
            let attributes = [KeyValue::new("stage", Stage::SpoolCommit.as_str())];
            size.record(jobs as u64, &attributes);
        }
    }
}

pub(super) fn observe(meter: &Meter, gauges: &Arc<Gauges>) {
    let by_state = |state: EntryState| [KeyValue::new("state", state.as_str())];
    let of = Arc::clone(gauges);
    state(meter, &metrics::SPOOL_ENTRIES, move |out| {
        out.observe(of.entries_new.load(Relaxed), &by_state(EntryState::New));
        out.observe(
            of.entries_parked.load(Relaxed),
            &by_state(EntryState::Parked),
        );
    });
    let of = Arc::clone(gauges);
    state(meter, &metrics::SPOOL_SIZE, move |out| {
        out.observe(of.bytes_new.load(Relaxed), &by_state(EntryState::New));
        out.observe(of.bytes_parked.load(Relaxed), &by_state(EntryState::Parked));
    });
    let of = Arc::clone(gauges);
    state(meter, &metrics::SPOOL_OLDEST_AGE, move |out| {
        let now = SystemTime::now();
        for (oldest, state) in [
            (&of.oldest_new, EntryState::New),
            (&of.oldest_parked, EntryState::Parked),
        ] {
            out.observe(age(oldest.load(Relaxed), now), &by_state(state));
        }
    });
}
