mod demands;
mod told;

use std::collections::HashSet;

use super::*;
use crate::{
    config::{
        address::Recipient,
        domains::{Demands, Details, DomainList, Template},
    },
    dns::external,
    terms::{Alignment, DnsTrouble, Policy},
};

fn domain() -> Domain {
    Domain::parse("example.com").unwrap()
}

fn list(rua: &[&str], wanted: Option<&str>) -> DomainList {
    let details = Details {
        rua: addresses(rua),
        wanted: wanted.map(str::to_owned),
        ..Details::default()
    };
    listed(details)
}

fn addresses(texts: &[&str]) -> Vec<Recipient> {
    let address = |text: &&str| Recipient::parse(text.as_bytes()).unwrap();
    texts.iter().map(address).collect()
}

fn listed(details: Details) -> DomainList {
    let entries = [(domain(), details)].into_iter().collect();
    DomainList::new(entries, HashSet::new(), None, "+".into())
}

fn answer(texts: &[&str]) -> Answer {
    Answer::found(texts.iter().map(|t| t.as_bytes().to_vec()).collect(), 60)
}

/// What is seen of `example.com`, with nothing above it and no TLS-RPT record.
fn seen(answer: Answer) -> Seen {
    let above = Answer::absent(DnsOutcome::NxDomain, 60);
    walked(&domain(), vec![answer, above])
}

/// What is seen of a domain: the answers of the walk, the first one its own.
fn walked(domain: &Domain, answers: Vec<Answer>) -> Seen {
    let mut walk = Walk::new(domain.clone());
    for answer in &answers {
        walk.add(answer);
    }
    Seen {
        domain: domain.clone(),
        answer: answers.into_iter().next().unwrap(),
        walk,
        absence: Known::Yes(Absence::Plain),
        hosts: Vec::new(),
        has_unknown_host: false,
        tls: Answer::absent(DnsOutcome::NxDomain, 60),
    }
}

fn judged(list: &DomainList, seen: &Seen) -> Judgement {
    let entry = list.iter().next().unwrap();
    judge(seen, &Expected::of(list, entry), None)
}

fn parts(judgement: Judgement) -> Vec<(FindingKind, Severity)> {
    let findings = judgement.findings.into_iter();
    findings.map(|it| (it.kind, it.severity)).collect()
}

fn kinds(judgement: Judgement) -> Vec<FindingKind> {
    parts(judgement).into_iter().map(|(kind, _)| kind).collect()
}

fn findings(list: &DomainList, texts: &[&str]) -> Vec<FindingKind> {
    kinds(judged(list, &seen(answer(texts))))
}

/// Kinds and severities of what is found against a wanted record, with our address in both.
fn against(wanted: &str, have: &str) -> Vec<(FindingKind, Severity)> {
    let rua = "rua=mailto:r@ours.example";
    let text = |record: &str| match record.split_once(';') {
        Some((p, rest)) => format!("v=DMARC1; {p}; {rua};{rest}"),
        None => format!("v=DMARC1; {record}; {rua}"),
    };
    let list = list(&["r@ours.example"], Some(&text(wanted)));
    parts(judged(&list, &seen(answer(&[&text(have)]))))
}

#[test]
fn an_unknown_answer_is_no_finding_and_no_all_clear() {
    let unknown = Answer::unknown(DnsTrouble::Timeout);
    let found = judge(&seen(unknown.clone()), &Expected::default(), None);
    assert_eq!(found.findings, []);
    assert!(found.undecided.contains(&FindingKind::RecordMissing));
    assert!(!found.undecided.contains(&FindingKind::TlsRecordMissing));
    let mut good = seen(answer(&["v=DMARC1; p=none"]));
    good.tls = unknown.clone();
    good.has_unknown_host = true;
    let found = judge(&good, &Expected::default(), None);
    assert_eq!(found.findings, []);
    assert!(found.undecided.contains(&FindingKind::TlsRecordMissing));
    assert!(found.undecided.contains(&FindingKind::ExtAuthMissing));
    // Missing, misplaced or behind an alias: nobody knows.
    let mut absent = seen(Answer::absent(DnsOutcome::NxDomain, 60));
    absent.absence = Known::No;
    let found = judge(&absent, &Expected::default(), None);
    assert_eq!(found.findings, []);
    for kind in [
        FindingKind::RecordMissing,
        FindingKind::RecordMisplaced,
        FindingKind::CnameDangling,
    ] {
        assert!(found.undecided.contains(&kind), "{kind}");
    }
    // Missing or inherited: nobody knows.
    let above = walked(&domain(), vec![answer(&["x"]), unknown]);
    let found = judge(&above, &Expected::default(), None);
    assert_eq!(found.findings, []);
    assert!(found.undecided.contains(&FindingKind::RecordMissing));
}

