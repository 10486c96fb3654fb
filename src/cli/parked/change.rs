//! `parked retry`, `export` and `drop`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context as _, bail};
use serde::Serialize;

use super::{Export, Retry, Which, entry, reader, show::place};
use crate::{
    archive,
    cli::{
        escape,
        hand::{self, Hand},
        runtime,
    },
    config::Config,
    limits::{MAX_TEXT, PARKED_CHUNK},
    spool::Reader,
    store, telemetry,
    terms::Outcome,
};

/// Tries parked mail again, and tells what became of it.
pub fn retry(args: Retry, config: Config) -> anyhow::Result<ExitCode> {
    let ids = chosen(args.which, &reader(&config)?)?;
    runtime()?.block_on(try_again(&ids, args.json, &Arc::new(config)))
}

/// The numbers of what is meant, ascending.
fn chosen(which: Which, reader: &Reader) -> anyhow::Result<Vec<i64>> {
    let useful = reader.retriable(which.reason)?;
    let mut ids = which.ids;
    if ids.is_empty() {
        return Ok(useful);
    }
    ids.sort_unstable();
    ids.dedup();
    for id in &ids {
        let reason = entry(*id, reader)?.reason;
        if useful.binary_search(id).is_err() {
            bail!("of parked mail {id} ({reason}) only the beginning was kept");
        }
    }
    Ok(ids)
}

async fn try_again(ids: &[i64], json: bool, config: &Arc<Config>) -> anyhow::Result<ExitCode> {
    let (Some(first), Some(last)) = (ids.first(), ids.last()) else {
        return Ok(ExitCode::SUCCESS);
    };
    let (spool, writer) = hand::open_spool(config)?;
    for some in ids.chunks(PARKED_CHUNK) {
        spool.retry(some.to_vec()).await?;
    }
    let mut hand = Hand::lend(config, &spool)?;
    hand.wait(*first..=*last).await?;
    hand.rest().await?;
    let spool_id = spool.id().to_owned();
    drop(spool);
    writer.join();
    outcomes(ids, json, &spool_id, config)
}

/// What became of a mail, or of a part of it.
#[derive(Serialize)]
struct Tried {
    id: i64,
    outcome: Outcome,
    report_id: Option<String>,
    /// Of what is still parked.
    reason: Option<String>,
    at_byte: Option<u64>,
}

/// Prints what became of each mail.
fn outcomes(ids: &[i64], json: bool, spool_id: &str, config: &Config) -> anyhow::Result<ExitCode> {
    let reader = reader(config)?;
    let store = store::Reader::open(&config.data_dir.join(store::FILE))?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut parked = 0;
    for &id in ids {
        if let Some(entry) = reader.parked_entry(id)? {
            parked += 1;
            let tried = Tried {
                id,
                outcome: Outcome::Parked,
                report_id: None,
                reason: Some(entry.reason),
                at_byte: entry.at_byte,
            };
            tried.tell(json, &mut out)?;
            continue;
        }
        for part in store.outcomes(&config.node, spool_id, &[id])? {
            let tried = Tried {
                id,
                outcome: part.outcome,
                report_id: part.report.map(|it| it.report_id),
                reason: None,
                at_byte: None,
            };
            tried.tell(json, &mut out)?;
        }
    }
    out.flush()?;
    Ok(ExitCode::from(u8::from(parked > 0)))
}

impl Tried {
    fn tell(&self, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
        if json {
            let json = serde_json::to_string(self)?;
            return Ok(writeln!(out, "{}", escape::json(&json))?);
        }
        let Self { id, outcome, .. } = self;
        if let Some(reason) = &self.reason {
            let why = escape::text(&place(reason, self.at_byte), MAX_TEXT);
            writeln!(out, "parked mail {id}: still parked, {why}")?;
        } else {
            let report_id = self.report_id.as_deref().unwrap_or_default();
            let report_id = escape::text(report_id, MAX_TEXT);
            writeln!(out, "parked mail {id}: {outcome} {report_id}")?;
        }
        Ok(())
    }
}

/// Writes one mail with its envelope.
pub fn export(args: &Export, config: &Config) -> anyhow::Result<ExitCode> {
    // Before root's rights are given up: the file is to be where the operator may write.
    let file = args.output.as_ref().map(|path| {
        let mut new = OpenOptions::new();
        let new = new.write(true).create_new(true).mode(0o600);
        new.open(path)
            .with_context(|| format!("cannot make {}", path.display()))
    });
    let written = write(args.id, file.transpose()?, config);
    if let (Err(_), Some(path)) = (&written, &args.output) {
        // Half a mail is none.
        let _ = fs::remove_file(path);
    }
    written.map(|()| ExitCode::SUCCESS)
}

fn write(id: i64, file: Option<File>, config: &Config) -> anyhow::Result<()> {
    let reader = reader(config)?;
    entry(id, &reader)?;
    let mail = reader
        .load(id)?
        .with_context(|| format!("parked mail {id} has just gone"))?;
    let line = mail.envelope.line();
    if let Some(mut file) = file {
        archive::write_plain(&mut file, &line, &mail.raw)?;
        file.sync_all()?;
    } else {
        let mut out = io::stdout().lock();
        archive::write_plain(&mut out, &line, &mail.raw)?;
        out.flush()?;
    }
    Ok(())
}

/// Forgets mail, and leaves a line of each in the log.
pub fn forget(ids: Vec<i64>, config: &Config) -> anyhow::Result<ExitCode> {
    let reader = reader(config)?;
    telemetry::log::init(&config.log, &Arc::default())?;
    let entries: Vec<_> = ids
        .iter()
        .map(|id| entry(*id, &reader))
        .collect::<Result<_, _>>()?;
    let (spool, writer) = hand::open_spool(config)?;
    let dropped = runtime()?.block_on(spool.drop_parked(ids))?;
    drop(spool);
    writer.join();
    for entry in entries.iter().filter(|it| dropped.contains(&it.id)) {
        entry.tell_dropped("parked mail dropped by the operator");
        println!("parked mail {}: dropped", entry.id);
    }
    Ok(ExitCode::SUCCESS)
}
