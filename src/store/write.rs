//! What one transaction of the writer can do.

mod failure;
mod tls;

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

use super::{
    Arrival, Recorded, StoreError,
    values::{Octets, digest_of, integer, packed, stated, word},
};
use crate::{
    domain::Domain,
    limits,
    report::{Broken, Digest, PARSER_VERSION, Record, Report, ReportKey, Words},
    terms::{
        Aligned, Alignment, AuthResult, DiscoveryMethod, Disposition, Outcome, Override, Policy,
        Rejection, SpfScope, YesNo,
    },
};

pub(super) const SECONDS_OF_A_DAY: i64 = 86_400;

pub use tls::{Ours, PolicySink};

/// Where [`Batch::add`] is given a report's records.
pub type Sink<'a> = dyn FnMut(&Record) + 'a;

/// An open transaction; lives within [`super::Store::transaction`].
#[derive(Debug)]
pub struct Batch<'a> {
    pub(super) connection: &'a Connection,
}

/// An element of `errors`.
#[derive(Serialize)]
#[serde(untagged)]
enum Error<'a> {
    Text(&'a str),
    Said(&'a str, &'a str),
}

impl<'a> Error<'a> {
    fn of(words: &'a Words) -> Self {
        match &words.lang {
            None => Self::Text(&words.text),
            Some(lang) => Self::Said(&words.text, lang),
        }
    }
}

/// An element of `reasons`: type, comment, and its language where that is stated, here and below.
#[derive(Serialize)]
struct Why<'a>(
    Option<&'a str>,
    &'a str,
    #[serde(skip_serializing_if = "Option::is_none")] Option<&'a str>,
);

/// An element of `dkim_auth` or `spf_auth`: domain, selector or scope, result, human result.
#[derive(Serialize)]
struct Check<'a>(
    &'a str,
    Option<&'a str>,
    Option<&'a str>,
    &'a str,
    #[serde(skip_serializing_if = "Option::is_none")] Option<&'a str>,
);

/// A row of `document` and what it is to its key.
pub(super) struct Document {
    pub(super) id: i64,
    pub(super) outcome: Outcome,
}

impl Document {
    pub(super) fn is_current(&self) -> bool {
        self.outcome == Outcome::Stored
    }
}

impl<'a> Batch<'a> {
    pub(super) fn new(connection: &'a Connection) -> Self {
        Self { connection }
    }

    /// Runs `f` so that its error undoes what it did and nothing else. One for each entry of the
    /// spool; they nest.
    pub fn savepoint<T>(
        &mut self,
        f: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.run("SAVEPOINT entry")?;
        match f(self) {
            Ok(value) => self.run("RELEASE entry").map(|()| value),
            Err(error) => {
                self.run("ROLLBACK TO entry")?;
                self.run("RELEASE entry")?;
                Err(error)
            }
        }
    }

    /// Stores a report that was read whole, or records that it came again; all of it or nothing.
    ///
    /// `covering` is the configured domain that the report belongs to. `rows` passes every
    /// record on, in order: from memory, or by reading the document a second time. It is called
    /// only when they are needed, and must give what the first reading gave.
    pub fn add(
        &mut self,
        arrival: &Arrival,
        covering: &Domain,
        report: &Report,
        rows: impl FnOnce(&mut Sink<'_>) -> Result<(), Broken>,
    ) -> Result<Recorded, StoreError> {
        if report.messages > limits::MAX_MESSAGES {
            return Err(StoreError::Count(report.messages));
        }
        self.admit(arrival, &report.digest, &report.key(), |batch, document| {
            batch.report(document, arrival.archive, covering, report)?;
            batch.records(document.id, report, rows)?;
            if document.is_current() {
                batch.roll_up(covering, report)?;
            }
            Ok(())
        })
    }

    /// Records a document and its arrival; `write` stores what is in it, unless it is known.
    fn admit(
        &mut self,
        arrival: &Arrival,
        digest: &Digest,
        key: &ReportKey,
        write: impl FnOnce(&Self, &Document) -> Result<(), StoreError>,
    ) -> Result<Recorded, StoreError> {
        self.savepoint(|batch| {
            let spool = batch.spool(arrival)?;
            if let Some(outcome) = batch.recorded(spool, arrival)? {
                // What was parked may be tried again, by a version that can read it.
                if outcome != Outcome::Parked {
                    return Ok(Recorded {
                        outcome,
                        redone: true,
                    });
                }
            }
            let document = batch.document(arrival, digest, key)?;
            if document.outcome != Outcome::Duplicate {
                write(batch, &document)?;
            }
            batch.arrival(spool, arrival, document.outcome, Some(document.id), None)
        })
    }

    /// Records that a part of a mail, or the whole of it, could not be used. What was stored
    /// stays stored.
    pub fn parked(
        &mut self,
        arrival: &Arrival,
        rejection: Rejection,
        at_byte: Option<u64>,
    ) -> Result<Recorded, StoreError> {
        self.savepoint(|batch| {
            let spool = batch.spool(arrival)?;
            let known = batch.recorded(spool, arrival)?;
            if let Some(outcome) = known.filter(|outcome| *outcome != Outcome::Parked) {
                return Ok(Recorded {
                    outcome,
                    redone: true,
                });
            }
            let at_byte = at_byte.and_then(|offset| i64::try_from(offset).ok());
            let reason = Some((rejection, at_byte));
            let recorded = batch.arrival(spool, arrival, Outcome::Parked, None, reason)?;
            Ok(Recorded {
                redone: known.is_some(),
                ..recorded
            })
        })
    }

    fn run(&self, sql: &'static str) -> Result<(), StoreError> {
        // On a full or failing disk SQLite rolls all back and goes on without a transaction.
        if self.connection.is_autocommit() {
            return Err(StoreError::Lost);
        }
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute([]))
            .map(drop)
            .map_err(StoreError::sql("set a savepoint"))
    }

