//! The records of many aggregate reports, each with what its report says.

use rusqlite::Row;
use serde::Serialize;

use super::{
    Filter, Reader, StoreError, StoredRecord,
    reports::{matches, stream},
    whole::{RECORD, record},
};

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
        let (doing, sql) = ("export records", sql());
        stream(
            &self.connection,
            doing,
            &sql,
            filter.values(),
            exported,
            give,
        )
    }
}

/// CROSS JOIN fixes the order of the loops, which then is that of the keys.
fn sql() -> String {
    let matches = matches();
    format!(
        "SELECT {HEAD}, {RECORD} FROM report CROSS JOIN document ON document.id = report.id
         CROSS JOIN record ON record.report = report.id
         WHERE current AND {matches} ORDER BY report.id, seq"
    )
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
        let plan = format!("EXPLAIN QUERY PLAN {}", sql());
        let mut statement = place.store.connection.prepare(&plan).unwrap();
        let filter = Filter::default();
        let steps = statement.query_map(filter.values(), |row| row.get::<_, String>(3));
        for step in steps.unwrap() {
            let step = step.unwrap();
            assert!(!step.contains("TEMP B-TREE"), "{step}");
        }
    }
}
