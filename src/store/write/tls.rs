//! TLS reports in the writer's transaction.

use std::{collections::BTreeMap, net::IpAddr};

use rusqlite::params;

use super::{Arrival, Batch, Document, Recorded, SECONDS_OF_A_DAY, StoreError};
use crate::{
    domain::Domain,
    limits,
    report::{
        Broken, Digest, PARSER_VERSION,
        tls::{Policy, TlsReport},
    },
    store::values::{integer, packed, stated},
    terms::{self, SessionResult, TlsFailure, TlsPolicy},
};

/// Where [`Batch::add_tls`] is given a report's policies.
pub type PolicySink<'a> = dyn FnMut(&Policy) + 'a;

/// The domains of a report that belong to a configured one, and to which.
pub type Ours = BTreeMap<Domain, Domain>;

impl Batch<'_> {
    /// Stores a TLS report that was read whole, or records that it came again; all of it or
    /// nothing. `rows` as in [`Batch::add`].
    ///
    /// `policy_domain` is the first name that the report is about and that belongs to a configured
    /// domain. Policies about a domain that is not in `ours` are kept and never summed.
    pub fn add_tls(
        &mut self,
        arrival: &Arrival,
        policy_domain: &Domain,
        ours: &Ours,
        report: &TlsReport,
        rows: impl FnOnce(&mut PolicySink<'_>) -> Result<(), Broken>,
    ) -> Result<Recorded, StoreError> {
        self.admit(arrival, &report.digest, &report.key(), |batch, document| {
            batch.tls_report(document, arrival.archive, (policy_domain, ours), report)?;
            batch.tls_policies(document.id, ours, report, rows)?;
            if document.is_current() {
                batch.roll_up_tls(ours, report)?;
            }
            Ok(())
        })
    }

    pub(in crate::store) fn tls_report(
        &self,
        document: &Document,
        archive: Option<Digest>,
        (policy_domain, ours): (&Domain, &Ours),
        report: &TlsReport,
    ) -> Result<(), StoreError> {
        let domain = ours.get(policy_domain).unwrap_or(policy_domain);
        let values = params![
            document.id,
            document.is_current(),
            domain.as_str(),
            policy_domain.as_str(),
            report.begin,
            report.end,
            report.org_name,
            report.contact,
            report.report_id,
            integer(report.policies),
            integer(report.skipped_policies),
            integer(report.sessions),
            packed(&report.notes, String::as_str),
            PARSER_VERSION,
            archive.map(|digest| digest.0),
            packed(&report.skipped, |it| (it.record, it.reason)),
        ];
        self.insert(
            "store a TLS report",
            "INSERT INTO tls_report VALUES
                 (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
            values,
        )
        .map(drop)
    }

    /// Writes the policies and holds the reading to what the first one found.
    pub(in crate::store) fn tls_policies(
        &self,
        report_row: i64,
        ours: &Ours,
        report: &TlsReport,
        rows: impl FnOnce(&mut PolicySink<'_>) -> Result<(), Broken>,
    ) -> Result<(), StoreError> {
        let failed = || StoreError::sql("store a TLS policy");
        let sql = "INSERT INTO tls_policy VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        let mut statement = self.connection.prepare_cached(sql).map_err(failed())?;
        let (mut policies, mut sessions) = (0_u64, 0_u64);
        let mut written = Ok(());
        rows(&mut |policy| {
            if written.is_ok() {
                let domain = policy.domain.as_ref().unwrap_or(report.domain());
                written = insert_policy(
                    &mut statement,
                    (report_row, policies),
                    (domain, ours.get(domain)),
                    policy,
                );
                policies += 1;
                sessions = sessions
                    .saturating_add(policy.successful)
                    .saturating_add(policy.failed);
            }
        })
        .map_err(StoreError::Unreadable)?;
        written.map_err(failed())?;
        if (policies, sessions) == (report.policies, report.sessions) {
            Ok(())
        } else {
            Err(StoreError::Inconsistent {
                records: policies,
                messages: sessions,
            })
        }
    }

    pub(in crate::store) fn roll_up_tls(
        &self,
        ours: &Ours,
        report: &TlsReport,
    ) -> Result<(), StoreError> {
        let failed = || StoreError::sql("roll up a TLS report");
        let sql = "INSERT INTO tls_rollup VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                   ON CONFLICT DO UPDATE SET sessions = min(sessions + excluded.sessions, ?7)";
        let mut statement = self.connection.prepare_cached(sql).map_err(failed())?;
        let day = report.begin.div_euclid(SECONDS_OF_A_DAY);
        for ((policy_domain, policy_type), sums) in &report.totals {
            let Some(domain) = ours.get(policy_domain) else {
                continue;
            };
            let failures = sums.failures.iter().map(|(result_type, sessions)| {
                let word = result_type.map_or(terms::OTHER, TlsFailure::as_str);
                (word, *sessions)
            });
            let stated = [
                (SessionResult::Successful.as_str(), sums.successful),
                (SessionResult::Failed.as_str(), sums.failed),
            ];
            for (result, sessions) in stated.into_iter().chain(failures) {
                statement
                    .execute(params![
                        day,
                        domain.as_str(),
                        policy_domain.as_str(),
                        policy_type.map_or(terms::OTHER, TlsPolicy::as_str),
                        result,
                        integer(sessions),
                        limits::MAX_ROLLUP,
                    ])
                    .map_err(failed())?;
            }
        }
        Ok(())
    }
}

fn insert_policy(
    statement: &mut rusqlite::Statement<'_>,
    (report, seq): (i64, u64),
    (policy_domain, ours): (&Domain, Option<&Domain>),
    policy: &Policy,
) -> rusqlite::Result<()> {
    let address = |ip: Option<IpAddr>| ip.map(|ip| ip.to_string());
    let failures = packed(&policy.failures, |failure| {
        (
            stated(&failure.result_type, TlsFailure::as_str),
            failure.sessions,
            address(failure.sending_mta_ip),
            &failure.receiving_mx_hostname,
            &failure.receiving_mx_helo,
            address(failure.receiving_ip),
            &failure.additional_information,
            &failure.reason_code,
        )
    });
    statement
        .execute(params![
            report,
            integer(seq),
            ours.map(Domain::as_str),
            policy_domain.as_str(),
            stated(&policy.policy_type, TlsPolicy::as_str),
            packed(&policy.policy_string, String::as_str),
            packed(&policy.mx_host, String::as_str),
            integer(policy.successful),
            integer(policy.failed),
            failures,
        ])
        .map(drop)
}

#[cfg(test)]
mod tests;
