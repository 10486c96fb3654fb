//! `rua-milter replay [--dry-run] [ID…]`: reads stored reports again from the archive.
//!
//! Each report is read with this version's parser and with the configured domains of now. Where
//! anything differs its rows and its part of the sums are replaced, and what differs is printed;
//! where nothing does, all stays. A report whose mail is missing, damaged or no longer readable
//! is named on standard error and left alone, and the exit code is 1. Failure reports have no mail to
//! read: one that is asked for is named, which is no failure.
//!
//! Without an ID the parked mails are tried again too, as if they had just arrived; those that
//! can be read now are stored, the others stay parked with their reasons, which is no failure.
//!
//! `--rebuild` fills a store from the archive where there is none: with what every mail holds,
//! as it was first counted. Later arrivals of the same reports are lost then, and so is the
//! history of `drift`. The store appears under its name once it is whole.
//!
//! It works under the lock of the data directory, as the daemon does: stop that first.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    pin::pin,
    process::ExitCode,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, bail};
use serde::Serialize;

use super::{escape, id, load, progress::Progress, runtime};
use crate::{
    archive::{self, Archive},
    config::Config,
    data_dir,
    limits::LOCK_LOOK,
    pipeline::{
        self, Rooms,
        rebuild::Told,
        replay::{LeftAlone, readable, replay},
        worker,
    },
    spool::{self, Spool},
    store::{self, Change, Reader, Replaced, Store, StoreError},
    telemetry::{instruments::Instruments, labels::DomainLabels},
};

/// Characters of one text that changed.
const TEXT: usize = 80;
/// Mails whose outcomes are asked for at once.
const ASKED: usize = 100;

/// Options of `replay`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Read only these reports again, by the numbers that `reports` lists, and no parked mail
    #[arg(value_name = "ID", value_parser = id)]
    ids: Vec<i64>,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Make a new store from the archive, after the old one was lost or moved away
    #[arg(long, conflicts_with_all = ["ids", "dry_run"])]
    rebuild: bool,
    /// Print the totals as one JSON object, and nothing of single reports
    #[arg(long)]
    json: bool,
}

/// What was done, in numbers.
#[derive(Default, Serialize)]
struct Totals {
    /// Reports.
    same: u64,
    changed: u64,
    left_alone: u64,
    /// Parked mails.
    tried: usize,
    stored: usize,
}

/// The same of `--rebuild`.
#[derive(Serialize)]
struct Rebuilt {
    mails: u64,
    not_taken: u64,
}

/// Runs the command.
pub fn run(mut args: Args, config: &Path) -> anyhow::Result<ExitCode> {
    let config = Arc::new(load(config)?);
    let dir = &config.data_dir;
    data_dir::become_owner(dir)?;
    let path = dir.join(store::FILE);
    if !args.rebuild
        && let Err(error @ StoreError::NotThere(_)) = Reader::open(&path)
    {
        return Err(error.into());
    }
    let Some(_lock) = data_dir::try_lock(dir)? else {
        bail!(
            "data_dir {} is in use by a running rua-milter: stop it first",
            dir.display()
        );
    };
    if args.rebuild {
        return rebuild(&args, &config, &path);
    }
    let store = Store::open(&path)?;
    args.ids.sort_unstable();
    args.ids.dedup();
    let mut totals = Totals::default();
    let details: &mut dyn Write = if args.json {
        &mut io::sink()
    } else {
        &mut io::stdout().lock()
    };
    again(&args, store, &config, &mut totals, details)?;
    print(&args, &totals)?;
    Ok(ExitCode::from(u8::from(totals.left_alone > 0)))
}

