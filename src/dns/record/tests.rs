use proptest::prelude::*;

use super::*;
use crate::limits::{MAX_RECORD_ITEMS, MAX_TXT_LEN};

fn record(text: &str) -> Record {
    parse(text.as_bytes()).into_record().expect("a record")
}

fn problems(text: &str) -> Vec<ProblemKind> {
    record(text).problems.iter().map(|p| p.kind).collect()
}

#[test]
fn the_version_decides_what_is_a_record() {
    for text in [
        "v=DMARC1",
        "v=DMARC1;p=none",
        "v = DMARC1 ; p=none",
        "V=DMARC1; p=none",
        "v=DMARC1; p=none;",
        "v\t=\tDMARC1\t;",
    ] {
        assert!(parse(text.as_bytes()).into_record().is_some(), "{text}");
    }
    for text in [
        "",
        "v",
        "v=",
        "v=DMARC",
        "v=DMARC10; p=none",
        "v=dmarc1; p=none",
        "v=DMARC1 p=none",
        "v=DMARC1, p=none",
        " v=DMARC1; p=none",
        "p=none; v=DMARC1",
        "v=spf1 -all",
    ] {
        assert_eq!(parse(text.as_bytes()), Parsed::NotDmarc, "{text}");
    }
}

#[test]
fn absent_tags_have_their_defaults() {
    let record = record("v=DMARC1; p=quarantine");
    assert_eq!(record.policy(), Some(Policy::Quarantine));
    assert_eq!(record.subdomain_policy(), Some(Policy::Quarantine));
    assert_eq!(record.nonexistent_policy(), Some(Policy::Quarantine));
    assert_eq!(record.dkim_alignment(), Alignment::Relaxed);
    assert_eq!(record.spf_alignment(), Alignment::Relaxed);
    assert_eq!(record.failure_options().to_string(), "0");
    assert_eq!(record.testing(), YesNo::No);
    assert_eq!(record.public_suffix(), Psd::Unknown);
    assert_eq!(record.percentage(), 100);
    assert_eq!(record.problems, []);
}

#[test]
fn np_falls_back_to_sp_and_sp_to_p() {
    let record = record("v=DMARC1; p=reject; sp=quarantine");
    assert_eq!(record.subdomain_policy(), Some(Policy::Quarantine));
    assert_eq!(record.nonexistent_policy(), Some(Policy::Quarantine));
}

#[test]
fn literals_are_read_in_any_case_and_addresses_keep_theirs() {
    let text = "v=DMARC1;P=Reject;ADKIM=S;FO=D:1;rua=MAILTO:Rua@Example.net , mailto:b@c.example";
    assert_eq!(
        record(text).to_string(),
        "v=DMARC1; p=reject; adkim=s; rua=MAILTO:Rua@Example.net,mailto:b@c.example; fo=1:d"
    );
}

#[test]
fn test_mode_and_a_share_lower_by_one_and_not_by_two() {
    for text in ["t=y", "pct=99", "t=y; pct=0"] {
        let record = record(&format!("v=DMARC1; p=reject; {text}"));
        assert_eq!(record.enforced(Policy::Reject), Policy::Quarantine);
        assert_eq!(record.enforced(Policy::Quarantine), Policy::None);
        assert_eq!(record.enforced(Policy::None), Policy::None);
    }
    let record = record("v=DMARC1; p=reject; t=n; pct=100");
    assert_eq!(record.enforced(Policy::Reject), Policy::Reject);
}

#[test]
fn a_bad_policy_is_none_with_a_usable_rua_and_nothing_without() {
    for bad in ["p=monitor", "p=reject; sp=x", "p=reject; np=x", "adkim=r"] {
        let with = record(&format!("v=DMARC1; {bad}; rua=mailto:a@b.example"));
        assert_eq!(with.policy(), Some(Policy::None), "{bad}");
        let without = record(&format!("v=DMARC1; {bad}; rua=a@b.example"));
        assert_eq!(without.policy(), None, "{bad}");
        assert_eq!(
            without.problems.last().map(|p| p.kind),
            Some(ProblemKind::NotApplied)
        );
    }
}

