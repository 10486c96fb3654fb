use super::*;
use crate::{
    dns::Period,
    drift::{
        compare::Past,
        fixtures::{domain, policy_published},
        history::Watch,
    },
    report::Reported,
    terms::{DnsOutcome, Policy},
};

const DAY: i64 = 86_400;
const WATCH: Watch = Watch {
    gap: 10_800,
    propagation: 2 * DAY,
};

fn period(policy: Policy, first_seen: i64, last_seen: i64) -> Period {
    Period {
        outcome: DnsOutcome::Found,
        texts: vec![format!("v=DMARC1; p={policy}").into_bytes()],
        first_seen,
        last_seen,
        ttl: 3_600,
    }
}

fn report(org_name: &str, p: Policy, begin: i64, days: i64) -> Reported {
    Reported {
        org_name: org_name.to_owned(),
        email: String::new(),
        begin,
        end: begin + days * DAY - 1,
        policy: policy_published(p),
    }
}

fn found(history: &[Period], reports: &[Reported], known: &Reporters) -> Vec<Finding> {
    let domain = domain();
    let past = Past::new(&domain, history, WATCH, true);
    let compared: Vec<_> = reports.iter().filter_map(|r| past.compare(r)).collect();
    findings(&domain, &compared, known)
}

fn kinds(history: &[Period], reports: &[Reported]) -> Vec<FindingKind> {
    let found = found(history, reports, &Reporters::default());
    found.into_iter().map(|f| f.kind).collect()
}

#[test]
fn two_operators_make_it_drift_and_one_alone_is_shown_as_such() {
    let history = [period(Policy::Reject, 0, 20 * DAY)];
    let none = |name| report(name, Policy::None, 10 * DAY, 1);
    let kinds = |reports: &[Reported]| kinds(&history, reports);
    assert_eq!(kinds(&[]), []);
    assert_eq!(kinds(&[none("google.com")]), [FindingKind::ReporterDiffers]);
    let twice = [none("google.com"), none("Google")];
    assert_eq!(kinds(&twice), [FindingKind::ReporterDiffers]);
    let one_operator = [none("AOL"), none("Yahoo")];
    assert_eq!(kinds(&one_operator), [FindingKind::ReporterDiffers; 2]);
    assert_eq!(
        kinds(&[none("Yahoo"), none("google.com")]),
        [FindingKind::ReportedDiffers]
    );
    // Anybody can be a stranger.
    assert_eq!(
        kinds(&[none("a.example"), none("b.example"), none("c.example")]),
        []
    );
    assert_eq!(
        kinds(&[none("google.com"), none("a.example")]),
        [FindingKind::ReporterDiffers]
    );
}

#[test]
fn a_finding_says_who_reported_what_and_when() {
    let history = [
        period(Policy::None, 0, 5 * DAY),
        period(Policy::Reject, 5 * DAY, 20 * DAY),
    ];
    let none = |name| report(name, Policy::None, 10 * DAY, 1);
    let reports = [
        none("google.com"),
        none("Yahoo"),
        report("mail.ru", Policy::Quarantine, 9 * DAY, 1),
    ];
    let found = found(&history, &reports, &Reporters::default());
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].detail,
        "p: google.com and yahoo.com reported none, as it was before, published was reject; \
         p: mail.ru reported quarantine, published was reject"
    );
    let said = &found[0].evidence.reported;
    let said: Vec<_> = said
        .iter()
        .map(|s| (s.reporter.as_str(), s.begin, s.published_until))
        .collect();
    let former = Some(5 * DAY);
    let expected = [
        ("google.com", 10 * DAY, former),
        ("mail.ru", 9 * DAY, None),
        ("yahoo.com", 10 * DAY, former),
    ];
    assert_eq!(said, expected);
}

#[test]
fn forged_reports_cannot_fill_the_list() {
    let history = [period(Policy::Reject, 0, 20 * DAY)];
    let own: Vec<_> = (0..200)
        .map(|n| Domain::parse(&format!("r{n}.example")).unwrap())
        .collect();
    let reports: Vec<_> = own
        .iter()
        .map(|name| report(name.as_str(), Policy::None, 10 * DAY, 1))
        .collect();
    let found = found(&history, &reports, &Reporters::new(own));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].evidence.reported.len(), limits::STATEMENTS);
}
