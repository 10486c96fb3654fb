//! What was accepted and is not yet stored.
//!
//! A SQLite file of its own (WAL, synchronous=FULL), apart from the report store, so that
//! neither a corrupt nor a slow store ever stops intake. [`Spool::put`] returns when the entry
//! is durable, and the doors say 250 only then. One thread ([`writer`]) commits whatever waits
//! as one transaction: a commit costs one disk sync, however many messages share it.
//!
//! Parked mail is kept here too, with its reason, for a later version to try again.

mod reader;
mod schema;
mod state;
#[cfg(test)]
mod traced;
mod trial;
mod writer;

use std::{
    future::Future,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{SyncSender, TrySendError},
    },
};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::{
    config::Limits,
    report::PARSER_VERSION,
    telemetry::instruments::Gauges,
    terms::{Door, Rejection},
};
pub use reader::{Filter, Network, ParkedEntry, Reader};
pub use state::State;
pub use trial::Trial;
use writer::{Job, Work};

/// The file in the data directory.
pub const FILE: &str = "spool.sqlite";
/// Beside it, which entry is being tried.
const TRIAL_FILE: &str = "trying";

/// The line that holds an envelope where a mail is kept as a file, up to its JSON.
const LINE: &str = "X-Rua-Milter-Envelope: ";

/// What parks mail: another version of the program, or of its parser, may do better.
pub fn version() -> String {
    format!("{}/{PARSER_VERSION}", env!("CARGO_PKG_VERSION"))
}

/// Why the spool cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Opening, or making a fresh one.
    #[error("cannot open the spool {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// Another version of the program made it.
    #[error("the spool {} has schema {found}, this program knows {known}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// A setting that durability rests on could not be made.
    #[error("the spool refuses {0}")]
    Setting(&'static str),
    /// A broken file could not be set aside.
    #[error("cannot set the broken spool {} aside", path.display())]
    SetAside {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The thread could not be started.
    #[error("cannot start the spool's writer")]
    Thread(#[source] std::io::Error),
    /// A read or a commit failed; nothing of it was acknowledged.
    #[error("spool")]
    Sqlite(#[from] rusqlite::Error),
    /// Another version of the program wrote what this one cannot read.
    #[error("the envelope of a spooled mail")]
    Envelope(#[from] serde_json::Error),
    /// The record of what is being tried.
    #[error("the record of what is being tried")]
    Trial(#[source] std::io::Error),
    /// A commit failed, shared by several waiters.
    #[error("spool: {0}")]
    Commit(Arc<str>),
    /// More messages wait than the bound.
    #[error("the spool's queue is full")]
    Busy,
    /// The writer has ended.
    #[error("the spool is closed")]
    Closed,
}

/// Who sent what to whom, and what only the MTA knew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The way by which it came.
    pub door: Door,
    /// The listener's name, or empty.
    pub listener: String,
    /// The client's address, if it has one.
    pub client: Option<IpAddr>,
    /// The client's name as the MTA gives it.
    pub client_name: String,
    /// The argument of HELO.
    pub helo: String,
    /// The MTA's queue id, once known.
    pub queue_id: String,
    /// The argument of MAIL, without brackets.
    pub sender: String,
    /// The arguments of RCPT that are ours, without brackets.
    pub recipients: Vec<String>,
    /// Whether the message had recipients that are not ours.
    pub others: bool,
    /// The SASL login, for mail that was submitted with authentication.
    pub authenticated: Option<String>,
    /// Authentication-Results fields, topmost first, bounded.
    pub authentication_results: Vec<String>,
    /// Whether bytes that were no UTF-8 were lost on the way (U+FFFD stands for them).
    #[serde(default)]
    pub lossy: bool,
}

impl Envelope {
    /// An envelope of which only the door is known.
    pub fn of(door: Door) -> Self {
        Self {
            door,
            listener: String::new(),
            client: None,
            client_name: String::new(),
            helo: String::new(),
            queue_id: String::new(),
            sender: String::new(),
            recipients: Vec::new(),
            others: false,
            authenticated: None,
            authentication_results: Vec::new(),
            lossy: false,
        }
    }

    /// Itself as a header line of JSON: everything that only the MTA knew.
    pub fn line(&self) -> String {
        let json = serde_json::to_string(self).expect("strings are always JSON");
        format!("{LINE}{json}\n")
    }

    /// What [`Envelope::line`] wrote among `lines`.
    pub fn of_lines(lines: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(lines).ok()?.lines();
        let json = lines.find_map(|line| line.strip_prefix(LINE))?;
        serde_json::from_str(json).ok()
    }

    /// The client's network, by which the parked space is shared out: /24 or /48.
    pub fn network(&self) -> String {
        self.client.map_or_else(String::new, network_of)
    }
}

fn network_of(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(ip) => {
            let [a, b, c, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
    }
}

/// An entry on its way in.
#[derive(Debug)]
pub struct NewEntry {
    /// Its envelope.
    pub envelope: Envelope,
    /// When it came, UTC epoch seconds.
    pub arrived: i64,
    /// The message.
    pub raw: Vec<u8>,
    /// Why it goes to the parked ones at once, if it does.
    pub parked: Option<Rejection>,
}

/// An entry that the pipeline works on.
#[derive(Debug)]
pub struct Entry {
    /// Its number in this spool; never used twice.
    pub id: i64,
    /// When it came, UTC epoch seconds.
    pub arrived: i64,
    /// Its envelope.
    pub envelope: Envelope,
    /// The message.
    pub raw: Vec<u8>,
}

/// Which entries may be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Among {
    /// None at which the program ended.
    Untried,
    /// Those too, once no other waits.
    All,
}

/// What became of claimed entries.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    /// Used: they go.
    pub done: Vec<i64>,
    /// Not usable: they stay.
    pub parked: Vec<Parked>,
    /// What is kept of some of these instead of the message.
    pub shortened: Vec<(i64, Vec<u8>)>,
}

/// An entry that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// Its number.
    pub id: i64,
    /// Why.
    pub reason: Rejection,
    /// Where in the document that showed.
    pub at_byte: Option<u64>,
}

impl Parked {
    /// One of which is not known where it is wrong.
    pub fn of(id: i64, reason: Rejection) -> Self {
        Self {
            id,
            reason,
            at_byte: None,
        }
    }
}

/// The spool, shared by the doors and the pipeline.
#[derive(Clone, Debug)]
pub struct Spool {
    jobs: SyncSender<Job>,
    state: Arc<State>,
    path: PathBuf,
    id: Arc<str>,
}

/// The writer's thread; joined at the end, after every [`Spool`] is gone.
#[derive(Debug)]
pub struct Writer(std::thread::JoinHandle<()>);

impl Writer {
    /// Waits for the last commit.
    pub fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("the spool's writer ended by a panic");
        }
    }
}

