//! What TLS reports add up to, by domain and type of policy.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::{
    Reader, StoreError,
    queries::{IN_SCOPE, Reporter, Top, list, second, whole},
    values::unsigned,
};
use crate::{domain::Domain, terms::SessionResult};

/// Sums of sessions under one type of policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct PolicySums {
    /// Sessions as the policy asks.
    pub successful: u64,
    /// Others.
    pub failed: u64,
    /// Failed ones by result type, a closed word or `other`; they may overlap.
    pub failures: BTreeMap<String, u64>,
}

/// What TLS reports say of one domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSummary {
    /// The configured domain, or the one that was asked for.
    pub domain: String,
    /// Reports that count.
    pub reports: u64,
    /// Reports that came again with other content: kept and not counted.
    pub revisions: u64,
    /// Sessions by policy type, a closed word or `other`. Types overlap: a session counts under
    /// each that covers it.
    pub policies: BTreeMap<String, PolicySums>,
    /// Who reported; `messages` are sessions of all policies.
    pub reporters: Top<Reporter>,
}

impl Reader {
    /// Sums up the newest `days` days that have sessions, as [`Reader::summary`] does messages;
    /// domains by name.
    pub fn tls_summary(
        &self,
        below: Option<&Domain>,
        days: u32,
        top: u32,
    ) -> Result<Vec<TlsSummary>, StoreError> {
        let below = below.map(Domain::as_str);
        self.connection
            .unchecked_transaction()
            .and_then(|transaction| summary(&transaction, below, days, top))
            .map_err(StoreError::sql("sum up TLS reports"))
    }
}

fn summary(
    connection: &Connection,
    below: Option<&str>,
    days: u32,
    top: u32,
) -> rusqlite::Result<Vec<TlsSummary>> {
    let first_day = first_day(connection, below, days)?;
    let mut domains = heads(connection, below, first_day)?;
    add_rollups(connection, below, first_day, &mut domains)?;
    let mut domains: Vec<_> = domains.into_values().collect();
    let reports = if below.is_some() {
        IN_SCOPE
    } else {
        "domain = ?1"
    };
    let sql = format!(
        "SELECT org_name, count(*) OVER (), count(*), total(sessions) AS of_all
         FROM tls_report WHERE current AND {reports} AND range_begin >= ?2
         GROUP BY org_name ORDER BY of_all DESC, org_name LIMIT ?3"
    );
    for domain in &mut domains {
        domain.reporters = list(connection, &sql, &domain.domain, first_day, top, |row| {
            Ok(Reporter {
                org_name: row.get(0)?,
                reports: unsigned(row, 2)?,
                messages: whole(row, 3)?,
            })
        })?;
    }
    Ok(domains)
}

fn first_day(connection: &Connection, below: Option<&str>, days: u32) -> rusqlite::Result<i64> {
    if days == 0 {
        return Ok(i64::MIN);
    }
    let sql = format!(
        "SELECT min(day) FROM
            (SELECT DISTINCT day FROM tls_rollup WHERE {IN_SCOPE} ORDER BY day DESC LIMIT ?2)"
    );
    let day: Option<i64> = connection.query_row(&sql, params![below, days], |row| row.get(0))?;
    Ok(day.unwrap_or(i64::MIN))
}

/// The domains, with their numbers of reports.
fn heads(
    connection: &Connection,
    below: Option<&str>,
    first_day: i64,
) -> rusqlite::Result<BTreeMap<String, TlsSummary>> {
    let sql = format!(
        "SELECT coalesce(?1, domain), total(current), total(NOT current) FROM tls_report
         WHERE range_begin >= ?2 AND {IN_SCOPE} GROUP BY 1"
    );
    let mut statement = connection.prepare(&sql)?;
    statement
        .query_map(params![below, second(first_day)], |row| {
            let domain: String = row.get(0)?;
            let head = TlsSummary {
                reports: whole(row, 1)?,
                revisions: whole(row, 2)?,
                ..TlsSummary::new(&domain)
            };
            Ok((domain, head))
        })?
        .collect()
}

fn add_rollups(
    connection: &Connection,
    below: Option<&str>,
    first_day: i64,
    domains: &mut BTreeMap<String, TlsSummary>,
) -> rusqlite::Result<()> {
    let sql = format!(
        "SELECT coalesce(?1, domain), policy_type, result, total(sessions)
         FROM tls_rollup WHERE day >= ?2 AND {IN_SCOPE} GROUP BY 1, 2, 3"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params![below, first_day])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        // A report counts under its first domain of ours, its policies each under theirs.
        let domain = domains
            .entry(name)
            .or_insert_with_key(|name| TlsSummary::new(name));
        let sums = domain.policies.entry(row.get(1)?).or_default();
        let (result, sessions): (String, _) = (row.get(2)?, whole(row, 3)?);
        match result.parse() {
            Ok(SessionResult::Successful) => sums.successful = sessions,
            Ok(SessionResult::Failed) => sums.failed = sessions,
            Err(_) => {
                sums.failures.insert(result, sessions);
            }
        }
    }
    Ok(())
}

impl TlsSummary {
    fn new(domain: &str) -> Self {
        Self {
            domain: domain.to_owned(),
            reports: 0,
            revisions: 0,
            policies: BTreeMap::new(),
            reporters: Top::default(),
        }
    }
}
