//! What is old enough to go, and its going.
//!
//! [`Reader::stale`] finds it, beside the writer; [`Store::forget`] deletes it, a bounded number of
//! rows in a transaction. A report's records go first and its head last, so that whatever ends the
//! work leaves something that is found again. That a document came stays known for longer: what was
//! deleted does not count again when somebody sends it again. The daily sums stay.

use rusqlite::{Connection, params};

use super::{Reader, Store, StoreError};
use crate::terms::Kind;

/// What goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// Reports of a kind, with their rows.
    Reports(Kind),
    /// That mails arrived.
    Arrivals,
    /// That documents of a kind came, once nothing refers to them.
    Documents(Kind),
    /// What was published, as far as it is not published any more.
    Published,
    /// Lookups that said nothing.
    NoAnswers,
    /// Findings that are closed.
    Findings,
}

impl std::fmt::Display for Stale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reports(kind) => write!(f, "{kind} reports"),
            Self::Arrivals => f.write_str("arrivals"),
            Self::Documents(kind) => write!(f, "digests of {kind} reports"),
            Self::Published => f.write_str("published records"),
            Self::NoAnswers => f.write_str("failed lookups"),
            Self::Findings => f.write_str("closed findings"),
        }
    }
}

/// Names one thing that goes: a row, or a spool and a mail in it.
pub type Name = (i64, i64);

const NOT_REFERRED_TO: &str = "NOT EXISTS (SELECT 1 FROM report AS r WHERE r.id = document.id)
    AND NOT EXISTS (SELECT 1 FROM tls_report AS r WHERE r.id = document.id)
    AND NOT EXISTS (SELECT 1 FROM failure_report AS r WHERE r.id = document.id)
    AND NOT EXISTS (SELECT 1 FROM arrival AS a WHERE a.document = document.id)";

/// The head of a kind of report, and the table of its rows where it has any.
fn tables(kind: Kind) -> (&'static str, Option<&'static str>) {
    match kind {
        Kind::Aggregate => ("report", Some("record")),
        Kind::Tls => ("tls_report", Some("tls_policy")),
        Kind::Failure => ("failure_report", None),
    }
}

impl Reader {
    /// Names of what is older than `before`, UTC epoch seconds; at most `most`.
    pub fn stale(&self, what: Stale, before: i64, most: usize) -> Result<Vec<Name>, StoreError> {
        let sql = match what {
            Stale::Reports(kind) => format!(
                "SELECT document.id, 0 FROM {} JOIN document USING (id)
                 WHERE document.first_seen < ?1 LIMIT ?2",
                tables(kind).0
            ),
            Stale::Arrivals => {
                "SELECT DISTINCT spool, spool_id FROM arrival WHERE arrived < ?1 LIMIT ?2".into()
            }
            Stale::Documents(kind) => format!(
                "SELECT id, 0 FROM document WHERE first_seen < ?1 AND kind = '{kind}'
                     AND {NOT_REFERRED_TO} LIMIT ?2"
            ),
            Stale::Published => "SELECT id, 0 FROM published WHERE last_seen < ?1 LIMIT ?2".into(),
            Stale::NoAnswers => "SELECT id, 0 FROM no_answer WHERE last_seen < ?1 LIMIT ?2".into(),
            Stale::Findings => "SELECT id, 0 FROM finding WHERE closed_at < ?1 LIMIT ?2".into(),
        };
        self.connection
            .prepare_cached(&sql)
            .and_then(|mut statement| {
                let names = statement
                    .query_map(params![before, most], |row| Ok((row.get(0)?, row.get(1)?)))?;
                names.collect()
            })
            .map_err(StoreError::sql("find what is old"))
    }
}

impl Store {
    /// Deletes as many of these as `rows` rows allow, in one transaction, and gives how many are
    /// gone whole.
    pub fn forget(
        &mut self,
        what: Stale,
        names: &[Name],
        rows: usize,
    ) -> Result<usize, StoreError> {
        self.transaction(|batch| {
            let (mut gone, mut left) = (0, rows);
            for name in names {
                let (deleted, is_gone) = forget_one(batch.connection, what, *name, left)
                    .map_err(StoreError::sql("delete what is old"))?;
                gone += usize::from(is_gone);
                left = left.saturating_sub(deleted);
                if left == 0 {
                    break;
                }
            }
            Ok(gone)
        })
    }

    /// Gives up to `pages` free pages back to the file system; whether there are more.
    pub fn give_back(&self, pages: u32) -> Result<bool, StoreError> {
        let free = || {
            self.connection
                .pragma_query_value(None, "freelist_count", |row| row.get::<_, i64>(0))
        };
        let shrink = || -> rusqlite::Result<bool> {
            let before = free()?;
            if before > 0 {
                // It gives a page back at each step.
                let sql = format!("PRAGMA incremental_vacuum({pages})");
                let mut vacuum = self.connection.prepare(&sql)?;
                let mut steps = vacuum.query([])?;
                while steps.next()?.is_some() {}
            }
            // A file of an early version keeps its pages, and uses them again.
            let after = free()?;
            Ok(after > 0 && after < before)
        };
        shrink().map_err(StoreError::sql("give free pages back"))
    }
}