fn again(
    args: &Args,
    mut store: Store,
    config: &Arc<Config>,
    totals: &mut Totals,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let (failures, ids) = apart(&args.ids, &store)?;
    for id in &failures {
        writeln!(
            out,
            "report {id}: left alone: a failure report is never archived"
        )?;
    }
    if args.ids.is_empty() || !ids.is_empty() {
        reports(&ids, args.dry_run, &mut store, config, totals, out)?;
    }
    if args.ids.is_empty() {
        if args.dry_run {
            look_at_parked(config, totals, out)?;
        } else {
            runtime()?.block_on(try_parked(config, store, totals, out))?;
        }
    }
    Ok(())
}

/// Failure reports, and the others; an error if one of the numbers is no report's.
fn apart(ids: &[i64], store: &Store) -> anyhow::Result<(Vec<i64>, Vec<i64>)> {
    let (mut failures, mut others) = (Vec::new(), Vec::new());
    for &id in ids {
        if store.is_failure(id)? {
            failures.push(id);
            continue;
        }
        store
            .target(id)?
            .with_context(|| format!("there is no report {id}"))?;
        others.push(id);
    }
    Ok((failures, others))
}

fn reports(
    ids: &[i64],
    dry_run: bool,
    store: &mut Store,
    config: &Config,
    totals: &mut Totals,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let archive = Archive::at(&config.data_dir.join(archive::FOLDER));
    let bar = Progress::of("reports", None);
    let tell = |id, done| {
        bar.add(1);
        tell(id, done, totals, (&bar, out))
    };
    replay(ids, dry_run, (store, &archive), config, tell)
}

/// Prints what came of one report, unless it is as it was.
fn tell(
    id: i64,
    done: Result<Replaced, LeftAlone>,
    totals: &mut Totals,
    (bar, out): (&Progress, &mut dyn Write),
) -> anyhow::Result<()> {
    match done {
        Err(why) => {
            totals.left_alone += 1;
            let why = anyhow::Error::from(why);
            bar.aside(|| eprintln!("report {id}: left alone: {why:#}"));
        }
        Ok(replaced) if replaced.is_same() => totals.same += 1,
        Ok(replaced) => {
            totals.changed += 1;
            let mut changes: Vec<_> = replaced.changes.iter().map(change).collect();
            if replaced.records_differ {
                changes.push("records differ".to_owned());
            }
            bar.aside(|| writeln!(out, "report {id}: {}", changes.join(", ")))?;
        }
    }
    Ok(())
}

fn change(change: &Change) -> String {
    let shown = |value: &Option<String>| match value {
        None => "nothing".to_owned(),
        Some(text) if text.is_empty() => "nothing".to_owned(),
        Some(text) => escape::text(text, TEXT),
    };
    let (before, after) = (shown(&change.before), shown(&change.after));
    format!("{} {before} -> {after}", change.column)
}

/// Says which parked mails could be stored now.
fn look_at_parked(config: &Config, totals: &mut Totals, out: &mut dyn Write) -> anyhow::Result<()> {
    if !data_dir::has(&config.data_dir, spool::FILE)? {
        return Ok(());
    }
    let reader = spool::Reader::open(&config.data_dir.join(spool::FILE))?;
    for id in reader.retriable(None)? {
        totals.tried += 1;
        let Some(entry) = reader.load(id)? else {
            continue;
        };
        let reports = readable(&entry, config);
        if reports > 0 {
            totals.stored += 1;
            writeln!(out, "parked mail {id}: {reports} readable")?;
        }
    }
    Ok(())
}

/// Gives the parked mails to the pipeline, which parks again what it cannot use.
async fn try_parked(
    config: &Arc<Config>,
    store: Store,
    totals: &mut Totals,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let dir = &config.data_dir;
    let (spool, writer) = spool::open(dir, config.limits, Arc::default())?;
    let rooms = Arc::new(rooms(store, dir)?);
    let ids = spool.retry(spool.reader()?.retriable(None)?).await?;
    drain(&spool, &rooms, config).await?;
    let still = spool.reader()?.retriable(None)?;
    totals.tried = ids.len();
    let is_read = |id: &i64| still.binary_search(id).is_err();
    let read: Vec<i64> = ids.into_iter().filter(is_read).collect();
    totals.stored = read.len();
    let reader = Reader::open(&dir.join(store::FILE))?;
    for some in read.chunks(ASKED) {
        for part in reader.outcomes(&config.node, spool.id(), some)? {
            let report_id = part.report.map_or_else(String::new, |r| r.report_id);
            let report_id = escape::text(&report_id, TEXT);
            let (id, outcome) = (part.spool_id, part.outcome);
            writeln!(out, "parked mail {id}: {outcome} {report_id}")?;
        }
    }
    drop(spool);
    writer.join();
    Ok(())
}

