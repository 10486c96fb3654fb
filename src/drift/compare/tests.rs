use std::collections::HashSet;

use super::*;
use crate::{
    config::{
        address::Recipient,
        domains::{Details, Template},
    },
    report::Stated,
    terms::{Alignment, DiscoveryMethod, DnsTrouble},
};

fn domain() -> Domain {
    Domain::parse("example.com").unwrap()
}

fn list(rua: &[&str], wanted: Option<&str>) -> DomainList {
    let details = Details {
        rua: rua
            .iter()
            .map(|a| Recipient::parse(a.as_bytes()).unwrap())
            .collect(),
        wanted: wanted.map(str::to_owned),
        ..Details::default()
    };
    let entries = [(domain(), details)].into_iter().collect();
    DomainList::new(entries, HashSet::new(), None, "+".into())
}

fn answer(texts: &[&str]) -> Answer {
    Answer::found(texts.iter().map(|t| t.as_bytes().to_vec()).collect(), 60)
}

fn findings(list: &DomainList, texts: &[&str]) -> Vec<(FindingKind, Severity, String)> {
    let entry = list.iter().next().unwrap();
    let found = published(&domain(), &Expected::of(list, entry), &answer(texts)).unwrap();
    let parts = |f: Finding| (f.kind, f.severity, f.detail);
    found.into_iter().map(parts).collect()
}

/// Kinds and severities of what is found against a wanted record, with our address in both.
fn against(wanted: &str, have: &str) -> Vec<(FindingKind, Severity)> {
    let rua = "; rua=mailto:r@ours.example";
    let (wanted, have) = (
        format!("v=DMARC1; {wanted}{rua}"),
        format!("v=DMARC1; {have}{rua}"),
    );
    let found = findings(&list(&["r@ours.example"], Some(&wanted)), &[&have]);
    found
        .into_iter()
        .map(|(kind, how, _)| (kind, how))
        .collect()
}

#[test]
fn an_unknown_answer_is_no_finding_and_no_all_clear() {
    let unknown = Answer::unknown(DnsTrouble::Timeout);
    assert_eq!(published(&domain(), &Expected::default(), &unknown), None);
}

#[test]
fn missing_several_and_misspelled_records_are_found() {
    let kind = |answer: &Answer| {
        let found = published(&domain(), &Expected::default(), answer).unwrap();
        found.into_iter().map(|f| f.kind).collect::<Vec<_>>()
    };
    let missing = [FindingKind::RecordMissing];
    assert_eq!(kind(&Answer::absent(DnsOutcome::NxDomain, 0)), missing);
    assert_eq!(kind(&Answer::absent(DnsOutcome::NoData, 0)), missing);
    assert_eq!(kind(&answer(&["v=spf1 -all"])), missing);
    assert_eq!(kind(&answer(&["v=dmarc1; p=none"])), missing);
    assert_eq!(
        kind(&answer(&["v=DMARC1; p=none", "v=DMARC1; p=reject"])),
        [FindingKind::RecordMultiple]
    );
    assert_eq!(
        kind(&answer(&["v=DMARC1; p=no"])),
        [FindingKind::RecordSyntax]
    );
    assert_eq!(kind(&answer(&["v=DMARC1; p=none; pct=50"])), []);
}

#[test]
fn our_address_is_recognised_in_every_spelling() {
    let list = list(&["r@ours.example"], None);
    for rua in [
        "mailto:r@ours.example",
        "MAILTO:R@Ours.Example",
        "mailto:r@ours.example!10m",
        "mailto:%72@ours.example",
        "mailto:r+tag@ours.example",
        "mailto:x@theirs.example,mailto:r@ours.example",
    ] {
        assert_eq!(
            findings(&list, &[&format!("v=DMARC1; p=none; rua={rua}")]),
            [],
            "{rua}"
        );
    }
    for record in [
        "v=DMARC1; p=none",
        "v=DMARC1; p=none; rua=mailto:x@ours.example",
        "v=DMARC1; p=none; rua=https://ours.example/r@ours.example",
    ] {
        let found = findings(&list, &[record]);
        assert_eq!(found.len(), 1, "{record}");
        assert_eq!(found[0].0, FindingKind::RuaNotOurs);
    }
}

