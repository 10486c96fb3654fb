//! One stored failure report, whole.

use std::net::IpAddr;

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;

use super::{
    Listed, Reader, StoreError, StoredArrival, address, reports::unpacked, whole::arrivals,
};
use crate::report::Digest;

/// A failure report. Texts as in [`super::StoredPolicy`]; without local parts if they were redacted
/// when it came.
#[derive(Clone, Debug, Serialize)]
pub struct StoredFailure {
    /// As it stands in the list.
    #[serde(flatten)]
    pub listed: Listed,
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
    let sql = "SELECT email, generator, feedback_type, auth_failure, delivery_result,
            identity_alignment, source_ip, envelope_id, mail_from, rcpt_to, auth_results, spf_dns,
            dkim_domain, dkim_identity, dkim_selector, header_from, header_subject, header_date,
            header_message_id, parser_version, digest, document.first_seen
        FROM failure_report JOIN document USING (id) WHERE id = ?1";
    connection.query_row(sql, [id], |row| {
        let has_source = row.get_ref(6)? != rusqlite::types::ValueRef::Null;
        Ok(StoredFailure {
            listed,
            email: row.get(0)?,
            generator: row.get(1)?,
            feedback_type: row.get(2)?,
            auth_failure: row.get(3)?,
            delivery_result: row.get(4)?,
            identity_alignment: row.get(5)?,
            source_ip: has_source.then(|| address(row, 6)).transpose()?,
            envelope_id: row.get(7)?,
            mail_from: row.get(8)?,
            rcpt_to: unpacked(row, 9)?,
            authentication_results: unpacked(row, 10)?,
            spf_dns: unpacked(row, 11)?,
            dkim_domain: row.get(12)?,
            dkim_identity: row.get(13)?,
            dkim_selector: row.get(14)?,
            header_from: row.get(15)?,
            header_subject: row.get(16)?,
            header_date: row.get(17)?,
            header_message_id: row.get(18)?,
            parser_version: row.get(19)?,
            digest: Digest(row.get(20)?).to_string(),
            first_seen: row.get(21)?,
            arrivals,
            arrivals_in_all,
        })
    })
}
