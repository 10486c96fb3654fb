//! What reports say was published: the one place of the watch that knows the tables of reports.

use rusqlite::{Connection, Row, params};

use super::rows;
use crate::{
    domain::Domain,
    limits,
    report::{PolicyPublished, Reported, Stated},
};

/// See [`super::Reader::reported`]. The index on `(domain, range_begin)` serves it: a report about a
/// configured domain is counted under that very domain.
pub(super) fn reported(
    connection: &Connection,
    domain: &Domain,
    since: i64,
) -> rusqlite::Result<Vec<Reported>> {
    let length = i64::try_from(limits::COMPARED_REPORTS_LENGTH.as_secs()).unwrap_or(i64::MAX);
    let begun = since.saturating_sub(length);
    connection
        .prepare_cached(
            "SELECT org_name, range_begin, range_end,
                    p, sp, np, adkim, aspf, pct, fo, testing, discovery_method, email
             FROM report
             WHERE domain = ?1 AND range_begin >= ?2 AND range_end >= ?3 AND policy_domain = ?1
                 AND current = 1
             ORDER BY range_begin DESC LIMIT ?4",
        )?
        .query_map(
            params![
                domain.as_str(),
                begun,
                since,
                rows(limits::COMPARED_REPORTS)
            ],
            |row| {
                let policy = PolicyPublished {
                    domain: domain.clone(),
                    p: stated(row, 3)?,
                    sp: stated(row, 4)?,
                    np: stated(row, 5)?,
                    adkim: stated(row, 6)?,
                    aspf: stated(row, 7)?,
                    pct: row.get(8)?,
                    fo: row.get(9)?,
                    testing: stated(row, 10)?,
                    discovery_method: stated(row, 11)?,
                };
                Ok(Reported {
                    org_name: row.get(0)?,
                    email: row.get(12)?,
                    begin: row.get(1)?,
                    end: row.get(2)?,
                    policy,
                })
            },
        )?
        .collect()
}

/// See [`super::Reader::revised`].
pub(super) fn revised(
    connection: &Connection,
    domain: &Domain,
    since: i64,
) -> rusqlite::Result<u64> {
    connection
        .prepare_cached(
            "SELECT count(*) FROM (
                 SELECT id FROM report WHERE domain = ?1 AND current = 0
                 UNION ALL SELECT id FROM tls_report WHERE domain = ?1 AND current = 0
             ) JOIN document USING (id) WHERE first_seen >= ?2",
        )?
        .query_row(params![domain.as_str(), since], |row| row.get(0))
}

fn stated<T: std::str::FromStr>(row: &Row<'_>, at: usize) -> rusqlite::Result<Stated<T>> {
    Ok(match row.get::<_, Option<String>>(at)? {
        None => Stated::Not,
        Some(text) => text.parse().map_or(Stated::Other(text), Stated::Known),
    })
}
