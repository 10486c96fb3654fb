//! One stored aggregate report, whole.

use std::net::IpAddr;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use super::{Listed, Reader, StoreError, address, listing::Listing, reports::unpacked, unsigned};
use crate::{
    limits,
    report::{Digest, Results},
    store::values::word,
    terms::{Aligned, Door, Outcome},
};

/// A report without its records.
#[derive(Clone, Debug, Serialize)]
pub struct StoredReport {
    /// As it stands in the list.
    #[serde(flatten)]
    pub listed: Listed,
    /// `version` of the document.
    pub version: String,
    /// The reporter's address.
    pub email: String,
    /// Where to ask.
    pub extra_contact_info: String,
    /// Its language, here and below if it is stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_contact_info_lang: Option<String>,
    /// Software that made the report.
    pub generator: String,
    /// `error` elements.
    pub errors: Vec<StoredError>,
    /// What the reporter found published.
    pub policy_published: StoredPolicy,
    /// Version of the parser that read it.
    pub parser_version: u32,
    /// Digest of the document, in hexadecimal digits.
    pub digest: String,
    /// When it came first, UTC epoch seconds.
    pub first_seen: i64,
    /// Where its mail is in the archive, if it was archived.
    #[serde(skip)]
    pub archive: Option<Digest>,
    /// How it came, in order of time; at most [`limits::SHOWN_ARRIVALS`].
    pub arrivals: Vec<StoredArrival>,
    /// How often it came.
    pub arrivals_in_all: u64,
}

/// One `error`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "PackedError")]
pub struct StoredError {
    /// The text.
    pub text: String,
    /// Its language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lang: Option<String>,
}

/// How it lies in the store.
#[derive(Deserialize)]
#[serde(untagged)]
enum PackedError {
    Text(String),
    Said(String, String),
}

impl From<PackedError> for StoredError {
    fn from(packed: PackedError) -> Self {
        let (text, lang) = match packed {
            PackedError::Text(text) => (text, None),
            PackedError::Said(text, lang) => (text, Some(lang)),
        };
        Self { text, lang }
    }
}

/// `policy_published`. A closed word as it is spelled, another text as it came; `None`: not stated.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the tags of a DMARC record")]
pub struct StoredPolicy {
    pub p: Option<String>,
    pub sp: Option<String>,
    pub np: Option<String>,
    pub adkim: Option<String>,
    pub aspf: Option<String>,
    pub pct: Option<u8>,
    pub fo: String,
    pub testing: Option<String>,
    pub discovery_method: Option<String>,
}

/// One time that a report came.
#[derive(Clone, Debug, Serialize)]
pub struct StoredArrival {
    /// UTC epoch seconds.
    pub arrived: i64,
    /// By which way.
    pub door: Door,
    /// What became of it.
    pub outcome: Outcome,
    /// Which host took it.
    pub node: String,
    /// The entry of that host's spool.
    pub spool_id: i64,
    /// Which part of the mail.
    pub part: String,
    /// The SMTP client.
    pub client: Option<IpAddr>,
    /// The envelope sender.
    pub sender: String,
    /// The first recipient of ours.
    pub recipient: String,
}

/// A record. Texts as in [`StoredPolicy`].
#[derive(Clone, Debug, Serialize)]
pub struct StoredRecord {
    /// Who sent.
    pub source_ip: IpAddr,
    /// Messages.
    pub count: u64,
    /// What the receiver did.
    pub disposition: Option<String>,
    /// Aligned DKIM result.
    pub dkim: Option<String>,
    /// Aligned SPF result.
    pub spf: Option<String>,
    /// What follows from these two; `None`: neither is stated.
    pub dmarc: Option<Aligned>,
    /// `header_from`.
    pub header_from: String,
    /// `envelope_from`; empty: the null sender.
    pub envelope_from: Option<String>,
    /// `envelope_to`.
    pub envelope_to: Option<String>,
    /// Why the receiver did something else than the policy asks.
    pub reasons: Vec<StoredReason>,
    /// DKIM signatures.
    pub dkim_auth: Vec<StoredDkim>,
    /// SPF checks.
    pub spf_auth: Vec<StoredSpf>,
}

