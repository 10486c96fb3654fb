//! What a report has added to the rollups, computed from its rows and taken out again.
//!
//! Sums that reach zero go, as if the report had never come.

use std::{collections::BTreeMap, str::FromStr};

use rusqlite::{Connection, Row, params};

use crate::{
    report::{Results, Totals},
    store::{
        values::{integer, unsigned},
        write::SECONDS_OF_A_DAY,
    },
    terms::{Aligned, Disposition, OTHER, SessionResult, TlsFailure, TlsPolicy},
};

/// Takes an aggregate report out.
pub(super) fn take_out(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    const KEY: &str = "day = ?1 AND domain = ?2 AND policy_domain = ?3 AND disposition = ?4
        AND dkim = ?5 AND spf = ?6";
    let none = format!("DELETE FROM rollup WHERE {KEY} AND messages <= ?7");
    let less = format!("UPDATE rollup SET messages = messages - ?7 WHERE {KEY}");
    let aligned = |result: Option<Aligned>| result.map_or("", Aligned::as_str);
    let sql = "SELECT range_begin, domain, policy_domain FROM report WHERE id = ?1";
    let head = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let (begin, domain, policy_domain): (i64, String, String) =
        connection.prepare_cached(sql)?.query_row([id], head)?;
    for (results, messages) in totals(connection, id)? {
        let values = params![
            begin.div_euclid(SECONDS_OF_A_DAY),
            domain,
            policy_domain,
            results.disposition.map_or("", Disposition::as_str),
            aligned(results.dkim),
            aligned(results.spf),
            integer(messages),
        ];
        connection.prepare_cached(&none)?.execute(values)?;
        connection.prepare_cached(&less)?.execute(values)?;
    }
    Ok(())
}

fn totals(connection: &Connection, id: i64) -> rusqlite::Result<Totals> {
    let sql = "SELECT disposition, dkim, spf, sum(count) FROM record WHERE report = ?1
        GROUP BY 1, 2, 3";
    let mut totals = Totals::new();
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([id])?;
    while let Some(row) = rows.next()? {
        let results = Results {
            disposition: known(row, 0)?,
            dkim: known(row, 1)?,
            spf: known(row, 2)?,
        };
        let sum = totals.entry(results).or_default();
        *sum = sum.saturating_add(unsigned(row, 3)?);
    }
    Ok(totals)
}

/// The word that stands in a column, if it is one.
fn known<T: FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>> {
    let text = row.get_ref(column)?.as_str_or_null()?;
    Ok(text.and_then(|text| text.parse().ok()))
}

/// Takes a TLS report out.
pub(super) fn take_out_tls(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    const KEY: &str = "day = ?1 AND domain = ?2 AND policy_domain = ?3 AND policy_type = ?4
        AND result = ?5";
    let none = format!("DELETE FROM tls_rollup WHERE {KEY} AND sessions <= ?6");
    let less = format!("UPDATE tls_rollup SET sessions = sessions - ?6 WHERE {KEY}");
    let sql = "SELECT range_begin FROM tls_report WHERE id = ?1";
    let begin: i64 = connection
        .prepare_cached(sql)?
        .query_row([id], |row| row.get(0))?;
    for ((domain, policy_domain, policy_type, result), sessions) in tls_totals(connection, id)? {
        let values = params![
            begin.div_euclid(SECONDS_OF_A_DAY),
            domain,
            policy_domain,
            policy_type,
            result,
            integer(sessions),
        ];
        connection.prepare_cached(&none)?.execute(values)?;
        connection.prepare_cached(&less)?.execute(values)?;
    }
    Ok(())
}

/// Domain, policy domain, policy type and result of a row of `tls_rollup`.
type TlsKey = (String, String, &'static str, &'static str);

fn tls_totals(connection: &Connection, id: i64) -> rusqlite::Result<BTreeMap<TlsKey, u64>> {
    let mut totals = BTreeMap::new();
    let mut add = |row: &Row<'_>, result, column| -> rusqlite::Result<()> {
        let policy_type = known(row, 2)?.map_or(OTHER, TlsPolicy::as_str);
        let key = (row.get(0)?, row.get(1)?, policy_type, result);
        let sum = totals.entry(key).or_insert(0_u64);
        *sum = sum.saturating_add(unsigned(row, column)?);
        Ok(())
    };
    let sql = "SELECT domain, policy_domain, policy_type, successful, failed
        FROM tls_policy WHERE report = ?1 AND domain IS NOT NULL";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([id])?;
    while let Some(row) = rows.next()? {
        add(row, SessionResult::Successful.as_str(), 3)?;
        add(row, SessionResult::Failed.as_str(), 4)?;
    }
    let sql = "SELECT domain, policy_domain, policy_type, value ->> 0, coalesce(value ->> 1, 0)
        FROM tls_policy, json_each(failures) WHERE report = ?1 AND domain IS NOT NULL";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([id])?;
    while let Some(row) = rows.next()? {
        let result = known(row, 3)?.map_or(OTHER, TlsFailure::as_str);
        add(row, result, 4)?;
    }
    Ok(totals)
}
