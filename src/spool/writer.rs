//! The one thread that writes: commits what waits, then answers each waiter.
//!
//! There is no timer in the way of a message: while one commit syncs, the next batch gathers.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rusqlite::{
    Connection, OptionalExtension, Transaction, TransactionBehavior, ffi,
    types::{ToSqlOutput, ValueRef},
};
use tokio::sync::oneshot;

use super::{Among, NewEntry, Parked, Settled, SpoolError, State, state::Depth};
use crate::{
    limits::{CLAIM_BYTES, CLAIM_ENTRIES, MAX_ATTEMPTS, SPOOL_BATCH, SPOOL_WHOLE},
    terms::Rejection,
};

/// What the writer is asked for. Every answer is a list of entry ids.
#[derive(Debug)]
pub struct Job {
    pub work: Work,
    pub reply: oneshot::Sender<Result<Vec<i64>, SpoolError>>,
}

#[derive(Debug)]
pub enum Work {
    /// Make an entry durable; answers its id.
    Put(Box<NewEntry>),
    /// Give entries to work on; answers their ids.
    Claim(Among),
    /// Count a try that ended the program against an entry; answers nothing.
    Blame(i64),
    /// Let these wait again, as far as they are parked; answers their ids.
    Retry(Vec<i64>),
    /// Forget these, as far as they are parked; answers their ids.
    Drop(Vec<i64>),
    /// Record what became of them; answers nothing.
    Settle(Settled),
}

/// How often the writer looks around: at the disk, at what another process wrote, at free pages.
const ROUND: Duration = Duration::from_secs(1);
/// Pages given back to the file system in one round; 4 MiB at a page size of 4 KiB.
const GIVE_BACK_PAGES: u32 = 1_000;

pub fn start(
    conn: Connection,
    path: &Path,
    waiting: Receiver<Job>,
    state: Arc<State>,
) -> Result<JoinHandle<()>, SpoolError> {
    let mut writer = Writer {
        conn,
        path: path.into(),
        file: identity(path),
        state,
        seen_version: 0,
        version: super::version(),
    };
    writer.recount()?;
    std::thread::Builder::new()
        .name("spool".into())
        .spawn(move || writer.run(&waiting))
        .map_err(SpoolError::Thread)
}

struct Writer {
    conn: Connection,
    path: PathBuf,
    /// Which file is open.
    file: Option<(u64, u64)>,
    state: Arc<State>,
    /// `PRAGMA data_version`: moves when another process has written.
    seen_version: i64,
    /// Ours, kept with what we park.
    version: String,
}

