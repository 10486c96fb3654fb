use super::*;
use crate::store::fixtures::Place;

const GAP: i64 = 100;
const NOW: i64 = 1_700_000_000;

fn store() -> Store {
    let connection = Connection::open_in_memory().unwrap();
    for schema in [
        include_str!("../schema/0002_published.sql"),
        include_str!("../schema/0008_publish.sql"),
        include_str!("../schema/0009_unanswered.sql"),
        include_str!("../schema/0010_evidence.sql"),
    ] {
        connection.execute_batch(schema).unwrap();
    }
    // In no file.
    Store {
        connection,
        path: std::path::PathBuf::new(),
        file: (0, 0),
    }
}

fn domain() -> Domain {
    Domain::parse("example.com").unwrap()
}

fn text(text: &[u8]) -> Answer {
    Answer::found(vec![text.to_vec()], 60)
}

fn seen(store: &Store) -> Vec<(DnsOutcome, i64, i64)> {
    let history = store.history(&domain()).unwrap();
    let times = |p: &Period| (p.outcome, p.first_seen, p.last_seen);
    history.iter().map(times).collect()
}

fn finding(kind: FindingKind, detail: &str) -> Finding {
    Finding::new(&domain(), kind, Severity::High, detail.to_owned())
}

#[test]
fn the_same_answer_is_one_period_and_another_one_starts_the_next() {
    let mut store = store();
    let nodata = Answer::absent(DnsOutcome::NoData, 30);
    for (answer, at) in [
        (text(b"a"), 10),
        (text(b"a"), 60),
        (nodata, 90),
        (text(b"a"), 95),
    ] {
        store.record_answer(&domain(), &answer, at, GAP).unwrap();
    }
    let (found, nodata) = (DnsOutcome::Found, DnsOutcome::NoData);
    assert_eq!(
        seen(&store),
        [(found, 10, 60), (nodata, 90, 90), (found, 95, 95)]
    );
}

#[test]
fn an_unknown_answer_ends_no_period_and_is_counted() {
    let mut store = store();
    let unknown = Answer::unknown(DnsTrouble::ServFail);
    for (answer, at) in [(text(b"a"), 10), (unknown.clone(), 20), (unknown, 30)] {
        store.record_answer(&domain(), &answer, at, GAP).unwrap();
    }
    let unanswered = store.unanswered(&domain()).unwrap().unwrap();
    let times = (unanswered.first_unknown, unanswered.last_unknown);
    assert_eq!((times, unanswered.count), ((20, 30), 2));
    store
        .record_answer(&domain(), &text(b"a"), 40, GAP)
        .unwrap();
    assert_eq!(seen(&store), [(DnsOutcome::Found, 10, 40)]);
    assert_eq!(store.unanswered(&domain()).unwrap().unwrap().count, 0);
}

#[test]
fn lookups_that_say_nothing_are_kept_in_runs_that_cover_no_time_without_a_look() {
    let mut store = store();
    let unknown = Answer::unknown;
    for (answer, at) in [
        (unknown(DnsTrouble::Timeout), 10),
        (unknown(DnsTrouble::ServFail), 60),
        (text(b"a"), 70),
        (unknown(DnsTrouble::Refused), 80),
        (unknown(DnsTrouble::Refused), 181),
    ] {
        store.record_answer(&domain(), &answer, at, GAP).unwrap();
    }
    let runs = store.no_answers(&domain()).unwrap();
    let seen = |run: &NoAnswer| (run.trouble, run.first_seen, run.last_seen, run.lookups);
    assert_eq!(
        runs.iter().map(seen).collect::<Vec<_>>(),
        [
            (DnsTrouble::ServFail, 10, 60, 2),
            (DnsTrouble::Refused, 80, 80, 1),
            (DnsTrouble::Refused, 181, 181, 1),
        ]
    );
}

#[test]
fn a_period_does_not_cover_a_time_without_a_look() {
    let mut store = store();
    for at in [10, 110, 211] {
        store
            .record_answer(&domain(), &text(b"a"), at, GAP)
            .unwrap();
    }
    let found = DnsOutcome::Found;
    assert_eq!(seen(&store), [(found, 10, 110), (found, 211, 211)]);
}

