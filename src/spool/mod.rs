//! What was accepted and is not yet stored.
//!
//! A SQLite file of its own (WAL, synchronous=FULL), apart from the report store, so that
//! neither a corrupt nor a slow store ever stops intake. [`Spool::put`] returns when the entry
//! is durable, and the doors say 250 only then. One thread ([`writer`]) commits whatever waits
//! as one transaction: a commit costs one disk sync, however many messages share it.
//!
//! Parked mail is kept here too, with its reason, for a later version to try again.

mod schema;
mod state;
#[cfg(test)]
mod traced;
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

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::{
    config::Limits,
    telemetry::instruments::Gauges,
    terms::{Door, Rejection},
};
pub use state::State;
use writer::{Job, Work};

/// The file in the data directory.
pub const FILE: &str = "spool.sqlite";

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
        }
    }

    /// The client's network, by which the parked space is shared out: /24 or /48.
    pub fn network(&self) -> String {
        match self.client {
            Some(IpAddr::V4(ip)) => {
                let [a, b, c, _] = ip.octets();
                format!("{a}.{b}.{c}.0/24")
            }
            Some(IpAddr::V6(ip)) => {
                let [a, b, c, ..] = ip.segments();
                format!("{a:x}:{b:x}:{c:x}::/48")
            }
            None => String::new(),
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
    /// Not usable: they stay, with the reason.
    pub parked: Vec<(i64, Rejection)>,
    /// What is kept of some of these instead of the message.
    pub shortened: Vec<(i64, Vec<u8>)>,
    /// Not tried, as something else failed: their attempt is taken back.
    pub released: Vec<i64>,
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
    let (jobs, waiting) = std::sync::mpsc::sync_channel(crate::limits::SPOOL_QUEUE);
    let writer = writer::start(conn, waiting, Arc::clone(&state))?;
    Ok((
        Spool {
            jobs,
            state,
            path: dir.join(FILE),
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

    /// Takes entries to work on, oldest first, and counts an attempt for each before it returns.
    /// An entry that was tried before comes alone, so that it can only end itself.
    pub async fn claim(&self, among: Among) -> Result<Vec<i64>, SpoolError> {
        self.ask(Work::Claim(among)).await
    }

    /// Lets parked entries wait for the pipeline again and gives their numbers; not those of which
    /// only the head was kept.
    pub async fn retry(&self) -> Result<Vec<i64>, SpoolError> {
        self.ask(Work::Retry).await
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

    /// Depth, room and pulse.
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// What tells this spool file from any other, earlier or elsewhere.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// Reads entries; never writes.
#[derive(Debug)]
pub struct Reader(Connection);

impl Reader {
    /// Opens the spool file at `path` read-only.
    pub fn open(path: &Path) -> Result<Self, SpoolError> {
        schema::open_read_only(path).map(Self)
    }

    /// One entry, if it is still there.
    pub fn load(&self, id: i64) -> Result<Option<Entry>, SpoolError> {
        let transaction = self.0.unchecked_transaction()?;
        let row = transaction
            .prepare_cached("SELECT arrived, envelope FROM entry WHERE id = ?1")?
            .query_row([id], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))
            .optional()?;
        let Some((arrived, envelope)) = row else {
            return Ok(None);
        };
        // As a column it would be in memory twice.
        let blob = transaction.blob_open("main", "message", "raw", id, true)?;
        let mut raw = vec![0; blob.len()];
        blob.read_at_exact(&mut raw, 0)?;
        Ok(Some(Entry {
            id,
            arrived,
            envelope: serde_json::from_str(&envelope)?,
            raw,
        }))
    }

    /// The parked entries that [`Spool::retry`] would take.
    pub fn parked(&self) -> Result<Vec<i64>, SpoolError> {
        let sql = format!("SELECT id FROM entry WHERE {} ORDER BY id", writer::RETRIED);
        let mut statement = self.0.prepare(&sql)?;
        let ids = statement.query_map([crate::limits::OVERSIZE_HEAD], |row| row.get(0))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }

    /// Whether any of `ids` still waits to be worked on.
    pub fn any_new(&self, ids: std::ops::RangeInclusive<i64>) -> Result<bool, SpoolError> {
        let mut statement = self.0.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM entry WHERE state = 'new' AND id BETWEEN ?1 AND ?2)",
        )?;
        Ok(statement.query_row([ids.start(), ids.end()], |row| row.get(0))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Envelope {
        Envelope {
            client: Some([192, 0, 2, 9].into()),
            sender: "noreply@reporter.example".into(),
            recipients: vec!["rua@reports.example".into()],
            ..Envelope::of(Door::Milter)
        }
    }

    fn entry(raw: &[u8], parked: Option<Rejection>) -> NewEntry {
        NewEntry {
            envelope: envelope(),
            arrived: 1_700_000_000,
            raw: raw.into(),
            parked,
        }
    }

    #[tokio::test]
    async fn what_was_put_is_there_after_reopening_until_it_is_settled() {
        let dir = tempfile::tempdir().expect("a directory");
        let (spool, writer) = open(dir.path(), Limits::default(), Arc::default()).expect("a spool");
        let first = spool.put(entry(b"one", None)).await.expect("durable");
        let second = spool.put(entry(b"two", None)).await.expect("durable");
        drop(spool);
        writer.join();

        let (spool, _writer) =
            open(dir.path(), Limits::default(), Arc::default()).expect("a spool");
        assert_eq!(spool.state().depth().new_entries, 2);
        assert_eq!(
            spool.claim(Among::All).await.expect("claimed"),
            [first, second]
        );
        let loaded = spool
            .reader()
            .expect("a reader")
            .load(first)
            .expect("read")
            .expect("there");
        assert_eq!(
            (loaded.raw.as_slice(), loaded.envelope),
            (b"one".as_slice(), envelope())
        );
        let settled = Settled {
            done: vec![first],
            parked: vec![(second, Rejection::Truncated)],
            ..Settled::default()
        };
        spool.settle(settled).await.expect("settled");
        let depth = spool.state().depth();
        let held = 3 + serde_json::to_string(&envelope()).expect("JSON").len() as u64;
        assert_eq!(
            (depth.new_entries, depth.parked_entries, depth.parked_bytes),
            (0, 1, held)
        );
        assert!(spool.claim(Among::All).await.expect("claimed").is_empty());
    }

    #[tokio::test]
    async fn an_entry_that_was_tried_comes_alone_and_is_parked_in_the_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let (spool, _writer) =
            open(dir.path(), Limits::default(), Arc::default()).expect("a spool");
        let bad = spool.put(entry(b"bad", None)).await.expect("durable");
        assert_eq!(spool.claim(Among::All).await.expect("claimed"), [bad]);
        let good = spool.put(entry(b"good", None)).await.expect("durable");
        assert_eq!(spool.claim(Among::All).await.expect("claimed"), [good]);
        let done = Settled {
            done: vec![good],
            ..Settled::default()
        };
        spool.settle(done).await.expect("settled");
        for _ in 1..crate::limits::MAX_ATTEMPTS {
            assert_eq!(spool.claim(Among::All).await.expect("claimed"), [bad]);
        }
        assert!(spool.claim(Among::All).await.expect("claimed").is_empty());
        assert_eq!(spool.state().depth().parked_entries, 1);
    }

    #[tokio::test]
    async fn entries_that_were_tried_wait_and_come_by_turns() {
        let dir = tempfile::tempdir().expect("a directory");
        let (spool, _writer) =
            open(dir.path(), Limits::default(), Arc::default()).expect("a spool");
        let one = spool.put(entry(b"one", None)).await.expect("durable");
        let two = spool.put(entry(b"two", None)).await.expect("durable");
        let both = spool.claim(Among::Untried).await.expect("claimed");
        assert_eq!(both, [one, two]);
        // Both were interrupted.
        let untried = spool.claim(Among::Untried).await.expect("claimed");
        assert!(untried.is_empty());
        for next in [one, two] {
            assert_eq!(spool.claim(Among::All).await.expect("claimed"), [next]);
        }
        assert_eq!(spool.state().depth().parked_entries, 0);
    }

    #[tokio::test]
    async fn a_released_entry_was_not_tried() {
        let dir = tempfile::tempdir().expect("a directory");
        let (spool, _writer) =
            open(dir.path(), Limits::default(), Arc::default()).expect("a spool");
        let id = spool.put(entry(b"x", None)).await.expect("durable");
        for _ in 0..10 {
            assert_eq!(spool.claim(Among::All).await.expect("claimed"), [id]);
            let released = Settled {
                released: vec![id],
                ..Settled::default()
            };
            spool.settle(released).await.expect("settled");
        }
    }

    #[tokio::test]
    async fn a_large_message_comes_out_as_it_went_in() {
        let dir = tempfile::tempdir().expect("a directory");
        let (spool, _writer) =
            open(dir.path(), Limits::default(), Arc::default()).expect("a spool");
        let reader = spool.reader().expect("a reader");
        for size in [
            0,
            crate::limits::SPOOL_WHOLE,
            crate::limits::SPOOL_WHOLE + 1,
        ] {
            let raw: Vec<u8> = (0..=250).cycle().take(size).collect();
            let id = spool.put(entry(&raw, None)).await.expect("durable");
            let entry = reader.load(id).expect("read").expect("there");
            assert!(entry.raw == raw, "{size}");
        }
    }

    #[tokio::test]
    async fn a_spool_of_an_earlier_version_keeps_its_messages() {
        let dir = tempfile::tempdir().expect("a directory");
        let begin = || open(dir.path(), Limits::default(), Arc::default()).expect("a spool");
        drop(begin());
        let earlier = "ALTER TABLE entry ADD COLUMN raw BLOB NOT NULL DEFAULT x'';
            DROP TABLE message;
            DROP INDEX entry_waiting;
            CREATE INDEX entry_new ON entry (attempts > 0, id) WHERE state = 'new';
            PRAGMA user_version = 1";
        let envelope = serde_json::to_string(&envelope()).expect("JSON");
        let put = "INSERT INTO entry (state, arrived, network, size, envelope, raw)
            VALUES ('new', 1, '', 4, ?1, ?2)";
        Connection::open(dir.path().join(FILE))
            .and_then(|conn| {
                conn.execute_batch(earlier)?;
                conn.execute(put, (envelope, &b"mail"[..]))
            })
            .expect("a spool of version 1");
        let (spool, _writer) = begin();
        let ids = spool.claim(Among::All).await.expect("claimed");
        let reader = spool.reader().expect("a reader");
        let entry = reader.load(ids[0]).expect("read").expect("there");
        assert_eq!((ids.len(), entry.raw), (1, b"mail".to_vec()));
        let done = Settled {
            done: ids,
            ..Settled::default()
        };
        spool.settle(done).await.expect("settled");
        let left = "SELECT (SELECT count(*) FROM entry) + (SELECT count(*) FROM message)";
        let left: i64 = reader
            .0
            .query_row(left, [], |row| row.get(0))
            .expect("read");
        assert_eq!(left, 0);
    }

    #[tokio::test]
    async fn a_broken_file_is_never_moved_away_from_under_its_owner() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(FILE);
        std::fs::write(&path, b"broken, and long enough to tell".repeat(100)).expect("written");
        let error = open_beside(dir.path(), Limits::default()).expect_err("an error");
        assert!(matches!(error, SpoolError::Open { .. }), "{error}");
        assert!(path.exists());
    }

    #[tokio::test]
    async fn parked_entries_wait_again_when_asked_but_not_heads() {
        let dir = tempfile::tempdir().expect("a directory");
        let (spool, _writer) =
            open(dir.path(), Limits::default(), Arc::default()).expect("a spool");
        let head = vec![0; crate::limits::OVERSIZE_HEAD];
        let mut ids = Vec::new();
        for (raw, reason) in [
            (&b"cut"[..], Rejection::Truncated),
            (&head, Rejection::TooLarge),
            (b"bomb", Rejection::TooLarge),
            (b"killer", Rejection::Crashed),
        ] {
            let put = spool.put(entry(raw, Some(reason)));
            ids.push(put.await.expect("durable"));
        }
        let bytes_before = spool.state().depth().parked_bytes;
        let whole = [ids[0], ids[2], ids[3]];
        let reader = spool.reader().expect("a reader");
        assert_eq!(reader.parked().expect("read"), whole);
        assert_eq!(spool.retry().await.expect("waiting"), whole);
        assert!(reader.parked().expect("read").is_empty());
        let depth = spool.state().depth();
        assert_eq!((depth.new_entries, depth.parked_entries), (3, 1));
        assert_eq!(depth.new_bytes + depth.parked_bytes, bytes_before);
        // What ended the program comes alone.
        assert_eq!(
            spool.claim(Among::All).await.expect("claimed"),
            [ids[0], ids[2]]
        );
    }

    #[tokio::test]
    async fn of_a_parked_entry_less_may_be_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let (spool, _writer) =
            open(dir.path(), Limits::default(), Arc::default()).expect("a spool");
        let id = spool.put(entry(&[b'x'; 900], None)).await.expect("durable");
        let bytes_before = spool.state().depth().new_bytes;
        assert_eq!(spool.claim(Among::All).await.expect("claimed"), [id]);
        let settled = Settled {
            parked: vec![(id, Rejection::NoFeedback)],
            shortened: vec![(id, b"less".to_vec())],
            ..Settled::default()
        };
        spool.settle(settled).await.expect("settled");
        let depth = spool.state().depth();
        assert_eq!(
            (depth.new_bytes, depth.parked_bytes),
            (0, bytes_before - 896)
        );
        let kept = spool.reader().expect("a reader").load(id).expect("read");
        assert_eq!(kept.expect("there").raw, b"less");
    }

    #[tokio::test]
    async fn what_is_not_wanted_is_not_tried_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let (spool, _writer) =
            open(dir.path(), Limits::default(), Arc::default()).expect("a spool");
        let off = entry(b"header", Some(Rejection::FailureReportsOff));
        spool.put(off).await.expect("durable");
        assert!(spool.retry().await.expect("asked").is_empty());
    }

    #[tokio::test]
    async fn a_full_spool_and_a_greedy_network_are_told_apart() {
        let dir = tempfile::tempdir().expect("a directory");
        let limits = Limits {
            max_message: 1_000,
            max_spool: 10_000,
            min_free: 0,
            ..Limits::default()
        };
        let (spool, _writer) = open(dir.path(), limits, Arc::default()).expect("a spool");
        let network = envelope().network();
        assert_eq!(network, "192.0.2.0/24");
        spool
            .put(entry(&[0; 1_001], Some(Rejection::Truncated)))
            .await
            .expect("durable");
        assert_eq!(spool.state().room(&network), Err(Rejection::ParkedQuota));
        assert_eq!(spool.state().room("198.51.100.0/24"), Ok(()));
        spool.put(entry(&[0; 8_000], None)).await.expect("durable");
        assert_eq!(
            spool.state().room("198.51.100.0/24"),
            Err(Rejection::NoRoom)
        );
    }
}
