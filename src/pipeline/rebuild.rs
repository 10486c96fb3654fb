//! An empty store, filled from the archive.
//!
//! Each archived mail goes through the pipeline as if it had arrived when its file was written.
//! Only the first mail of a report is archived, so what is lost are the later arrivals, next to
//! everything that never came from a mail: the history of the watch over DNS, and the documents
//! that retention remembered.

use std::collections::HashMap;

use super::{Rooms, WorkError, work};
use crate::{
    archive::{ArchiveError, Found},
    config::Config,
    limits,
    report::Digest,
    spool::{Entry, Envelope, Trial},
    terms::{Door, Rejection},
};

/// Stands for the spool in records of arrivals; those of real ones are hexadecimal numbers.
const SPOOL: &str = "archive";

/// Why something in the archive was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// It cannot be had.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// It cannot be used.
    #[error("{0}")]
    Unread(Rejection),
}

/// What is told meanwhile.
#[derive(Debug)]
pub enum Told {
    /// So many mails were read.
    Read(u64),
    /// A mail, or something in it, was not taken.
    NotTaken(Digest, NotTaken),
}

/// Reads the whole archive into the store, tells how far it is and what was not taken, and gives the
/// number of mails; blocking.
pub fn rebuild(
    config: &Config,
    rooms: &Rooms,
    mut tell: impl FnMut(Told),
) -> Result<u64, WorkError> {
    let mut batch = Batch::default();
    let mut mails = 0_i64;
    for day in rooms.archive.days()? {
        for found in rooms.archive.mails(day)? {
            mails += 1;
            match get(rooms, found, mails) {
                Err(error) => tell(Told::NotTaken(found.digest, error.into())),
                Ok(entry) => batch.add(found.digest, entry),
            }
            if batch.is_full() {
                batch.store(config, rooms, &mut tell)?;
                tell(Told::Read(mails.unsigned_abs()));
            }
        }
    }
    batch.store(config, rooms, &mut tell)?;
    Ok(mails.unsigned_abs())
}

fn get(rooms: &Rooms, found: Found, id: i64) -> Result<Entry, ArchiveError> {
    let mail = rooms.archive.get(&found.digest, found.arrived)?;
    let envelope = Envelope::of_lines(&mail.envelope);
    Ok(Entry {
        id,
        arrived: found.arrived,
        envelope: envelope.unwrap_or_else(|| Envelope::of(Door::Import)),
        raw: mail.raw,
    })
}

/// Mails for one transaction, as many as the pipeline claims from a spool.
#[derive(Default)]
struct Batch {
    entries: Vec<Entry>,
    names: HashMap<i64, Digest>,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, name: Digest, entry: Entry) {
        self.bytes += entry.raw.len();
        self.names.insert(entry.id, name);
        self.entries.push(entry);
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= limits::CLAIM_ENTRIES || self.bytes >= limits::CLAIM_BYTES
    }

    fn store(
        &mut self,
        config: &Config,
        rooms: &Rooms,
        tell: &mut impl FnMut(Told),
    ) -> Result<(), WorkError> {
        let Self { entries, names, .. } = std::mem::take(self);
        let trial = Trial::unrecorded(SPOOL);
        let mut rest = &entries[..];
        while !rest.is_empty() {
            let settled = work(rest, &trial, config, rooms)?;
            // Mails that hold much are not all worked on at once.
            rest = &rest[settled.done.len() + settled.parked.len()..];
            for parked in settled.parked {
                let why = NotTaken::Unread(parked.reason);
                tell(Told::NotTaken(names[&parked.id], why));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        archive::Mail,
        pipeline::tests::{config, rooms, swelling},
    };

    #[test]
    fn mails_that_hold_too_much_together_are_all_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (rooms, config) = (rooms(dir.path()), config(dir.path()));
        for raw in (1..=3).map(swelling) {
            let mail = Mail::new(&raw, String::new(), 1_700_000_000);
            rooms.archive.put(&[mail]).unwrap();
        }
        let tell = |told| assert!(matches!(told, Told::Read(_)), "{told:?}");
        assert_eq!(rebuild(&config, &rooms, tell).unwrap(), 3);
        let store = rooms.store();
        assert!(store.target(3).unwrap().is_some());
    }
}
