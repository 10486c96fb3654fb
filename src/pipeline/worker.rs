//! The worker: claims what the spool holds, works on it, settles it, and waits for more.
//!
//! It opens the report store by itself, so that neither a migration nor a broken store keeps
//! the doors shut; while the store or the archive fails it tries again with growing pauses, and
//! the mail waits in the spool.

use std::{
    error::Error,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{Rooms, WorkError};
use crate::{
    config::Config,
    limits,
    spool::{Among, Entry, Settled, Spool, SpoolError},
    terms::Rejection,
};

/// How often the spool is looked at when nobody rings.
const LOOK: Duration = Duration::from_secs(1);

/// Why the worker cannot go on for now.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// It cannot be read or written.
    #[error("the spool fails")]
    Spool(#[from] SpoolError),
    /// The archive or the report store fails.
    #[error(transparent)]
    Work(#[from] WorkError),
    /// By a panic.
    #[error("a thread ended")]
    Thread(#[from] tokio::task::JoinError),
}

/// Works until `shutdown`, and finishes the batch it is at.
pub async fn run(
    spool: Spool,
    rooms: Arc<Rooms>,
    config: watch::Receiver<Arc<Config>>,
    shutdown: impl Future,
) {
    let mut shutdown = std::pin::pin!(shutdown);
    let mut pause = limits::RETRY_FIRST;
    let mut owed = None;
    let began = Instant::now();
    loop {
        let snapshot = config.borrow().clone();
        let among = if began.elapsed() < limits::RETRY_TRIED {
            Among::Untried
        } else {
            Among::All
        };
        let wait = match batch(&spool, &rooms, &snapshot, among, &mut owed).await {
            Ok(0) => {
                pause = limits::RETRY_FIRST;
                LOOK
            }
            Ok(_) => {
                pause = limits::RETRY_FIRST;
                Duration::ZERO
            }
            Err(trouble) => {
                let error = chain(&trouble);
                let retry_secs = pause.as_secs();
                tracing::error!(error, retry_secs, "reports wait in the spool");
                let now = pause;
                pause = (pause * 2).min(limits::RETRY_LONGEST);
                now
            }
        };
        let ring = async {
            // After trouble a new arrival is no reason to come back sooner.
            if wait == LOOK {
                spool.state().arrived.notified().await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            _ = &mut shutdown => return,
            () = tokio::time::sleep(wait) => {}
            () = ring => {}
        }
    }
}

/// An error with its causes, of which the last tells what an operator can mend.
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    let causes: Vec<_> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}

/// Works until nothing waits, or something fails; the rest then waits in the spool.
pub async fn drain(spool: &Spool, rooms: &Arc<Rooms>, config: &Arc<Config>) -> Result<(), Trouble> {
    let mut owed = None;
    while batch(spool, rooms, config, Among::All, &mut owed).await? > 0 {}
    Ok(())
}

/// Claims one batch, works on it, and settles it; gives its size.
///
/// What could not be settled is `owed`, and settled before anything else is claimed: its attempts
/// did not end the program, and must not add up as if they had.
async fn batch(
    spool: &Spool,
    rooms: &Arc<Rooms>,
    config: &Arc<Config>,
    among: Among,
    owed: &mut Option<Settled>,
) -> Result<usize, Trouble> {
    settle(spool, owed).await?;
    let ids = spool.claim(among).await?;
    if ids.is_empty() {
        return Ok(0);
    }
    let size = ids.len();
    let work = {
        let (spool, rooms, config, ids) = (
            spool.clone(),
            Arc::clone(rooms),
            Arc::clone(config),
            ids.clone(),
        );
        move || load_and_work(&spool, &rooms, &config, &ids)
    };
    // When the thread ends by a panic, the attempts stay counted.
    let (settled, worked) = match tokio::task::spawn_blocking(work).await? {
        Ok(settled) => (settled, Ok(size)),
        Err(trouble) => {
            let released = Settled {
                released: ids,
                ..Settled::default()
            };
            (released, Err(trouble))
        }
    };
    *owed = Some(settled);
    settle(spool, owed).await?;
    worked
}

/// Settles what is owed; on an error it stays so.
async fn settle(spool: &Spool, owed: &mut Option<Settled>) -> Result<(), SpoolError> {
    if let Some(settled) = owed {
        spool.settle(settled.clone()).await?;
        *owed = None;
    }
    Ok(())
}

fn load_and_work(
    spool: &Spool,
    rooms: &Rooms,
    config: &Config,
    ids: &[i64],
) -> Result<Settled, Trouble> {
    let reader = spool.reader()?;
    let mut entries: Vec<Entry> = Vec::with_capacity(ids.len());
    let mut unreadable = Vec::new();
    for &id in ids {
        match reader.load(id) {
            // It must not stand in the way of the others.
            Err(SpoolError::Envelope(error)) => {
                tracing::error!(spool_id = id, %error, "parked: its envelope cannot be read");
                unreadable.push((id, Rejection::Crashed));
            }
            entry => entries.extend(entry?),
        }
    }
    let mut settled = super::work(&entries, spool.id(), config, rooms)?;
    settled.parked.extend(unreadable);
    Ok(settled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pipeline::tests::{config, entry, report, rooms},
        spool::{self, NewEntry},
    };

    async fn until(what: &str, holds: impl Fn() -> bool) {
        for _ in 0..200 {
            if holds() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{what} did not come");
    }

    async fn put(spool: &Spool, id: i64) -> i64 {
        let entry = entry(id, report(id).into_bytes());
        let new = NewEntry {
            envelope: entry.envelope,
            arrived: entry.arrived,
            raw: entry.raw,
            parked: None,
        };
        spool.put(new).await.unwrap()
    }

    #[test]
    fn trouble_is_told_to_its_last_cause() {
        let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
        let full = rusqlite::Error::SqliteFailure(full, Some("disk is full".into()));
        let trouble = Trouble::Spool(SpoolError::Sqlite(full));
        let told = chain(&trouble);
        assert!(
            told.starts_with("the spool fails: spool: disk is full"),
            "{told}"
        );
    }

    #[tokio::test]
    async fn an_entry_of_another_version_does_not_stand_in_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let (rooms, config) = (Arc::new(rooms(dir.path())), config(dir.path()));
        let (spool, _writer) = spool::open(dir.path(), config.limits, Arc::default()).unwrap();
        let strange = put(&spool, 1).await;
        put(&spool, 2).await;
        rusqlite::Connection::open(dir.path().join(spool::FILE))
            .unwrap()
            .execute("UPDATE entry SET envelope = '{}' WHERE id = ?1", [strange])
            .unwrap();
        let worked = batch(&spool, &rooms, &Arc::new(config), Among::All, &mut None).await;
        assert_eq!(worked.unwrap(), 2);
        let depth = spool.state().depth();
        assert_eq!((depth.new_entries, depth.parked_entries), (0, 1));
    }

    #[expect(clippy::await_holding_lock, reason = "others are to wait for it")]
    #[tokio::test]
    async fn what_the_spool_could_not_settle_is_settled_and_not_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let (rooms, config) = (Arc::new(rooms(dir.path())), config(dir.path()));
        let (spool, _writer) = spool::open(dir.path(), config.limits, Arc::default()).unwrap();
        put(&spool, 1).await;
        let sick = rusqlite::Connection::open(dir.path().join(spool::FILE)).unwrap();
        let trigger = "CREATE TRIGGER sick BEFORE DELETE ON entry
                       BEGIN SELECT raise(ABORT, 'sick'); END";
        sick.execute_batch(trigger).unwrap();

        let (_config, current) = watch::channel(Arc::new(config));
        let (stop, mut stopped) = watch::channel(false);
        let worker = tokio::spawn(run(
            spool.clone(),
            Arc::clone(&rooms),
            current,
            async move {
                let _ = stopped.wait_for(|stop| *stop).await;
            },
        ));
        let state = Arc::clone(spool.state());
        until("a failure", || state.is_failing()).await;
        // Work that began again would wait here, its attempt counted.
        let held = rooms.store.lock().unwrap();
        sick.execute_batch("DROP TRIGGER sick").unwrap();
        until("the end of the entry", || state.depth().new_entries == 0).await;
        drop(held);
        stop.send_replace(true);
        worker.await.unwrap();
    }
}