#[test]
fn each_problem_is_named() {
    use ProblemKind as K;
    use RecordTag as T;
    for (text, expected) in [
        ("v=DMARC1; p=none;", vec![]),
        ("v=DMARC1; p=none ; ", vec![]),
        ("v=DMARC1;; p=none", vec![K::Empty]),
        ("v=DMARC1; p=none; x", vec![K::NotATag]),
        ("v=DMARC1; p=none; rua=", vec![K::NotATag]),
        ("v=DMARC1; p=none; r1=x", vec![K::NotATag]),
        ("v=DMARC1; p=none; police=x", vec![K::UnknownTag]),
        ("v=DMARC1; p=none; p=reject", vec![K::Duplicate(T::P)]),
        ("v=DMARC1; p=none; adkim=x", vec![K::BadValue(T::Adkim)]),
        ("v=DMARC1; p=none; fo=0:1", vec![K::BadValue(T::Fo)]),
        (
            "v=DMARC1; p=none; pct=101",
            vec![K::Historic(T::Pct), K::BadValue(T::Pct)],
        ),
        ("v=DMARC1; p=none; pct=0", vec![K::Historic(T::Pct)]),
        (
            "v=DMARC1; p=none; ri=+5",
            vec![K::Historic(T::Ri), K::BadValue(T::Ri)],
        ),
        (
            "v=DMARC1; p=none; rua=a@b.example,mailto:a@b.example!9k",
            vec![K::BadUri(T::Rua), K::SizeLimit(T::Rua)],
        ),
        ("v=DMARC1; rua=mailto:a@b.example", vec![K::NoPolicy]),
        ("v=DMARC1", vec![K::NotApplied]),
        ("v=DMARC1; fo=1; p=none", vec![K::NotSecond]),
        (
            "v=DMARC1; p=no; t=x",
            vec![K::BadValue(T::P), K::BadValue(T::T), K::NotApplied],
        ),
    ] {
        assert_eq!(problems(text), expected, "{text}");
    }
    assert_eq!(record("v=DMARC1; p=none; x").problems[0].at, 18..19);
}

/// The text with the first problem mended.
fn mended_once(text: &str) -> Option<String> {
    let mended = mended(text.as_bytes(), record(text).problems.first()?)?;
    Some(String::from_utf8(mended).expect("UTF-8"))
}

#[test]
fn the_better_text_stands_beside_the_problem() {
    for (text, better) in [
        ("v=DMARC1;; p=none", "v=DMARC1; p=none"),
        ("v=DMARC1; p=none; x ; fo=1", "v=DMARC1; p=none; fo=1"),
        ("v=DMARC1; p: none", "v=DMARC1; p=none"),
        ("v=DMARC1; p reject", "v=DMARC1; p=reject"),
        ("v=DMARC1; p=rejected", "v=DMARC1; p=reject"),
        ("v=DMARC1; p=monitor", "v=DMARC1; p=none"),
        (
            "v=DMARC1; p=none; adkim=strict",
            "v=DMARC1; p=none; adkim=s",
        ),
        ("v=DMARC1; p=none; fo=7", "v=DMARC1; p=none"),
        ("v=DMARC1; p=none; p=reject", "v=DMARC1; p=none"),
        ("v=DMARC1; p=none; pct=100", "v=DMARC1; p=none"),
        (
            "v=DMARC1; p=none; rua=a@b.example, mailto:c@b.example",
            "v=DMARC1; p=none; rua=mailto:a@b.example, mailto:c@b.example",
        ),
        (
            "v=DMARC1; p=none; rua=x , mailto:c@b.example",
            "v=DMARC1; p=none; rua=mailto:c@b.example",
        ),
        (
            "v=DMARC1; p=none; rua=mailto:c@b.example,x",
            "v=DMARC1; p=none; rua=mailto:c@b.example",
        ),
        (
            "v=DMARC1; p=none; rua=mailto:c@b.example!10m",
            "v=DMARC1; p=none; rua=mailto:c@b.example",
        ),
        ("v=DMARC1;fo=1; p=none", "v=DMARC1;p=none; fo=1"),
        (
            "v=DMARC1; rua=mailto:c@b.example",
            "v=DMARC1; p=none; rua=mailto:c@b.example",
        ),
        ("v=DMARC1", "v=DMARC1; p=none"),
    ] {
        assert_eq!(mended_once(text).as_deref(), Some(better), "{text}");
        assert_eq!(problems(better), [], "{better}");
    }
}

#[test]
fn what_was_meant_as_a_record_is_read() {
    let meant = |text: &str| meant(text.as_bytes()).map(|record| record.to_string());
    let plain = "v=DMARC1; p=none; fo=1";
    for text in [
        "v=dmarc1; p=none; fo=1",
        " v=DMARC1; p=none; fo=1",
        "\"v=DMARC1; p=none; fo=1\"",
        "v=DMARC1\\; p=none\\; fo=1",
        "v=DMARC1 p=none; fo=1",
        "v=DMARC1, p=none; fo=1",
        "v=DMARC1: p=none; fo=1",
        "v=DMARC; p=none; fo=1",
        "p=none; v=DMARC1; fo=1",
    ] {
        assert_eq!(parse(text.as_bytes()), Parsed::NotDmarc, "{text}");
        assert_eq!(meant(text).as_deref(), Some(plain), "{text}");
    }
    assert_eq!(meant("v=spf1 -all"), None);
}

#[test]
fn a_record_beyond_the_bound_says_so() {
    let long = format!("v=DMARC1; p=none; x={}", "y".repeat(MAX_TXT_LEN));
    assert_eq!(
        problems(&long),
        [ProblemKind::UnknownTag, ProblemKind::TooLong]
    );
    let many = "v=DMARC1; p=none".to_owned() + &";x".repeat(1_000);
    assert_eq!(record(&many).problems.len(), MAX_RECORD_ITEMS + 1);
}

