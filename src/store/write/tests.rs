//! What happens to reports that come twice, halfway, or differently.

use super::*;
use crate::{
    report::Stated,
    store::{
        Reader, Store,
        fixtures::{Place, arrival, example, kept, number, plain, record, report},
    },
};

#[test]
fn the_same_document_counts_once_and_each_arrival_is_recorded() {
    let mut place = Place::new();
    let first = place.add(&arrival(1), &plain("r", 1));
    let second = place.add(&arrival(2), &plain("r", 1));
    assert_eq!(first.outcome, Outcome::Stored);
    assert_eq!(second.outcome, Outcome::Duplicate);
    assert!(!second.redone);
    assert_eq!(place.number("SELECT count(*) FROM report"), 1);
    assert_eq!(place.number("SELECT count(*) FROM record"), 4);
    assert_eq!(place.number("SELECT count(*) FROM arrival"), 2);
    assert_eq!(place.number("SELECT sum(messages) FROM rollup"), 15);
}

#[test]
fn another_document_with_a_known_key_is_kept_and_not_summed() {
    let mut place = Place::new();
    place.add(&arrival(1), &plain("r", 1));
    let revision = place.add(&arrival(2), &plain("r", 2));
    assert_eq!(revision.outcome, Outcome::Revision);
    assert_eq!(
        place.add(&arrival(3), &plain("r", 2)).outcome,
        Outcome::Duplicate
    );
    assert_eq!(
        place.add(&arrival(4), &plain("other", 3)).outcome,
        Outcome::Stored
    );
    assert_eq!(place.number("SELECT count(*) FROM report"), 3);
    assert_eq!(place.number("SELECT sum(messages) FROM rollup"), 30);
    assert_eq!(
        place.number("SELECT id FROM report WHERE NOT current"),
        2,
        "the first one stays current"
    );
}

#[test]
fn work_redone_after_a_crash_changes_nothing() {
    let mut place = Place::new();
    place.add(&arrival(1), &plain("r", 1));
    place.add(&arrival(2), &plain("r", 2));
    for (id, outcome) in [(1, Outcome::Stored), (2, Outcome::Revision)] {
        let again = place.add(&arrival(id), &plain("r", u8::try_from(id).unwrap()));
        assert_eq!(
            again,
            Recorded {
                outcome,
                redone: true
            }
        );
    }
    // The same id of a spool that was made anew is another mail.
    let anew = Arrival {
        spool: "b2".into(),
        ..arrival(1)
    };
    assert!(!place.add(&anew, &plain("r", 1)).redone);
    assert_eq!(place.number("SELECT count(*) FROM arrival"), 3);
    assert_eq!(place.number("SELECT sum(messages) FROM rollup"), 15);
    // And so is one that comes later under the number of another, by an older copy of the spool.
    let later = Arrival {
        arrived: arrival(1).arrived + 1,
        ..arrival(1)
    };
    let recorded = place.add(&later, &plain("new", 3));
    assert_eq!(
        (recorded.outcome, recorded.redone),
        (Outcome::Stored, false)
    );
    assert_eq!(place.number("SELECT sum(messages) FROM rollup"), 30);
}

#[test]
fn a_bad_entry_leaves_its_neighbours_alone() {
    let mut place = Place::new();
    place
        .store
        .transaction(|batch| {
            let (good, rows) = plain("good", 1);
            batch.savepoint(|b| b.add(&arrival(1), &example(), &good, kept(&rows)))?;
            let (bad, rows) = plain("bad", 2);
            let broken = Broken {
                rejection: Rejection::BadContainer,
                offset: 9,
            };
            let error = batch
                .savepoint(|b| {
                    b.add(&arrival(2), &example(), &bad, |sink| {
                        sink(&rows[0]);
                        Err(broken)
                    })
                })
                .unwrap_err();
            assert_eq!(error.rejection(), Some(Rejection::BadContainer));
            batch.parked(&arrival(2), Rejection::BadContainer, Some(9))?;
            let (last, rows) = plain("last", 3);
            batch.savepoint(|b| b.add(&arrival(3), &example(), &last, kept(&rows)))
        })
        .unwrap();
    assert_eq!(place.number("SELECT count(*) FROM report"), 2);
    assert_eq!(place.number("SELECT count(*) FROM record"), 8);
    assert_eq!(place.number("SELECT count(*) FROM document"), 2);
}

#[test]
fn an_error_undoes_the_whole_transaction() {
    let mut place = Place::new();
    let (good, rows) = plain("good", 1);
    let failed: Result<(), _> = place.store.transaction(|batch| {
        batch.add(&arrival(1), &example(), &good, kept(&rows))?;
        Err(StoreError::Lost)
    });
    assert!(failed.is_err());
    assert_eq!(place.number("SELECT count(*) FROM document"), 0);
    assert_eq!(
        place.add(&arrival(1), &(good, rows)).outcome,
        Outcome::Stored
    );
}

#[test]
fn rows_that_are_streamed_again_must_be_those_of_the_first_reading() {
    let mut place = Place::new();
    let (big, rows) = plain("r", 1);
    let short = &rows[1..];
    let error = place
        .store
        .transaction(|batch| batch.add(&arrival(1), &example(), &big, kept(short)))
        .unwrap_err();
    assert!(matches!(error, StoreError::Inconsistent { records: 3, .. }));
    assert_eq!(place.number("SELECT count(*) FROM record"), 0);
}

