//! What happens to failure reports that come twice or differently, and how they are shown.

use super::*;
use crate::{
    store::{
        Reader,
        fixtures::{Place, arrival, example, failure},
        queries::Filter,
    },
    terms::{Kind, Outcome},
};

fn add(place: &mut Place, spool_id: i64, report: &FailureReport) -> Recorded {
    let add = |batch: &mut Batch<'_>| batch.add_failure(&arrival(spool_id), &example(), report);
    place.store.transaction(add).unwrap()
}

#[test]
fn it_counts_once_and_a_revision_not_at_all() {
    let mut place = Place::new();
    let report = failure("one");
    assert_eq!(add(&mut place, 1, &report).outcome, Outcome::Stored);
    assert!(add(&mut place, 1, &report).redone);
    assert_eq!(add(&mut place, 2, &report).outcome, Outcome::Duplicate);
    let mut other = report;
    other.digest.0[0] ^= 1;
    assert_eq!(add(&mut place, 3, &other).outcome, Outcome::Revision);
    let reader = Reader::open(&place.path()).unwrap();
    let sums = reader.failure_summary(None, 30, 10).unwrap();
    assert_eq!((sums[0].reports, sums[0].revisions), (1, 1));
    assert_eq!((sums[0].messages, sums[0].sources.of), (3, 1));
    assert_eq!(sums[0].auth_failures, [("dmarc", 3)].into());
    assert_eq!(sums[0].reporters.rows[0].org_name, "reporter.example");
    let outcomes = reader.outcomes("mx1", "a1", &[1]).unwrap();
    let found = outcomes[0].report.as_ref().unwrap();
    assert_eq!((found.records, found.messages), (1, 3));
}

#[test]
fn it_is_listed_and_shown_as_it_was_stored() {
    let mut place = Place::new();
    add(&mut place, 1, &failure("one"));
    let reader = Reader::open(&place.path()).unwrap();
    let mut listed = Vec::new();
    let filter = Filter {
        kind: Some(Kind::Failure),
        ..Filter::default()
    };
    let keep = |row| {
        listed.push(row);
        Ok::<_, StoreError>(())
    };
    reader.reports(&filter, 0, keep).unwrap();
    assert_eq!((listed.len(), listed[0].kind), (1, Kind::Failure));
    assert!(reader.report(1).unwrap().is_none());
    let shown = reader.failure(1).unwrap().unwrap();
    assert_eq!(shown.listed.policy_domain, "mail.example.com");
    assert_eq!(shown.facts.source_ip, "192.0.2.7".parse().ok());
    assert_eq!(shown.facts.mail_from.as_deref(), Some(""));
    assert_eq!(shown.facts.authentication_results.len(), 2);
    assert_eq!(shown.facts.header_subject, "Hello");
    assert_eq!(shown.arrivals_in_all, 1);
    assert!(reader.failure(2).unwrap().is_none());
}
