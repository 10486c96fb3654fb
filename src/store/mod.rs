//! The report store: every report once, with its records, arrivals and sums.
//!
//! One SQLite file with one writer, [`Store`]. What it is told lies in transactions whose commit
//! has reached the disk before [`Store::transaction`] returns; a [`Batch::savepoint`] keeps a
//! bad entry from undoing its neighbours. Commands read beside it through [`Reader`].
//!
//! - A document counts once: same kind and same digest is a duplicate, whoever sends it.
//! - Another document with a known key is a revision: kept, not current, never summed. The first
//!   one stays current, as senders are not authenticated yet.
//! - Work that is redone after a crash finds its arrival and changes nothing.
//! - Rollups change in the transaction of the report they sum up.
//!
//! It knows no clock: times come with what is stored. It blocks; callers on the runtime use
//! `spawn_blocking`.

mod clock;
pub mod failures;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod outcomes;
pub mod published;
pub mod queries;
mod replace;
mod reread;
pub mod retention;
pub mod sessions;
mod sqlite;
pub mod states;
mod values;
mod write;

use std::{net::IpAddr, path::PathBuf};

pub use clock::Clock;
pub use replace::{Change, Replaced, Target};
pub use sqlite::{Reader, Store};
pub use write::{Batch, Ours, PolicySink, Sink};

use crate::{
    report::{Broken, Digest},
    terms::{Door, Outcome, Rejection},
};

/// The file in the data directory.
pub const FILE: &str = "reports.sqlite";

/// How a part of a mail came to us. (`node`, `spool`, `spool_id`, `part`) is its name.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The host, as configured.
    pub node: String,
    /// The name of the spool file, as its ids begin anew when it is set aside.
    pub spool: String,
    /// The entry in that spool.
    pub spool_id: i64,
    /// Which part of the mail, in the words of `unpack`; empty: the whole mail.
    pub part: String,
    /// When the mail came, UTC epoch seconds.
    pub arrived: i64,
    /// By which way.
    pub door: Door,
    /// The SMTP client, where there was one.
    pub client: Option<IpAddr>,
    /// The envelope sender as the door bounded it.
    pub sender: String,
    /// The first recipient of ours, as the door bounded it.
    pub recipient: String,
    /// Digest of the raw mail in the archive; `None`: it is not archived. Kept with the report
    /// if this arrival is its first.
    pub archive: Option<Digest>,
}

/// What became of an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The outcome; of work that was redone, that of the first time.
    pub outcome: Outcome,
    /// Whether it was recorded before, so that nothing is to be counted now.
    pub redone: bool,
}

/// What the store cannot do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no store yet.
    #[error("no report store at {0}: nothing was stored yet, or data_dir is another")]
    NotThere(PathBuf),
    /// The file could not be made or opened.
    #[error("cannot open the report store {path}")]
    File {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It opens for reading only: the file, its folder or the file system takes no writes, or did not
    /// for a moment.
    #[error("the report store {0} cannot be written")]
    ReadOnly(PathBuf),
    /// What would be written into the open file is nowhere to be found afterwards.
    #[error(
        "the report store {0} was removed or replaced: stop serve, put it back or run \
         replay --rebuild"
    )]
    Removed(PathBuf),
    /// The file is another program's.
    #[error("{0} is not a report store of rua-milter")]
    NotAStore(PathBuf),
    /// A newer version of the program has written it.
    #[error("the report store has schema {found}, this version knows {known}: use the newer one")]
    NewerSchema {
        /// In the file.
        found: i64,
        /// Known here.
        known: i64,
    },
    /// Only reading, and the file waits for the migration that a writer makes.
    #[error("the report store has schema {found}, this version needs {known}: start serve once")]
    OlderSchema {
        /// In the file.
        found: i64,
        /// Known here.
        known: i64,
    },
    /// A setting that durability rests on did not take.
    #[error("the report store does not take {setting}: it says {found:?}")]
    Setting {
        /// What was asked.
        setting: &'static str,
        /// What SQLite answered.
        found: String,
    },
    /// SQLite failed.
    #[error("cannot {doing} in the report store")]
    Sql {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        source: rusqlite::Error,
    },
    /// An earlier failure has ended the transaction.
    #[error("the transaction of the report store is lost")]
    Lost,
    /// The document could not be read a second time.
    #[error("the document could not be read again: {0}")]
    Unreadable(Broken),
    /// The second reading found other records than the first.
    #[error("the second reading found {records} records with {messages} messages, not the same")]
    Inconsistent {
        /// Records found.
        records: u64,
        /// Their messages.
        messages: u64,
    },
    /// The report counts more messages than can be summed.
    #[error("the report counts {0} messages, more than can be summed")]
    Count(u64),
}

impl StoreError {
    /// The reason for which the entry is to be parked: the fault lies with the document. `None`:
    /// the store failed, and the work is to be tried again.
    pub fn rejection(&self) -> Option<Rejection> {
        match self {
            Self::Unreadable(broken) => Some(broken.rejection),
            Self::Inconsistent { .. } => Some(Rejection::Crashed),
            Self::Count(_) => Some(Rejection::BadCount),
            _ => None,
        }
    }

    /// For `map_err` on what SQLite answers.
    pub(crate) fn sql(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Sql { doing, source }
    }
}
