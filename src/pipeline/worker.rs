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
    spool::{Among, Entry, Parked, Settled, Spool, SpoolError, Trial},
    terms::{Fault, Rejection},
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

impl Trouble {
    /// What is out of order besides the spool, which speaks for itself.
    fn fault(&self) -> Option<Fault> {
        match self {
            Self::Work(WorkError::Archive(_)) => Some(Fault::Archive),
            Self::Work(WorkError::Store(_)) => Some(Fault::Store),
            Self::Spool(_) | Self::Thread(_) => None,
        }
    }
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
    let began = Instant::now();
    loop {
        let snapshot = config.borrow().clone();
        let among = if began.elapsed() < limits::RETRY_TRIED {
            Among::Untried
        } else {
            Among::All
        };
        let wait = match batch(&spool, &rooms, &snapshot, among).await {
            Ok(0) => {
                rooms.instruments.faults.set_back_rooms(None);
                pause = limits::RETRY_FIRST;
                LOOK
            }
            Ok(_) => {
                rooms.instruments.faults.set_back_rooms(None);
                pause = limits::RETRY_FIRST;
                Duration::ZERO
            }
            Err(trouble) => {
                rooms.instruments.faults.set_back_rooms(trouble.fault());
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
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    let causes: Vec<_> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}

/// Works until nothing waits, or something fails; the rest then waits in the spool.
pub async fn drain(spool: &Spool, rooms: &Arc<Rooms>, config: &Arc<Config>) -> Result<(), Trouble> {
    while batch(spool, rooms, config, Among::All).await? > 0 {}
    Ok(())
}

/// Claims one batch, works on it, and settles it; gives its size. What could not be settled is
/// claimed and done again, which changes nothing.
async fn batch(
    spool: &Spool,
    rooms: &Arc<Rooms>,
    config: &Arc<Config>,
    among: Among,
) -> Result<usize, Trouble> {
    let there = spool.clone();
    let begin = move || -> Result<_, SpoolError> {
        let trial = there.trial()?;
        let ended_at = trial.unfinished().map_err(SpoolError::Trial)?;
        if ended_at.is_some() {
            // Before it is counted: one that is killed between the two must not count it twice.
            trial.clear();
        }
        Ok((trial, ended_at))
    };
    let (trial, ended_at) = tokio::task::spawn_blocking(begin).await??;
    if let Some(id) = ended_at {
        spool.blame(id).await?;
    }
    let ids = spool.claim(among).await?;
    let size = ids.len();
    if size > 0 {
        let (spool_there, rooms, config) = (spool.clone(), Arc::clone(rooms), Arc::clone(config));
        let work = move || load_and_work(&spool_there, &trial, &rooms, &config, &ids);
        spool
            .settle(tokio::task::spawn_blocking(work).await??)
            .await?;
    }
    Ok(size)
}

fn load_and_work(
    spool: &Spool,
    trial: &Trial,
    rooms: &Rooms,
    config: &Config,
    ids: &[i64],
) -> Result<Settled, Trouble> {
    let reader = spool.reader()?;
    let waiting = reader.snapshot()?;
    let mut entries: Vec<Entry> = Vec::with_capacity(ids.len());
    let mut unreadable = Vec::new();
    for &id in ids {
        match waiting.load(id) {
            // It must not stand in the way of the others.
            Err(SpoolError::Envelope(error)) => {
                tracing::error!(spool_id = id, %error, "parked: its envelope cannot be read");
                unreadable.push(Parked::of(id, Rejection::Crashed));
            }
            entry => entries.extend(entry?),
        }
    }
    drop(waiting);
    let mut settled = super::work(&entries, trial, config, rooms)?;
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
        let worked = batch(&spool, &rooms, &Arc::new(config), Among::All).await;
        assert_eq!(worked.unwrap(), 2);
        let depth = spool.state().depth();
        assert_eq!((depth.new_entries, depth.parked_entries), (0, 1));
    }

    #[tokio::test]
    async fn what_the_spool_could_not_settle_is_done_again_and_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let (rooms, config) = (Arc::new(rooms(dir.path())), config(dir.path()));
        let (spool, _writer) = spool::open(dir.path(), config.limits, Arc::default()).unwrap();
        put(&spool, 1).await;
        let sick = rusqlite::Connection::open(dir.path().join(spool::FILE)).unwrap();
        let trigger = "CREATE TRIGGER sick BEFORE DELETE ON entry
                       BEGIN SELECT raise(ABORT, 'sick'); END";
        sick.execute_batch(trigger).unwrap();
        let config = Arc::new(config);
        for _ in 0..5 {
            assert!(batch(&spool, &rooms, &config, Among::All).await.is_err());
        }
        sick.execute_batch("DROP TRIGGER sick").unwrap();
        drain(&spool, &rooms, &config).await.unwrap();
        let depth = spool.state().depth();
        assert_eq!((depth.new_entries, depth.parked_entries), (0, 0));
        let store = rooms.store.lock().unwrap();
        assert!(store.target(1).unwrap().is_some() && store.target(2).unwrap().is_none());
    }

    #[tokio::test]
    async fn what_ends_the_program_twice_is_left_and_nothing_else_is_blamed() {
        let dir = tempfile::tempdir().unwrap();
        let (rooms, config) = (Arc::new(rooms(dir.path())), Arc::new(config(dir.path())));
        let (spool, _writer) = spool::open(dir.path(), config.limits, Arc::default()).unwrap();
        let poison = put(&spool, 1).await;
        put(&spool, 2).await;
        for ended in 1..=limits::MAX_ATTEMPTS {
            let trial = spool.trial().unwrap();
            let crash = std::panic::AssertUnwindSafe(|| trial.of(poison, || panic!("poison")));
            assert!(std::panic::catch_unwind(crash).is_err());
            if ended == 1 {
                assert_eq!(batch(&spool, &rooms, &config, Among::All).await.unwrap(), 1);
                let depth = spool.state().depth();
                assert_eq!((depth.new_entries, depth.parked_entries), (1, 0));
            }
        }
        drain(&spool, &rooms, &config).await.unwrap();
        let left = spool
            .reader()
            .unwrap()
            .parked_entry(poison)
            .unwrap()
            .unwrap();
        assert_eq!((&*left.reason, left.crashes), ("crashed", 2));
        assert_eq!(spool.state().depth().new_entries, 0);
        assert!(
            spool
                .reader()
                .unwrap()
                .parked_by_others(0, 9)
                .unwrap()
                .is_empty()
        );
        // Whoever asks for it gets it tried.
        assert_eq!(spool.retry(vec![poison]).await.unwrap(), [poison]);
        drain(&spool, &rooms, &config).await.unwrap();
        assert_eq!(spool.state().depth().parked_entries, 0);
    }
}
