use super::*;
use crate::{
    config::domains::Details,
    dns::{Answer, walk::Walk},
    drift::{fixtures::config, published::Absence},
    report::Stated,
    store::fixtures::{Place, arrival, example, kept, plain},
    terms::{DnsTrouble, Policy},
};

const DAY: i64 = 86_400;
const START: i64 = 19_700 * DAY;

/// What is seen of a domain with a record of its own, and of the name above.
fn seen(above: &Answer) -> Seen {
    let answer = Answer::found(vec![b"v=DMARC1; p=none".to_vec()], 60);
    let mut walk = Walk::new(example());
    walk.add(&answer);
    walk.add(above);
    Seen {
        domain: example(),
        answer,
        walk,
        absence: Known::Yes(Absence::Plain),
        hosts: Vec::new(),
        has_unknown_host: false,
        tls: Answer::absent(DnsOutcome::NxDomain, 60),
    }
}

#[test]
fn a_name_above_that_says_nothing_closes_no_finding_about_reports() {
    let place = Place::new();
    let mut store = place.store;
    for (number, org_name) in [(1, "google.com"), (2, "Yahoo")] {
        let (mut report, rows) = plain(&format!("r{number}"), number);
        report.metadata.org_name = org_name.into();
        (report.metadata.begin, report.metadata.end) = (START + 8 * DAY, START + 9 * DAY - 1);
        report.policy.domain = example();
        report.policy.p = Stated::Known(Policy::None);
        report.policy.sp = Stated::Known(Policy::Reject);
        let arrival = arrival(number.into());
        let added =
            store.transaction(|batch| batch.add(&arrival, &example(), &report, kept(&rows)));
        added.unwrap();
    }
    let config = config(Details::default());
    let absent = Answer::absent(DnsOutcome::NxDomain, 60);
    let mut look = |above: &Answer, at| {
        let seen = seen(above);
        let settled = store.settle(|look| settle(look, &config, None, &seen, at));
        let changes = settled.unwrap().expect("nothing has gone");
        let kinds = |open: Vec<OpenFinding>| {
            let kinds = open.into_iter().map(|open| open.finding.kind);
            kinds.collect::<Vec<_>>()
        };
        (kinds(changes.opened), kinds(changes.closed))
    };
    for hour in 0..9 * 24 {
        assert_eq!(look(&absent, START + hour * 3_600).0, []);
    }
    let at = |hour: i64| START + 9 * DAY + hour * 3_600;
    let differs = vec![FindingKind::ReportedDiffers];
    assert_eq!(look(&absent, at(0)), (differs, vec![]));
    let unknown = Answer::unknown(DnsTrouble::Timeout);
    assert_eq!(look(&unknown, at(1)), (vec![], vec![]));
    assert_eq!(look(&absent, at(2)), (vec![], vec![]));
}
