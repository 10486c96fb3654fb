//! What reports add up to, by domain. Each question is one read transaction, so that its numbers
//! belong together while a daemon writes.

mod export;
mod failure;
mod listing;
mod reports;
mod tls;
mod whole;

use std::{collections::BTreeMap, net::IpAddr};

use rusqlite::{Connection, Row, params};

pub use export::{Exported, ExportedFailure, ExportedPolicy};
pub use failure::{FailureFacts, StoredFailure};
pub use reports::{Filter, Listed};
pub use tls::{StoredTls, StoredTlsFailure, StoredTlsPolicy};
pub use whole::{
    StoredArrival, StoredDkim, StoredError, StoredPolicy, StoredReason, StoredRecord, StoredReport,
    StoredSpf,
};

use super::{
    Reader, StoreError,
    values::{address, unsigned},
};
use crate::{
    domain::Domain,
    terms::{Aligned, Disposition},
};

const SECONDS_OF_A_DAY: i64 = 86_400;

/// The policy domain is ?1 or lies below it, or all are meant. LIKE would take the `_` of a
/// name for a wildcard.
pub(super) const IN_SCOPE: &str = "(?1 IS NULL OR policy_domain = ?1
    OR substr(policy_domain, -length(?1) - 1) = '.' || ?1)";

/// Messages by DMARC result. `unknown`: the reporter stated neither aligned result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// All.
    pub messages: u64,
    /// An aligned identifier passed.
    pub pass: u64,
    /// None did.
    pub fail: u64,
    /// Not known.
    pub unknown: u64,
}

impl Counts {
    /// Counts messages under a result.
    pub fn add(&mut self, result: Option<Aligned>, messages: u64) {
        let slot = match result {
            Some(Aligned::Pass) => &mut self.pass,
            Some(Aligned::Fail) => &mut self.fail,
            None => &mut self.unknown,
        };
        *slot = slot.saturating_add(messages);
        self.messages = self.messages.saturating_add(messages);
    }

    /// Counts what another has counted.
    pub fn add_all(&mut self, other: Self) {
        self.add(Some(Aligned::Pass), other.pass);
        self.add(Some(Aligned::Fail), other.fail);
        self.add(None, other.unknown);
    }
}

/// The first rows of a longer list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top<T> {
    /// The rows, most messages first.
    pub rows: Vec<T>,
    /// How many there are in all.
    pub of: u64,
}

/// An address that sent in the domain's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The address.
    pub ip: IpAddr,
    /// Its messages.
    pub counts: Counts,
}

/// Who reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reporter {
    /// `org_name` as it came.
    pub org_name: String,
    /// Current reports.
    pub reports: u64,
    /// Their messages.
    pub messages: u64,
}

/// What reports say of one domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainSummary {
    /// The configured domain, or the one that was asked for.
    pub domain: String,
    /// Reports that count.
    pub reports: u64,
    /// Reports that came again with other content: kept and not counted.
    pub revisions: u64,
    /// All messages.
    pub counts: Counts,
    /// Messages by disposition; `None`: not stated, or outside the closed set.
    pub dispositions: BTreeMap<Option<Disposition>, u64>,
    /// Messages by day (days since the epoch, UTC); days without any are left out.
    pub days: BTreeMap<i64, Counts>,
    /// Who sent.
    pub sources: Top<Source>,
    /// Who reported.
    pub reporters: Top<Reporter>,
}

impl Reader {
    /// Sums up the newest `days` days (UTC days of a report's `begin`) that have messages; 0: all.
    ///
    /// Without `below` there is one entry for each configured domain; with it there is one for
    /// that domain and every name below it. Most messages come first. Lists have at most `top`
    /// rows.
    pub fn summary(
        &self,
        below: Option<&Domain>,
        days: u32,
        top: u32,
    ) -> Result<Vec<DomainSummary>, StoreError> {
        let below = below.map(Domain::as_str);
        self.connection
            .unchecked_transaction()
            .and_then(|transaction| summary(&transaction, below, days, top))
            .map_err(StoreError::sql("sum up reports"))
    }
}

impl DomainSummary {
    fn new(domain: &str) -> Self {
        Self {
            domain: domain.to_owned(),
            reports: 0,
            revisions: 0,
            counts: Counts::default(),
            dispositions: BTreeMap::new(),
            days: BTreeMap::new(),
            sources: Top::default(),
            reporters: Top::default(),
        }
    }
}

fn summary(
    connection: &Connection,
    below: Option<&str>,
    days: u32,
    top: u32,
) -> rusqlite::Result<Vec<DomainSummary>> {
    let first_day = first_day(connection, below, days)?;
    let mut domains = heads(connection, below, first_day)?;
    add_rollups(connection, below, first_day, &mut domains)?;
    let mut domains: Vec<_> = domains.into_values().collect();
    let reports = if below.is_some() {
        IN_SCOPE
    } else {
        "domain = ?1"
    };
    for domain in &mut domains {
        domain.sources = sources(connection, reports, &domain.domain, first_day, top)?;
        domain.reporters = reporters(connection, reports, &domain.domain, first_day, top)?;
    }
    domains.sort_by(|a, b| {
        let by_messages = b.counts.messages.cmp(&a.counts.messages);
        by_messages.then_with(|| a.domain.cmp(&b.domain))
    });
    Ok(domains)
}

