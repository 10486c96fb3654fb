//! What happens to TLS reports that come twice, differently, or about several domains.

use super::*;
use crate::{
    report::{aggregate::Hints, tls},
    store::{
        Reader, Replaced,
        fixtures::{Place, arrival},
    },
    terms::{Kind, Outcome},
};

/// 4 successful and 2 failed sessions under each of two policies, and 9 about a stranger's name.
fn document(id: &str) -> String {
    let policy = |domain: &str, policy_type: &str, successful: u64| {
        format!(
            r#"{{"policy":{{"policy-type":"{policy_type}","policy-domain":"{domain}","mx-host":["a","b"]}},
            "summary":{{"total-successful-session-count":{successful},"total-failure-session-count":2}},
            "failure-details":[{{"result-type":"certificate-expired","failed-session-count":2,"sending-mta-ip":"192.0.2.1"}},
            {{"result-type":"new-one","failed-session-count":2}}]}}"#
        )
    };
    format!(
        r#"{{"organization-name":"R","report-id":"{id}","policies":[{},{},{}],"date-range":
        {{"start-datetime":"2024-01-09T00:00:00Z","end-datetime":"2024-01-09T23:59:59Z"}}}}"#,
        policy("stranger.example", "sts", 9),
        policy("mail.example.com", "sts", 4),
        policy("mail.example.com", "tlsa", 4),
    )
}

