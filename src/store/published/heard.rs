//! Who reported about a domain, and when that came.

use rusqlite::{Connection, params};

use super::rows;
use crate::{domain::Domain, limits};

/// An aggregate report that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// `org_name` as it came.
    pub org_name: String,
    /// `email` as it came.
    pub email: String,
    /// When it first came, UTC epoch seconds.
    pub at: i64,
}

/// See [`super::Reader::heard`]. A revision shows as well as any other that its reporter writes.
pub(super) fn heard(
    connection: &Connection,
    domain: &Domain,
    since: i64,
) -> rusqlite::Result<Vec<Heard>> {
    let mut heard: Vec<_> = connection
        .prepare_cached(
            "SELECT org_name, email, first_seen FROM report JOIN document USING (id)
             WHERE domain = ?1 AND range_begin >= ?2 AND first_seen >= ?2
             ORDER BY range_begin DESC LIMIT ?3",
        )?
        .query_map(
            params![domain.as_str(), since, rows(limits::HEARD_REPORTS)],
            |row| {
                Ok(Heard {
                    org_name: row.get(0)?,
                    email: row.get(1)?,
                    at: row.get(2)?,
                })
            },
        )?
        .collect::<Result<_, _>>()?;
    heard.sort_by_key(|heard| heard.at);
    Ok(heard)
}