#[test]
fn a_template_makes_the_address_and_without_any_none_is_missed() {
    let entries = [(domain(), Details::default())].into_iter().collect();
    let template = Template::parse("{domain}@ours.example");
    let with = DomainList::new(entries, HashSet::new(), template, "+".into());
    let ours = "v=DMARC1; p=none; rua=mailto:example.com@ours.example";
    assert_eq!(findings(&with, &[ours]), []);
    assert_eq!(findings(&with, &["v=DMARC1; p=none"]).len(), 1);
    assert_eq!(findings(&list(&[], None), &["v=DMARC1; p=none"]), []);
}

#[test]
fn a_difference_from_the_wanted_record_is_weaker_or_other() {
    use FindingKind::{PolicyWeaker, RecordDiffers};
    use Severity::{High, Low, Medium};
    for (wanted, have, expected) in [
        ("p=reject", "p=reject", vec![]),
        ("p=reject", "p=reject; sp=reject; adkim=r; pct=100", vec![]),
        ("p=reject", "p=none", vec![(PolicyWeaker, High)]),
        ("p=reject", "p=quarantine", vec![(PolicyWeaker, Medium)]),
        ("p=quarantine", "p=reject", vec![(RecordDiffers, Medium)]),
        ("p=reject", "p=reject; sp=none", vec![(PolicyWeaker, High)]),
        ("p=reject; np=reject", "p=reject", vec![]),
        ("p=reject", "p=reject; t=y", vec![(PolicyWeaker, Medium)]),
        (
            "p=quarantine",
            "p=quarantine; t=y",
            vec![(PolicyWeaker, High)],
        ),
        ("p=reject", "p=reject; pct=10", vec![(PolicyWeaker, Medium)]),
        ("p=none", "p=none; pct=10", vec![(RecordDiffers, Low)]),
        ("p=none", "p=none; adkim=s", vec![(RecordDiffers, Medium)]),
        ("p=none", "p=none; fo=1", vec![]),
        (
            "p=none; ruf=mailto:f@x.example",
            "p=none; fo=1; ruf=mailto:f@x.example",
            vec![(RecordDiffers, Low)],
        ),
        (
            "p=reject",
            "p=none; aspf=s",
            vec![(PolicyWeaker, High), (RecordDiffers, Medium)],
        ),
    ] {
        assert_eq!(against(wanted, have), expected, "{wanted} / {have}");
    }
}

#[test]
fn the_detail_names_fields_and_values() {
    let list = list(&[], Some("v=DMARC1; p=reject"));
    let found = findings(&list, &["v=DMARC1; p=none"]);
    assert_eq!(found[0].2, "p: wanted reject, published none");
}

#[test]
fn advice_is_the_wanted_record_or_the_mended_one() {
    let advice_of = |list: &DomainList, texts: &[&str]| {
        let expected = Expected::of(list, list.iter().next().unwrap());
        advice(&expected, &answer(texts))
    };
    let plain = list(&["r@ours.example"], None);
    assert_eq!(
        advice_of(&plain, &[]).as_deref(),
        Some("v=DMARC1; p=none; rua=mailto:r@ours.example")
    );
    assert_eq!(
        advice_of(&plain, &["v=DMARC1; p=reject; rua=mailto:x@x.example"]).as_deref(),
        Some("v=DMARC1; p=reject; rua=mailto:x@x.example,mailto:r@ours.example")
    );
    let good = "v=DMARC1; p=reject; rua=mailto:r@ours.example";
    assert_eq!(advice_of(&plain, &[good]), None);
    let wanted = list(&["r@ours.example"], Some("v=DMARC1; p=reject"));
    assert_eq!(
        advice_of(&wanted, &["v=DMARC1; p=none"]).as_deref(),
        Some(good)
    );
    assert_eq!(advice(&Expected::default(), &answer(&[])), None);
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
