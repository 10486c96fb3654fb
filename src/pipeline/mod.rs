//! From the spool into the store. The order of the steps is here and nowhere else:
//! unpack, read whole, archive, store, count, let go or park.
//!
//! [`mod@read`] makes facts of one entry and touches nothing; [`work`] does a batch: raw mails into
//! the archive, then everything in one transaction, a savepoint for each entry, and then the
//! counts. Every step may be done again after a crash and changes nothing then.

mod background;
pub mod observe;
mod read;
pub mod rebuild;
pub mod replay;
pub mod retention;
pub mod upgrade;
pub mod worker;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::{
    archive::{self, Archive},
    config::Config,
    domain::Domain,
    report::{self, Digest, Totals, reporters::Reporters, tls::Sessions},
    spool::{Entry, Parked, Settled, Trial},
    store::{Arrival, Batch, Recorded, Store, StoreError},
    telemetry::{instruments::Instruments, labels::DomainLabels},
    terms::{AuthFailure, Flag, Kind, Outcome, Rejection, Stage, TlsPolicy},
};
pub use read::hints;
use read::{Body, Found, Parts, Whole};

/// Where a batch goes.
pub struct Rooms {
    /// The report store; its one writer.
    pub store: Arc<Mutex<Store>>,
    /// The raw mails.
    pub archive: Archive,
    /// What is counted.
    pub instruments: Arc<Instruments>,
    /// Which domains metrics name.
    pub labels: Arc<DomainLabels>,
    /// Which reporters they name.
    pub reporters: Arc<DomainLabels>,
}

