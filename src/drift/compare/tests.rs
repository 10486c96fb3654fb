use super::*;
use crate::{
    report::Stated,
    terms::{Alignment, DiscoveryMethod, DnsOutcome, YesNo},
};

fn domain() -> Domain {
    Domain::parse("example.com").unwrap()
}

const DAY: i64 = 86_400;

fn seen(text: &str, first_seen: i64, last_seen: i64) -> Period {
    Period {
        outcome: DnsOutcome::Found,
        texts: vec![text.into()],
        first_seen,
        last_seen,
        ttl: 3_600,
    }
}

fn report(reporter: &str, change: impl FnOnce(&mut PolicyPublished)) -> Reported {
    let mut policy = PolicyPublished {
        domain: domain(),
        p: Stated::Known(Policy::Reject),
        sp: Stated::Not,
        np: Stated::Not,
        adkim: Stated::Not,
        aspf: Stated::Not,
        pct: None,
        fo: String::new(),
        testing: Stated::Not,
        discovery_method: Stated::Not,
    };
    change(&mut policy);
    Reported {
        reporter: reporter.to_owned(),
        begin: 10 * DAY,
        end: 11 * DAY - 1,
        policy,
    }
}

fn compared(reports: &[Reported], history: &[Period]) -> Vec<(Severity, String)> {
    let found = reported(&domain(), reports, history, 10_800);
    found.into_iter().map(|f| (f.severity, f.detail)).collect()
}

#[test]
fn a_reported_field_is_the_same_differs_or_is_not_stated() {
    let history = [seen("v=DMARC1; p=reject", 5 * DAY, 12 * DAY)];
    let differs =
        |change: fn(&mut PolicyPublished)| !compared(&[report("a", change)], &history).is_empty();
    // Same, inherited, default, or not stated.
    assert!(!differs(|_| ()));
    assert!(!differs(|p| p.sp = Stated::Known(Policy::Reject)));
    assert!(!differs(|p| p.np = Stated::Known(Policy::Reject)));
    assert!(!differs(|p| p.adkim = Stated::Known(Alignment::Relaxed)));
    assert!(!differs(|p| p.pct = Some(100)));
    assert!(!differs(|p| p.p = Stated::Not));
    assert!(!differs(|p| p.p = Stated::Other("unknown".into())));
    assert!(!differs(|p| p.fo = "1".into()));
    assert!(!differs(|p| p.testing = Stated::Known(YesNo::No)));
    // Differs.
    assert!(differs(|p| p.p = Stated::Known(Policy::None)));
    assert!(differs(|p| p.sp = Stated::Known(Policy::None)));
    assert!(differs(|p| p.aspf = Stated::Known(Alignment::Strict)));
    assert!(differs(|p| p.pct = Some(50)));
    assert!(differs(|p| p.testing = Stated::Known(YesNo::Yes)));
    // RFC 9990 has no pct.
    assert!(!differs(|p| {
        p.pct = Some(50);
        p.discovery_method = Stated::Known(DiscoveryMethod::Treewalk);
    }));
    // Another domain's policy.
    assert!(!differs(|p| {
        p.domain = Domain::parse("com").unwrap();
        p.p = Stated::Known(Policy::None);
    }));
}

#[test]
fn reporters_are_counted_and_the_detail_is_ours() {
    let history = [seen("v=DMARC1; p=reject", 5 * DAY, 12 * DAY)];
    let none = |name: &str| report(name, |p| p.p = Stated::Known(Policy::None));
    let detail = |reports: u8, reporters: u8| {
        format!(
            "p: reported none, published reject ({reports}); \
             reports: {reports}, reporters: {reporters}"
        )
    };
    assert_eq!(
        compared(&[none("a"), none("a")], &history),
        [(Severity::Low, detail(2, 1))]
    );
    assert_eq!(
        compared(&[none("a"), none("b")], &history),
        [(Severity::Medium, detail(2, 2))]
    );
}

#[test]
fn what_history_does_not_cover_is_no_finding() {
    let none = [report("a", |p| p.p = Stated::Known(Policy::None))];
    let text = "v=DMARC1; p=reject";
    for history in [
        vec![],
        vec![seen(text, 10 * DAY + 1, 12 * DAY)],
        vec![seen(text, 5 * DAY, 10 * DAY)],
        vec![
            seen(text, 5 * DAY, 10 * DAY),
            seen(text, 11 * DAY, 12 * DAY),
        ],
    ] {
        assert_eq!(compared(&none, &history), [], "{history:?}");
    }
}

#[test]
fn a_report_may_be_about_any_record_of_its_time() {
    let none = [report("a", |p| p.p = Stated::Known(Policy::None))];
    let (old, new) = ("v=DMARC1; p=none", "v=DMARC1; p=reject");
    let changed = |at: i64| [seen(old, 0, at), seen(new, at + 60, 12 * DAY)];
    assert_eq!(compared(&none, &changed(10 * DAY + 60)), []);
    assert_eq!(compared(&none, &changed(8 * DAY + 60)), []);
    assert_eq!(compared(&none, &changed(7 * DAY)).len(), 1);
}

#[test]
fn a_time_without_a_single_record_allows_an_inherited_policy() {
    let none = [report("a", |p| p.p = Stated::Known(Policy::None))];
    let mut absent = seen("", 0, 12 * DAY);
    absent.outcome = DnsOutcome::NxDomain;
    absent.texts.clear();
    assert_eq!(compared(&none, &[absent]), []);
}
