//! From the spool into the store. The order of the steps is here and nowhere else:
//! unpack, read whole, archive, store, count, let go or park.
//!
//! [`mod@read`] makes facts of one entry and touches nothing; [`work`] does a batch: raw mails into
//! the archive, then everything in one transaction, a savepoint for each entry, and then the
//! counts. Every step may be done again after a crash and changes nothing then.

mod read;
pub mod rebuild;
pub mod replay;
pub mod worker;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use crate::{
    archive::{self, Archive},
    config::Config,
    domain::Domain,
    report::{Digest, Totals},
    spool::{Entry, Settled},
    store::{Arrival, Batch, Store, StoreError},
    telemetry::{instruments::Instruments, labels::DomainLabels},
    terms::{Kind, Outcome, Rejection, Stage},
};
use read::{Found, Parts, Whole};

/// The line of the archive that holds the envelope, up to its JSON.
const ENVELOPE: &str = "X-Rua-Milter-Envelope: ";

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

/// Works on a batch; blocking. `spool` names the spool file in records of arrivals.
pub fn work(
    entries: &[Entry],
    spool: &str,
    config: &Config,
    rooms: &Rooms,
) -> Result<Settled, WorkError> {
    let started = Instant::now();
    let mut rows_left = crate::limits::KEPT_RECORDS;
    let parts: Vec<Parts<'_>> = entries
        .iter()
        .map(|entry| read::read(entry, config, &mut rows_left))
        .collect();
    rooms.instruments.stage(Stage::Parse, started.elapsed());

    let mut store = rooms.store.lock().unwrap_or_else(PoisonError::into_inner);
    let archived = archive_new(&parts, &store, rooms)?;

    let started = Instant::now();
    let mut counts = Vec::new();
    let settled = store.transaction(|batch| {
        counts.clear();
        let mut settled = Settled::default();
        for (parts, archived) in parts.iter().zip(&archived) {
            let arrival = arrival(parts.entry, *archived, spool, config);
            match store_or_blame(batch, parts, &arrival, &mut counts)? {
                None => settled.done.push(parts.entry.id),
                Some(reason) => settled.parked.push((parts.entry.id, reason)),
            }
        }
        Ok(settled)
    })?;
    drop(store);
    rooms
        .instruments
        .stage(Stage::StoreCommit, started.elapsed());
    for count in counts {
        count.give(rooms);
    }
    for (id, reason) in &settled.parked {
        tracing::info!(spool_id = id, %reason, "parked");
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
        for whole in parts.wholes() {
            let document = (whole.kind(), whole.report.digest);
            is_new |= seen.insert(document) && !store.knows(document.0, &document.1)?;
        }
        let digest = is_new.then(|| archive::digest(&parts.entry.raw));
        mails.extend(digest.map(|digest| (digest, envelope_line(parts.entry), parts.entry)));
        kept.push(digest);
    }
    let mails: Vec<archive::Mail<'_>> = mails
        .iter()
        .map(|(digest, envelope, entry)| archive::Mail {
            digest: *digest,
            arrived: entry.arrived,
            envelope,
            raw: &entry.raw,
        })
        .collect();
    if !mails.is_empty() {
        let started = Instant::now();
        rooms.archive.put(&mails)?;
        rooms.instruments.stage(Stage::Archive, started.elapsed());
    }
    Ok(kept)
}

/// The envelope as a header line of JSON: everything that only the MTA knew.
fn envelope_line(entry: &Entry) -> String {
    let json = serde_json::to_string(&entry.envelope).expect("strings are always JSON");
    format!("{ENVELOPE}{json}\n")
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
/// of the batch go on without this entry. Gives the reason for which the entry is parked.
fn store_or_blame(
    batch: &mut Batch<'_>,
    parts: &Parts<'_>,
    arrival: &Arrival,
    counts: &mut Vec<Count>,
) -> Result<Option<Rejection>, StoreError> {
    let before = counts.len();
    match batch.savepoint(|batch| store_entry(batch, parts, arrival, counts)) {
        Err(error) => {
            let Some(reason) = error.rejection() else {
                return Err(error);
            };
            tracing::warn!(spool_id = arrival.spool_id, %error, "a document cannot be stored");
            counts.truncate(before);
            batch.parked(arrival, reason, None)?;
            counts.push(Count::Parked(reason));
            Ok(Some(reason))
        }
        stored => stored,
    }
}

fn store_entry(
    batch: &mut Batch<'_>,
    parts: &Parts<'_>,
    arrival: &Arrival,
    counts: &mut Vec<Count>,
) -> Result<Option<Rejection>, StoreError> {
    let mut parked = None;
    for found in &parts.found {
        match found {
            Found::Whole(whole) => {
                let arrival = Arrival {
                    part: whole.part.clone(),
                    ..arrival.clone()
                };
                let recorded = batch.add(&arrival, &whole.covering, &whole.report, |sink| {
                    parts.records(whole, sink)
                })?;
                if !recorded.redone {
                    counts.push(Count::report(whole, recorded.outcome));
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
                parked.get_or_insert(*reason);
            }
        }
    }
    Ok(parked)
}

/// What is counted once the commit has returned.
enum Count {
    Report {
        kind: Kind,
        outcome: Outcome,
        domain: Domain,
        totals: Totals,
    },
    Parked(Rejection),
}

impl Count {
    fn report(whole: &Whole, outcome: Outcome) -> Self {
        // Duplicates and revisions are reports that came, and no messages.
        let totals = if outcome == Outcome::Stored {
            whole.report.totals.clone()
        } else {
            Totals::new()
        };
        Self::Report {
            kind: whole.kind(),
            outcome,
            domain: whole.covering.clone(),
            totals,
        }
    }

    fn give(self, rooms: &Rooms) {
        match self {
            Self::Parked(reason) => rooms.instruments.rejected(reason),
            Self::Report {
                kind,
                outcome,
                domain,
                totals,
            } => {
                let domain = rooms.labels.label(&domain);
                rooms.instruments.report(kind, outcome, &domain);
                rooms.instruments.messages(&domain, &totals);
            }
        }
    }
}
