//! Lookups that said nothing, run by run.
//!
//! A run ends with the next answer that says something, and with a silence of ours that is longer
//! than `gap`, so that it covers no time in which nobody asked.

use rusqlite::{Connection, OptionalExtension, params};

use super::{rows, run, word};
use crate::{domain::Domain, limits, terms::DnsTrouble};

/// Lookups of a domain that said nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// When the first one was, of those since the last answer, UTC epoch seconds.
    pub first_unknown: i64,
    /// When the last one was, UTC epoch seconds.
    pub last_unknown: i64,
    /// Why it said nothing.
    pub trouble: DnsTrouble,
    /// How many there were since the last answer.
    pub count: u32,
}

/// Lookups in a row that said nothing; times in UTC epoch seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAnswer {
    /// Why the last one said nothing.
    pub trouble: DnsTrouble,
    /// When the first one was.
    pub first_seen: i64,
    /// When the last one was.
    pub last_seen: i64,
    /// How many there were.
    pub lookups: u32,
}

/// Records a lookup that said nothing.
pub(super) fn record(
    connection: &Connection,
    domain: &str,
    trouble: DnsTrouble,
    at: i64,
    gap: i64,
) -> rusqlite::Result<()> {
    let earliest = at.saturating_sub(gap);
    let sql = "UPDATE no_answer SET goes_on = 0
        WHERE domain = ?1 AND goes_on = 1 AND last_seen < ?2";
    run(connection, sql, params![domain, earliest])?;
    let sql = "INSERT INTO no_answer (domain, trouble, first_seen, last_seen, lookups, goes_on)
        VALUES (?1, ?2, ?3, ?3, 1, 1)
        ON CONFLICT (domain) WHERE goes_on = 1 DO UPDATE
        SET trouble = ?2, last_seen = max(last_seen, ?3), lookups = lookups + 1";
    run(connection, sql, params![domain, trouble.as_str(), at])?;
    let trim = "DELETE FROM no_answer WHERE domain = ?1 AND id <= (
        SELECT id FROM no_answer WHERE domain = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)";
    run(connection, trim, params![domain, rows(limits::MAX_HISTORY)])
}

/// An answer said something.
pub(super) fn end(connection: &Connection, domain: &str) -> rusqlite::Result<()> {
    let sql = "UPDATE no_answer SET goes_on = 0 WHERE domain = ?1 AND goes_on = 1";
    run(connection, sql, params![domain])
}

/// See [`super::Reader::unanswered`].
pub(super) fn unanswered(
    connection: &Connection,
    domain: &Domain,
) -> rusqlite::Result<Option<Unanswered>> {
    connection
        .prepare_cached(
            "SELECT first_seen, last_seen, trouble, lookups * goes_on FROM no_answer
             WHERE domain = ?1 ORDER BY id DESC LIMIT 1",
        )?
        .query_row([domain.as_str()], |row| {
            Ok(Unanswered {
                first_unknown: row.get(0)?,
                last_unknown: row.get(1)?,
                trouble: word(row, 2)?,
                count: row.get(3)?,
            })
        })
        .optional()
}

/// See [`super::Reader::no_answers`].
pub(super) fn no_answers(
    connection: &Connection,
    domain: &Domain,
) -> rusqlite::Result<Vec<NoAnswer>> {
    connection
        .prepare_cached(
            "SELECT trouble, first_seen, last_seen, lookups FROM no_answer
             WHERE domain = ?1 ORDER BY id",
        )?
        .query_map([domain.as_str()], |row| {
            Ok(NoAnswer {
                trouble: word(row, 0)?,
                first_seen: row.get(1)?,
                last_seen: row.get(2)?,
                lookups: row.get(3)?,
            })
        })?
        .collect()
}