impl Writer {
    fn run(&mut self, waiting: &Receiver<Job>) {
        let mut last_round = Instant::now();
        loop {
            let first = match waiting.recv_timeout(ROUND) {
                Ok(job) => Some(job),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            self.state.beat();
            if let Some(first) = first {
                let batch: Vec<Job> = std::iter::once(first)
                    .chain(waiting.try_iter().take(SPOOL_BATCH - 1))
                    .collect();
                self.commit(batch);
            }
            if last_round.elapsed() >= ROUND {
                last_round = Instant::now();
                if let Err(error) = self.look_around() {
                    self.failed(&error);
                }
            }
        }
    }

    fn commit(&mut self, batch: Vec<Job>) {
        let mut depth = self.state.depth();
        let arrived = batch
            .iter()
            .any(|job| matches!(job.work, Work::Put(_) | Work::Retry(_)));
        let (begin, version) = (TransactionBehavior::Immediate, &*self.version);
        let committed = self
            .is_in_place()
            .and_then(|()| self.conn.transaction_with_behavior(begin))
            .and_then(|transaction| {
                let answers = batch
                    .iter()
                    .map(|job| apply(&transaction, &mut depth, &job.work, version))
                    .collect::<Result<Vec<_>, _>>()?;
                transaction.commit()?;
                Ok(answers)
            });
        // A waiter that has gone away (its connection closed) need not hear the answer.
        match committed {
            Ok(answers) => {
                self.state.with_depth(|known| *known = depth);
                self.state.set_failing(false);
                self.state.committed(batch.len());
                for (job, ids) in batch.into_iter().zip(answers) {
                    drop(job.reply.send(Ok(ids)));
                }
                if arrived {
                    self.state.arrived.notify_one();
                }
            }
            Err(error) => {
                self.failed(&error);
                let why: Arc<str> = error.to_string().into();
                for job in batch {
                    drop(job.reply.send(Err(SpoolError::Commit(Arc::clone(&why)))));
                }
            }
        }
    }

    /// What goes into a file that somebody has removed is durable for nobody.
    fn is_in_place(&self) -> Result<(), rusqlite::Error> {
        if identity(&self.path) == self.file {
            return Ok(());
        }
        let moved = ffi::Error::new(ffi::SQLITE_READONLY_DBMOVED);
        let path = self.path.display();
        let text = format!("{path} was removed or replaced: put it back or restart");
        Err(rusqlite::Error::SqliteFailure(moved, Some(text)))
    }

    fn failed(&self, error: &rusqlite::Error) {
        if !self.state.is_failing() {
            tracing::error!(%error, "the spool cannot be written; our recipients hear 451");
        }
        self.state.set_failing(true);
    }

    /// What another process wrote is counted, free pages are given back, and after a failure a
    /// small write shows whether the disk takes one again.
    fn look_around(&mut self) -> Result<(), rusqlite::Error> {
        self.state.measure_disk();
        self.is_in_place()?;
        if self.state.is_failing() {
            self.conn.execute("UPDATE spool SET beat = beat + 1", [])?;
            tracing::info!("the spool can be written again");
            self.state.set_failing(false);
        }
        let version: i64 = self
            .conn
            .query_row("PRAGMA data_version", [], |row| row.get(0))?;
        if version != self.seen_version {
            self.recount()?;
            self.state.arrived.notify_one();
        }
        let oldest: Option<i64> = self.conn.query_row(
            "SELECT min(arrived) FROM (SELECT arrived FROM entry WHERE state = 'new' LIMIT 1000)",
            [],
            |row| row.get(0),
        )?;
        // Ids grow with time, and the index of the parked ones has them.
        let parked: Option<i64> = self.conn.query_row(
            "SELECT min(arrived) FROM entry
             WHERE id = (SELECT min(id) FROM entry WHERE state = 'parked')",
            [],
            |row| row.get(0),
        )?;
        self.state.with_depth(|depth| {
            depth.oldest_new = oldest;
            depth.oldest_parked = parked;
        });
        let free: i64 = self
            .conn
            .query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
        // While mail comes and goes the free pages are about to be used again.
        if free > 0 && oldest.is_none() {
            // It gives a page back at each step.
            let give_back = format!("PRAGMA incremental_vacuum({GIVE_BACK_PAGES})");
            let mut vacuum = self.conn.prepare(&give_back)?;
            let mut steps = vacuum.query([])?;
            while steps.next()?.is_some() {}
        }
        Ok(())
    }

    fn recount(&mut self) -> Result<(), rusqlite::Error> {
        let mut depth = Depth::default();
        {
            let mut statement = self.conn.prepare(
                "SELECT state, network, count(*), coalesce(sum(size), 0), min(arrived)
                 FROM entry GROUP BY state, network",
            )?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let (entries, bytes): (u64, u64) = (row.get(2)?, row.get(3)?);
                if row.get_ref(0)?.as_str()? == "new" {
                    depth.new_entries += entries;
                    depth.new_bytes += bytes;
                    let oldest: i64 = row.get(4)?;
                    depth.oldest_new = Some(depth.oldest_new.map_or(oldest, |o| o.min(oldest)));
                } else {
                    let oldest: i64 = row.get(4)?;
                    let parked = depth.oldest_parked.map_or(oldest, |o| o.min(oldest));
                    depth.oldest_parked = Some(parked);
                    depth.park(row.get(1)?, entries, bytes);
                }
            }
        }
        self.seen_version = self
            .conn
            .query_row("PRAGMA data_version", [], |row| row.get(0))?;
        self.state.with_depth(|known| *known = depth);
        Ok(())
    }
}

/// Device and inode of a file.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let file = fs::metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

impl Depth {
    pub(super) fn park(&mut self, network: String, entries: u64, bytes: u64) {
        self.parked_entries += entries;
        self.parked_bytes += bytes;
        let held = Arc::make_mut(&mut self.parked_by_network)
            .entry(network)
            .or_default();
        held.entries += entries;
        held.bytes += bytes;
    }

    fn take_parked(&mut self, network: &str, bytes: u64) {
        self.parked_entries = self.parked_entries.saturating_sub(1);
        self.parked_bytes = self.parked_bytes.saturating_sub(bytes);
        if self.parked_entries == 0 {
            self.oldest_parked = None;
        }
        let networks = Arc::make_mut(&mut self.parked_by_network);
        if let Some(held) = networks.get_mut(network) {
            held.entries = held.entries.saturating_sub(1);
            held.bytes = held.bytes.saturating_sub(bytes);
            if held.entries == 0 {
                networks.remove(network);
            }
        }
    }

    fn add_new(&mut self, bytes: u64) {
        self.new_entries += 1;
        self.new_bytes += bytes;
    }