/// Works until nothing waits, and shows how far it is.
async fn drain(spool: &Spool, rooms: &Arc<Rooms>, config: &Arc<Config>) -> anyhow::Result<()> {
    let reader = spool.reader()?;
    let all = reader.waiting(0..=i64::MAX)?;
    let bar = Progress::of("parked mails", Some(all));
    let mut drained = pin!(worker::drain(spool, rooms, config));
    loop {
        tokio::select! {
            done = &mut drained => return Ok(done?),
            () = tokio::time::sleep(LOCK_LOOK) => {
                bar.reach(all.saturating_sub(reader.waiting(0..=i64::MAX)?));
            }
        }
    }
}

/// Makes a store beside the place where there is none, and puts it there once it is whole.
fn rebuild(args: &Args, config: &Config, path: &Path) -> anyhow::Result<ExitCode> {
    let named = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    // A journal of the old store would be taken for one of the new.
    if let Some(old) = ["", "-wal"].map(named).iter().find(|old| old.exists()) {
        bail!(
            "{} is there: to rebuild the store, move it away first",
            old.display()
        );
    }
    for unfinished in ["", "-wal", "-shm"].map(|end| named(&format!(".rebuild{end}"))) {
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    let (dir, beside) = (&config.data_dir, named(".rebuild"));
    let rooms = rooms(Store::open(&beside)?, dir)?;
    let mut not_taken = 0;
    let bar = Progress::of("archived mails", None);
    let mails = pipeline::rebuild::rebuild(config, &rooms, |told| match told {
        Told::Read(mails) => bar.reach(mails),
        Told::NotTaken(digest, why) => {
            not_taken += 1;
            let why = anyhow::Error::from(why);
            bar.aside(|| eprintln!("{digest}: not taken whole: {why:#}"));
        }
    })?;
    drop(bar);
    // The last connection takes its journal along.
    drop(rooms);
    fs::rename(&beside, path)
        .and_then(|()| File::open(dir)?.sync_all())
        .with_context(|| format!("cannot put {} in place", path.display()))?;
    let mut out = io::stdout().lock();
    if args.json {
        let rebuilt = Rebuilt { mails, not_taken };
        writeln!(out, "{}", serde_json::to_string(&rebuilt)?)?;
    } else {
        writeln!(
            out,
            "{mails:>12} archived mails read\n{not_taken:>12} not taken whole"
        )?;
    }
    Ok(ExitCode::from(u8::from(not_taken > 0)))
}

fn rooms(store: Store, dir: &Path) -> anyhow::Result<Rooms> {
    Ok(Rooms {
        store: Arc::new(Mutex::new(store)),
        archive: Archive::open(&dir.join(archive::FOLDER))?,
        instruments: Arc::new(Instruments::disconnected()),
        labels: Arc::new(DomainLabels::new(0, [])),
        reporters: Arc::new(DomainLabels::new(0, [])),
    })
}

fn print(args: &Args, totals: &Totals) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    if args.json {
        return Ok(writeln!(out, "{}", serde_json::to_string(totals)?)?);
    }
    for (what, number) in [
        ("reports as they were", totals.same),
        ("reports that read otherwise", totals.changed),
        ("reports left alone", totals.left_alone),
        ("parked mails tried", totals.tried as u64),
        ("  readable now", totals.stored as u64),
    ] {
        writeln!(out, "{number:>12} {what}")?;
    }
    Ok(())
}
