//! The rows of many reports, each with what its report says: records, policies, failures.

use rusqlite::Row;
use serde::Serialize;

use super::{
    FailureFacts, Filter, Reader, StoreError, StoredRecord, StoredTlsPolicy,
    failure::{FACTS, facts},
    listing::Listing,
    reports::matches,
    tls::{POLICY, policy},
    unsigned,
    whole::{RECORD, record},
};
use crate::limits;

/// A record with the head of its report. Texts as in [`super::StoredPolicy`].
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the tags of a DMARC record")]
pub struct Exported {
    /// The report's number in this store.
    pub id: i64,
    /// The configured domain that it was counted under.
    pub domain: String,
    /// The domain that it names.
    pub policy_domain: String,
    /// `org_name` as it came.
    pub org_name: String,
    /// `report_id` as it came.
    pub report_id: String,
    /// First second of the range, UTC epoch.
    pub begin: i64,
    /// Last second of the range, UTC epoch.
    pub end: i64,
    pub p: Option<String>,
    pub sp: Option<String>,
    pub adkim: Option<String>,
    pub aspf: Option<String>,
    pub pct: Option<u8>,
    /// The record itself.
    #[serde(flatten)]
    pub record: StoredRecord,
}

/// A policy of a TLS report with the head of that.
#[derive(Clone, Debug, Serialize)]
pub struct ExportedPolicy {
    /// The report's number in this store.
    pub id: i64,
    /// The configured domain that its sessions were counted under.
    pub domain: String,
    /// `organization-name` as it came.
    pub org_name: String,
    /// `contact-info` as it came.
    pub contact_info: String,
    /// `report-id` as it came.
    pub report_id: String,
    /// First second of the range, UTC epoch.
    pub begin: i64,
    /// Last second of the range, UTC epoch.
    pub end: i64,
    /// The policy itself.
    #[serde(flatten)]
    pub policy: StoredTlsPolicy,
}

/// A failure report.
#[derive(Clone, Debug, Serialize)]
pub struct ExportedFailure {
    /// Its number in this store.
    pub id: i64,
    /// The configured domain that it was counted under.
    pub domain: String,
    /// The domain that it names.
    pub policy_domain: String,
    /// The reporter.
    pub org_name: String,
    /// The id of the mail that brought it.
    pub report_id: String,
    /// When the message arrived, UTC epoch.
    pub arrival: i64,
    /// Messages that it is about.
    pub messages: u64,
    /// What it says.
    #[serde(flatten)]
    pub facts: FailureFacts,
}

/// Columns before those of the record.
const HEAD: &str = "report.id, domain, policy_domain, org_name, report_id, range_begin, range_end,
    p, sp, adkim, aspf, pct";
const HEAD_COLUMNS: usize = 12;

impl Reader {
    /// Gives every record that sums count, report by report in the order in which they came;
    /// revisions are left out, so that the rows add up to the summary. One by one, as nothing is
    /// sorted; an error of `give` ends it.
    pub fn export<E: From<StoreError>>(
        &self,
        filter: &Filter,
        give: impl FnMut(Exported) -> Result<(), E>,
    ) -> Result<(), E> {
        let values = || filter.values();
        records().give(&self.connection, values, u32::MAX, exported, give)
    }

    /// The same of TLS reports: every policy about a configured domain.
    pub fn export_policies<E: From<StoreError>>(
        &self,
        filter: &Filter,
        give: impl FnMut(ExportedPolicy) -> Result<(), E>,
    ) -> Result<(), E> {
        let values = || filter.values();
        policies().give(&self.connection, values, u32::MAX, exported_policy, give)
    }

    /// The same of failure reports.
    pub fn export_failures<E: From<StoreError>>(
        &self,
        filter: &Filter,
        give: impl FnMut(ExportedFailure) -> Result<(), E>,
    ) -> Result<(), E> {
        let values = || filter.values();
        failures().give(&self.connection, values, u32::MAX, exported_failure, give)
    }
}

/// CROSS JOIN fixes the order of the loops, which then is that of the keys.
fn records() -> Listing {
    Listing {
        doing: "export records",
        columns: format!("{HEAD}, {RECORD}"),
        rows: format!(
            "FROM report CROSS JOIN document ON document.id = report.id
             CROSS JOIN record ON record.report = report.id
             WHERE current AND {}",
            matches()
        ),
        keys: ["report.id", "seq"],
        newest_first: false,
        page: limits::LISTED_ROWS,
    }
}