#[test]
fn missing_several_and_misspelled_records_are_found() {
    use FindingKind as F;
    let kind = |answer: &Answer| kinds(judge(&seen(answer.clone()), &Expected::default(), None));
    for outcome in [DnsOutcome::NxDomain, DnsOutcome::NoData] {
        assert_eq!(kind(&Answer::absent(outcome, 0)), [F::RecordMissing]);
    }
    for (texts, expected) in [
        (vec!["v=spf1 -all"], vec![F::RecordMissing]),
        (vec!["v=dmarc1; p=none"], vec![F::RecordNotDmarc]),
        (
            vec!["v=DMARC1; p=none", "v=DMARC1; p=reject"],
            vec![F::RecordMultiple],
        ),
        (vec!["v=DMARC1; p=no"], vec![F::ValueInvalid]),
        (vec!["v=DMARC1"], vec![F::RecordSyntax]),
        (vec!["v=DMARC1; p=none; x"], vec![F::RecordSyntax]),
        (vec!["v=DMARC1; p=none; x=y"], vec![F::TagUnknown]),
        (vec!["v=DMARC1; p=none; p=none"], vec![F::TagDuplicate]),
        (vec!["v=DMARC1; p=none; pct=50"], vec![F::TagHistoric]),
        (vec!["v=DMARC1; p=reject; pct=50"], vec![F::PctPartial]),
        (vec!["v=DMARC1; adkim=s; p=none"], vec![F::PNotSecond]),
        (vec!["v=DMARC1; p=none; adkim=x"], vec![F::ValueInvalid]),
        (vec!["v=DMARC1; p=reject; t=y"], vec![F::TestingLeftOn]),
        (vec!["v=DMARC1; p=none; t=y"], vec![]),
        (vec!["v=DMARC1; p=none; psd=y"], vec![F::PsdUnexpected]),
        (vec!["v=DMARC1; p=none; fo=1"], vec![F::FoWithoutRuf]),
        (
            vec!["v=DMARC1; p=none; ruf=mailto:a@b.example"],
            vec![F::RufWithoutFo],
        ),
        (
            vec!["v=DMARC1; p=none; fo=9; ruf=mailto:a@b.example"],
            vec![F::FoInvalid],
        ),
        (
            vec!["v=DMARC1; p=none; rua=a@b.example"],
            vec![F::RuaUnusable],
        ),
        (
            vec!["v=DMARC1; p=none; rua=https://b.example/"],
            vec![F::RuaUnusable],
        ),
        (
            vec!["v=DMARC1; p=none; rua=mailto:a@b.example!1m"],
            vec![F::RuaSizeLimit],
        ),
    ] {
        assert_eq!(kind(&answer(&texts)), expected, "{texts:?}");
    }
    let mut odd = seen(Answer::absent(DnsOutcome::NxDomain, 0));
    odd.absence = Known::Yes(Absence::Misplaced(domain()));
    assert_eq!(
        kinds(judge(&odd, &Expected::default(), None)),
        [F::RecordMisplaced]
    );
    odd.absence = Known::Yes(Absence::Dangling);
    assert_eq!(
        kinds(judge(&odd, &Expected::default(), None)),
        [F::CnameDangling]
    );
    let mut slow = answer(&["v=DMARC1; p=none"]);
    slow.ttl = 86_401;
    assert_eq!(kind(&slow), [F::TtlExtreme]);
}

