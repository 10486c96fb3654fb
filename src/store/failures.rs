//! What failure reports add up to, by domain. Summed from the reports themselves, as far as
//! retention has left them.

use std::{collections::BTreeMap, net::IpAddr};

use rusqlite::{Connection, params};

use super::{
    Reader, StoreError,
    queries::{IN_SCOPE, Reporter, Top, list, whole},
    values::{address, unsigned},
};
use crate::{
    domain::Domain,
    terms::{self, AuthFailure},
};

/// What failure reports say of one domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailureSummary {
    /// The configured domain, or the one that was asked for.
    pub domain: String,
    /// Reports that count.
    pub reports: u64,
    /// Reports that came again with other content: kept and not counted.
    pub revisions: u64,
    /// Messages that they are about.
    pub messages: u64,
    /// Messages by `Auth-Failure`, a closed word or `other`.
    pub auth_failures: BTreeMap<&'static str, u64>,
    /// Who sent.
    pub sources: Top<FailureSource>,
    /// Who reported.
    pub reporters: Top<Reporter>,
}

/// An address whose messages failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FailureSource {
    /// The address.
    pub ip: IpAddr,
    /// Its messages.
    pub messages: u64,
}

impl Reader {
    /// Sums up the newest `days` days on which messages failed, as [`Reader::summary`] does; domains
    /// by name.
    pub fn failure_summary(
        &self,
        below: Option<&Domain>,
        days: u32,
        top: u32,
    ) -> Result<Vec<FailureSummary>, StoreError> {
        let below = below.map(Domain::as_str);
        self.connection
            .unchecked_transaction()
            .and_then(|transaction| summary(&transaction, below, days, top))
            .map_err(StoreError::sql("sum up failure reports"))
    }
}

fn summary(
    connection: &Connection,
    below: Option<&str>,
    days: u32,
    top: u32,
) -> rusqlite::Result<Vec<FailureSummary>> {
    let first_day = first_day(connection, below, days)?;
    let mut domains = sums(connection, below, first_day)?;
    let scope = if below.is_some() {
        IN_SCOPE
    } else {
        "domain = ?1"
    };
    let of_domain = format!("FROM failure_report WHERE current AND {scope} AND arrival >= ?2");
    let sources = format!(
        "SELECT source_ip, count(*) OVER (), total(incidents) AS messages {of_domain}
         AND source_ip IS NOT NULL
         GROUP BY source_ip ORDER BY messages DESC, source_ip LIMIT ?3"
    );
    let reporters = format!(
        "SELECT org_name, count(*) OVER (), count(*), total(incidents) AS messages {of_domain}
         GROUP BY org_name ORDER BY messages DESC, org_name LIMIT ?3"
    );
    for domain in domains.values_mut() {
        let name = &domain.domain;
        domain.sources = list(connection, &sources, name, first_day, top, |row| {
            Ok(FailureSource {
                ip: address(row, 0)?,
                messages: whole(row, 2)?,
            })
        })?;
        domain.reporters = list(connection, &reporters, name, first_day, top, |row| {
            Ok(Reporter {
                org_name: row.get(0)?,
                reports: unsigned(row, 2)?,
                messages: whole(row, 3)?,
            })
        })?;
    }
    Ok(domains.into_values().collect())
}

fn first_day(connection: &Connection, below: Option<&str>, days: u32) -> rusqlite::Result<i64> {
    if days == 0 {
        return Ok(0);
    }
    let sql = format!(
        "SELECT min(day) FROM (SELECT DISTINCT arrival / 86400 AS day FROM failure_report
            WHERE {IN_SCOPE} ORDER BY day DESC LIMIT ?2)"
    );
    let day: Option<i64> = connection.query_row(&sql, params![below, days], |row| row.get(0))?;
    Ok(day.unwrap_or(0))
}

fn sums(
    connection: &Connection,
    below: Option<&str>,
    first_day: i64,
) -> rusqlite::Result<BTreeMap<String, FailureSummary>> {
    let sql = format!(
        "SELECT coalesce(?1, domain), current, auth_failure, count(*), total(incidents)
         FROM failure_report WHERE arrival / 86400 >= ?2 AND {IN_SCOPE} GROUP BY 1, 2, 3"
    );
    let mut domains = BTreeMap::<String, FailureSummary>::new();
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params![below, first_day])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let domain = domains.entry(name.clone()).or_default();
        domain.domain = name;
        let (reports, messages) = (unsigned(row, 3)?, whole(row, 4)?);
        if !row.get::<_, bool>(1)? {
            domain.revisions += reports;
            continue;
        }
        domain.reports += reports;
        domain.messages = domain.messages.saturating_add(messages);
        // What is not stated, and every text outside the closed set, is one row.
        let word = row.get_ref(2)?.as_str_or_null()?;
        let word: Option<AuthFailure> = word.and_then(|word| word.parse().ok());
        let sum = domain
            .auth_failures
            .entry(word.map_or(terms::OTHER, AuthFailure::as_str));
        let sum = sum.or_default();
        *sum = sum.saturating_add(messages);
    }
    Ok(domains)
}