#[test]
fn a_streamed_report_leaves_the_same_rows_as_a_kept_one() {
    let dump = |streamed: bool| {
        let mut place = Place::new();
        let make = |n: u16| {
            record(
                n.to_be_bytes()[1],
                u64::from(n),
                Stated::Known(Aligned::Pass),
            )
        };
        let (big, rows) = report("r", 1, (1..3_000).map(make).collect());
        let streaming = |sink: &mut Sink<'_>| {
            (1..3_000).map(make).for_each(|row| sink(&row));
            Ok(())
        };
        place
            .store
            .transaction(|batch| {
                if streamed {
                    batch.add(&arrival(1), &example(), &big, streaming)
                } else {
                    batch.add(&arrival(1), &example(), &big, kept(&rows))
                }
            })
            .unwrap();
        let sql = "SELECT seq || hex(source_ip) || count || dkim_auth || reasons FROM record";
        let mut statement = place.store.connection.prepare(sql).unwrap();
        let rows = statement
            .query_map([], |row| row.get::<_, String>(0))
            .unwrap();
        rows.collect::<Result<Vec<_>, _>>().unwrap()
    };
    assert_eq!(dump(true).len(), 2_999);
    assert_eq!(dump(true), dump(false));
}

#[test]
fn rollups_are_the_sums_of_the_records_of_current_reports() {
    let mut place = Place::new();
    place.add(&arrival(1), &plain("r", 1));
    place.add(&arrival(2), &plain("r", 2));
    place.add(&arrival(3), &plain("s", 3));
    let differing = "WITH words AS (
            SELECT p.range_begin / 86400 AS day, p.domain, p.policy_domain, r.disposition,
                CASE WHEN r.dkim IN ('pass', 'fail') THEN r.dkim ELSE '' END AS dkim,
                r.spf, sum(r.count) AS messages
            FROM record r JOIN report p ON p.id = r.report WHERE p.current
            GROUP BY 1, 2, 3, 4, 5, 6)
        SELECT count(*) FROM rollup FULL JOIN words USING
            (day, domain, policy_domain, disposition, dkim, spf, messages)
        WHERE rollup.dmarc IS NULL OR words.spf IS NULL";
    assert_eq!(place.number(differing), 0);
    assert_eq!(place.number("SELECT count(*) FROM rollup"), 3);
    assert_eq!(
        place.number("SELECT sum(messages) FROM rollup WHERE dmarc = 'pass'"),
        14
    );
}

#[test]
fn what_a_reporter_wrote_is_stored_as_it_came() {
    let mut place = Place::new();
    place.add(&arrival(1), &plain("r", 1));
    let holds = |sql: &str| assert_eq!(place.number(sql), 1, "{sql}");
    holds("SELECT adkim = 'relaxed' AND p = 'reject' AND sp IS NULL FROM report");
    holds("SELECT notes = '[\"a note\"]' AND errors IS NULL FROM report");
    holds(
        "SELECT archive = unhex('0707070707070707070707070707070707070707070707070707070707070707') FROM report",
    );
    holds("SELECT source_ip = x'C0000203' AND dkim = 'maybe' FROM record WHERE seq = 2");
    holds("SELECT envelope_from = '' AND envelope_to IS NULL FROM record WHERE seq = 0");
    holds("SELECT reasons ->> '$[0][1]' = 'a \"quoted\" word' FROM record WHERE seq = 0");
    holds("SELECT dkim_auth ->> '$[0][2]' = 'pass' FROM record WHERE seq = 0");
    holds("SELECT spf_auth ->> '$[0][2]' IS NULL FROM record WHERE seq = 0");
}

#[test]
fn what_was_parked_may_be_stored_later_and_not_the_other_way_round() {
    let mut place = Place::new();
    let park = |store: &mut Store| {
        store
            .transaction(|batch| batch.parked(&arrival(1), Rejection::Truncated, Some(4)))
            .unwrap()
    };
    assert!(!park(&mut place.store).redone);
    assert!(park(&mut place.store).redone);
    assert_eq!(
        place.add(&arrival(1), &plain("r", 1)).outcome,
        Outcome::Stored
    );
    assert_eq!(park(&mut place.store).outcome, Outcome::Stored);
    assert_eq!(place.number("SELECT count(*) FROM arrival"), 1);
    assert_eq!(
        place.number("SELECT count(*) FROM arrival WHERE rejection IS NULL"),
        1
    );
}

#[test]
fn counts_that_cannot_be_summed_are_refused_and_big_ones_do_not_overflow() {
    let mut place = Place::new();
    let count = |count| vec![record(1, count, Stated::Not)];
    let (huge, rows) = report("huge", 1, count(limits::MAX_MESSAGES + 1));
    let error = place
        .store
        .transaction(|batch| batch.add(&arrival(1), &example(), &huge, kept(&rows)))
        .unwrap_err();
    assert_eq!(error.rejection(), Some(Rejection::BadCount));
    place.add(&arrival(2), &report("big", 2, count(limits::MAX_MESSAGES)));
    place
        .store
        .connection
        .execute("UPDATE rollup SET messages = ?1", [limits::MAX_ROLLUP])
        .unwrap();
    place.add(&arrival(3), &report("more", 3, count(limits::MAX_MESSAGES)));
    assert_eq!(
        place.number("SELECT messages FROM rollup"),
        limits::MAX_ROLLUP
    );
}

#[test]
fn a_reader_sees_what_is_committed_while_the_writer_writes() {
    let mut place = Place::new();
    place.add(&arrival(1), &plain("r", 1));
    let path = place.path();
    let reports = || number(&path, "SELECT count(*) FROM report");
    let (second, rows) = plain("s", 2);
    place
        .store
        .transaction(|batch| {
            batch.add(&arrival(2), &example(), &second, kept(&rows))?;
            assert_eq!(reports(), 1);
            Ok(())
        })
        .unwrap();
    assert_eq!(reports(), 2);
    let reader = Reader::open(&path).unwrap();
    assert!(reader.connection.execute("DELETE FROM report", []).is_err());
}