/// One `reason`; the order of the fields is that of the array in the store, here and below.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredReason {
    /// `type`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// `comment`.
    pub comment: String,
    /// Its language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment_lang: Option<String>,
}

/// One `auth_results/dkim`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredDkim {
    /// `d=`.
    pub domain: String,
    /// `s=`.
    pub selector: String,
    /// The result.
    pub result: Option<String>,
    /// The verifier's words.
    pub human_result: String,
    /// Their language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub human_result_lang: Option<String>,
}

/// One `auth_results/spf`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredSpf {
    /// The checked domain.
    pub domain: String,
    /// Which identity it was.
    pub scope: Option<String>,
    /// The result.
    pub result: Option<String>,
    /// The verifier's words.
    pub human_result: String,
    /// Their language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub human_result_lang: Option<String>,
}

/// The columns of a [`StoredRecord`].
pub(super) const RECORD: &str = "source_ip, count, disposition, record.dkim, record.spf,
    header_from, envelope_from, envelope_to, reasons, dkim_auth, spf_auth";

impl Reader {
    /// One report, if there is one with this number.
    pub fn report(&self, id: i64) -> Result<Option<StoredReport>, StoreError> {
        self.connection
            .unchecked_transaction()
            .and_then(|transaction| whole(&transaction, id).optional())
            .map_err(StoreError::sql("look up a report"))
    }