/// Opens the spool in `dir`, makes it if there is none, sets a broken one aside, and starts
/// its writer. Only for the owner of the data directory.
pub fn open(
    dir: &Path,
    limits: Limits,
    gauges: Arc<Gauges>,
) -> Result<(Spool, Writer), SpoolError> {
    let path = dir.join(FILE);
    start(schema::open_or_set_aside(&path)?, dir, limits, gauges)
}

/// The same beside the owner, who may have the file open: a broken one is an error.
pub fn open_beside(dir: &Path, limits: Limits) -> Result<(Spool, Writer), SpoolError> {
    let path = dir.join(FILE);
    start(schema::open(&path)?, dir, limits, Arc::default())
}

fn start(
    (conn, id): (Connection, String),
    dir: &Path,
    limits: Limits,
    gauges: Arc<Gauges>,
) -> Result<(Spool, Writer), SpoolError> {
    let state = Arc::new(State::new(limits, dir, gauges));
    let path = dir.join(FILE);
    let (jobs, waiting) = std::sync::mpsc::sync_channel(crate::limits::SPOOL_QUEUE);
    let writer = writer::start(conn, &path, waiting, Arc::clone(&state))?;
    Ok((
        Spool {
            jobs,
            state,
            path,
            id: id.into(),
        },
        Writer(writer),
    ))
}

impl Spool {
    /// Makes an entry durable and gives its number. When this comes to an error, nothing was
    /// acknowledged and nothing of it will be worked on, unless the commit itself is in doubt.
    ///
    /// The entry is under way when this returns; awaiting it is waiting for the disk. Entries
    /// put one after the other get ascending numbers.
    pub fn put(&self, entry: NewEntry) -> impl Future<Output = Result<i64, SpoolError>> + use<> {
        let answer = self.ask(Work::Put(Box::new(entry)));
        async move { answer.await?.first().copied().ok_or(SpoolError::Closed) }
    }

    /// Gives entries to work on, oldest first; the same ones until they are settled. An entry that
    /// has ended the program comes alone and after all others, so that it holds up nobody.
    pub async fn claim(&self, among: Among) -> Result<Vec<i64>, SpoolError> {
        self.ask(Work::Claim(among)).await
    }

    /// Counts against an entry that trying it ended the program, and parks it if it did so often.
    pub async fn blame(&self, id: i64) -> Result<(), SpoolError> {
        self.ask(Work::Blame(id)).await.map(drop)
    }

    /// Lets these entries, as far as they are parked, wait for the pipeline again; gives those that
    /// do.
    pub async fn retry(&self, ids: Vec<i64>) -> Result<Vec<i64>, SpoolError> {
        self.ask(Work::Retry(ids)).await
    }

    /// Forgets these entries, as far as they are parked; gives those that are gone.
    pub async fn drop_parked(&self, ids: Vec<i64>) -> Result<Vec<i64>, SpoolError> {
        self.ask(Work::Drop(ids)).await
    }

    /// Records what became of claimed entries.
    pub async fn settle(&self, settled: Settled) -> Result<(), SpoolError> {
        self.ask(Work::Settle(settled)).await.map(|_| ())
    }

    fn ask(&self, work: Work) -> impl Future<Output = Result<Vec<i64>, SpoolError>> + use<> {
        let (reply, answer) = oneshot::channel();
        let sent = self
            .jobs
            .try_send(Job { work, reply })
            .map_err(|error| match error {
                TrySendError::Full(_) => SpoolError::Busy,
                TrySendError::Disconnected(_) => SpoolError::Closed,
            });
        async move {
            sent?;
            answer.await.map_err(|_| SpoolError::Closed)?
        }
    }

    /// A connection of its own for reading entries; blocking.
    pub fn reader(&self) -> Result<Reader, SpoolError> {
        Reader::open(&self.path)
    }

    /// The record of what is being tried; for the owner of the data directory.
    pub fn trial(&self) -> Result<Trial, SpoolError> {
        let path = self.path.with_file_name(TRIAL_FILE);
        Trial::open(&path, Arc::clone(&self.id)).map_err(SpoolError::Trial)
    }

    /// Depth, room and pulse.
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// What tells this spool file from any other, earlier or elsewhere.
    pub fn id(&self) -> &str {
        &self.id
    }
}

#[cfg(test)]
mod tests;
