//! The list of stored reports of every kind.

use rusqlite::{Connection, Params, Row, params};
use serde::Serialize;

use super::{IN_SCOPE, Reader, StoreError, listing::Listing, unsigned};
use crate::{
    domain::Domain,
    limits,
    report::{self, Skipped},
    store::values::word,
    terms::{Flag, Kind},
};

/// Which reports are meant; all of them by default.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Those about this domain and the names below it.
    pub below: Option<Domain>,
    /// Those whose range begins then or later, UTC epoch seconds.
    pub since: Option<i64>,
    /// Those whose range begins before, UTC epoch seconds.
    pub before: Option<i64>,
    /// Those with this text in `org_name` or `email`, in any case of ASCII letters.
    pub reporter: Option<String>,
    /// Those of this kind.
    pub kind: Option<Kind>,
    /// Those with a [`Flag`].
    pub flagged: bool,
}

/// A report of the list.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// Its number in this store.
    pub id: i64,
    /// What it is.
    pub kind: Kind,
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
    /// Records that count; policies of a TLS report.
    pub records: u64,
    /// Records that were left out because they were bad.
    pub skipped_records: u64,
    /// The first of those.
    pub skipped: Vec<Skipped>,
    /// Sum of the counts; sessions of a TLS report.
    pub messages: u64,
    /// What makes it worth a look.
    pub flags: Vec<Flag>,
    /// Repairs and oddities.
    pub notes: Vec<String>,
}

/// The columns of a [`Listed`].
pub(super) const LISTED: &str = "id, kind, domain, policy_domain, org_name, report_id,
    range_begin, range_end, records, skipped_records, messages, current, notes, skipped";

/// What [`Filter::values`] fill; parameters from ?7 on are free.
pub(super) fn matches() -> String {
    format!(
        "{IN_SCOPE} AND (?2 IS NULL OR range_begin >= ?2) AND (?3 IS NULL OR range_begin < ?3)
         AND (?4 IS NULL OR instr(lower(org_name), lower(?4)) OR instr(lower(email), lower(?4)))
         AND (?5 IS NULL OR kind = ?5)
         AND (NOT ?6 OR skipped_records > 0 OR NOT current OR notes IS NOT NULL)"
    )
}

impl Filter {
    pub(super) fn values(&self) -> impl Params {
        (
            self.below.as_ref().map(Domain::as_str),
            self.since,
            self.before,
            self.reporter.as_deref(),
            self.kind.map(Kind::as_str),
            self.flagged,
        )
    }
}

impl Reader {
    /// Gives the first `limit` reports (0: all), those with the newest range first, one by one;
    /// an error of `give` ends it.
    pub fn reports<E: From<StoreError>>(
        &self,
        filter: &Filter,
        limit: u32,
        give: impl FnMut(Listed) -> Result<(), E>,
    ) -> Result<(), E> {
        let listing = Listing {
            doing: "list reports",
            columns: LISTED.to_owned(),
            rows: format!("FROM reports WHERE {}", matches()),
            keys: ["range_begin", "id"],
            newest_first: true,
            page: limits::LISTED_REPORTS,
        };
        let most = if limit == 0 { u32::MAX } else { limit };
        listing.give(&self.connection, || filter.values(), most, listed, give)
    }

    /// One report of the list, if there is one with this number.
    pub(super) fn listed(connection: &Connection, id: i64) -> rusqlite::Result<Listed> {
        let sql = format!("SELECT {LISTED} FROM reports WHERE id = ?1");
        connection.query_row(&sql, params![id], listed)
    }
}

/// Reads [`LISTED`].
pub(super) fn listed(row: &Row<'_>) -> rusqlite::Result<Listed> {
    let notes: Vec<String> = unpacked(row, 12)?;
    let skipped_records = unsigned(row, 9)?;
    let current: bool = row.get(11)?;
    let mut flags = report::flags(skipped_records, &notes);
    if !current {
        flags.push(Flag::Revision);
        flags.sort_unstable();
    }
    Ok(Listed {
        id: row.get(0)?,
        kind: word(row, 1)?,
        domain: row.get(2)?,
        policy_domain: row.get(3)?,
        org_name: row.get(4)?,
        report_id: row.get(5)?,
        begin: row.get(6)?,
        end: row.get(7)?,
        records: unsigned(row, 8)?,
        skipped_records,
        skipped: unpacked(row, 13)?,
        messages: unsigned(row, 10)?,
        flags,
        notes,
    })
}

/// Reads a JSON array that the writer packed; NULL is an empty one.
pub(super) fn unpacked<T: serde::de::DeserializeOwned>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<Vec<T>> {
    let Some(json) = row.get_ref(column)?.as_str_or_null()? else {
        return Ok(Vec::new());
    };
    serde_json::from_str(json).map_err(|wrong| {
        let text = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(column, text, wrong.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixtures::{Place, arrival, plain};

    fn ids(place: &Place, filter: &Filter, limit: u32) -> Vec<i64> {
        let mut ids = Vec::new();
        let give = |listed: Listed| {
            ids.push(listed.id);
            Ok::<_, StoreError>(())
        };
        let reader = Reader::open(&place.path()).unwrap();
        reader.reports(filter, limit, give).unwrap();
        ids
    }

    #[test]
    fn the_list_is_newest_first_and_each_filter_narrows_it() {
        let mut place = Place::new();
        for (n, days) in [(1_u8, 0), (2, 2), (3, 1)] {
            let (mut report, rows) = plain(&format!("r{n}"), n);
            report.metadata.begin += days * 86_400;
            report.metadata.end += days * 86_400;
            report.metadata.email = format!("dmarc-{n}@Reporter.example");
            report.notes.truncate(usize::from(n == 1));
            place.add(&arrival(i64::from(n)), &(report, rows));
        }
        let all = Filter::default();
        assert_eq!(ids(&place, &all, 0), [2, 3, 1]);
        assert_eq!(ids(&place, &all, 2), [2, 3]);
        let narrow = |change: fn(&mut Filter)| {
            let mut filter = all.clone();
            change(&mut filter);
            ids(&place, &filter, 0)
        };
        // The second day.
        assert_eq!(narrow(|f| f.since = Some(1_700_006_400)), [2, 3]);
        assert_eq!(narrow(|f| f.before = Some(1_700_006_400)), [1]);
        assert_eq!(narrow(|f| f.reporter = Some("C-2@rep".into())), [2]);
        assert_eq!(
            narrow(|f| f.below = Domain::parse("example.com")),
            [2, 3, 1]
        );
        assert_eq!(narrow(|f| f.below = Domain::parse("ample.com")), [0; 0]);
        assert_eq!(narrow(|f| f.kind = Some(Kind::Tls)), [0; 0]);
        assert_eq!(narrow(|f| f.flagged = true), [1]);
    }

    #[test]
    fn flags_say_what_is_amiss() {
        let mut place = Place::new();
        place.add(&arrival(1), &plain("r", 1));
        let (mut report, rows) = plain("r", 2);
        report.skipped_records = 1;
        report.notes = vec!["control characters were dropped (3)".into()];
        place.add(&arrival(2), &(report, rows));
        let flags = |id| Reader::listed(&place.store.connection, id).unwrap().flags;
        assert_eq!(flags(1), [Flag::Notes]);
        assert_eq!(flags(2), [Flag::Incomplete, Flag::Revision, Flag::Repaired]);
    }
}