    fn take_new(&mut self, bytes: u64) {
        self.new_entries = self.new_entries.saturating_sub(1);
        self.new_bytes = self.new_bytes.saturating_sub(bytes);
        // Not only at the next look around, or an empty spool would have an age.
        if self.new_entries == 0 {
            self.oldest_new = None;
        }
    }
}

fn apply(
    transaction: &Transaction<'_>,
    depth: &mut Depth,
    work: &Work,
    version: &str,
) -> Result<Vec<i64>, rusqlite::Error> {
    match work {
        Work::Put(entry) => put(transaction, depth, entry, version).map(|id| vec![id]),
        Work::Claim(among) => claim(transaction, *among),
        Work::Blame(id) => blame(transaction, depth, *id, version).map(|()| Vec::new()),
        Work::Retry(ids) => retry(transaction, depth, ids),
        Work::Drop(ids) => drop_parked(transaction, depth, ids),
        Work::Settle(settled) => settle(transaction, depth, settled, version).map(|()| Vec::new()),
    }
}

fn put(
    transaction: &Transaction<'_>,
    depth: &mut Depth,
    entry: &NewEntry,
    version: &str,
) -> Result<i64, rusqlite::Error> {
    let network = entry.envelope.network();
    let envelope = serde_json::to_string(&entry.envelope)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    // A thousand recipients take a megabyte, whatever the message does.
    let bytes = (entry.raw.len() + envelope.len()) as u64;
    transaction
        .prepare_cached(
            "INSERT INTO entry (state, arrived, reason, network, size, envelope, parked_by)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute((
            if entry.parked.is_some() {
                "parked"
            } else {
                "new"
            },
            entry.arrived,
            entry.parked.map(Rejection::as_str),
            &network,
            bytes,
            envelope,
            entry.parked.map(|_| version),
        ))?;
    let id = transaction.last_insert_rowid();
    put_message(transaction, id, &entry.raw)?;
    if entry.parked.is_some() {
        depth.park(network, 1, bytes);
    } else {
        depth.add_new(bytes);
    }
    Ok(id)
}

/// Writes the message of an entry, or another in its place.
fn put_message(transaction: &Transaction<'_>, id: i64, raw: &[u8]) -> Result<(), rusqlite::Error> {
    // SQLite makes two copies of a value that it is given whole.
    let in_pieces = raw.len() > SPOOL_WHOLE;
    let value = if in_pieces {
        ToSqlOutput::ZeroBlob(raw.len() as u64)
    } else {
        ToSqlOutput::Borrowed(ValueRef::Blob(raw))
    };
    transaction
        .prepare_cached("INSERT OR REPLACE INTO message (id, raw) VALUES (?1, ?2)")?
        .execute((id, value))?;
    if in_pieces {
        let mut blob = transaction.blob_open("main", "message", "raw", id, false)?;
        blob.write_all_at(raw, 0)?;
    }
    Ok(())
}

/// Entries that ended no try by the batch; when there are none, the oldest of the others alone.
fn claim(transaction: &Transaction<'_>, among: Among) -> Result<Vec<i64>, rusqlite::Error> {
    let mut ids = Vec::new();
    let mut bytes = 0;
    let mut untried = transaction.prepare_cached(
        "SELECT id, size FROM entry WHERE state = 'new' AND attempts = 0
         ORDER BY id LIMIT ?1",
    )?;
    let mut rows = untried.query([CLAIM_ENTRIES])?;
    while let Some(row) = rows.next()? {
        bytes += row.get::<_, usize>(1)?;
        if bytes > CLAIM_BYTES && !ids.is_empty() {
            break;
        }
        ids.push(row.get(0)?);
    }
    if ids.is_empty() && among == Among::All {
        let mut tried = transaction.prepare_cached(
            "SELECT id FROM entry WHERE state = 'new' AND attempts > 0
             ORDER BY attempts, id LIMIT 1",
        )?;
        ids.extend(tried.query_row([], |row| row.get::<_, i64>(0)).optional()?);
    }
    Ok(ids)
}

/// One that ended the program often enough is left, whatever it does to us.
fn blame(
    transaction: &Transaction<'_>,
    depth: &mut Depth,
    id: i64,
    version: &str,
) -> Result<(), rusqlite::Error> {
    let mut count = transaction.prepare_cached(
        "UPDATE entry SET attempts = attempts + 1 WHERE id = ?1 AND state = 'new'
         RETURNING attempts",
    )?;
    let attempts: Option<u32> = count.query_row([id], |row| row.get(0)).optional()?;
    match attempts {
        // It was settled after all.
        None => Ok(()),
        Some(attempts) if attempts < MAX_ATTEMPTS => {
            tracing::warn!(spool_id = id, "the program ended while it tried this mail");
            Ok(())
        }
        Some(_) => {
            tracing::error!(
                spool_id = id,
                "parked: trying it ended the program repeatedly"
            );
            let parked = Parked::of(id, Rejection::Crashed);
            park(transaction, depth, &parked, version)
        }
    }
}

