//! Reading entries beside whoever works on them; never writes.

use std::{net::IpAddr, path::Path, time::Duration};

use rusqlite::{Connection, OptionalExtension, Row, Transaction, backup::Backup};
use serde::Serialize;

use super::{Entry, Envelope, SpoolError, network_of, schema, version};
use crate::{
    limits::{COPIED_PAGES, COPY_SKIPS, MAX_ATTEMPTS, OVERSIZE_HEAD, SPOOL_WHOLE},
    terms::Rejection,
};

/// What a later version may read: not a message of which the door kept only the head (`:head`
/// bytes), nor one that the operator does not want, of which only the header is there.
const RETRIED: &str = "state = 'parked' AND reason <> 'failure_reports_off'
    AND NOT (reason = 'too_large'
        AND (SELECT length(raw) FROM message WHERE message.id = entry.id) = :head)";

const PARKED: &str = "SELECT id, arrived, coalesce(reason, ''), at_byte, attempts,
    coalesce(parked_by, ''), size, network, envelope FROM entry WHERE state = 'parked'";

/// Which parked entries are meant; all of them by default.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Those with this reason.
    pub reason: Option<Rejection>,
    /// Those from this network.
    pub network: Option<Network>,
    /// Those that arrived before, UTC epoch seconds.
    pub before: Option<i64>,
}

/// A client's network as [`Envelope::network`] spells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network(String);

impl std::str::FromStr for Network {
    type Err = &'static str;

    /// From any address within it, with or without a prefix length behind.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = text.split_once('/').map_or(text, |(address, _)| address);
        let ip: IpAddr = address.parse().map_err(|_| "not an address or network")?;
        Ok(Self(network_of(ip)))
    }
}

/// A parked entry, without its message.
#[derive(Clone, Debug, Serialize)]
pub struct ParkedEntry {
    /// Its number in this spool.
    pub id: i64,
    /// When it came, UTC epoch seconds.
    pub arrived: i64,
    /// Why it is parked, a word of [`Rejection`].
    pub reason: String,
    /// Where in the document that showed.
    pub at_byte: Option<u64>,
    /// Tries that ended the program, or its parser.
    pub crashes: u32,
    /// The version that parked it.
    pub parked_by: String,
    /// Bytes that it takes.
    pub bytes: u64,
    /// The client's network.
    pub network: String,
    /// Who sent what to whom.
    pub envelope: Envelope,
}

impl ParkedEntry {
    /// The last that is heard of it: its line in the log.
    pub fn tell_dropped(&self, why: &'static str) {
        let envelope = &self.envelope;
        tracing::warn!(
            spool_id = self.id,
            reason = %self.reason.escape_debug(),
            arrived = self.arrived,
            client = envelope.client.map(tracing::field::display),
            client_name = %envelope.client_name.escape_debug(),
            from = %envelope.sender.escape_debug(),
            to = %envelope.recipients.first().map_or("", String::as_str).escape_debug(),
            bytes = self.bytes,
            "{why}"
        );
    }
}

/// Reads entries; never writes.
#[derive(Debug)]
pub struct Reader(pub(super) Connection);

impl Reader {
    /// Opens the spool file at `path` read-only.
    pub fn open(path: &Path) -> Result<Self, SpoolError> {
        schema::open_read_only(path).map(Self)
    }

    /// What tells this spool file from any other.
    pub fn spool_id(&self) -> Result<String, SpoolError> {
        let sql = "SELECT id FROM spool";
        Ok(self.0.query_row(sql, [], |row| row.get(0))?)
    }