fn first_day(connection: &Connection, below: Option<&str>, days: u32) -> rusqlite::Result<i64> {
    if days == 0 {
        return Ok(i64::MIN);
    }
    let sql = format!(
        "SELECT min(day) FROM
            (SELECT DISTINCT day FROM rollup WHERE {IN_SCOPE} ORDER BY day DESC LIMIT ?2)"
    );
    let day: Option<i64> = connection.query_row(&sql, params![below, days], |row| row.get(0))?;
    Ok(day.unwrap_or(i64::MIN))
}

/// The domains, with their numbers of reports.
fn heads(
    connection: &Connection,
    below: Option<&str>,
    first_day: i64,
) -> rusqlite::Result<BTreeMap<String, DomainSummary>> {
    let sql = format!(
        "SELECT coalesce(?1, domain), total(current), total(NOT current)
         FROM report WHERE range_begin >= ?2 AND {IN_SCOPE} GROUP BY 1"
    );
    let head = |row: &Row<'_>| {
        let domain: String = row.get(0)?;
        let head = DomainSummary {
            reports: whole(row, 1)?,
            revisions: whole(row, 2)?,
            ..DomainSummary::new(&domain)
        };
        Ok((domain, head))
    };
    let mut statement = connection.prepare(&sql)?;
    statement
        .query_map(params![below, second(first_day)], head)?
        .collect()
}

fn add_rollups(
    connection: &Connection,
    below: Option<&str>,
    first_day: i64,
    domains: &mut BTreeMap<String, DomainSummary>,
) -> rusqlite::Result<()> {
    let sql = format!(
        "SELECT coalesce(?1, domain), day, disposition, dmarc, total(messages)
         FROM rollup WHERE day >= ?2 AND {IN_SCOPE} GROUP BY 1, 2, 3, 4"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params![below, first_day])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        // Where its reports were deleted, the sums remain.
        let domain = domains
            .entry(name)
            .or_insert_with_key(|name| DomainSummary::new(name));
        let result = row.get_ref(3)?.as_str()?.parse().ok();
        let messages = whole(row, 4)?;
        let disposition = row.get_ref(2)?.as_str()?.parse().ok();
        let of_disposition = domain.dispositions.entry(disposition).or_default();
        *of_disposition = of_disposition.saturating_add(messages);
        let of_day = domain.days.entry(row.get(1)?).or_default();
        of_day.add(result, messages);
        domain.counts.add(result, messages);
    }
    Ok(())
}

fn sources(
    connection: &Connection,
    reports: &str,
    domain: &str,
    first_day: i64,
    top: u32,
) -> rusqlite::Result<Top<Source>> {
    let sql = format!(
        "SELECT source_ip, count(*) OVER (), total(count) AS messages,
            total(count) FILTER (WHERE 'pass' IN (dkim, spf)),
            total(count) FILTER (WHERE dkim = 'fail' AND spf IS NOT 'pass'
                OR spf = 'fail' AND dkim IS NOT 'pass')
         FROM (SELECT id FROM report WHERE current AND {reports} AND range_begin >= ?2) AS p
         CROSS JOIN record ON record.report = p.id
         GROUP BY source_ip ORDER BY messages DESC, source_ip LIMIT ?3"
    );
    list(connection, &sql, domain, first_day, top, |row| {
        let (messages, pass, fail) = (whole(row, 2)?, whole(row, 3)?, whole(row, 4)?);
        let unknown = messages.saturating_sub(pass).saturating_sub(fail);
        Ok(Source {
            ip: address(row, 0)?,
            counts: Counts {
                messages,
                pass,
                fail,
                unknown,
            },
        })
    })
}

fn reporters(
    connection: &Connection,
    reports: &str,
    domain: &str,
    first_day: i64,
    top: u32,
) -> rusqlite::Result<Top<Reporter>> {
    let sql = format!(
        "SELECT org_name, count(*) OVER (), count(*), total(messages) AS messages_of_all
         FROM report WHERE current AND {reports} AND range_begin >= ?2
         GROUP BY org_name ORDER BY messages_of_all DESC, org_name LIMIT ?3"
    );
    list(connection, &sql, domain, first_day, top, |row| {
        Ok(Reporter {
            org_name: row.get(0)?,
            reports: unsigned(row, 2)?,
            messages: whole(row, 3)?,
        })
    })
}

/// Runs a query whose second column is the number of rows without its limit.
pub(super) fn list<T>(
    connection: &Connection,
    sql: &str,
    domain: &str,
    first_day: i64,
    top: u32,
    value: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Top<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![domain, second(first_day), top])?;
    let mut list = Top::default();
    while let Some(row) = rows.next()? {
        list.of = unsigned(row, 1)?;
        list.rows.push(value(row)?);
    }
    Ok(list)
}

impl<T> Default for Top<T> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            of: 0,
        }
    }
}

pub(super) fn second(day: i64) -> i64 {
    day.saturating_mul(SECONDS_OF_A_DAY)
}

/// A sum by `total`, which unlike `sum` cannot fail however much strangers claim to have seen,
/// and is exact up to 2^53.
pub(super) fn whole(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let sum: f64 = row.get(column)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast stops at the ends, and counts are not negative"
    )]
    Ok(sum as u64)
}

#[cfg(test)]
mod tests;
