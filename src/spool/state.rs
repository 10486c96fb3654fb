//! Depth, room and pulse of the spool, for those who must not wait for it.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use tokio::sync::Notify;

use crate::{
    config::Limits,
    limits::{MAX_SPOOL_ENTRIES, PARKED_PART, PARKED_SHARE},
    telemetry::instruments::Gauges,
    terms::Rejection,
};

/// What the writer knows, readable at any time without waiting.
#[derive(Debug)]
pub struct State {
    limits: Mutex<Limits>,
    /// The directory whose disk must keep room.
    dir: PathBuf,
    depth: Mutex<Depth>,
    gauges: Arc<Gauges>,
    free: AtomicU64,
    failing: AtomicBool,
    beat: Mutex<Instant>,
    /// Rings when an entry has become durable, by this process or another.
    pub arrived: Notify,
}

/// How much the spool holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Entries that wait.
    pub new_entries: u64,
    /// Their bytes.
    pub new_bytes: u64,
    /// Arrival of the oldest of them, UTC epoch seconds.
    pub oldest_new: Option<i64>,
    /// Arrival of the oldest that is parked.
    pub oldest_parked: Option<i64>,
    /// Parked entries.
    pub parked_entries: u64,
    /// Their bytes.
    pub parked_bytes: u64,
    /// What of them came from each network; shared, as every commit copies the rest.
    pub parked_by_network: Arc<HashMap<String, Held>>,
}

/// What one network holds of the parked space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Entries.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl State {
    pub(super) fn new(limits: Limits, dir: &Path, gauges: Arc<Gauges>) -> Self {
        let state = Self {
            limits: Mutex::new(limits),
            dir: dir.to_owned(),
            depth: Mutex::default(),
            gauges,
            free: AtomicU64::new(u64::MAX),
            failing: AtomicBool::new(false),
            beat: Mutex::new(Instant::now()),
            arrived: Notify::new(),
        };
        state.measure_disk();
        state
    }

    /// Whether a message from `network` may come in now.
    pub fn room(&self, network: &str) -> Result<(), Rejection> {
        let limits = *lock(&self.limits);
        let depth = lock(&self.depth);
        let held = depth.new_bytes + depth.parked_bytes;
        let entries = depth.new_entries + depth.parked_entries;
        if self.failing.load(Relaxed)
            || self.free.load(Relaxed) < limits.min_free
            || held + limits.max_message as u64 > limits.max_spool
            || entries >= MAX_SPOOL_ENTRIES
        {
            return Err(Rejection::NoRoom);
        }
        // Mail without a network is the operator's own, or a relay's.
        let own = depth.parked_by_network.get(network);
        let is_over = own.is_some_and(|own| {
            own.bytes > share(limits.max_spool, depth.parked_bytes, own.bytes)
                || own.entries >= share(MAX_SPOOL_ENTRIES, depth.parked_entries, own.entries)
        });
        if is_over && !network.is_empty() {
            return Err(Rejection::ParkedQuota);
        }
        Ok(())
    }

    /// Takes the limits of a reloaded configuration.
    pub fn set_limits(&self, limits: Limits) {
        *lock(&self.limits) = limits;
    }

    /// How much the spool holds.
    pub fn depth(&self) -> Depth {
        lock(&self.depth).clone()
    }

    /// When the writer last showed that it lives.
    pub fn last_beat(&self) -> Instant {
        *lock(&self.beat)
    }

    /// Whether the last commit failed.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Relaxed)
    }

    pub(super) fn committed(&self, jobs: usize) {
        self.gauges.committed(jobs);
    }

    pub(super) fn beat(&self) {
        *lock(&self.beat) = Instant::now();
    }

    pub(super) fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Relaxed);
    }

    pub(super) fn with_depth(&self, change: impl FnOnce(&mut Depth)) {
        let mut depth = lock(&self.depth);
        change(&mut depth);
        self.gauges.entries_new.store(depth.new_entries, Relaxed);
        self.gauges.bytes_new.store(depth.new_bytes, Relaxed);
        self.gauges
            .entries_parked
            .store(depth.parked_entries, Relaxed);
        self.gauges.bytes_parked.store(depth.parked_bytes, Relaxed);
        for (gauge, oldest) in [
            (&self.gauges.oldest_new, depth.oldest_new),
            (&self.gauges.oldest_parked, depth.oldest_parked),
        ] {
            gauge.store(oldest.unwrap_or(0), Relaxed);
        }
    }

    pub(super) fn measure_disk(&self) {
        // Unknown is not full: the commit itself will tell.
        let free = nix::sys::statvfs::statvfs(&self.dir).map_or(u64::MAX, |disk| {
            disk.blocks_available() * disk.fragment_size()
        });
        self.free.store(free, Relaxed);
    }
}

/// How much of a spool one network may hold with parked mail, when `own` of what is parked is its.
fn share(spool: u64, parked: u64, own: u64) -> u64 {
    let others = parked.saturating_sub(own);
    spool.saturating_sub(PARKED_PART * others) / PARKED_SHARE
}

/// The values stay usable after a panic elsewhere: each is replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_networks_do_not_fill_the_spool_and_an_honest_one_is_let_in() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits {
            min_free: 0,
            ..Limits::default()
        };
        // By their size, and by their number.
        for bytes in [1 << 18, 1] {
            let state = State::new(limits, dir.path(), Arc::default());
            let park = |network: &str| {
                state.with_depth(|depth| depth.park(network.to_owned(), 1, bytes));
            };
            park("honest");
            for n in 0..20 {
                let greedy = n.to_string();
                while state.room(&greedy).is_ok() {
                    park(&greedy);
                }
                assert_eq!(state.room(&greedy), Err(Rejection::ParkedQuota), "{n}");
            }
            let depth = state.depth();
            assert!(
                depth.parked_bytes < limits.max_spool * 6 / 10
                    && depth.parked_entries < MAX_SPOOL_ENTRIES * 6 / 10,
                "{} bytes, {} entries",
                depth.parked_bytes,
                depth.parked_entries
            );
            assert_eq!(state.room("honest"), Ok(()), "holds little");
            assert_eq!(state.room("another"), Ok(()), "holds nothing");
        }
    }

    #[test]
    fn a_network_holds_a_tenth_of_the_spool_in_bytes_and_in_entries() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits {
            min_free: 0,
            ..Limits::default()
        };
        let state = State::new(limits, dir.path(), Arc::default());
        let (entries, bytes) = (
            MAX_SPOOL_ENTRIES / PARKED_SHARE,
            limits.max_spool / PARKED_SHARE,
        );
        for (held, full) in [
            (
                Held {
                    entries: entries - 1,
                    bytes,
                },
                false,
            ),
            (
                Held {
                    entries: 1,
                    bytes: bytes + 1,
                },
                true,
            ),
            (Held { entries, bytes: 1 }, true),
        ] {
            state.with_depth(|depth| {
                depth.parked_by_network = Arc::new([("192.0.2.0/24".to_owned(), held)].into());
            });
            let room = state.room("192.0.2.0/24");
            assert_eq!(room.is_err(), full, "{held:?}");
            assert!(
                room.err()
                    .is_none_or(|reason| reason == Rejection::ParkedQuota)
            );
            assert_eq!(state.room("198.51.100.0/24"), Ok(()));
            assert_eq!(state.room(""), Ok(()), "the operator's own");
        }
    }
}