    /// The entries as they are now, to be read together; what others write meanwhile waits in the log.
    pub fn snapshot(&self) -> Result<Snapshot<'_>, SpoolError> {
        Ok(Snapshot(self.0.unchecked_transaction()?))
    }

    /// One entry, if it is still there.
    pub fn load(&self, id: i64) -> Result<Option<Entry>, SpoolError> {
        self.snapshot()?.load(id)
    }

    /// Gives the parked entries that `filter` means, oldest first, one by one.
    pub fn parked<E: From<SpoolError>>(
        &self,
        filter: &Filter,
        mut each: impl FnMut(ParkedEntry) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = format!(
            "{PARKED} AND (?1 IS NULL OR reason = ?1) AND (?2 IS NULL OR network = ?2)
             AND (?3 IS NULL OR arrived < ?3) ORDER BY id"
        );
        let failed = |error: rusqlite::Error| E::from(error.into());
        let mut statement = self.0.prepare(&sql).map_err(failed)?;
        let network = filter.network.as_ref().map(|network| &network.0);
        let values = (filter.reason.map(Rejection::as_str), network, filter.before);
        let mut rows = statement.query(values).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            each(parked(row).map_err(failed)?)?;
        }
        Ok(())
    }

    /// One parked entry.
    pub fn parked_entry(&self, id: i64) -> Result<Option<ParkedEntry>, SpoolError> {
        let sql = format!("{PARKED} AND id = ?1");
        let mut statement = self.0.prepare_cached(&sql)?;
        Ok(statement.query_row([id], parked).optional()?)
    }

    /// The parked entries, of those with a `reason` or of all, that another try may be of use to.
    pub fn retriable(&self, reason: Option<Rejection>) -> Result<Vec<i64>, SpoolError> {
        let sql = format!(
            "SELECT id FROM entry WHERE {RETRIED} AND (:reason IS NULL OR reason = :reason)
             ORDER BY id"
        );
        let reason = reason.map(Rejection::as_str);
        let mut statement = self.0.prepare(&sql)?;
        let values = rusqlite::named_params! { ":head": OVERSIZE_HEAD, ":reason": reason };
        let ids = statement.query_map(values, |row| row.get(0))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }

    /// The same of entries behind number `after` that another version parked, the first of them; not
    /// what has ended the program too often.
    pub fn parked_by_others(&self, after: i64, most: usize) -> Result<Vec<i64>, SpoolError> {
        let sql = format!(
            "SELECT id FROM entry WHERE {RETRIED} AND id > :after AND attempts < :attempts
                 AND parked_by IS NOT :version ORDER BY id LIMIT :most"
        );
        let mut statement = self.0.prepare_cached(&sql)?;
        let values = rusqlite::named_params! {
            ":head": OVERSIZE_HEAD, ":after": after, ":attempts": MAX_ATTEMPTS,
            ":version": version(), ":most": most,
        };
        let ids = statement.query_map(values, |row| row.get(0))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }

    /// Copies the whole spool, as it is at this moment, to a new file; whoever writes goes on.
    ///
    /// The copy numbers its entries from far above: the store that is copied after it knows the
    /// arrivals of some that came in between, and would take new mail under their numbers for theirs.
    pub fn copy_to(&self, path: &Path) -> Result<(), SpoolError> {
        let mut copy = schema::create(path)?;
        // Held to the end, it keeps every commit from making the copy begin anew.
        let moment = self.0.unchecked_transaction()?;
        moment.query_row("SELECT id FROM spool", [], |_| Ok(()))?;
        let backup = Backup::new(&moment, &mut copy)?;
        backup.run_to_completion(COPIED_PAGES, Duration::ZERO, None)?;
        drop(backup);
        schema::skip(&copy, COPY_SKIPS)
    }

    /// The first of `ids` that still waits to be worked on.
    pub fn first_new(&self, ids: std::ops::RangeInclusive<i64>) -> Result<Option<i64>, SpoolError> {
        let mut statement = self.0.prepare_cached(
            "SELECT min(id) FROM entry WHERE state = 'new' AND id BETWEEN ?1 AND ?2",
        )?;
        Ok(statement.query_row([ids.start(), ids.end()], |row| row.get(0))?)
    }

    /// How many of `ids` still wait to be worked on.
    pub fn waiting(&self, ids: std::ops::RangeInclusive<i64>) -> Result<u64, SpoolError> {
        let mut statement = self.0.prepare_cached(
            "SELECT count(*) FROM entry WHERE state = 'new' AND id BETWEEN ?1 AND ?2",
        )?;
        Ok(statement.query_row([ids.start(), ids.end()], |row| row.get(0))?)
    }
}

/// The entries of one moment.
#[derive(Debug)]
pub struct Snapshot<'r>(Transaction<'r>);

impl Snapshot<'_> {
    /// One entry, if it was there.
    pub fn load(&self, id: i64) -> Result<Option<Entry>, SpoolError> {
        // As a column a long message would be in memory twice.
        let sql = "SELECT arrived, envelope, iif(length(raw) <= ?2, raw, NULL)
            FROM entry JOIN message USING (id) WHERE id = ?1";
        let row = self
            .0
            .prepare_cached(sql)?
            .query_row((id, SPOOL_WHOLE), |row| {
                Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?))
            })
            .optional()?;
        let Some((arrived, envelope, whole)) = row else {
            return Ok(None);
        };
        let raw = match whole {
            Some(raw) => raw,
            None => self.long(id)?,
        };
        Ok(Some(Entry {
            id,
            arrived,
            envelope: serde_json::from_str(&envelope)?,
            raw,
        }))
    }

    fn long(&self, id: i64) -> Result<Vec<u8>, SpoolError> {
        let blob = self.0.blob_open("main", "message", "raw", id, true)?;
        let mut raw = vec![0; blob.len()];
        blob.read_at_exact(&mut raw, 0)?;
        Ok(raw)
    }
}

fn parked(row: &Row<'_>) -> rusqlite::Result<ParkedEntry> {
    let envelope: String = row.get(8)?;
    Ok(ParkedEntry {
        id: row.get(0)?,
        arrived: row.get(1)?,
        reason: row.get(2)?,
        at_byte: row.get(3)?,
        crashes: row.get(4)?,
        parked_by: row.get(5)?,
        bytes: row.get(6)?,
        network: row.get(7)?,
        // What another version wrote must not hide the entry.
        envelope: serde_json::from_str(&envelope)
            .unwrap_or_else(|_| Envelope::of(crate::terms::Door::Import)),
    })
}
