//! The daemon's work, done by a command while no daemon does it.
//!
//! A command that puts entries before the pipeline leaves them to the daemon. While none runs, it takes
//! the lock and runs the same worker, until its own entries are done. A daemon that starts asks for
//! the lock, and gets it after the batch.

use std::{
    ops::RangeInclusive,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{sync::watch, task::JoinHandle, time::sleep};
use tracing::Level;

use super::progress::Progress;
use crate::{
    archive::{self, Archive},
    config::{Config, Log, LogFormat, LogTarget},
    data_dir,
    limits::LOCK_LOOK,
    pipeline::{Rooms, worker},
    spool::{self, Spool, Writer},
    store::{self, Store},
    telemetry::{self, instruments::Instruments, labels::DomainLabels},
};

/// A longer wait is told.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Opens the spool for writing: beside a daemon, or as its owner for the time of opening.
pub fn open_spool(config: &Config) -> anyhow::Result<(Spool, Writer)> {
    let opened = match data_dir::try_lock(&config.data_dir)? {
        Some(_lock) => spool::open(&config.data_dir, config.limits, Arc::default()),
        None => spool::open_beside(&config.data_dir, config.limits),
    };
    Ok(opened?)
}

/// A hand that is lent in the daemon's place.
pub struct Hand {
    spool: Spool,
    work: JoinHandle<anyhow::Result<()>>,
    stop: watch::Sender<bool>,
}

impl Hand {
    /// Works from here on, whenever nobody else does. What keeps it from working is told on standard
    /// error.
    pub fn lend(config: &Arc<Config>, spool: &Spool) -> anyhow::Result<Self> {
        let log = Log {
            level: Level::ERROR,
            target: LogTarget::Stderr,
            format: LogFormat::Text,
        };
        telemetry::log::init(&log, &Arc::default())?;
        let (stop, stopped) = watch::channel(false);
        let work = tokio::spawn(work(Arc::clone(config), spool.clone(), stopped));
        Ok(Self {
            spool: spool.clone(),
            work,
            stop,
        })
    }

    /// Fails if the work has.
    pub async fn check(&mut self) -> anyhow::Result<()> {
        if self.work.is_finished() {
            (&mut self.work).await.context("the worker panicked")??;
        }
        Ok(())
    }

    /// Waits until none of these entries waits any more, whoever works on them.
    pub async fn wait(&mut self, ids: RangeInclusive<i64>) -> anyhow::Result<()> {
        let reader = self.spool.reader()?;
        let all = reader.waiting(ids.clone())?;
        let bar = Progress::of("mails read", Some(all));
        let (mut at, mut since, mut is_said) = (None, Instant::now(), false);
        while let Some(first) = reader.first_new(ids.clone())? {
            self.check().await?;
            bar.reach(all.saturating_sub(reader.waiting(ids.clone())?));
            if at != Some(first) {
                (at, since, is_said) = (Some(first), Instant::now(), false);
            } else if !is_said && since.elapsed() > PATIENCE {
                bar.aside(|| {
                    eprintln!(
                        "waiting: mail {first} of the spool does not get done; whoever works on it tells why"
                    );
                });
                is_said = true;
            }
            sleep(LOCK_LOOK).await;
        }
        Ok(())
    }

    /// Stops the work; the lock goes with it.
    pub async fn rest(self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        self.work.await.context("the worker panicked")?
    }
}

/// Takes turns with whoever has the lock.
async fn work(
    config: Arc<Config>,
    spool: Spool,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let dir = &config.data_dir;
    let (_sender, current) = watch::channel(Arc::clone(&config));
    loop {
        if !data_dir::is_asked_for(dir)?
            && let Some(_lock) = data_dir::try_lock(dir)?
        {
            let rooms = Arc::new(Rooms {
                store: Arc::new(Mutex::new(Store::open(&dir.join(store::FILE))?)),
                archive: Archive::open(&dir.join(archive::FOLDER))?,
                instruments: Arc::new(Instruments::disconnected()),
                labels: Arc::new(DomainLabels::new(0, [])),
                reporters: Arc::new(DomainLabels::new(0, [])),
            });
            let mut stop = stop.clone();
            let over = async move {
                tokio::select! {
                    // A sender that is gone says the same.
                    _ = stop.wait_for(|stop| *stop) => {}
                    () = asked(dir) => {}
                }
            };
            worker::run(spool.clone(), rooms, current.clone(), over).await;
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            () = sleep(LOCK_LOOK) => {}
        }
    }
}

/// Ends when a daemon asks for the lock, or nobody can tell.
async fn asked(dir: &Path) {
    while matches!(data_dir::is_asked_for(dir), Ok(false)) {
        sleep(LOCK_LOOK).await;
    }
}
