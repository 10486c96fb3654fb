//! Stored reports, read again from the archive with today's parser and configuration.
//!
//! What cannot be read again is told and left alone: rows that an older parser wrote are worth
//! more than none. One mail is in memory at a time; reports of one mail that were stored together
//! share its reading.

use super::{
    Rooms, WorkError,
    read::{self, Body, Found, Parts, Whole},
};
use crate::{
    archive::{Archive, ArchiveError},
    config::Config,
    limits,
    report::{Digest, PARSER_VERSION},
    spool::{Entry, Envelope, Trial},
    store::{Replaced, Store, StoreError, Target},
    terms::{Door, Rejection},
};

/// Why a report is left alone.
#[derive(Debug, thiserror::Error)]
pub enum LeftAlone {
    /// There is no mail to read.
    #[error("its mail was not archived")]
    NotArchived,
    /// The mail cannot be had.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Today's parser, or configuration, takes nothing in the mail for it.
    #[error("its mail holds it no more: {0}")]
    Unread(Rejection),
    /// A newer version of the program has read it.
    #[error("a newer parser ({0}) has read it")]
    Newer(u32),
    /// The document cannot be stored.
    #[error(transparent)]
    Unstorable(StoreError),
}

/// Reads the reports with these numbers, ascending, or all, and tells of each what came of it.
pub fn replay<E: From<StoreError>>(
    ids: &[i64],
    dry_run: bool,
    (store, archive): (&mut Store, &Archive),
    config: &Config,
    mut tell: impl FnMut(i64, Result<Replaced, LeftAlone>) -> Result<(), E>,
) -> Result<(), E> {
    let mut given = ids.iter();
    let mut next = |store: &Store, after: i64| {
        if ids.is_empty() {
            return store.target_after(after);
        }
        let mut found = Ok(None);
        while let (Ok(None), Some(id)) = (&found, given.next()) {
            found = store.target(*id);
        }
        found
    };
    let mut waiting = next(store, i64::MIN)?;
    while let Some(first) = waiting.take() {
        let mail = Mail::of(&first);
        let entry = match mail.get(archive, &first) {
            Ok(entry) => entry,
            Err(why) => {
                waiting = next(store, first.id)?;
                tell(first.id, Err(why))?;
                continue;
            }
        };
        let parts = read::read(&entry, config, &mut { limits::BATCH_MEMORY });
        let mut target = first;
        loop {
            let done = one(&target, &parts, store, dry_run)?;
            tell(target.id, done)?;
            match next(store, target.id)? {
                Some(other) if Mail::of(&other) == mail && is_known(&other) => target = other,
                other => {
                    waiting = other;
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Reads one report again, the store free meanwhile, and replaces it; blocking. `None`: there is no
/// such report any more.
pub fn again(
    id: i64,
    rooms: &Rooms,
    config: &Config,
    trial: &Trial,
) -> Result<Option<Result<Replaced, LeftAlone>>, WorkError> {
    let Some(target) = rooms.store().target(id)? else {
        return Ok(None);
    };
    let entry = match Mail::of(&target).get(&rooms.archive, &target) {
        Ok(entry) => entry,
        Err(why) => return Ok(Some(Err(why))),
    };
    let replaced = trial.of(id, || {
        let parts = read::read(&entry, config, &mut { limits::BATCH_MEMORY });
        one(&target, &parts, &mut rooms.store(), false)
    });
    Ok(Some(replaced?))
}

/// How many reports of ours a parked mail turns out to hold.
pub fn readable(entry: &Entry, config: &Config) -> usize {
    read::read(entry, config, &mut 0).wholes().count()
}

/// Where a mail is in the archive.
#[derive(PartialEq, Eq)]
struct Mail {
    digest: Option<Digest>,
    arrived: i64,
}

impl Mail {
    fn of(target: &Target) -> Self {
        Self {
            digest: target.archive,
            arrived: target.first_seen,
        }
    }

    fn get(&self, archive: &Archive, target: &Target) -> Result<Entry, LeftAlone> {
        if !is_known(target) {
            return Err(LeftAlone::Newer(target.parser_version));
        }
        let digest = self.digest.ok_or(LeftAlone::NotArchived)?;
        let mail = archive.get(&digest, self.arrived)?;
        Ok(Entry {
            id: 0,
            arrived: self.arrived,
            // The arrival is recorded already, and stays.
            envelope: Envelope::of(Door::Import),
            raw: mail.raw,
        })
    }
}

fn is_known(target: &Target) -> bool {
    target.parser_version <= PARSER_VERSION
}

/// Replaces one report by what its mail holds of it now.
fn one(
    target: &Target,
    parts: &Parts<'_>,
    store: &mut Store,
    dry_run: bool,
) -> Result<Result<Replaced, LeftAlone>, StoreError> {
    let is_it = |whole: &&Whole| (whole.kind(), whole.digest()) == (target.kind, target.digest);
    let Some(whole) = parts.wholes().find(is_it) else {
        let reasons = parts.found.iter().filter_map(|found| match found {
            Found::Rejected { reason, .. } => Some(*reason),
            Found::Whole(_) => None,
        });
        let reason = reasons.min().unwrap_or(Rejection::NotAReport);
        return Ok(Err(LeftAlone::Unread(reason)));
    };
    let replaced = match &whole.body {
        Body::Aggregate(read) => {
            store.replace(target, &whole.covering, &read.report, dry_run, |sink| {
                parts.records(whole, read, sink)
            })
        }
        // No mail with one is archived.
        Body::Failure(_) => return Ok(Err(LeftAlone::NotArchived)),
        Body::Tls(tls) => {
            let domains = (&tls.policy_domain, &tls.ours);
            store.replace_tls(target, domains, &tls.read.report, dry_run, |sink| {
                parts.policies(whole, &tls.read, sink)
            })
        }
    };
    match replaced {
        Err(error) if error.rejection().is_some() => Ok(Err(LeftAlone::Unstorable(error))),
        replaced => replaced.map(Ok),
    }
}