    /// Gives the records of a report in order, one by one; an error of `give` ends it.
    pub fn records<E: From<StoreError>>(
        &self,
        id: i64,
        give: impl FnMut(StoredRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        let listing = Listing {
            doing: "read records",
            columns: RECORD.to_owned(),
            rows: "FROM record WHERE report = ?1".to_owned(),
            keys: ["report", "seq"],
            newest_first: false,
            page: limits::LISTED_ROWS,
        };
        let value = |row: &Row<'_>| record(row, 0);
        listing.give(&self.connection, || [id], u32::MAX, value, give)
    }
}

fn whole(connection: &Connection, id: i64) -> rusqlite::Result<StoredReport> {
    let listed = Reader::listed(connection, id)?;
    let (arrivals, arrivals_in_all) = arrivals(connection, id)?;
    let sql = "SELECT version, email, extra_contact, generator, errors, p, sp, np, adkim, aspf,
            pct, fo, testing, discovery_method, parser_version, digest, first_seen, archive, extra_contact_lang
        FROM report JOIN document USING (id) WHERE id = ?1";
    connection.query_row(sql, [id], |row| {
        Ok(StoredReport {
            listed,
            version: row.get(0)?,
            email: row.get(1)?,
            extra_contact_info: row.get(2)?,
            extra_contact_info_lang: row.get(18)?,
            generator: row.get(3)?,
            errors: unpacked(row, 4)?,
            policy_published: StoredPolicy {
                p: row.get(5)?,
                sp: row.get(6)?,
                np: row.get(7)?,
                adkim: row.get(8)?,
                aspf: row.get(9)?,
                pct: row.get(10)?,
                fo: row.get(11)?,
                testing: row.get(12)?,
                discovery_method: row.get(13)?,
            },
            parser_version: row.get(14)?,
            digest: Digest(row.get(15)?).to_string(),
            first_seen: row.get(16)?,
            archive: row.get::<_, Option<[u8; 32]>>(17)?.map(Digest),
            arrivals,
            arrivals_in_all,
        })
    })
}

pub(super) fn arrivals(
    connection: &Connection,
    id: i64,
) -> rusqlite::Result<(Vec<StoredArrival>, u64)> {
    let sql = "SELECT count(*) FROM arrival WHERE document = ?1";
    let in_all = connection.query_row(sql, [id], |row| unsigned(row, 0))?;
    let mut statement = connection.prepare(
        "SELECT arrived, door, outcome, node, spool_id, part, client, sender, recipient
         FROM arrival JOIN spool ON spool.id = arrival.spool
         WHERE document = ?1 ORDER BY arrived, spool, spool_id, part LIMIT ?2",
    )?;
    let arrivals = statement.query_map(params![id, limits::SHOWN_ARRIVALS], |row| {
        let has_client = row.get_ref(6)? != rusqlite::types::ValueRef::Null;
        Ok(StoredArrival {
            arrived: row.get(0)?,
            door: word(row, 1)?,
            outcome: word(row, 2)?,
            node: row.get(3)?,
            spool_id: row.get(4)?,
            part: row.get(5)?,
            client: has_client.then(|| address(row, 6)).transpose()?,
            sender: row.get(7)?,
            recipient: row.get(8)?,
        })
    })?;
    Ok((arrivals.collect::<Result<_, _>>()?, in_all))
}

/// Reads [`RECORD`] from the column `at` on.
pub(super) fn record(row: &Row<'_>, at: usize) -> rusqlite::Result<StoredRecord> {
    let text = |column| row.get::<_, Option<String>>(at + column);
    let (disposition, dkim, spf) = (text(2)?, text(3)?, text(4)?);
    let aligned = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
    let results = Results {
        disposition: None,
        dkim: aligned(&dkim),
        spf: aligned(&spf),
    };
    Ok(StoredRecord {
        source_ip: address(row, at)?,
        count: unsigned(row, at + 1)?,
        disposition,
        dkim,
        spf,
        dmarc: results.dmarc(),
        header_from: row.get(at + 5)?,
        envelope_from: text(6)?,
        envelope_to: text(7)?,
        reasons: unpacked(row, at + 8)?,
        dkim_auth: unpacked(row, at + 9)?,
        spf_auth: unpacked(row, at + 10)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        report::{Skipped, Words},
        store::fixtures::{Place, arrival, plain},
        terms::LeftOut,
    };

    #[test]
    fn a_report_comes_back_as_it_was_stored() {
        let mut place = Place::new();
        let (mut head, rows) = plain("r", 1);
        let said = |text: &str, lang: Option<&str>| Words {
            text: text.into(),
            lang: lang.map(Into::into),
        };
        head.metadata.extra_contact_info = said("Hilfe", Some("de"));
        head.metadata.errors = vec![said("plain", None), said("worded", Some("en"))];
        head.skipped_records = 2;
        let (record, reason) = (3, LeftOut::SourceIp);
        head.skipped = vec![Skipped { record, reason }];
        let report = (head, rows);
        place.add(&arrival(1), &report);
        place.add(&arrival(2), &report);
        let reader = Reader::open(&place.path()).unwrap();
        let report = reader.report(1).unwrap().unwrap();
        assert_eq!(report.listed.report_id, "r");
        assert_eq!(report.policy_published.p.as_deref(), Some("reject"));
        assert_eq!(report.policy_published.adkim.as_deref(), Some("relaxed"));
        assert_eq!(report.extra_contact_info_lang.as_deref(), Some("de"));
        let errors = report.errors.iter();
        let errors: Vec<_> = errors.map(|e| (&*e.text, e.lang.as_deref())).collect();
        assert_eq!(errors, [("plain", None), ("worded", Some("en"))]);
        assert_eq!(report.listed.skipped, [Skipped { record, reason }]);
        assert_eq!(report.archive, Some(Digest([7; 32])));
        assert_eq!(report.arrivals_in_all, 2);
        assert_eq!(report.arrivals[1].outcome, Outcome::Duplicate);
        assert_eq!(report.arrivals[0].client, "192.0.2.1".parse().ok());
        assert!(reader.report(2).unwrap().is_none());
        let mut records = Vec::new();
        let keep = |record| {
            records.push(record);
            Ok::<_, StoreError>(())
        };
        reader.records(1, keep).unwrap();
        let counts: Vec<_> = records.iter().map(|r| (r.count, r.dmarc)).collect();
        let (pass, fail) = (Some(Aligned::Pass), Some(Aligned::Fail));
        assert_eq!(counts, [(5, pass), (7, fail), (1, fail), (2, pass)]);
        let record = &records[2];
        assert_eq!(record.dkim.as_deref(), Some("maybe"));
        assert_eq!(record.envelope_from.as_deref(), Some(""));
        assert_eq!(record.reasons[0].kind.as_deref(), Some("mailing list"));
        assert_eq!(record.reasons[0].comment, "a \"quoted\" word");
        assert_eq!(record.reasons[0].comment_lang.as_deref(), Some("en"));
        assert_eq!(record.dkim_auth[0].selector, "s1");
        assert_eq!(record.dkim_auth[0].human_result_lang, None);
        assert_eq!(record.spf_auth[0].scope, None);
    }
}