#[test]
fn what_a_clock_far_ahead_left_is_pulled_back_when_it_is_right_again() {
    let mut place = Place::new();
    let store = &mut place.store;
    let (ahead, gone) = (NOW + 3_650 * 86_400, Answer::absent(DnsOutcome::NoData, 30));
    store.look_at_clock(NOW).unwrap();
    for (answer, at) in [
        (text(b"a"), NOW),
        (text(b"a"), ahead),
        (text(b"b"), ahead + 50),
        (text(b"b"), NOW + 500),
        (gone.clone(), NOW + 550),
        (gone, NOW + 600),
    ] {
        store.record_answer(&domain(), &answer, at, GAP).unwrap();
    }
    let (found, nodata) = (DnsOutcome::Found, DnsOutcome::NoData);
    assert_eq!(
        seen(store),
        [
            (found, NOW, NOW),
            (found, NOW + 500, NOW + 500),
            (found, NOW + 500, NOW + 500),
            (nodata, NOW + 550, NOW + 600)
        ]
    );
}

#[test]
fn a_clock_that_is_not_believed_moves_nothing() {
    let mut place = Place::new();
    let store = &mut place.store;
    let look = |store: &mut Store, at| {
        store
            .record_answer(&domain(), &text(b"a"), at, GAP)
            .unwrap();
        seen(store)
    };
    let now = vec![(DnsOutcome::Found, NOW, NOW)];
    assert_eq!(look(store, NOW), now);
    // Nothing is known of the clock.
    assert_eq!(look(store, NOW - 86_400), now);
    store.look_at_clock(NOW).unwrap();
    // A machine whose clock has no battery starts in 1970.
    assert_eq!(look(store, 60), now);
}

#[test]
fn any_bytes_come_back_as_they_were() {
    let mut store = store();
    let bytes: Vec<u8> = (0..=255).collect();
    store
        .record_answer(&domain(), &text(&bytes), 1, GAP)
        .unwrap();
    assert_eq!(store.history(&domain()).unwrap()[0].texts, [bytes]);
}

#[test]
fn the_history_of_a_domain_is_bounded() {
    let mut store = store();
    for at in 0..rows(limits::MAX_HISTORY) + 5 {
        let answer = text(at.to_string().as_bytes());
        store.record_answer(&domain(), &answer, at, GAP).unwrap();
    }
    let history = store.history(&domain()).unwrap();
    assert_eq!(history.len(), limits::MAX_HISTORY);
    assert_eq!(history[0].first_seen, 5);
}

#[test]
fn a_finding_opens_once_is_confirmed_and_closes_once() {
    let mut store = store();
    let dns = FindingSource::Dns;
    let mut set = |found: &[Finding], at| {
        let changes = store.set_findings(&domain(), dns, found, &[], at).unwrap();
        (changes.opened.len(), changes.closed.len())
    };
    let missing = finding(FindingKind::RecordMissing, "");
    assert_eq!(set(std::slice::from_ref(&missing), 1), (1, 0));
    assert_eq!(
        set(&[finding(FindingKind::RecordMissing, "again")], 2),
        (0, 0)
    );
    assert_eq!(set(&[finding(FindingKind::RecordSyntax, "")], 3), (1, 1));
    assert_eq!(set(&[], 4), (0, 1));
    assert_eq!(set(&[], 5), (0, 0));
    assert_eq!(set(&[missing.clone(), missing], 6), (1, 0));
    let open = store.open_findings(&domain()).unwrap();
    assert_eq!((open.len(), open[0].first_seen), (1, 6));
    assert_eq!(
        store.open_counts().unwrap(),
        [(FindingKind::RecordMissing, Severity::High, 1)]
    );
}

#[test]
fn what_is_undecided_stays_open_and_what_to_publish_is_kept() {
    let mut store = store();
    let missing = Finding {
        publish: Some(Publish {
            name: Domain::parse("_dmarc.example.com").unwrap(),
            text: "v=DMARC1; p=none".to_owned(),
        }),
        ..finding(FindingKind::RecordMissing, "")
    };
    let mut set = |found: &[Finding], undecided: &[FindingKind], at| {
        store
            .set_findings(&domain(), FindingSource::Dns, found, undecided, at)
            .unwrap();
        store.open_findings(&domain()).unwrap()
    };
    set(std::slice::from_ref(&missing), &[], 1);
    let open = set(&[], &[FindingKind::RecordMissing], 2);
    assert_eq!(open[0].finding, missing);
    assert_eq!(open[0].last_seen, 1);
    assert_eq!(set(&[], &[FindingKind::RecordSyntax], 3), []);
}