#[test]
fn our_address_is_recognised_in_every_spelling() {
    let list = list(&["r@ours.example"], None);
    for rua in [
        "mailto:r@ours.example",
        "MAILTO:R@Ours.Example",
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
    for (rua, expected) in [
        (
            "fo=0; ruf=mailto:r@ours.example",
            vec![FindingKind::RuaMissing],
        ),
        ("rua=mailto:x@ours.example", vec![FindingKind::RuaNotOurs]),
        // Meant for us.
        ("rua=r@ours.example", vec![FindingKind::RuaUnusable]),
        (
            "rua=x@ours.example",
            vec![FindingKind::RuaUnusable, FindingKind::RuaNotOurs],
        ),
    ] {
        assert_eq!(
            findings(&list, &[&format!("v=DMARC1; p=none; {rua}")]),
            expected,
            "{rua}"
        );
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
fn a_difference_from_the_wanted_record_has_a_kind_of_its_own() {
    use FindingKind as F;
    use Severity::{High, Low, Medium};
    let ruf = "ruf=mailto:f@x.example";
    for (wanted, have, expected) in [
        ("p=reject", "p=reject", vec![]),
        ("p=reject", "p=reject; sp=reject; adkim=r", vec![]),
        ("p=reject", "p=none", vec![(F::PolicyWeaker, High)]),
        ("p=reject", "p=quarantine", vec![(F::PolicyWeaker, High)]),
        ("p=quarantine", "p=reject", vec![(F::PolicyStronger, High)]),
        (
            "p=reject",
            "p=reject; sp=none",
            vec![(F::SubdomainPolicyMismatch, High)],
        ),
        (
            "p=none",
            "p=none; np=reject",
            vec![(F::SubdomainPolicyMismatch, Medium)],
        ),
        ("p=reject; np=reject", "p=reject", vec![]),
        ("p=reject", "p=reject; t=y", vec![(F::TestingLeftOn, High)]),
        ("p=reject; t=y", "p=reject; t=y", vec![]),
        ("p=reject; t=y", "p=reject", vec![(F::PolicyStronger, High)]),
        ("p=reject", "p=reject; pct=10", vec![(F::PctPartial, High)]),
        ("p=reject", "p=reject; pct=0", vec![(F::PctPartial, Medium)]),
        ("p=reject; pct=50", "p=reject; pct=50", vec![]),
        (
            "p=reject; pct=50",
            "p=reject; pct=10",
            vec![(F::PolicyWeaker, High)],
        ),
        (
            "p=reject; pct=50",
            "p=reject",
            vec![(F::PolicyStronger, High)],
        ),
        (
            "p=none",
            "p=none; pct=10",
            vec![(F::TagHistoric, Severity::Info)],
        ),
        (
            "p=none",
            "p=none; adkim=s",
            vec![(F::AlignmentChanged, High)],
        ),
        (
            "p=none; aspf=s",
            "p=none",
            vec![(F::AlignmentChanged, Medium)],
        ),
        ("p=none", "p=none; fo=1", vec![(F::FoWithoutRuf, Low)]),
        ("p=none; psd=n", "p=none", vec![(F::RecordDiffers, Low)]),
        ("p=none; psd=y", "p=none; psd=y", vec![]),
        (
            &format!("p=none; fo=0; {ruf}"),
            &format!("p=none; fo=1; {ruf}"),
            vec![(F::RecordDiffers, Low)],
        ),
        (
            "p=none",
            &format!("p=none; fo=0; {ruf}"),
            vec![(F::RuaExtra, High)],
        ),
        (
            &format!("p=none; fo=0; {ruf}"),
            "p=none",
            vec![(F::RecordDiffers, Medium)],
        ),
        (
            "p=reject",
            "p=none; aspf=s",
            vec![(F::PolicyWeaker, High), (F::AlignmentChanged, High)],
        ),
    ] {
        assert_eq!(against(wanted, have), expected, "{wanted} / {have}");
    }
}

#[test]
fn destinations_that_are_not_wanted_are_told() {
    let wanted = "v=DMARC1; p=none; rua=mailto:r@ours.example,mailto:x@x.example";
    let list = list(&["r@ours.example"], Some(wanted));
    let of = |rua: &str| findings(&list, &[&format!("v=DMARC1; p=none; rua={rua}")]);
    assert_eq!(of("mailto:X@x.example,mailto:r@ours.example"), []);
    assert_eq!(
        of("mailto:r@ours.example,mailto:x@x.example,mailto:y@x.example"),
        [FindingKind::RuaExtra]
    );
    assert_eq!(of("mailto:r@ours.example"), [FindingKind::RecordDiffers]);
}

#[test]
fn a_host_that_does_not_agree_is_told_with_what_to_publish() {
    use FindingKind as F;
    let name = Domain::parse("reports.example").unwrap();
    let with = |answer: Answer| {
        let mut seen = seen(self::answer(&["v=DMARC1; p=none"]));
        seen.hosts.push(Host {
            name: name.clone(),
            takes_aggregate: true,
            place: external::name(&domain(), &name),
            answer,
        });
        judge(&seen, &Expected::default(), None)
    };
    let found = with(Answer::absent(DnsOutcome::NxDomain, 60)).findings;
    assert_eq!(
        (found[0].kind, found[0].severity),
        (F::ExtAuthMissing, Severity::High)
    );
    assert_eq!(found[0].subject, name);
    let publish = found[0].publish.as_ref().unwrap();
    assert_eq!(
        publish.name.as_str(),
        "example.com._report._dmarc.reports.example"
    );
    assert_eq!(publish.text, "v=DMARC1;");
    let foreign = answer(&["v=DMARC1; rua=mailto:a@b.example"]);
    assert_eq!(kinds(with(foreign)), [F::ExtAuthOverrideForeign]);
    assert_eq!(kinds(with(answer(&["v=DMARC1"]))), []);
    let unknown = with(Answer::unknown(DnsTrouble::Timeout));
    assert_eq!(unknown.findings, []);
    assert_eq!(
        unknown.undecided,
        [F::ExtAuthMissing, F::ExtAuthOverrideForeign]
    );
}

#[test]
fn the_tls_record_matters_where_there_are_addresses_for_it() {
    use FindingKind as F;
    let good = "v=DMARC1; p=none";
    let with = |tls: &[&str], texts: &[&str]| {
        let list = listed(Details {
            tls: addresses(tls),
            ..Details::default()
        });
        let mut seen = seen(answer(&[good]));
        if !texts.is_empty() {
            seen.tls = answer(texts);
        }
        judged(&list, &seen).findings
    };
    let of = |tls: &[&str], texts: &[&str]| -> Vec<_> {
        with(tls, texts)
            .into_iter()
            .map(|finding| finding.kind)
            .collect()
    };
    let ours = &["t@ours.example"];
    let record = "v=TLSRPTv1; rua=mailto:t@ours.example";
    assert_eq!(of(&[], &[]), []);
    assert_eq!(of(&[], &["v=TLSRPTv1; rua=mailto:x@x.example"]), []);
    assert_eq!(of(ours, &[record]), []);
    assert_eq!(of(ours, &[]), [F::TlsRecordMissing]);
    assert_eq!(of(&[], &[record, record]), [F::TlsRecordMultiple]);
    assert_eq!(
        of(&[], &["v=tlsrptv1; rua=mailto:t@ours.example"]),
        [F::TlsRecordInvalid]
    );
    assert_eq!(of(ours, &[&format!("{record};x")]), [F::TlsRecordInvalid]);
    let elsewhere = "v=TLSRPTv1; rua=mailto:x@x.example";
    assert_eq!(of(ours, &[elsewhere]), [F::TlsRuaNotOurs]);
    let publish = with(ours, &[elsewhere])[0].publish.clone().unwrap();
    assert_eq!(publish.name.as_str(), "_smtp._tls.example.com");
    assert_eq!(
        publish.text,
        "v=TLSRPTv1; rua=mailto:x@x.example,mailto:t@ours.example"
    );
}