    /// The row id of the spool that the arrival names.
    fn spool(&self, arrival: &Arrival) -> Result<i64, StoreError> {
        let name = params![arrival.node, arrival.spool];
        let known = self
            .connection
            .prepare_cached("SELECT id FROM spool WHERE node = ?1 AND name = ?2")
            .and_then(|mut statement| statement.query_row(name, |row| row.get(0)).optional())
            .map_err(StoreError::sql("find a spool"))?;
        match known {
            Some(id) => Ok(id),
            None => self.insert(
                "record a spool",
                "INSERT INTO spool (node, name) VALUES (?1, ?2)",
                name,
            ),
        }
    }

    /// The outcome of this arrival, if it was here before. Under its number there may be another's,
    /// where an older spool was put beside this store.
    fn recorded(&self, spool: i64, arrival: &Arrival) -> Result<Option<Outcome>, StoreError> {
        let sql = "SELECT outcome FROM arrival
            WHERE spool = ?1 AND spool_id = ?2 AND part = ?3 AND arrived = ?4";
        let key = params![spool, arrival.spool_id, arrival.part, arrival.arrived];
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row(key, |row| word(row, 0)).optional())
            .map_err(StoreError::sql("find an arrival"))
    }

    /// Finds or makes the document's row, and what it is: known, new, or new with a known key.
    fn document(
        &self,
        arrival: &Arrival,
        digest: &Digest,
        key: &ReportKey,
    ) -> Result<Document, StoreError> {
        let failed = || StoreError::sql("find a document");
        let kind = key.kind.as_str();
        let known = self
            .connection
            .prepare_cached("SELECT id FROM document WHERE digest = ?1 AND kind = ?2")
            .and_then(|mut s| {
                s.query_row(params![digest.0, kind], |row| row.get(0))
                    .optional()
            })
            .map_err(failed())?;
        if let Some(id) = known {
            return Ok(Document {
                id,
                outcome: Outcome::Duplicate,
            });
        }
        let key = digest_of(key);
        let revises = self
            .connection
            .prepare_cached("SELECT 1 FROM document WHERE key = ?1")
            .and_then(|mut statement| statement.exists([key]))
            .map_err(failed())?;
        let id = self.insert(
            "record a document",
            "INSERT INTO document (kind, digest, key, first_seen) VALUES (?1, ?2, ?3, ?4)",
            params![kind, digest.0, key, arrival.arrived],
        )?;
        let outcome = if revises {
            Outcome::Revision
        } else {
            Outcome::Stored
        };
        Ok(Document { id, outcome })
    }

    pub(super) fn report(
        &self,
        document: &Document,
        archive: Option<Digest>,
        covering: &Domain,
        report: &Report,
    ) -> Result<(), StoreError> {
        let (metadata, policy) = (&report.metadata, &report.policy);
        let values = params![
            document.id,
            document.is_current(),
            covering.as_str(),
            policy.domain.as_str(),
            metadata.begin,
            metadata.end,
            metadata.version,
            metadata.org_name,
            metadata.email,
            metadata.extra_contact_info.text,
            metadata.report_id,
            metadata.generator,
            packed(&metadata.errors, Error::of),
            stated(&policy.p, Policy::as_str),
            stated(&policy.sp, Policy::as_str),
            stated(&policy.np, Policy::as_str),
            stated(&policy.adkim, Alignment::as_str),
            stated(&policy.aspf, Alignment::as_str),
            policy.pct,
            policy.fo,
            stated(&policy.testing, YesNo::as_str),
            stated(&policy.discovery_method, DiscoveryMethod::as_str),
            integer(report.records),
            integer(report.skipped_records),
            integer(report.messages),
            packed(&report.notes, String::as_str),
            PARSER_VERSION,
            archive.map(|digest| digest.0),
            metadata.extra_contact_info.lang.as_deref(),
            packed(&report.skipped, |it| (it.record, it.reason)),
        ];
        self.insert(
            "store a report",
            "INSERT INTO report VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,
                 ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30)",
            values,
        )
        .map(drop)
    }

    /// Writes the records and holds the reading to what the first one found.
    pub(super) fn records(
        &self,
        report_row: i64,
        report: &Report,
        rows: impl FnOnce(&mut Sink<'_>) -> Result<(), Broken>,
    ) -> Result<(), StoreError> {
        let failed = || StoreError::sql("store a record");
        let sql =
            "INSERT INTO record VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
        let mut statement = self.connection.prepare_cached(sql).map_err(failed())?;
        let (mut records, mut messages) = (0_u64, 0_u64);
        let mut written = Ok(());
        rows(&mut |record| {
            // The reader cannot be stopped; after a failure its rows are let pass.
            if written.is_ok() {
                written = insert_record(&mut statement, report_row, records, record);
                records += 1;
                messages = messages.saturating_add(record.count);
            }
        })
        .map_err(StoreError::Unreadable)?;
        written.map_err(failed())?;
        if (records, messages) == (report.records, report.messages) {
            Ok(())
        } else {
            Err(StoreError::Inconsistent { records, messages })
        }
    }

    pub(super) fn roll_up(&self, covering: &Domain, report: &Report) -> Result<(), StoreError> {
        let failed = || StoreError::sql("roll up a report");
        let sql = "INSERT INTO rollup VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                   ON CONFLICT DO UPDATE SET messages = min(messages + excluded.messages, ?9)";
        let mut statement = self.connection.prepare_cached(sql).map_err(failed())?;
        let day = report.metadata.begin.div_euclid(SECONDS_OF_A_DAY);
        let aligned = |result: Option<Aligned>| result.map_or("", Aligned::as_str);
        for (results, messages) in &report.totals {
            statement
                .execute(params![
                    day,
                    covering.as_str(),
                    report.policy.domain.as_str(),
                    results.disposition.map_or("", Disposition::as_str),
                    aligned(results.dkim),
                    aligned(results.spf),
                    aligned(results.dmarc()),
                    integer(*messages),
                    limits::MAX_ROLLUP,
                ])
                .map_err(failed())?;
        }
        Ok(())
    }

    fn arrival(
        &self,
        spool: i64,
        arrival: &Arrival,
        outcome: Outcome,
        document: Option<i64>,
        parked: Option<(Rejection, Option<i64>)>,
    ) -> Result<Recorded, StoreError> {
        self.insert(
            "record an arrival",
            // Only a parked one is ever replaced, and one of another spool's copy.
            "INSERT OR REPLACE INTO arrival
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                spool,
                arrival.spool_id,
                arrival.part,
                outcome.as_str(),
                document,
                parked.map(|(rejection, _)| rejection.as_str()),
                parked.and_then(|(_, at_byte)| at_byte),
                arrival.arrived,
                arrival.door.as_str(),
                arrival.client.map(Octets::from),
                arrival.sender,
                arrival.recipient,
            ],
        )?;
        Ok(Recorded {
            outcome,
            redone: false,
        })
    }

    fn insert(
        &self,
        doing: &'static str,
        sql: &str,
        values: impl rusqlite::Params,
    ) -> Result<i64, StoreError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.insert(values))
            .map_err(StoreError::sql(doing))
    }
}