impl Rooms {
    /// The report store; a panic elsewhere has left it whole, as its transactions are.
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a batch could not be worked on; its entries stay where they are.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The raw mails could not be kept.
    #[error("archive")]
    Archive(#[from] archive::ArchiveError),
    /// The reports could not be stored.
    #[error("report store")]
    Store(#[from] StoreError),
}

/// Works on a batch, or on as much of its beginning as memory allows; blocking. What it does not
/// settle it has not worked on. Each entry is on
/// record in `trial`, whose name is that of the spool file in records of arrivals, while it is read.
pub fn work(
    entries: &[Entry],
    trial: &Trial,
    config: &Config,
    rooms: &Rooms,
) -> Result<Settled, WorkError> {
    let started = Instant::now();
    let mut memory = crate::limits::BATCH_MEMORY;
    let mut parts: Vec<Parts<'_>> = Vec::with_capacity(entries.len());
    let mut rest = entries.iter();
    while memory > 0
        && let Some(entry) = rest.next()
    {
        let read = || read::read(entry, config, &mut memory);
        parts.push(trial.of(entry.id, read));
    }
    rooms.instruments.stage(Stage::Parse, started.elapsed());

    let mut store = rooms.store();
    let archived = archive_new(&parts, &store, rooms)?;

    let started = Instant::now();
    let mut counts = Vec::new();
    let settled = store.transaction(|batch| {
        counts.clear();
        let mut settled = Settled::default();
        for (parts, archived) in parts.iter().zip(&archived) {
            let id = parts.entry.id;
            let arrival = arrival(parts.entry, *archived, trial.name(), config);
            // A long document is read a second time here.
            let known = &config.reporters.known;
            match trial.of(id, || {
                store_or_blame(batch, parts, &arrival, known, &mut counts)
            })? {
                None => settled.done.push(id),
                Some(parked) => {
                    settled.parked.push(parked);
                    if parts.holds_failure {
                        settled.shortened.push((id, parts.kept(config.redact)));
                    }
                }
            }
        }
        Ok(settled)
    })?;
    drop(store);
    rooms
        .instruments
        .stage(Stage::StoreCommit, started.elapsed());
    rooms.instruments.committed(Stage::StoreCommit, parts.len());
    for count in counts {
        count.give(rooms);
    }
    for parked in &settled.parked {
        tracing::info!(spool_id = parked.id, reason = %parked.reason, at_byte = parked.at_byte, "parked");
    }
    Ok(settled)
}

/// Keeps the raw mails that hold a report which the store does not know yet, and gives the
/// digest of each one kept.
fn archive_new(
    parts: &[Parts<'_>],
    store: &Store,
    rooms: &Rooms,
) -> Result<Vec<Option<Digest>>, WorkError> {
    let mut seen = HashSet::new();
    let mut kept = Vec::with_capacity(parts.len());
    let mut mails = Vec::new();
    for parts in parts {
        let mut is_new = false;
        // The mail would be kept with somebody's message in it, whatever else it holds.
        let archivable = parts.wholes().filter(|_| !parts.holds_failure);
        for whole in archivable {
            let document = (whole.kind(), whole.digest());
            is_new |= seen.insert(document) && !store.knows(document.0, &document.1)?;
        }
        let entry = parts.entry;
        let mail =
            is_new.then(|| archive::Mail::new(&entry.raw, entry.envelope.line(), entry.arrived));
        kept.push(mail.as_ref().map(archive::Mail::digest));
        mails.extend(mail);
    }
    if !mails.is_empty() {
        let started = Instant::now();
        rooms.archive.put(&mails)?;
        let bytes = mails.iter().map(archive::Mail::size).sum();
        rooms.instruments.archived(mails.len(), bytes);
        rooms.instruments.stage(Stage::Archive, started.elapsed());
    }
    Ok(kept)
}

fn arrival(entry: &Entry, archive: Option<Digest>, spool: &str, config: &Config) -> Arrival {
    let envelope = &entry.envelope;
    Arrival {
        node: config.node.clone(),
        spool: spool.to_owned(),
        spool_id: entry.id,
        part: String::new(),
        arrived: entry.arrived,
        door: envelope.door,
        client: envelope.client,
        sender: envelope.sender.clone(),
        recipient: envelope.recipients.first().cloned().unwrap_or_default(),
        archive,
    }
}

/// Stores an entry whole or not at all; where a document turns out to be to blame, the others
/// of the batch go on without this entry. Says if and why the entry is parked.
fn store_or_blame(
    batch: &mut Batch<'_>,
    parts: &Parts<'_>,
    arrival: &Arrival,
    reporters: &Reporters,
    counts: &mut Vec<Count>,
) -> Result<Option<Parked>, StoreError> {
    let before = counts.len();
    match batch.savepoint(|batch| store_entry(batch, parts, arrival, reporters, counts)) {
        Err(error) => {
            let Some(reason) = error.rejection() else {
                return Err(error);
            };
            tracing::warn!(spool_id = arrival.spool_id, %error, "a document cannot be stored");
            counts.truncate(before);
            batch.parked(arrival, reason, None)?;
            counts.push(Count::Parked(reason));
            Ok(Some(Parked::of(arrival.spool_id, reason)))
        }
        stored => stored,
    }
}

fn store_entry(
    batch: &mut Batch<'_>,
    parts: &Parts<'_>,
    arrival: &Arrival,
    reporters: &Reporters,
    counts: &mut Vec<Count>,
) -> Result<Option<Parked>, StoreError> {
    let mut parked = None;
    for found in &parts.found {
        match found {
            Found::Whole(whole) => {
                let arrival = Arrival {
                    part: whole.part.clone(),
                    ..arrival.clone()
                };
                let recorded = add(batch, parts, whole, &arrival)?;
                if !recorded.redone {
                    let reporter = whole.reporter(reporters);
                    counts.push(Count::report(whole, recorded.outcome, reporter));
                }
            }
            Found::Rejected {
                part,
                reason,
                offset,
            } => {
                let arrival = Arrival {
                    part: part.clone(),
                    ..arrival.clone()
                };
                if !batch.parked(&arrival, *reason, *offset)?.redone {
                    counts.push(Count::Parked(*reason));
                }
                parked.get_or_insert(Parked {
                    id: arrival.spool_id,
                    reason: *reason,
                    at_byte: *offset,
                });
            }
        }
    }
    Ok(parked)
}

fn add(
    batch: &mut Batch<'_>,
    parts: &Parts<'_>,
    whole: &Whole,
    arrival: &Arrival,
) -> Result<Recorded, StoreError> {
    match &whole.body {
        Body::Aggregate(read) => batch.add(arrival, &whole.covering, &read.report, |sink| {
            parts.records(whole, read, sink)
        }),
        Body::Failure(report) => batch.add_failure(arrival, &whole.covering, report),
        Body::Tls(tls) => {
            let (domain, report) = (&tls.policy_domain, &tls.read.report);
            batch.add_tls(arrival, domain, &tls.ours, report, |sink| {
                parts.policies(whole, &tls.read, sink)
            })
        }
    }
}

/// What is counted once the commit has returned.
enum Count {
    Report {
        kind: Kind,
        outcome: Outcome,
        domain: Domain,
        /// `None`: not one of the known.
        reporter: Option<Domain>,
        flags: Vec<Flag>,
        sums: Sums,
    },
    Parked(Rejection),
}

/// What a report adds to the sums.
enum Sums {
    /// Duplicates and revisions are reports that came, and no messages.
    Nothing,
    Messages(Totals),
    /// By configured domain.
    Sessions(Vec<(Domain, Option<TlsPolicy>, Sessions)>),
    /// Messages that failed.
    Failures(Option<AuthFailure>, u64),
}

impl Sums {
    fn of(body: &Body) -> Self {
        match body {
            Body::Aggregate(read) => Self::Messages(read.report.totals.clone()),
            Body::Failure(report) => {
                Self::Failures(report.said.auth_failure.known(), report.incidents)
            }
            Body::Tls(tls) => {
                let totals = tls.read.report.totals.iter();
                let ours = totals.filter_map(|((domain, policy_type), sessions)| {
                    let domain = tls.ours.get(domain)?.clone();
                    Some((domain, *policy_type, sessions.clone()))
                });
                Self::Sessions(ours.collect())
            }
        }
    }
}

/// What makes a report worth a look; one that came before was counted then.
fn flags(body: &Body, outcome: Outcome) -> Vec<Flag> {
    if outcome == Outcome::Duplicate {
        return Vec::new();
    }
    let (skipped, notes) = match body {
        Body::Aggregate(read) => (read.report.skipped_records, &read.report.notes),
        Body::Failure(report) => (0, &report.notes),
        Body::Tls(tls) => (tls.read.report.skipped_policies, &tls.read.report.notes),
    };
    let mut flags = report::flags(skipped, notes);
    flags.extend((outcome == Outcome::Revision).then_some(Flag::Revision));
    flags
}

impl Count {
    fn report(whole: &Whole, outcome: Outcome, reporter: Option<Domain>) -> Self {
        Self::Report {
            kind: whole.kind(),
            outcome,
            domain: whole.covering.clone(),
            reporter,
            flags: flags(&whole.body, outcome),
            sums: if outcome == Outcome::Stored {
                Sums::of(&whole.body)
            } else {
                Sums::Nothing
            },
        }
    }

    fn give(self, rooms: &Rooms) {
        let (kind, outcome, domain, reporter, flags, sums) = match self {
            Self::Parked(reason) => return rooms.instruments.rejected(reason),
            Self::Report {
                kind,
                outcome,
                domain,
                reporter,
                flags,
                sums,
            } => {
                let domain = rooms.labels.label(&domain);
                let reporter = rooms.reporters.label_of(reporter.as_ref());
                (kind, outcome, domain, reporter, flags, sums)
            }
        };
        rooms.instruments.report(kind, outcome, &domain, &reporter);
        for flag in flags {
            rooms.instruments.flagged(kind, flag);
        }
        match sums {
            Sums::Nothing => {}
            Sums::Messages(totals) => rooms.instruments.messages(&domain, &totals),
            Sums::Failures(auth_failure, messages) => {
                rooms.instruments.failures(&domain, auth_failure, messages);
            }
            Sums::Sessions(rows) => {
                for (domain, policy_type, sessions) in rows {
                    let domain = rooms.labels.label(&domain);
                    rooms.instruments.sessions(&domain, policy_type, &sessions);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::{config::file, spool::Envelope, store, terms::Door};

    pub(super) fn rooms(dir: &std::path::Path) -> Rooms {
        Rooms {
            store: Arc::new(Mutex::new(Store::open(&dir.join(store::FILE)).unwrap())),
            archive: Archive::open(&dir.join("archive")).unwrap(),
            instruments: Arc::new(Instruments::disconnected()),
            labels: Arc::new(DomainLabels::new(0, [])),
            reporters: Arc::new(DomainLabels::new(0, [])),
        }
    }

    pub(super) fn config(dir: &std::path::Path) -> Config {
        let path = dir.join("rua-milter.toml");
        let text = "[[domain]]\nname = \"example.com\"\nrua = [\"rua@reports.example\"]\n";
        std::fs::write(&path, text).unwrap();
        file::load(&path).unwrap()
    }

    pub(super) fn entry(id: i64, raw: Vec<u8>) -> Entry {
        Entry {
            id,
            arrived: 1_700_000_000,
            envelope: Envelope::of(Door::Import),
            raw,
        }
    }

    pub(super) fn report(id: i64) -> String {
        format!(
            "<feedback><report_metadata><org_name>o</org_name><report_id>{id}</report_id>\
             <date_range><begin>1700000000</begin><end>1700086399</end></date_range>\
             </report_metadata><policy_published><domain>example.com</domain></policy_published>\
             <record><row><source_ip>192.0.2.1</source_ip><count>1</count></row></record>\
             </feedback>"
        )
    }

    /// A report in a zip file, beside much of nothing, in gzip: small to send, large to hold.
    pub(super) fn swelling(id: i64) -> Vec<u8> {
        let stored = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Stored);
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        zip.start_file("a.xml", stored).unwrap();
        zip.write_all(report(id).as_bytes()).unwrap();
        zip.start_file("b.txt", stored).unwrap();
        zip.write_all(&vec![b'x'; 18 << 20]).unwrap();
        let zip = zip.finish().unwrap().into_inner();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&zip).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn entries_that_would_hold_too_much_together_wait_for_the_next_batch() {
        let dir = tempfile::tempdir().unwrap();
        let (rooms, config) = (rooms(dir.path()), config(dir.path()));
        let entries: Vec<Entry> = (1..=3).map(|id| entry(id, swelling(id))).collect();
        let trial = Trial::unrecorded("s");
        let settled = work(&entries, &trial, &config, &rooms).unwrap();
        assert_eq!(settled.done, [1]);
        let settled = work(&entries[2..], &trial, &config, &rooms).unwrap();
        assert_eq!(settled.done, [3]);
    }

    /// Whatever else is in it: the archive would keep somebody's message.
    #[test]
    fn a_mail_with_a_failure_report_is_not_archived_and_parked_without_the_message() {
        let dir = tempfile::tempdir().unwrap();
        let (rooms, config) = (rooms(dir.path()), config(dir.path()));
        let mail = format!(
            "From: r@r.example\nContent-Type: multipart/mixed; boundary=b\n\n\
             --b\nContent-Type: application/xml\n\n{}\n\
             --b\nContent-Type: message/feedback-report\n\nFeedback-Type: auth-failure\n\
             Reported-Domain: example.com\nArrival-Date: Tue, 14 Nov 2023 10:00:00 +0000\n\n\
             --b\nContent-Type: message/rfc822\n\nSubject: x\n\nsecret\n--b--\n",
            report(1)
        );
        let entries = [entry(1, mail.into_bytes())];
        let mut settled = work(&entries, &Trial::unrecorded("s"), &config, &rooms).unwrap();
        assert_eq!(
            settled.parked,
            [Parked::of(1, Rejection::FailureReportsOff)]
        );
        let (_, kept) = settled.shortened.pop().unwrap();
        let kept = String::from_utf8(kept).unwrap();
        assert!(kept.contains("\r\nfrom: r@r.example\r\n") && !kept.contains("secret"));
        let store = rooms.store.lock().unwrap();
        assert!(store.target(1).unwrap().unwrap().archive.is_none());
        assert!(rooms.archive.days().unwrap().is_empty());
    }
}