#[test]
fn a_source_closes_only_its_own_findings() {
    let mut store = store();
    let missing = [finding(FindingKind::RecordMissing, "")];
    store
        .set_findings(&domain(), FindingSource::Dns, &missing, &[], 1)
        .unwrap();
    let changes = store
        .set_findings(&domain(), FindingSource::Reports, &[], &[], 2)
        .unwrap();
    assert_eq!(changes, Changes::default());
    let with = |source| store.domains_with_findings(source).unwrap();
    assert_eq!(with(FindingSource::Dns), [domain()]);
    assert_eq!(with(FindingSource::Reports), []);
}

#[test]
fn what_a_finding_rests_on_is_kept_and_brought_up_to_date() {
    let mut store = store();
    let mut found = finding(FindingKind::ReporterStale, "p");
    for published in [&["v=DMARC1; p=none"][..], &[], &["\u{e9}"]] {
        let texts = published.iter().map(ToString::to_string).collect();
        found.evidence = Evidence {
            wanted: Some("policy = reject".into()),
            published: Some(texts),
            ttl: Some(60),
            reported: vec![crate::dns::Statement {
                reporter: domain(),
                field: crate::terms::RecordTag::P,
                said: "none".into(),
                published: "reject".into(),
                begin: 1,
                end: 2,
                published_until: None,
            }],
            last_report: Some(3),
        };
        let reports = FindingSource::Reports;
        store
            .set_findings(&domain(), reports, std::slice::from_ref(&found), &[], 1)
            .unwrap();
        let open = store.open_findings(&domain()).unwrap();
        assert_eq!(open[0].finding, found);
    }
    // What a later version writes does not hide the finding.
    store
        .connection
        .execute("UPDATE finding SET evidence = '[7'", [])
        .unwrap();
    let open = store.open_findings(&domain()).unwrap();
    assert_eq!(open[0].finding.evidence, Evidence::default());
}

#[test]
fn a_look_is_recorded_whole_or_not_at_all() {
    let mut store = store();
    let failed = store.settle(|look| {
        look.record_answer(&domain(), &text(b"a"), 1, GAP)?;
        let found = [finding(FindingKind::RecordMissing, "")];
        look.set_findings(&domain(), FindingSource::Dns, &found, &[], 1)?;
        assert_eq!(look.open_findings(&domain())?.len(), 1);
        Err::<(), _>(StoreError::sql("try")(rusqlite::Error::InvalidQuery))
    });
    assert!(failed.is_err());
    assert_eq!(seen(&store), []);
    assert_eq!(store.open_findings(&domain()).unwrap(), []);
}

#[test]
fn the_open_findings_of_a_domain_are_bounded() {
    let mut store = store();
    let many: Vec<_> = (0..limits::MAX_FINDINGS + 10)
        .map(|n| Finding {
            subject: Domain::parse(&format!("d{n}.example")).unwrap(),
            ..finding(FindingKind::ReportedDiffers, "")
        })
        .collect();
    let reports = FindingSource::Reports;
    for _ in 0..2 {
        store
            .set_findings(&domain(), reports, &many, &[], 1)
            .unwrap();
    }
    let open = store.open_findings(&domain()).unwrap();
    assert_eq!(open.len(), limits::MAX_FINDINGS);
}

#[test]
fn the_latest_reports_about_the_very_domain_are_read() {
    use crate::report::Stated;
    use crate::store::fixtures::{Place, arrival, record, report};
    let mut place = Place::new();
    let rows = || vec![record(1, 5, Stated::Not)];
    let mut own = report("1", 1, rows());
    own.0.policy.domain = domain();
    place.add(&arrival(1), &own);
    // About a domain below, and a revision of the first one.
    place.add(&arrival(2), &report("2", 2, rows()));
    own.0.digest = crate::report::Digest([3; 32]);
    place.add(&arrival(3), &own);
    let (begin, end) = (own.0.metadata.begin, own.0.metadata.end);
    let read = place.store.reported(&domain(), end).unwrap();
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].org_name, "Reporter");
    assert_eq!((read[0].begin, read[0].end), (begin, end));
    let (is, was) = (&read[0].policy, &own.0.policy);
    assert_eq!((&is.p, &is.sp, &is.adkim), (&was.p, &was.sp, &was.adkim));
    assert_eq!(
        (is.pct, &is.fo, &is.testing),
        (was.pct, &was.fo, &was.testing)
    );
    assert_eq!(place.store.reported(&domain(), end + 1).unwrap().len(), 0);
}