#[test]
fn an_answer_has_none_one_or_several_records() {
    let texts = |t: &[&str]| t.iter().map(|t| t.as_bytes().to_vec()).collect::<Vec<_>>();
    let of = |t: &[&str]| select(&texts(t));
    assert_eq!(of(&["v=spf1 -all"]), Selection::None { meant: None });
    for text in ["v=dmarc1; p=none", "\"v=DMARC1; p=none\""] {
        let meant = Some(Box::new(record("v=DMARC1; p=none")));
        assert_eq!(of(&[text]), Selection::None { meant }, "{text}");
    }
    assert!(matches!(
        of(&["v=spf1 -all", "v=DMARC1; p=none"]),
        Selection::One(_)
    ));
    assert_eq!(
        of(&["v=DMARC1; p=none", "v=DMARC1; p=none"]),
        Selection::Several(2)
    );
}

fn one_of<T: Copy + fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = Option<T>> {
    prop::option::of(prop::sample::select(all))
}

fn uris() -> impl Strategy<Value = Vec<ReportUri>> {
    let uri = "mailto:[a-zA-Z0-9.+%]{0,4}x@[a-z]{1,8}\\.example(![0-9]{1,3}[kmg]?)?"
        .prop_filter_map("a URI", |text| ReportUri::parse(text.as_bytes()));
    prop::collection::vec(uri, 0..4)
}

prop_compose! {
    fn any_record()(
        (p, sp, np) in (one_of(Policy::ALL), one_of(Policy::ALL), one_of(Policy::ALL)),
        (adkim, aspf) in (one_of(Alignment::ALL), one_of(Alignment::ALL)),
        (rua, ruf) in (uris(), uris()),
        fo in prop::option::of(prop::sample::select(&["0", "1", "d", "1:d:s", "0:s"][..])),
        (t, psd) in (one_of(YesNo::ALL), one_of(Psd::ALL)),
        pct in prop::option::of(0..=100u8),
        rf in prop::option::of("[a-z]{1,8}"),
        ri in prop::option::of(any::<u32>()),
    ) -> Record {
        Record {
            p, sp, np, adkim, aspf, rua, ruf, t, psd, pct, ri,
            fo: fo.and_then(|fo| FailureOptions::parse(fo.as_bytes())),
            rf: rf.map(Into::into),
            problems: Vec::new(),
        }
    }
}

proptest! {
    #[test]
    fn a_printed_record_reads_as_itself(record in any_record()) {
        let mut read = parse(record.to_string().as_bytes()).into_record().expect("a record");
        read.problems.clear();
        prop_assert_eq!(read, record);
    }

    #[test]
    fn any_text_is_read_and_its_printed_form_is_stable(
        tags in prop::collection::vec(prop_oneof![
            "(p|sp|rua|fo|pct|x)( )?=( )?[a-z0-9:@!%,]{0,12}",
            "(rua|ruf)=(mailto:)?a(%2[0-9a-g])?@b\\.c(!9)?",
            "[ -~]{0,10}",
        ], 0..8),
    ) {
        let text = format!("v=DMARC1;{}", tags.join(";"));
        let printed = record(&text).to_string();
        prop_assert_eq!(record(&printed).to_string(), printed);
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
        let _ = parse(&[b"v=DMARC1; rua=".as_slice(), &bytes].concat());
        let _ = meant(&[b"x;v=dmarc1 ".as_slice(), &bytes].concat());
        let _ = select(&[bytes]);
    }

    #[test]
    fn every_problem_is_in_the_text_and_one_with_a_better_text_is_mended_by_it(
        tags in prop::collection::vec(prop_oneof![
            "(p|sp|np|t|fo|adkim|pct|x)( )?[=: ]( )?[a-z0-9:]{0,6}",
            "(rua|ruf)=(mailto:)?a(!9k)?@b\\.c(!9)?( )?(,(mailto:a@c\\.d)?)?",
            "",
        ], 0..6),
    ) {
        let text = format!("v=DMARC1;{}", tags.join(";"));
        let before = record(&text);
        for problem in &before.problems {
            prop_assert!(problem.at.start <= problem.at.end && problem.at.end <= text.len());
            let Some(mended) = mended(text.as_bytes(), problem) else {
                continue;
            };
            let mended = parse(&mended).into_record().expect("a record still");
            // What was hidden by it may show.
            let hides = |other: &Problem| {
                matches!(
                    other.kind,
                    ProblemKind::Duplicate(_) | ProblemKind::BadValue(_) | ProblemKind::BadUri(_) | ProblemKind::NotATag
                )
            };
            let shown = before.problems.iter().any(hides);
            let same = |record: &Record| {
                record.problems.iter().filter(|other| other.kind == problem.kind).count()
            };
            prop_assert!(shown || same(&mended) < same(&before), "{problem} {text}");
        }
    }
}
