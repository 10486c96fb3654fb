//! What an upgrade owes: mail that another version parked gets one more try, and reports that an
//! older parser has read are read again from the archive.
//!
//! Both happen beside all else, and only while the pipeline keeps pace with what arrives. A crash
//! loses nothing of it: what was not tried yet still carries its older version. What cannot be read
//! now is left as it is, and not tried again until the next version comes.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
};

use tokio::sync::watch;

use super::{
    Rooms,
    background::{LOOK, is_time, pause, step},
    replay::{LeftAlone, again},
    worker::{Trouble, chain},
};
use crate::{
    archive::ArchiveError,
    config::Config,
    limits::{CLAIM_ENTRIES, MAX_ATTEMPTS, RETRY_LONGEST},
    spool::{Spool, SpoolError, Trial},
    store::{self, Reader},
};

/// Which report is being read again, in the data directory.
const TRIAL_FILE: &str = "rereading";

/// Gives the parked mail of other versions to the pipeline, until there is none left or `shutdown`.
pub async fn retry_parked(spool: &Spool, shutdown: impl Future) {
    let mut shutdown = pin!(shutdown);
    let (mut after, mut tried) = (i64::MIN, 0);
    loop {
        let length = match batch(spool, after).await {
            Ok(Batch::Tried(ids)) => {
                if tried == 0 {
                    tracing::info!("mail that another version parked is tried again");
                }
                tried += ids.len();
                after = ids.last().copied().unwrap_or(after);
                LOOK
            }
            Ok(Batch::NoTime) => LOOK,
            Ok(Batch::Nothing) => break,
            Err(error) => {
                tracing::warn!(%error, "parked mail of another version waits");
                RETRY_LONGEST
            }
        };
        if !pause(length, &mut shutdown).await {
            return;
        }
    }
    if tried > 0 {
        tracing::info!(
            tried,
            "all mail that another version parked was tried again"
        );
    }
}

enum Batch {
    Tried(Vec<i64>),
    /// The pipeline has enough to do.
    NoTime,
    Nothing,
}

async fn batch(spool: &Spool, after: i64) -> Result<Batch, SpoolError> {
    if !is_time(spool) {
        return Ok(Batch::NoTime);
    }
    let there = spool.clone();
    let look = move || there.reader()?.parked_by_others(after, CLAIM_ENTRIES);
    let ids = tokio::task::spawn_blocking(look)
        .await
        .map_err(|_| SpoolError::Closed)??;
    if ids.is_empty() {
        return Ok(Batch::Nothing);
    }
    spool.retry(ids.clone()).await?;
    Ok(Batch::Tried(ids))
}

/// Reads the reports of older parsers again, until there is none left or `shutdown`.
pub async fn reread(
    rooms: Arc<Rooms>,
    spool: &Spool,
    config: watch::Receiver<Arc<Config>>,
    shutdown: impl Future,
) {
    let mut shutdown = pin!(shutdown);
    let mut reading = Rereading {
        rooms,
        config,
        after: i64::MIN,
        read: 0,
        changed: 0,
        left_alone: 0,
    };
    loop {
        match reading.all(spool, &mut shutdown).await {
            Ok(()) => return,
            Err(trouble) => {
                let error = chain(&trouble);
                tracing::warn!(error, "reports of an older parser wait to be read again");
            }
        }
        if !pause(RETRY_LONGEST, &mut shutdown).await {
            return;
        }
    }
}

struct Rereading {
    rooms: Arc<Rooms>,
    config: watch::Receiver<Arc<Config>>,
    after: i64,
    read: u64,
    changed: u64,
    left_alone: u64,
}

impl Rereading {
    async fn all<F: Future>(
        &mut self,
        spool: &Spool,
        shutdown: &mut Pin<&mut F>,
    ) -> Result<(), Trouble> {
        let dir = self.config.borrow().data_dir.clone();
        let name: Arc<str> = TRIAL_FILE.into();
        let trial = Trial::open(&dir.join(TRIAL_FILE), name).map_err(SpoolError::Trial)?;
        let trial = Arc::new(trial);
        self.blame(&trial).await?;
        loop {
            let (path, after) = (dir.join(store::FILE), self.after);
            let find = move || Ok(Reader::open(&path)?.older(after, CLAIM_ENTRIES)?);
            let ids = step(find).await?;
            if ids.is_empty() {
                break;
            }
            if self.after == i64::MIN {
                tracing::info!("reports of an older parser are read again");
            }
            for id in ids {
                while !is_time(spool) {
                    if !pause(LOOK, shutdown).await {
                        return Ok(());
                    }
                }
                tokio::select! {
                    _ = shutdown.as_mut() => return Ok(()),
                    done = self.one(id, &trial) => done?,
                }
                self.after = id;
            }
        }
        if self.after > i64::MIN {
            let Self {
                read,
                changed,
                left_alone,
                ..
            } = *self;
            tracing::info!(
                read,
                changed,
                left_alone,
                "reports of an older parser were read again"
            );
        }
        Ok(())
    }

    /// Counts it against a report that reading it again ended the program.
    async fn blame(&self, trial: &Arc<Trial>) -> Result<(), Trouble> {
        let (rooms, trial) = (Arc::clone(&self.rooms), Arc::clone(trial));
        let Some(id) = trial.unfinished().map_err(SpoolError::Trial)? else {
            return Ok(());
        };
        trial.clear();
        step(move || Ok(rooms.store().not_reread(id, 1)?)).await?;
        tracing::warn!(
            report = id,
            "the program ended while it read this report again"
        );
        Ok(())
    }

    async fn one(&mut self, id: i64, trial: &Arc<Trial>) -> Result<(), Trouble> {
        let (rooms, trial) = (Arc::clone(&self.rooms), Arc::clone(trial));
        let config = self.config.borrow().clone();
        match step(move || again(id, &rooms, &config, &trial)).await? {
            // Retention was faster.
            None => {}
            Some(Ok(replaced)) => {
                self.read += 1;
                self.changed += u64::from(!replaced.is_same());
            }
            Some(Err(why)) => {
                if let LeftAlone::Archive(error @ ArchiveError::Io { .. }) = why {
                    return Err(super::WorkError::Archive(error).into());
                }
                self.left_alone += 1;
                tracing::warn!(report = id, %why, "a report stays as an older parser has read it");
                let rooms = Arc::clone(&self.rooms);
                step(move || Ok(rooms.store().not_reread(id, MAX_ATTEMPTS)?)).await?;
            }
        }
        Ok(())
    }
}