fn name(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

fn ours() -> (Domain, Ours) {
    let domain = name("mail.example.com");
    let ours = Ours::from([(domain.clone(), name("example.com"))]);
    (domain, ours)
}

fn read(text: &str) -> (TlsReport, Vec<Policy>) {
    let read = tls::read_whole(|| text.as_bytes(), &Hints::default(), usize::MAX).unwrap();
    (read.report, read.policies.unwrap())
}

fn rows(policies: &[Policy]) -> impl FnOnce(&mut PolicySink<'_>) -> Result<(), Broken> {
    move |sink| {
        policies.iter().for_each(sink);
        Ok(())
    }
}

fn add(place: &mut Place, spool_id: i64, text: &str) -> Recorded {
    let ((domain, ours), (report, policies)) = (ours(), read(text));
    place
        .store
        .transaction(|batch| {
            let rows = rows(&policies);
            batch.add_tls(&arrival(spool_id), &domain, &ours, &report, rows)
        })
        .unwrap()
}

/// Replaces a report by what `text` says, as if today's parser read that in its document.
fn replace(place: &mut Place, id: i64, text: &str, dry_run: bool) -> Replaced {
    let ((domain, ours), (report, policies)) = (ours(), read(text));
    let target = place.store.target(id).unwrap().unwrap();
    assert_eq!(target.kind, Kind::Tls);
    let replaced =
        place
            .store
            .replace_tls(&target, (&domain, &ours), &report, dry_run, rows(&policies));
    replaced.unwrap()
}

fn sums(place: &Place) -> Vec<i64> {
    let of = |result: &str| {
        let sql = "SELECT total(sessions) FROM tls_rollup WHERE result";
        place.number(&format!("SELECT cast(({sql} {result}) AS INTEGER)"))
    };
    [
        "= 'successful'",
        "= 'failed'",
        "= 'certificate-expired'",
        "= 'other'",
    ]
    .map(of)
    .into()
}

#[test]
fn another_reading_takes_the_place_of_the_first_and_its_sums() {
    let mut place = Place::new();
    add(&mut place, 1, &document("1"));
    add(&mut place, 2, &document("2"));
    assert_eq!(sums(&place), [16, 8, 8, 8]);
    assert!(replace(&mut place, 1, &document("1"), false).is_same());
    assert_eq!(sums(&place), [16, 8, 8, 8]);

    let new = document("1")
        .replace(":4,", ":40,")
        .replace("new-one", "certificate-expired");
    let dry = replace(&mut place, 1, &new, true);
    assert_eq!(sums(&place), [16, 8, 8, 8], "only asked");
    let replaced = replace(&mut place, 1, &new, false);
    assert_eq!(dry, replaced);
    let columns: Vec<_> = replaced.changes.iter().map(|it| it.column).collect();
    assert_eq!((columns, replaced.records_differ), (vec!["sessions"], true));
    assert_eq!(sums(&place), [88, 8, 12, 4]);

    // The second turns out to be a revision of the first, and counts no more.
    let replaced = replace(&mut place, 2, &document("1"), false);
    let columns: Vec<_> = replaced.changes.iter().map(|it| it.column).collect();
    assert_eq!(columns, ["current", "report_id"]);
    assert_eq!(sums(&place), [80, 4, 8, 0]);
    assert_eq!(place.store.target_after(2).unwrap(), None);
}

#[test]
fn it_counts_once_and_a_revision_not_at_all() {
    let mut place = Place::new();
    let text = document("1");
    assert_eq!(add(&mut place, 1, &text).outcome, Outcome::Stored);
    assert!(add(&mut place, 1, &text).redone);
    let crlf = text.replace('\n', "\r\n");
    assert_eq!(add(&mut place, 2, &crlf).outcome, Outcome::Duplicate);
    let other = text.replace(":9,", ":8,");
    assert_eq!(add(&mut place, 3, &other).outcome, Outcome::Revision);
    assert_eq!(place.number("SELECT count(*) FROM tls_report"), 2);
    assert_eq!(place.number("SELECT count(*) FROM tls_policy"), 6);
    assert_eq!(
        place.number("SELECT sum(sessions) FROM tls_rollup WHERE result = 'failed'"),
        4
    );
    let reader = Reader::open(&place.path()).unwrap();
    let example = Domain::parse("example.com").unwrap();
    assert_eq!(reader.revised(&example, 0).unwrap(), 1);
    let outcomes = reader.outcomes("mx1", "a1", &[1]).unwrap();
    assert_eq!(outcomes[0].report.as_ref().unwrap().records, 3);
}

#[test]
fn rows_hold_what_was_said() {
    let mut place = Place::new();
    add(&mut place, 1, &document("1"));
    let holds = |sql: &str| assert_eq!(place.number(sql), 1, "{sql}");
    holds("SELECT policy_domain = 'mail.example.com' AND sessions = 23 FROM tls_report");
    holds("SELECT domain IS NULL AND successful = 9 FROM tls_policy WHERE seq = 0");
    holds(
        "SELECT domain = 'example.com' AND mx_host = '[\"a\",\"b\"]' FROM tls_policy WHERE seq = 1",
    );
    holds("SELECT failures ->> '$[0][2]' = '192.0.2.1' FROM tls_policy WHERE seq = 1");
    holds("SELECT failures ->> '$[1][0]' = 'new-one' FROM tls_policy WHERE seq = 1");
}

#[test]
fn sums_keep_policy_types_and_strangers_apart() {
    let mut place = Place::new();
    add(&mut place, 1, &document("1"));
    add(&mut place, 2, &document("2"));
    let reader = Reader::open(&place.path()).unwrap();
    let found = reader.tls_summary(None, 30, 10).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((&*found[0].domain, found[0].reports), ("example.com", 2));
    assert_eq!(found[0].policies.len(), 2);
    for sums in found[0].policies.values() {
        assert_eq!((sums.successful, sums.failed), (8, 4));
        assert_eq!(
            (sums.failures["certificate-expired"], sums.failures["other"]),
            (4, 4)
        );
    }
    assert_eq!(found[0].reporters.rows[0].reports, 2);
    let below = Domain::parse("mail.example.com").unwrap();
    assert_eq!(
        reader.tls_summary(Some(&below), 0, 10).unwrap()[0].policies,
        found[0].policies
    );
    let other = Domain::parse("other.example").unwrap();
    assert_eq!(reader.tls_summary(Some(&other), 30, 10).unwrap(), []);
}
