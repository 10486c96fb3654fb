//! One stored failure report, whole.

use std::net::IpAddr;

use rusqlite::{Connection, OptionalExtension, Row};
use serde::Serialize;

use super::{
    Listed, Reader, StoreError, StoredArrival, address, reports::unpacked, whole::arrivals,
};
use crate::report::Digest;

/// A failure report.
#[derive(Clone, Debug, Serialize)]
pub struct StoredFailure {
    /// As it stands in the list.
    #[serde(flatten)]
    pub listed: Listed,
    /// What it says.
    #[serde(flatten)]
    pub facts: FailureFacts,
    /// Version of the parser that read it.
    pub parser_version: u32,
    /// What makes two arrivals the same, in hexadecimal digits.
    pub digest: String,
    /// When it came first, UTC epoch seconds.
    pub first_seen: i64,
    /// How it came, in order of time; at most [`crate::limits::SHOWN_ARRIVALS`].
    pub arrivals: Vec<StoredArrival>,
    /// How often it came.
    pub arrivals_in_all: u64,
}

/// What a failure report says. Texts as in [`super::StoredPolicy`]; without local parts if they were
/// redacted when it came.
#[derive(Clone, Debug, Serialize)]
pub struct FailureFacts {
    /// The reporter's address.
    pub email: String,
    /// `User-Agent`.
    pub generator: String,
    /// `Feedback-Type`.
    pub feedback_type: String,
    /// `Auth-Failure`.
    pub auth_failure: Option<String>,
    /// `Delivery-Result`.
    pub delivery_result: Option<String>,
    /// `Identity-Alignment`, whose meaning depends on the reporter's generation.
    pub identity_alignment: String,
    /// `Source-IP`.
    pub source_ip: Option<IpAddr>,
    /// `Original-Envelope-Id`.
    pub envelope_id: String,
    /// `Original-Mail-From`; empty: the null sender.
    pub mail_from: Option<String>,
    /// `Original-Rcpt-To`.
    pub rcpt_to: Vec<String>,
    /// `Authentication-Results`.
    pub authentication_results: Vec<String>,
    /// `SPF-DNS`.
    pub spf_dns: Vec<String>,
    /// `DKIM-Domain`.
    pub dkim_domain: String,
    /// `DKIM-Identity`.
    pub dkim_identity: String,
    /// `DKIM-Selector`.
    pub dkim_selector: String,
    /// Addresses in the message's `From`.
    pub header_from: String,
    /// The message's `Subject`.
    pub header_subject: String,
    /// The message's `Date`.
    pub header_date: String,
    /// The message's `Message-ID`.
    pub header_message_id: String,
}

/// The columns of [`FailureFacts`].
pub(super) const FACTS: &str = "email, generator, feedback_type, auth_failure, delivery_result,
    identity_alignment, source_ip, envelope_id, mail_from, rcpt_to, auth_results, spf_dns,
    dkim_domain, dkim_identity, dkim_selector, header_from, header_subject, header_date,
    header_message_id";
const FACTS_COLUMNS: usize = 19;

impl Reader {
    /// One failure report, if there is one with this number.
    pub fn failure(&self, id: i64) -> Result<Option<StoredFailure>, StoreError> {
        self.connection
            .unchecked_transaction()
            .and_then(|transaction| failure(&transaction, id).optional())
            .map_err(StoreError::sql("look up a failure report"))
    }
}

fn failure(connection: &Connection, id: i64) -> rusqlite::Result<StoredFailure> {
    let listed = Reader::listed(connection, id)?;
    let (arrivals, arrivals_in_all) = arrivals(connection, id)?;
    let sql = format!(
        "SELECT {FACTS}, parser_version, digest, document.first_seen
         FROM failure_report JOIN document USING (id) WHERE id = ?1"
    );
    connection.query_row(&sql, [id], |row| {
        Ok(StoredFailure {
            listed,
            facts: facts(row, 0)?,
            parser_version: row.get(FACTS_COLUMNS)?,
            digest: Digest(row.get(FACTS_COLUMNS + 1)?).to_string(),
            first_seen: row.get(FACTS_COLUMNS + 2)?,
            arrivals,
            arrivals_in_all,
        })
    })
}

/// Reads [`FACTS`] from this column on.
pub(super) fn facts(row: &Row<'_>, from: usize) -> rusqlite::Result<FailureFacts> {
    let has_source = row.get_ref(from + 6)? != rusqlite::types::ValueRef::Null;
    Ok(FailureFacts {
        email: row.get(from)?,
        generator: row.get(from + 1)?,
        feedback_type: row.get(from + 2)?,
        auth_failure: row.get(from + 3)?,
        delivery_result: row.get(from + 4)?,
        identity_alignment: row.get(from + 5)?,
        source_ip: has_source.then(|| address(row, from + 6)).transpose()?,
        envelope_id: row.get(from + 7)?,
        mail_from: row.get(from + 8)?,
        rcpt_to: unpacked(row, from + 9)?,
        authentication_results: unpacked(row, from + 10)?,
        spf_dns: unpacked(row, from + 11)?,
        dkim_domain: row.get(from + 12)?,
        dkim_identity: row.get(from + 13)?,
        dkim_selector: row.get(from + 14)?,
        header_from: row.get(from + 15)?,
        header_subject: row.get(from + 16)?,
        header_date: row.get(from + 17)?,
        header_message_id: row.get(from + 18)?,
    })
}
