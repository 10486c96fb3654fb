//! The worker: claims what the spool holds, works on it, settles it, and waits for more.
//!
//! It opens the report store by itself, so that neither a migration nor a broken store keeps
//! the doors shut; while the store or the archive fails it tries again with growing pauses, and
//! the mail waits in the spool.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{Rooms, WorkError};
use crate::{
    config::Config,
    limits,
    spool::{Entry, Settled, Spool, SpoolError},
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
    loop {
        let snapshot = config.borrow().clone();
        let wait = match batch(&spool, &rooms, &snapshot).await {
            Ok(0) => {
                pause = limits::RETRY_FIRST;
                LOOK
            }
            Ok(_) => {
                pause = limits::RETRY_FIRST;
                Duration::ZERO
            }
            Err(trouble) => {
                let cause = std::error::Error::source(&trouble).map(tracing::field::display);
                tracing::error!(error = %trouble, cause, retry_secs = pause.as_secs(), "reports wait in the spool");
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

/// Works until nothing waits, or something fails; the rest then waits in the spool.
pub async fn drain(spool: &Spool, rooms: &Arc<Rooms>, config: &Arc<Config>) -> Result<(), Trouble> {
    while batch(spool, rooms, config).await? > 0 {}
    Ok(())
}

/// Claims one batch, works on it, and settles it; gives its size.
async fn batch(spool: &Spool, rooms: &Arc<Rooms>, config: &Arc<Config>) -> Result<usize, Trouble> {
    let ids = spool.claim().await?;
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
    let settled = match tokio::task::spawn_blocking(work).await? {
        Ok(settled) => settled,
        Err(trouble) => {
            spool
                .settle(Settled {
                    released: ids,
                    ..Settled::default()
                })
                .await?;
            return Err(trouble);
        }
    };
    spool.settle(settled).await?;
    Ok(size)
}

fn load_and_work(
    spool: &Spool,
    rooms: &Rooms,
    config: &Config,
    ids: &[i64],
) -> Result<Settled, Trouble> {
    let reader = spool.reader()?;
    let mut entries: Vec<Entry> = Vec::with_capacity(ids.len());
    for &id in ids {
        entries.extend(reader.load(id)?);
    }
    Ok(super::work(&entries, spool.id(), config, rooms)?)
}