/// Whoever asks for what ended the program gets it tried once more, alone.
fn retry(
    transaction: &Transaction<'_>,
    depth: &mut Depth,
    ids: &[i64],
) -> Result<Vec<i64>, rusqlite::Error> {
    let mut retry = transaction.prepare_cached(
        "UPDATE entry SET state = 'new', attempts = min(attempts, ?2), reason = NULL,
             at_byte = NULL
         WHERE id = ?1 AND state = 'parked' RETURNING network, size",
    )?;
    let mut waiting = Vec::new();
    for id in ids {
        let row = retry.query_row((id, MAX_ATTEMPTS - 1), |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?))
        });
        if let Some((network, bytes)) = row.optional()? {
            depth.take_parked(&network, bytes);
            depth.add_new(bytes);
            waiting.push(*id);
        }
    }
    Ok(waiting)
}

fn drop_parked(
    transaction: &Transaction<'_>,
    depth: &mut Depth,
    ids: &[i64],
) -> Result<Vec<i64>, rusqlite::Error> {
    let mut delete = transaction.prepare_cached(
        "DELETE FROM entry WHERE id = ?1 AND state = 'parked' RETURNING network, size",
    )?;
    let mut delete_message = transaction.prepare_cached("DELETE FROM message WHERE id = ?1")?;
    let mut dropped = Vec::new();
    for id in ids {
        let row = delete.query_row([id], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)));
        if let Some((network, bytes)) = row.optional()? {
            delete_message.execute([id])?;
            depth.take_parked(&network, bytes);
            dropped.push(*id);
        }
    }
    Ok(dropped)
}

fn settle(
    transaction: &Transaction<'_>,
    depth: &mut Depth,
    settled: &Settled,
    version: &str,
) -> Result<(), rusqlite::Error> {
    let mut delete = transaction
        .prepare_cached("DELETE FROM entry WHERE id = ?1 AND state = 'new' RETURNING size")?;
    let mut delete_message = transaction.prepare_cached("DELETE FROM message WHERE id = ?1")?;
    for id in &settled.done {
        let size = delete.query_row([id], |row| row.get(0)).optional()?;
        if let Some(bytes) = size {
            delete_message.execute([id])?;
            depth.take_new(bytes);
        }
    }
    for (id, raw) in &settled.shortened {
        shorten(transaction, depth, *id, raw)?;
    }
    let mut count =
        transaction.prepare_cached("UPDATE entry SET attempts = attempts + 1 WHERE id = ?1")?;
    for parked in &settled.parked {
        // A panic that was caught is an end of the parser like any other.
        if parked.reason == Rejection::Crashed {
            count.execute([parked.id])?;
        }
        park(transaction, depth, parked, version)?;
    }
    Ok(())
}

/// Keeps `raw` instead of the message.
fn shorten(
    transaction: &Transaction<'_>,
    depth: &mut Depth,
    id: i64,
    raw: &[u8],
) -> Result<(), rusqlite::Error> {
    let mut size = transaction.prepare_cached(
        "SELECT size, length(raw) FROM entry JOIN message USING (id)
         WHERE id = ?1 AND state = 'new'",
    )?;
    let held = size.query_row([id], |row| {
        Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?))
    });
    let Some((before, message)) = held.optional()? else {
        return Ok(());
    };
    let after = before.saturating_sub(message) + raw.len() as u64;
    put_message(transaction, id, raw)?;
    transaction
        .prepare_cached("UPDATE entry SET size = ?2 WHERE id = ?1")?
        .execute((id, after))?;
    depth.new_bytes = depth.new_bytes.saturating_sub(before) + after;
    Ok(())
}

fn park(
    transaction: &Transaction<'_>,
    depth: &mut Depth,
    parked: &Parked,
    version: &str,
) -> Result<(), rusqlite::Error> {
    let mut park = transaction.prepare_cached(
        "UPDATE entry SET state = 'parked', reason = ?2, at_byte = ?3, parked_by = ?4
         WHERE id = ?1 AND state = 'new' RETURNING network, size",
    )?;
    let at_byte = parked.at_byte.and_then(|at| i64::try_from(at).ok());
    let values = (parked.id, parked.reason.as_str(), at_byte, version);
    let row = park.query_row(values, |row| Ok((row.get::<_, String>(0)?, row.get(1)?)));
    if let Some((network, bytes)) = row.optional()? {
        depth.take_new(bytes);
        depth.park(network, 1, bytes);
    }
    Ok(())
}
