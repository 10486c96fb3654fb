//! One stored TLS report, whole.

use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};

use super::{
    Listed, Reader, StoreError, StoredArrival, listing::Listing, reports::unpacked, unsigned,
    whole::arrivals,
};
use crate::{limits, report::Digest};

/// A TLS report without its policies, which its list calls records, and their sessions messages.
#[derive(Clone, Debug, Serialize)]
pub struct StoredTls {
    /// As it stands in the list.
    #[serde(flatten)]
    pub listed: Listed,
    /// `contact-info`.
    pub contact_info: String,
    /// Version of the parser that read it.
    pub parser_version: u32,
    /// Digest of the document, in hexadecimal digits.
    pub digest: String,
    /// When it came first, UTC epoch seconds.
    pub first_seen: i64,
    /// Where its mail is in the archive, if it was archived.
    #[serde(skip)]
    pub archive: Option<Digest>,
    /// How it came, in order of time; at most [`crate::limits::SHOWN_ARRIVALS`].
    pub arrivals: Vec<StoredArrival>,
    /// How often it came.
    pub arrivals_in_all: u64,
}

/// One policy. Texts as in [`super::StoredPolicy`].
#[derive(Clone, Debug, Serialize)]
pub struct StoredTlsPolicy {
    /// `policy-domain`.
    pub policy_domain: String,
    /// `policy-type`.
    pub policy_type: Option<String>,
    /// `policy-string`.
    pub policy_string: Vec<String>,
    /// `mx-host`.
    pub mx_host: Vec<String>,
    /// `total-successful-session-count`.
    pub successful: u64,
    /// `total-failure-session-count`.
    pub failed: u64,
    /// `failure-details`.
    pub failures: Vec<StoredTlsFailure>,
}

/// One of `failure-details`; the order of the fields is that of the array in the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredTlsFailure {
    /// `result-type`.
    pub result_type: Option<String>,
    /// `failed-session-count`.
    pub sessions: u64,
    /// `sending-mta-ip`.
    pub sending_mta_ip: Option<String>,
    /// `receiving-mx-hostname`.
    pub receiving_mx_hostname: String,
    /// `receiving-mx-helo`.
    pub receiving_mx_helo: String,
    /// `receiving-ip`.
    pub receiving_ip: Option<String>,
    /// `additional-information`.
    pub additional_information: String,
    /// `failure-reason-code`.
    pub failure_reason_code: String,
}

/// The columns of a [`StoredTlsPolicy`].
pub(super) const POLICY: &str =
    "policy_domain, policy_type, policy_string, mx_host, successful, failed, failures";

impl Reader {
    /// One TLS report, if there is one with this number.
    pub fn tls_report(&self, id: i64) -> Result<Option<StoredTls>, StoreError> {
        self.connection
            .unchecked_transaction()
            .and_then(|transaction| tls_report(&transaction, id).optional())
            .map_err(StoreError::sql("look up a TLS report"))
    }

    /// Gives the policies of a TLS report in order, one by one; an error of `give` ends it.
    pub fn tls_policies<E: From<StoreError>>(
        &self,
        id: i64,
        give: impl FnMut(StoredTlsPolicy) -> Result<(), E>,
    ) -> Result<(), E> {
        let listing = Listing {
            doing: "read policies",
            columns: POLICY.to_owned(),
            rows: "FROM tls_policy WHERE report = ?1".to_owned(),
            keys: ["report", "seq"],
            newest_first: false,
            page: limits::LISTED_ROWS,
        };
        let value = |row: &Row<'_>| policy(row, 0);
        listing.give(&self.connection, || [id], u32::MAX, value, give)
    }
}

fn tls_report(connection: &Connection, id: i64) -> rusqlite::Result<StoredTls> {
    let listed = Reader::listed(connection, id)?;
    let (arrivals, arrivals_in_all) = arrivals(connection, id)?;
    let sql = "SELECT contact, parser_version, digest, first_seen, archive
        FROM tls_report JOIN document USING (id) WHERE id = ?1";
    connection.query_row(sql, [id], |row| {
        Ok(StoredTls {
            listed,
            contact_info: row.get(0)?,
            parser_version: row.get(1)?,
            digest: Digest(row.get(2)?).to_string(),
            first_seen: row.get(3)?,
            archive: row.get::<_, Option<[u8; 32]>>(4)?.map(Digest),
            arrivals,
            arrivals_in_all,
        })
    })
}

/// Reads [`POLICY`] from this column on.
pub(super) fn policy(row: &Row<'_>, from: usize) -> rusqlite::Result<StoredTlsPolicy> {
    Ok(StoredTlsPolicy {
        policy_domain: row.get(from)?,
        policy_type: row.get(from + 1)?,
        policy_string: unpacked(row, from + 2)?,
        mx_host: unpacked(row, from + 3)?,
        successful: unsigned(row, from + 4)?,
        failed: unsigned(row, from + 5)?,
        failures: unpacked(row, from + 6)?,
    })
}