fn insert_record(
    statement: &mut rusqlite::Statement<'_>,
    report: i64,
    seq: u64,
    record: &Record,
) -> rusqlite::Result<()> {
    let reasons = packed(&record.reasons, |reason| {
        let (comment, lang) = (&reason.comment.text, reason.comment.lang.as_deref());
        Why(stated(&reason.kind, Override::as_str), comment, lang)
    });
    let dkim_auth = packed(&record.dkim_auth, |dkim| {
        let result = stated(&dkim.result, AuthResult::as_str);
        let (human, lang) = (&dkim.human_result.text, dkim.human_result.lang.as_deref());
        Check(&dkim.domain, Some(&dkim.selector), result, human, lang)
    });
    let spf_auth = packed(&record.spf_auth, |spf| {
        let scope = stated(&spf.scope, SpfScope::as_str);
        let result = stated(&spf.result, AuthResult::as_str);
        let (human, lang) = (&spf.human_result.text, spf.human_result.lang.as_deref());
        Check(&spf.domain, scope, result, human, lang)
    });
    statement
        .execute(params![
            report,
            integer(seq),
            Octets::from(record.source_ip),
            integer(record.count),
            stated(&record.disposition, Disposition::as_str),
            stated(&record.dkim, Aligned::as_str),
            stated(&record.spf, Aligned::as_str),
            record.header_from,
            record.envelope_from,
            record.envelope_to,
            reasons,
            dkim_auth,
            spf_auth,
        ])
        .map(drop)
}

#[cfg(test)]
mod tests;
