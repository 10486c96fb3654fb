//! The daemon's work, done by a command while no daemon does it.
//!
//! A command that puts entries before the pipeline leaves them to the daemon. When none runs, it takes
//! the lock and runs the same worker, until its own entries are done.

use std::{
    ops::RangeInclusive,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::watch, task::JoinHandle};

use crate::{
    archive::{self, Archive},
    config::Config,
    data_dir::{self, Lock},
    pipeline::{Rooms, worker},
    spool::{self, Spool, Writer},
    store::{self, Store},
    telemetry::{instruments::Instruments, labels::DomainLabels},
};

/// How often the spool is looked at.
pub const LOOK: Duration = Duration::from_millis(50);

/// Opens the spool for writing: beside a daemon, or as its owner for the time of opening.
pub fn open_spool(config: &Config) -> anyhow::Result<(Spool, Writer)> {
    let opened = match data_dir::try_lock(&config.data_dir)? {
        Some(_lock) => spool::open(&config.data_dir, config.limits, Arc::default()),
        None => spool::open_beside(&config.data_dir, config.limits),
    };
    Ok(opened?)
}

/// A hand that is lent to the daemon, or in its place.
pub struct Hand {
    config: Arc<Config>,
    spool: Spool,
    at_work: Option<AtWork>,
}

struct AtWork {
    worker: JoinHandle<()>,
    stop: watch::Sender<bool>,
    /// Also keeps the configuration where the worker looks for it.
    _config: watch::Sender<Arc<Config>>,
    _lock: Lock,
}

impl Hand {
    pub fn new(config: Arc<Config>, spool: Spool) -> Self {
        Self {
            config,
            spool,
            at_work: None,
        }
    }

    /// Starts the worker if no daemon has the lock, and we do not yet.
    pub fn lend(&mut self) -> anyhow::Result<()> {
        if self.at_work.is_some() {
            return Ok(());
        }
        let dir = &self.config.data_dir;
        let Some(lock) = data_dir::try_lock(dir)? else {
            return Ok(());
        };
        let rooms = Arc::new(Rooms {
            store: Arc::new(Mutex::new(Store::open(&dir.join(store::FILE))?)),
            archive: Archive::open(&dir.join(archive::FOLDER))?,
            instruments: Arc::new(Instruments::disconnected()),
            labels: Arc::new(DomainLabels::new(0, [])),
            reporters: Arc::new(DomainLabels::new(0, [])),
        });
        let (config, current) = watch::channel(Arc::clone(&self.config));
        let (stop, mut stopped) = watch::channel(false);
        let spool = self.spool.clone();
        let worker = tokio::spawn(async move {
            worker::run(spool, rooms, current, async move {
                // A sender that is gone says the same.
                let _ = stopped.wait_for(|stop| *stop).await;
            })
            .await;
        });
        self.at_work = Some(AtWork {
            worker,
            stop,
            _config: config,
            _lock: lock,
        });
        Ok(())
    }

    /// Waits until none of these entries waits any more, whoever works on them.
    pub async fn wait(&mut self, ids: RangeInclusive<i64>) -> anyhow::Result<()> {
        let reader = self.spool.reader()?;
        while reader.any_new(ids.clone())? {
            self.lend()?;
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Stops the worker; the lock goes with it.
    pub async fn rest(self) {
        if let Some(at_work) = self.at_work {
            at_work.stop.send_replace(true);
            if at_work.worker.await.is_err() {
                eprintln!("the worker ended by a panic");
            }
        }
    }
}
