//! What metrics cost: counting beside working without, and a scrape.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use rua_milter::{
    archive::Archive,
    config::{Config, Metrics, file},
    domain::Domain,
    pipeline::{self, Rooms},
    report::{Results, Totals, tls::Sessions},
    spool::{self, Entry, Envelope},
    store::Store,
    telemetry::{self, Instruments, Telemetry},
    terms::{Aligned, Disposition, Door, Kind, Outcome, TlsFailure, TlsPolicy},
};

use crate::{COUNTED, cpu, instructions, profile::Profile, readers};

/// Mails of one batch, as busy a pipeline takes.
const BATCH: usize = 50;
/// Domains of the page that is scraped.
const DOMAINS: usize = 1_000;
/// Scrapes, of which the cheapest counts.
const ROUNDS: usize = 9;

/// Prints both rows.
pub fn compare(profile: &Profile, folder: &str) -> anyhow::Result<()> {
    let with = instructions::of(&["ingest", "counted", folder])?;
    let without = instructions::of(&["ingest", "silent", folder])?;
    let more = 100.0 * (with / without - 1.0);
    println!(
        "{:5} metrics: {more:.2} % more instructions to ingest (goal: 2)",
        profile.name
    );
    scrape();
    Ok(())
}

/// Takes the first mails from the spool's entries to their counts, into a fresh store.
pub fn ingest(counted: bool, folder: &str) -> anyhow::Result<()> {
    let profile = Profile::load(Path::new(folder))?;
    let mails = &profile.mails[..profile.mails.len().min(COUNTED)];
    let (names, _) = readers::records(mails)?;
    let dir = tempfile::tempdir()?;
    let config = config(dir.path(), &names)?;
    let telemetry = start(config.domains.iter().map(|entry| entry.name))?;
    let instruments = if counted {
        Arc::clone(&telemetry.instruments)
    } else {
        Arc::new(Instruments::disconnected())
    };
    let rooms = Rooms {
        store: Arc::new(Mutex::new(Store::open(&dir.path().join("store"))?)),
        archive: Archive::open(&dir.path().join("archive"))?,
        instruments,
        labels: Arc::clone(&telemetry.labels),
        reporters: Arc::clone(&telemetry.reporters),
    };
    let (spool, _writer) = spool::open(dir.path(), config.limits, Arc::default())?;
    let trial = spool.trial()?;
    // The mails are of these days, and a report is not believed before its time.
    let arrived = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let arrived = i64::try_from(arrived)?;
    let entries: Vec<Entry> = (1..)
        .zip(mails)
        .map(|(id, raw)| Entry {
            id,
            arrived,
            envelope: Envelope::of(Door::Milter),
            raw: raw.clone(),
        })
        .collect();
    let stored = ingest_once(&entries, &trial, &config, &rooms)?;
    anyhow::ensure!(stored == entries.len(), "{stored} of {}", entries.len());
    Ok(())
}

/// Valgrind counts what happens within, by this name.
#[inline(never)]
fn ingest_once(
    entries: &[Entry],
    trial: &spool::Trial,
    config: &Config,
    rooms: &Rooms,
) -> anyhow::Result<usize> {
    let mut stored = 0;
    while stored < entries.len() {
        let batch = &entries[stored..entries.len().min(stored + BATCH)];
        // Of a batch it does what there is memory for.
        let settled = pipeline::work(batch, trial, config, rooms)?;
        anyhow::ensure!(settled.parked.is_empty(), "a mail was parked");
        stored += settled.done.len();
    }
    Ok(stored)
}

fn config(dir: &Path, names: &BTreeSet<String>) -> anyhow::Result<Config> {
    let path = dir.join("rua-milter.toml");
    let domain = |name| format!("[[domain]]\nname = {name:?}\nrua = [\"rua@reports.example\"]\n");
    fs::write(&path, names.iter().map(domain).collect::<String>())?;
    Ok(file::load(&path)?)
}

fn start<'a>(domains: impl Iterator<Item = &'a Domain>) -> anyhow::Result<Telemetry> {
    let config = Metrics {
        prometheus: Some(([127, 0, 0, 1], 0).into()),
        ..Metrics::default()
    };
    let reporters = Default::default();
    telemetry::start(&config, "node", domains, &reporters, &Arc::default()).context("metrics")
}

/// A page of a thousand domains, each of which had reports of two kinds with the usual results.
fn scrape() {
    let domains: Vec<Domain> = (0..DOMAINS)
        .filter_map(|n| Domain::parse(&format!("customer-{n}.example")))
        .collect();
    let Ok(telemetry) = start(domains.iter()) else {
        return;
    };
    for domain in &domains {
        record(&telemetry, domain);
    }
    let mut least = f64::INFINITY;
    let mut page = String::new();
    for _ in 0..ROUNDS {
        let begin = cpu();
        page = telemetry.render();
        least = least.min((cpu() - begin).as_secs_f64());
    }
    let series = page.lines().filter(|line| !line.starts_with('#')).count();
    println!(
        "      metrics: {:.0} ms of CPU a scrape of {DOMAINS} domains, {series} lines (goal: 50)",
        least * 1_000.0
    );
}

fn record(telemetry: &Telemetry, domain: &Domain) {
    let to = &telemetry.instruments;
    let label = telemetry.labels.label(domain);
    let other = telemetry.reporters.label_of(None);
    for kind in [Kind::Aggregate, Kind::Tls] {
        for outcome in [Outcome::Stored, Outcome::Duplicate] {
            to.report(kind, outcome, &label, &other);
        }
        to.domains.reported(domain.clone(), kind, 1_790_000_000);
    }
    let (pass, fail) = (Some(Aligned::Pass), Some(Aligned::Fail));
    let rows = [
        (Disposition::None, pass, pass),
        (Disposition::None, pass, fail),
        (Disposition::None, fail, pass),
        (Disposition::None, fail, fail),
        (Disposition::Quarantine, fail, fail),
        (Disposition::Reject, fail, fail),
    ];
    let totals: Totals = rows
        .into_iter()
        .map(|(disposition, dkim, spf)| {
            let results = Results {
                disposition: Some(disposition),
                dkim,
                spf,
            };
            (results, 10)
        })
        .collect();
    to.messages(&label, &totals);
    let sessions = Sessions {
        successful: 100,
        failed: 1,
        failures: [(Some(TlsFailure::CertificateExpired), 1)].into(),
    };
    to.sessions(&label, Some(TlsPolicy::Sts), &sessions);
}