/// The domain is that of the policy: a report may have policies of several.
fn policies() -> Listing {
    Listing {
        doing: "export policies",
        columns: format!(
            "report.id, domain, org_name, email, report_id, range_begin, range_end, {POLICY}"
        ),
        rows: format!(
            "FROM (SELECT id, current, range_begin, range_end, org_name, contact AS email,
                          report_id, skipped_policies AS skipped_records, notes
                   FROM tls_report) AS report
             CROSS JOIN document ON document.id = report.id
             CROSS JOIN tls_policy ON tls_policy.report = report.id
             WHERE current AND domain IS NOT NULL AND {}",
            matches()
        ),
        keys: ["report.id", "seq"],
        newest_first: false,
        page: limits::LISTED_ROWS,
    }
}

fn failures() -> Listing {
    Listing {
        doing: "export failures",
        columns: format!(
            "report.id, domain, policy_domain, org_name, report_id, range_begin, incidents, {FACTS}"
        ),
        rows: format!(
            "FROM (SELECT *, arrival AS range_begin, 0 AS skipped_records FROM failure_report)
                  AS report
             CROSS JOIN document ON document.id = report.id
             WHERE current AND {}",
            matches()
        ),
        keys: ["report.id", "document.id"],
        newest_first: false,
        page: limits::LISTED_ROWS,
    }
}

fn exported(row: &Row<'_>) -> rusqlite::Result<Exported> {
    Ok(Exported {
        id: row.get(0)?,
        domain: row.get(1)?,
        policy_domain: row.get(2)?,
        org_name: row.get(3)?,
        report_id: row.get(4)?,
        begin: row.get(5)?,
        end: row.get(6)?,
        p: row.get(7)?,
        sp: row.get(8)?,
        adkim: row.get(9)?,
        aspf: row.get(10)?,
        pct: row.get(11)?,
        record: record(row, HEAD_COLUMNS)?,
    })
}

fn exported_policy(row: &Row<'_>) -> rusqlite::Result<ExportedPolicy> {
    Ok(ExportedPolicy {
        id: row.get(0)?,
        domain: row.get(1)?,
        org_name: row.get(2)?,
        contact_info: row.get(3)?,
        report_id: row.get(4)?,
        begin: row.get(5)?,
        end: row.get(6)?,
        policy: policy(row, 7)?,
    })
}

fn exported_failure(row: &Row<'_>) -> rusqlite::Result<ExportedFailure> {
    Ok(ExportedFailure {
        id: row.get(0)?,
        domain: row.get(1)?,
        policy_domain: row.get(2)?,
        org_name: row.get(3)?,
        report_id: row.get(4)?,
        arrival: row.get(5)?,
        messages: unsigned(row, 6)?,
        facts: facts(row, 7)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixtures::{Place, arrival, plain};

    #[test]
    fn rows_add_up_to_what_is_summed_and_come_in_order() {
        let mut place = Place::new();
        place.add(&arrival(1), &plain("a", 1));
        place.add(&arrival(2), &plain("a", 2));
        place.add(&arrival(3), &plain("b", 3));
        let reader = Reader::open(&place.path()).unwrap();
        let mut rows = Vec::new();
        let keep = |row: Exported| {
            rows.push((row.id, row.record.count));
            Ok::<_, StoreError>(())
        };
        reader.export(&Filter::default(), keep).unwrap();
        assert_eq!(rows.len(), 8);
        assert!(rows.iter().take(4).all(|row| row.0 == 1));
        let sum: u64 = rows.iter().map(|row| row.1).sum();
        let rollup = place.number("SELECT sum(messages) FROM rollup");
        assert_eq!(i64::try_from(sum).unwrap(), rollup);
    }

    #[test]
    fn nothing_is_sorted_on_its_way_out() {
        let place = Place::new();
        for listing in [records(), policies(), failures()] {
            let plan = format!("EXPLAIN QUERY PLAN {}", listing.sql(Some([1, 1]), 9));
            let mut statement = place.store.connection.prepare(&plan).unwrap();
            let filter = Filter::default();
            let steps = statement.query_map(filter.values(), |row| row.get::<_, String>(3));
            for step in steps.unwrap() {
                let step = step.unwrap();
                assert!(!step.contains("TEMP B-TREE"), "{step}");
            }
        }
    }
}
