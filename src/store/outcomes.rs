//! What became of spooled mails, for the one who spooled them.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    Reader, StoreError,
    values::{unsigned, word},
};
use crate::terms::{Outcome, Rejection};

/// What became of one part of a spooled mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processed {
    /// The spool entry.
    pub spool_id: i64,
    /// The part; empty: the whole mail.
    pub part: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was parked.
    pub rejection: Option<Rejection>,
    /// Where that showed, bytes into the document.
    pub at_byte: Option<u64>,
    /// The report it is, or is a duplicate of, unless that was deleted meanwhile.
    pub report: Option<ProcessedReport>,
}

/// The report of a [`Processed`] part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessedReport {
    /// `org_name` as it came.
    pub org_name: String,
    /// `report_id` as it came.
    pub report_id: String,
    /// The policy domain.
    pub policy_domain: String,
    /// Records, or policies of a TLS report, that count; one for a failure report.
    pub records: u64,
    /// Sum of their counts, or sessions, or incidents.
    pub messages: u64,
}

impl Reader {
    /// What became of entries of one spool; nothing of those that still wait.
    pub fn outcomes(
        &self,
        node: &str,
        spool: &str,
        spool_ids: &[i64],
    ) -> Result<Vec<Processed>, StoreError> {
        self.connection
            .unchecked_transaction()
            .and_then(|transaction| outcomes(&transaction, node, spool, spool_ids))
            .map_err(StoreError::sql("look up outcomes"))
    }
}

fn outcomes(
    connection: &Connection,
    node: &str,
    spool: &str,
    spool_ids: &[i64],
) -> rusqlite::Result<Vec<Processed>> {
    let find = "SELECT id FROM spool WHERE node = ?1 AND name = ?2";
    let spool: Option<i64> = connection
        .query_row(find, [node, spool], |row| row.get(0))
        .optional()?;
    let mut statement = connection.prepare_cached(
        "SELECT spool_id, part, outcome, rejection, at_byte,
            coalesce(r.org_name, t.org_name, f.org_name),
            coalesce(r.report_id, t.report_id, f.report_id),
            coalesce(r.policy_domain, t.policy_domain, f.policy_domain),
            coalesce(records, policies, 1), coalesce(messages, sessions, incidents)
         FROM arrival LEFT JOIN report AS r ON r.id = arrival.document
             LEFT JOIN tls_report AS t ON t.id = arrival.document
             LEFT JOIN failure_report AS f ON f.id = arrival.document
         WHERE spool = ?1 AND spool_id = ?2 ORDER BY part",
    )?;
    let mut found = Vec::new();
    for id in spool_ids {
        for processed in statement.query_map(params![spool, id], processed)? {
            found.push(processed?);
        }
    }
    Ok(found)
}

fn processed(row: &Row<'_>) -> rusqlite::Result<Processed> {
    let is_null =
        |column| Ok::<_, rusqlite::Error>(row.get_ref(column)?.as_str_or_null()?.is_none());
    let report = if is_null(5)? {
        None
    } else {
        Some(ProcessedReport {
            org_name: row.get(5)?,
            report_id: row.get(6)?,
            policy_domain: row.get(7)?,
            records: unsigned(row, 8)?,
            messages: unsigned(row, 9)?,
        })
    };
    Ok(Processed {
        spool_id: row.get(0)?,
        part: row.get(1)?,
        outcome: word(row, 2)?,
        rejection: if is_null(3)? {
            None
        } else {
            Some(word(row, 3)?)
        },
        at_byte: row
            .get::<_, Option<i64>>(4)?
            .and_then(|at| at.try_into().ok()),
        report,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixtures::{Place, arrival, plain};

    #[test]
    fn import_learns_what_became_of_its_entries() {
        let mut place = Place::new();
        place.add(&arrival(1), &plain("r", 1));
        place.add(&arrival(2), &plain("r", 1));
        let parked = |batch: &mut crate::store::Batch<'_>| {
            batch.parked(&arrival(3), Rejection::Truncated, Some(77))
        };
        place.store.transaction(parked).unwrap();
        let reader = Reader::open(&place.path()).unwrap();
        let found = reader.outcomes("mx1", "a1", &[3, 1, 2, 4]).unwrap();
        let outcomes: Vec<_> = found.iter().map(|f| (f.spool_id, f.outcome)).collect();
        assert_eq!(
            outcomes,
            [
                (3, Outcome::Parked),
                (1, Outcome::Stored),
                (2, Outcome::Duplicate)
            ]
        );
        assert_eq!(found[0].rejection, Some(Rejection::Truncated));
        assert_eq!(found[0].at_byte, Some(77));
        assert_eq!(found[0].report, None);
        let report = found[2].report.as_ref().unwrap();
        assert_eq!((report.report_id.as_str(), report.messages), ("r", 15));
        assert_eq!(reader.outcomes("mx1", "other", &[1]).unwrap(), []);
    }

    #[test]
    fn a_reason_that_an_earlier_version_stored_is_told_in_today_s_word() {
        let mut place = Place::new();
        let parked = |batch: &mut crate::store::Batch<'_>| {
            batch.parked(&arrival(1), Rejection::TooLarge, None)
        };
        place.store.transaction(parked).unwrap();
        let former =
            "UPDATE arrival SET rejection = 'too_many_members' WHERE rejection = 'too_large'";
        assert_eq!(place.store.connection.execute(former, []), Ok(1));
        let reader = Reader::open(&place.path()).unwrap();
        let found = reader.outcomes("mx1", "a1", &[1]).unwrap();
        assert_eq!(found[0].rejection, Some(Rejection::TooLarge));
    }
}
