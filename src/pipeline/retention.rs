//! Deletes what was kept long enough.
//!
//! Everything's age is by our clock, from when it came, whatever a reporter says. So nothing goes
//! while the clock is doubted, see [`crate::store::Clock`]. What has to go is deleted in small steps
//! with pauses between them; what a stop or a failure leaves, the next look finds. The order is:
//! raw mails, what was read from them, and last that it came. Parked mail is never dropped silently:
//! it is announced, and each has its line in the log.

use std::{
    future::Future,
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use jiff::{Timestamp, tz::Offset};
use tokio::sync::watch;

use super::{
    Rooms,
    background::{pause, step},
    worker::{Trouble, chain},
};
use crate::{
    config::{Config, Retention},
    limits::{
        DIGEST_RETENTION, PARKED_CHUNK, PARKED_NOTICE, RETENTION_FOUND, RETENTION_LOOK,
        RETENTION_PAGES, RETENTION_ROWS,
    },
    spool::{Filter, ParkedEntry, Spool, SpoolError},
    store::{self, Reader, retention::Stale},
    terms::Kind,
};

const SECONDS_OF_A_DAY: i64 = 86_400;

/// Looks again and again until `shutdown`, and finishes the transaction it is at.
pub async fn run(
    rooms: Arc<Rooms>,
    spool: Spool,
    config: watch::Receiver<Arc<Config>>,
    shutdown: impl Future,
) {
    let mut shutdown = pin!(shutdown);
    let path = config.borrow().data_dir.join(store::FILE);
    let mut keeper = Keeper {
        rooms,
        spool,
        path,
        announced: 0,
    };
    loop {
        let periods = config.borrow().retention;
        tokio::select! {
            _ = &mut shutdown => return,
            looked = keeper.look(now(), periods) => {
                if let Err(trouble) = looked {
                    let error = chain(&trouble);
                    tracing::error!(error, "what is old could not be deleted");
                }
            }
        }
        if !pause(RETENTION_LOOK, &mut shutdown).await {
            return;
        }
    }
}

struct Keeper {
    rooms: Arc<Rooms>,
    spool: Spool,
    /// The report store, to be read beside its writer.
    path: PathBuf,
    /// The day on which it was last told that parked mail is about to go.
    announced: i64,
}

impl Keeper {
    async fn look(&mut self, now: i64, periods: Retention) -> Result<(), Trouble> {
        let rooms = Arc::clone(&self.rooms);
        let clock = step(move || Ok(rooms.store().look_at_clock(now)?)).await?;
        if !clock.is_believed() {
            tracing::warn!("the clock has jumped: nothing is deleted until it is to be believed");
            return Ok(());
        }
        if let Some(period) = periods.archive {
            self.forget_mails(before(now, period)).await?;
        }
        for (what, period) in table(periods) {
            if let Some(period) = period {
                self.forget(what, before(now, period)).await?;
            }
        }
        if let Some(period) = periods.parked {
            self.forget_parked(now, before(now, period)).await?;
        }
        loop {
            let rooms = Arc::clone(&self.rooms);
            if !step(move || Ok(rooms.store().give_back(RETENTION_PAGES)?)).await? {
                return Ok(());
            }
        }
    }

    async fn forget_mails(&self, before: i64) -> Result<(), Trouble> {
        // A time without a date is before all of them.
        let Ok(time) = Timestamp::from_second(before) else {
            return Ok(());
        };
        let first_kept = Offset::UTC.to_datetime(time).date();
        let archive = self.rooms.archive.clone();
        let days = step(move || Ok(archive.days()?)).await?;
        let mut gone = 0;
        for day in days.into_iter().filter(|day| *day < first_kept) {
            loop {
                let archive = self.rooms.archive.clone();
                let some = step(move || Ok(archive.forget(day, RETENTION_FOUND)?)).await?;
                gone += some;
                if some < RETENTION_FOUND {
                    break;
                }
            }
        }
        if gone > 0 {
            tracing::info!(gone, "old mails deleted from the archive");
        }
        Ok(())
    }

    async fn forget(&self, what: Stale, before: i64) -> Result<(), Trouble> {
        let mut gone = 0;
        loop {
            let (rooms, path) = (Arc::clone(&self.rooms), self.path.clone());
            let find = move || {
                let found = Reader::open(&path)?.stale(what, before, RETENTION_FOUND)?;
                // Held for as long as it is read: who writes is to close it last, and tidies up.
                drop(rooms);
                Ok(found)
            };
            let mut names = step(find).await?;
            if names.is_empty() {
                break;
            }
            while !names.is_empty() {
                let rooms = Arc::clone(&self.rooms);
                let forget = move || {
                    let some = rooms.store().forget(what, &names, RETENTION_ROWS)?;
                    Ok((names.split_off(some), some))
                };
                let (left, some) = step(forget).await?;
                names = left;
                gone += some;
            }
        }
        if gone > 0 {
            tracing::info!(gone, %what, "old data deleted");
        }
        Ok(())
    }

    async fn forget_parked(&mut self, now: i64, before: i64) -> Result<(), Trouble> {
        let today = now / SECONDS_OF_A_DAY;
        if self.announced != today {
            self.announced = today;
            let soon = before.saturating_add(secs(PARKED_NOTICE));
            let mails = self.parked(soon, 0).await?.0;
            if mails > 0 {
                tracing::warn!(
                    mails,
                    "parked mail goes within a week: export it or try it again"
                );
            }
        }
        loop {
            let old = self.parked(before, PARKED_CHUNK).await?.1;
            if old.is_empty() {
                return Ok(());
            }
            for entry in &old {
                entry.tell_dropped("parked mail dropped: it is older than retention.parked_days");
            }
            let ids = old.iter().map(|entry| entry.id).collect();
            self.spool.drop_parked(ids).await?;
        }
    }

    /// How much parked mail came before then, and the first of it.
    async fn parked(&self, before: i64, most: usize) -> Result<(usize, Vec<ParkedEntry>), Trouble> {
        let spool = self.spool.clone();
        let look = move || -> Result<_, SpoolError> {
            let filter = Filter {
                before: Some(before),
                ..Filter::default()
            };
            let (mut mails, mut first) = (0, Vec::new());
            spool.reader()?.parked(&filter, |entry| {
                mails += 1;
                if first.len() < most {
                    first.push(entry);
                }
                Ok::<_, SpoolError>(())
            })?;
            Ok((mails, first))
        };
        Ok(tokio::task::spawn_blocking(look).await??)
    }
}

/// What goes and after how long, in this order.
fn table(periods: Retention) -> [(Stale, Option<Duration>); 10] {
    let Retention {
        reports,
        arrivals,
        dns,
        ..
    } = periods;
    let failures = Some(periods.failures);
    let known = |period: Option<Duration>| period.map(|period| period + DIGEST_RETENTION);
    [
        (Stale::Reports(Kind::Aggregate), reports),
        (Stale::Reports(Kind::Tls), reports),
        (Stale::Reports(Kind::Failure), failures),
        (Stale::Arrivals, arrivals),
        (Stale::Documents(Kind::Aggregate), known(reports)),
        (Stale::Documents(Kind::Tls), known(reports)),
        (Stale::Documents(Kind::Failure), known(failures)),
        (Stale::Published, dns),
        (Stale::NoAnswers, dns),
        (Stale::Findings, dns),
    ]
}

fn before(now: i64, period: Duration) -> i64 {
    now.saturating_sub(secs(period))
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, secs)
}

fn secs(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