/// Deletes one thing, of a report `most` rows at most; the number of deleted rows, and whether it is
/// gone whole.
fn forget_one(
    connection: &Connection,
    what: Stale,
    (first, second): Name,
    most: usize,
) -> rusqlite::Result<(usize, bool)> {
    let run = |sql: &str| connection.prepare_cached(sql)?.execute([first]);
    let deleted = match what {
        Stale::Reports(kind) => {
            let (head, rows) = tables(kind);
            let mut deleted = 0;
            if let Some(rows) = rows {
                let sql = format!(
                    "DELETE FROM {rows} WHERE report = ?1 AND seq IN
                         (SELECT seq FROM {rows} WHERE report = ?1 ORDER BY seq LIMIT ?2)"
                );
                deleted = connection
                    .prepare_cached(&sql)?
                    .execute(params![first, most])?;
            }
            if deleted >= most {
                return Ok((deleted, false));
            }
            run("DELETE FROM reread WHERE report = ?1")?;
            deleted + run(&format!("DELETE FROM {head} WHERE id = ?1"))?
        }
        Stale::Arrivals => connection
            .prepare_cached("DELETE FROM arrival WHERE spool = ?1 AND spool_id = ?2")?
            .execute([first, second])?,
        // A duplicate may just have come.
        Stale::Documents(_) => run(&format!(
            "DELETE FROM document WHERE id = ?1 AND {NOT_REFERRED_TO}"
        ))?,
        Stale::Published => run("DELETE FROM published WHERE id = ?1")?,
        Stale::NoAnswers => run("DELETE FROM no_answer WHERE id = ?1")?,
        Stale::Findings => run("DELETE FROM finding WHERE id = ?1 AND closed_at IS NOT NULL")?,
    };
    Ok((deleted, true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        report::{Record, Stated},
        store::fixtures::{Place, arrival, example, failure, plain, record, report},
        terms::{Aligned, Outcome},
    };

    const NONE: [usize; 0] = [];

    fn reader(place: &Place) -> Reader {
        Reader::open(&place.path()).unwrap()
    }

    /// Deletes step by step; how many things each step took.
    fn forget(place: &mut Place, what: Stale, before: i64, rows: usize) -> Vec<usize> {
        let mut steps = Vec::new();
        loop {
            let names = reader(place).stale(what, before, 100).unwrap();
            if names.is_empty() {
                return steps;
            }
            steps.push(place.store.forget(what, &names, rows).unwrap());
        }
    }

    #[test]
    fn a_long_report_goes_in_steps_and_its_sums_and_digest_stay() {
        let mut place = Place::new();
        let rows: Vec<Record> = (0..25)
            .map(|n| record(n, 1, Stated::Known(Aligned::Pass)))
            .collect();
        let first = arrival(1);
        let long = report("long", 1, rows);
        place.add(&first, &long);
        let young = crate::store::Arrival {
            arrived: first.arrived + 10,
            ..arrival(2)
        };
        place.add(&young, &plain("young", 2));
        let old = Stale::Reports(Kind::Aggregate);
        assert_eq!(forget(&mut place, old, first.arrived, 10), NONE);
        let steps = forget(&mut place, old, first.arrived + 1, 10);
        assert_eq!(steps, [0, 0, 1]);
        assert_eq!(place.number("SELECT count(*) FROM record"), 4);
        assert_eq!(place.number("SELECT count(*) FROM report"), 1);
        assert_eq!(place.number("SELECT sum(messages) FROM rollup"), 25 + 15);
        let again = place.add(&arrival(3), &long);
        assert_eq!(again.outcome, Outcome::Duplicate);
    }

    #[test]
    fn a_document_is_forgotten_when_nothing_refers_to_it() {
        let mut place = Place::new();
        place.add(&arrival(1), &plain("r", 1));
        let later = arrival(1).arrived + 1;
        let document = Stale::Documents(Kind::Aggregate);
        assert_eq!(forget(&mut place, document, later, 10), NONE);
        assert_eq!(
            forget(&mut place, Stale::Reports(Kind::Aggregate), later, 10),
            [1]
        );
        assert_eq!(forget(&mut place, document, later, 10), NONE);
        assert_eq!(forget(&mut place, Stale::Arrivals, later, 10), [1]);
        assert_eq!(
            forget(&mut place, Stale::Documents(Kind::Tls), later, 10),
            NONE
        );
        assert_eq!(forget(&mut place, document, later, 10), [1]);
        let again = place.add(&arrival(2), &plain("r", 1));
        assert_eq!(again.outcome, Outcome::Stored);
    }

    #[test]
    fn failure_reports_go_and_stay_known() {
        let mut place = Place::new();
        let (first, report) = (arrival(1), failure("1"));
        place
            .store
            .transaction(|batch| batch.add_failure(&first, &example(), &report))
            .unwrap();
        let old = Stale::Reports(Kind::Failure);
        assert_eq!(forget(&mut place, old, first.arrived + 1, 10), [1]);
        assert_eq!(place.number("SELECT count(*) FROM failure_report"), 0);
        let again = place
            .store
            .transaction(|batch| batch.add_failure(&arrival(2), &example(), &report));
        assert_eq!(again.unwrap().outcome, Outcome::Duplicate);
    }

    #[test]
    fn space_is_given_back() {
        let mut place = Place::new();
        let rows: Vec<Record> = (0..250)
            .map(|n| record(n, 1, Stated::Known(Aligned::Pass)))
            .collect();
        for n in 1..=20 {
            place.add(
                &arrival(n),
                &report(&n.to_string(), u8::try_from(n).unwrap(), rows.clone()),
            );
        }
        let later = arrival(20).arrived + 1;
        forget(&mut place, Stale::Reports(Kind::Aggregate), later, 1_000);
        let pages = |place: &Place| place.number("PRAGMA page_count");
        let before = pages(&place);
        while place.store.give_back(10).unwrap() {}
        assert!(pages(&place) < before / 2, "{} of {before}", pages(&place));
        assert_eq!(place.number("PRAGMA freelist_count"), 0);
    }
}
