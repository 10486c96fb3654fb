//! Deletes what was kept long enough: failure reports, which tell of people.
//!
//! A report's age is by our clock, from when it came, whatever it says of itself. A clock that is
//! wrong must not delete what is not old: nothing goes unless the clock has run as evenly as time
//! itself since the last look, and not while by this clock no report of any kind came for a week.
//! What has to go is deleted in small transactions; what a stop or a failure leaves, the next look
//! finds.

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use crate::{
    config::Config,
    limits::{CLOCK_SLACK, RETENTION_LOOK, RETENTION_QUIET, RETENTION_ROWS},
    store::{Store, StoreError},
};

/// Looks again and again until `shutdown`, and finishes the transaction it is at.
pub async fn run(
    store: Arc<Mutex<Store>>,
    config: watch::Receiver<Arc<Config>>,
    shutdown: impl Future,
) {
    let mut shutdown = pin!(shutdown);
    let mut last = (Instant::now(), SystemTime::now());
    loop {
        tokio::select! {
            _ = &mut shutdown => return,
            () = tokio::time::sleep(RETENTION_LOOK) => {}
        }
        let now = (Instant::now(), SystemTime::now());
        let is_even = ran_evenly(now.0 - last.0, last.1, now.1);
        last = now;
        if !is_even {
            tracing::warn!("the clock was set: old failure reports wait for the next look");
            continue;
        }
        let by_clock = epoch_secs(now.1);
        let keep = config.borrow().keep_failures;
        loop {
            let store = Arc::clone(&store);
            let some = tokio::task::spawn_blocking(move || {
                let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
                forget_some(&mut store, by_clock, keep)
            });
            let rows = match some.await {
                Ok(Ok(rows)) => rows,
                Ok(Err(error)) => {
                    tracing::error!(%error, "old failure reports could not be deleted");
                    break;
                }
                Err(error) => {
                    tracing::error!(%error, "deleting old failure reports ended badly");
                    break;
                }
            };
            if rows > 0 {
                tracing::info!(rows, "old failure reports deleted");
            }
            if rows < RETENTION_ROWS {
                break;
            }
            tokio::select! {
                biased;
                _ = &mut shutdown => return,
                () = std::future::ready(()) => {}
            }
        }
    }
}

/// Whether the clock agrees with the time that has passed between two looks at it.
fn ran_evenly(passed: Duration, before: SystemTime, after: SystemTime) -> bool {
    after
        .duration_since(before)
        .is_ok_and(|by_clock| by_clock.abs_diff(passed) <= CLOCK_SLACK)
}

/// Deletes some of what is older than `keep`, and gives their number; blocking.
fn forget_some(store: &mut Store, now: i64, keep: Duration) -> Result<usize, StoreError> {
    let newest = store.newest()?;
    if newest.is_none_or(|newest| now.saturating_sub(newest) > secs(RETENTION_QUIET)) {
        return Ok(0);
    }
    store.forget_failures(now.saturating_sub(secs(keep)))
}

fn epoch_secs(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, secs)
}

fn secs(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixtures::{Place, arrival, example, failure};

    const DAY: i64 = 86_400;

    #[test]
    fn a_clock_that_was_set_is_noticed() {
        let hour = Duration::from_hours(1);
        let before = SystemTime::UNIX_EPOCH + 24 * hour;
        assert!(ran_evenly(hour, before, before + hour));
        assert!(ran_evenly(hour, before, before + hour + CLOCK_SLACK));
        assert!(!ran_evenly(hour, before, before + 2 * hour));
        assert!(!ran_evenly(hour, before, before - hour));
    }

    #[test]
    fn what_is_old_goes_in_small_steps_and_stays_known() {
        let mut place = Place::new();
        let old = RETENTION_ROWS + 1;
        let add = |place: &mut Place, n: usize, arrived: i64| {
            let arrival = crate::store::Arrival {
                arrived,
                ..arrival(i64::try_from(n).unwrap())
            };
            let report = failure(&n.to_string());
            let add = |batch: &mut crate::store::Batch<'_>| {
                batch.add_failure(&arrival, &example(), &report)
            };
            place.store.transaction(add).unwrap()
        };
        let now = 1_700_000_000;
        for n in 1..=old {
            add(&mut place, n, now - 31 * DAY);
        }
        add(&mut place, old + 1, now - 29 * DAY);
        let rows = |place: &Place| place.number("SELECT count(*) FROM failure_report");
        let keep = Duration::from_hours(24 * 30);

        let quiet = forget_some(&mut place.store, now, keep).unwrap();
        assert_eq!(quiet, 0, "nothing came for a week");
        add(&mut place, old + 2, now);
        let first = forget_some(&mut place.store, now, keep).unwrap();
        assert_eq!((first, rows(&place)), (RETENTION_ROWS, 3));
        assert_eq!(forget_some(&mut place.store, now, keep).unwrap(), 1);
        assert_eq!(forget_some(&mut place.store, now, keep).unwrap(), 0);
        assert_eq!(rows(&place), 2);
        let again = add(&mut place, 1, now);
        assert!(again.redone);
        let later = crate::store::Arrival {
            spool: "another".into(),
            ..arrival(1)
        };
        let known = place
            .store
            .transaction(|batch| batch.add_failure(&later, &example(), &failure("1")));
        assert_eq!(known.unwrap().outcome, crate::terms::Outcome::Duplicate);
        assert_eq!(rows(&place), 2);
    }
}
