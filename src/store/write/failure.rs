//! Failure reports in the writer's transaction, and out of the store again.

use rusqlite::params;

use super::{Arrival, Batch, Document, Recorded, StoreError};
use crate::{
    domain::Domain,
    report::{PARSER_VERSION, failure::FailureReport},
    store::{
        Store,
        values::{Octets, integer, packed, stated},
    },
    terms::{AuthFailure, DeliveryResult},
};

impl Batch<'_> {
    /// Stores a failure report, or records that it came again; all of it or nothing.
    ///
    /// `covering` is the configured domain that it belongs to.
    pub fn add_failure(
        &mut self,
        arrival: &Arrival,
        covering: &Domain,
        report: &FailureReport,
    ) -> Result<Recorded, StoreError> {
        self.admit(arrival, &report.digest, &report.key(), |batch, document| {
            batch.failure_report(document, arrival.arrived, covering, report)
        })
    }

    fn failure_report(
        &self,
        document: &Document,
        first_seen: i64,
        covering: &Domain,
        report: &FailureReport,
    ) -> Result<(), StoreError> {
        let (said, header) = (&report.said, &report.header);
        let values = params![
            document.id,
            document.is_current(),
            covering.as_str(),
            report.domain.as_str(),
            report.arrival,
            first_seen,
            report.org_name,
            report.email,
            report.report_id,
            report.generator,
            integer(report.incidents),
            said.feedback_type,
            stated(&said.auth_failure, AuthFailure::as_str),
            stated(&said.delivery_result, DeliveryResult::as_str),
            said.identity_alignment,
            said.source_ip.map(Octets::from),
            said.envelope_id,
            said.mail_from,
            packed(&said.rcpt_to, String::as_str),
            packed(&said.authentication_results, String::as_str),
            packed(&said.spf_dns, String::as_str),
            said.dkim_domain,
            said.dkim_identity,
            said.dkim_selector,
            header.from,
            header.subject,
            header.date,
            header.message_id,
            packed(&report.notes, String::as_str),
            PARSER_VERSION,
        ];
        self.insert(
            "store a failure report",
            "INSERT INTO failure_report VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12,
                 ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28,
                 ?29, ?30)",
            values,
        )
        .map(drop)
    }
}

impl Store {
    /// Whether the report with this number is a failure report.
    pub fn is_failure(&self, id: i64) -> Result<bool, StoreError> {
        self.connection
            .prepare_cached("SELECT 1 FROM failure_report WHERE id = ?1")
            .and_then(|mut statement| statement.exists([id]))
            .map_err(StoreError::sql("find a failure report"))
    }
}

#[cfg(test)]
mod tests;
