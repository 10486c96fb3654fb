use std::fmt::Write as _;

use proptest::prelude::*;

use super::{
    aggregate::{Hints, Reading},
    *,
};
use crate::{
    limits::{MAX_LANG, MAX_PER_RECORD, MAX_SKIPPED, MAX_TEXT, READ_CHUNK},
    terms::Flag,
};

const HEAD: &str = "<?xml version=\"1.0\"?>\n<feedback><report_metadata><org_name>R</org_name>\
    <report_id>1</report_id><date_range><begin>1700000000</begin><end>1700086399</end></date_range>\
    </report_metadata><policy_published><domain>d.example</domain><p>none</p></policy_published>";

fn record(inside: &str) -> String {
    format!(
        "<record><row><source_ip>192.0.2.1</source_ip><count>1</count></row>\
         <identifiers><header_from>d.example</header_from></identifiers>\
         <auth_results>{inside}</auth_results></record>"
    )
}

fn document(records: &str) -> String {
    format!("{HEAD}{records}</feedback>")
}

fn read_as(bytes: &[u8], reading: Reading) -> Result<(Report, Vec<Record>), Broken> {
    let mut records = Vec::new();
    let report = aggregate::read(bytes, reading, &Hints::default(), &mut |record| {
        records.push(record);
    })?;
    Ok((report, records))
}

fn whole(bytes: &[u8]) -> Result<aggregate::Whole, Rejection> {
    match read(|| bytes, &Hints::default(), usize::MAX) {
        Ok(Whole::Aggregate(whole)) => Ok(*whole),
        Ok(Whole::Tls(_) | Whole::Failure(_)) => Err(Rejection::WrongRoot),
        Err(unread) => Err(unread.broken.rejection),
    }
}

#[test]
fn a_report_cut_anywhere_counts_nothing() {
    let text = document(&record("").repeat(3));
    assert_eq!(whole(text.as_bytes()).unwrap().report.records, 3);
    for end in 0..text.len() {
        let cut = &text.as_bytes()[..end];
        assert!(whole(cut).is_err(), "cut at {end}");
        assert!(read_as(cut, Reading::Repairing).is_err(), "cut at {end}");
    }
}

#[test]
fn text_between_elements_is_told_once_wherever_chunks_end() {
    let text = document(&format!("{} &amp; < stray {}", record(""), record("")));
    for pad in (0..1_100).step_by(7) {
        let padded = " ".repeat(pad) + &text;
        let notes = whole(padded.as_bytes()).unwrap().report.notes;
        assert_eq!(notes, ["text between elements was skipped"], "{pad}");
    }
}

#[test]
fn a_token_may_lie_across_chunks() {
    let odd = "<?odd?><record><!-- odd --><row a='<>'><source_ip>192.0.2.1</source_ip>\
        <count>1</count><policy_evaluated><reason><type>other</type>\
        <comment>a &amp; é &#8364; <![CDATA[<b>]]></comment></reason></policy_evaluated></row>\
        <unknown/></record></feedback>";
    for behind in 0..=odd.len() {
        let blanks = " ".repeat(READ_CHUNK - HEAD.len() - behind);
        let text = format!("{HEAD}{blanks}{odd}");
        let whole = whole(text.as_bytes()).unwrap();
        assert_eq!(whole.report.notes, Vec::<String>::new(), "{behind} behind");
        let reason = &whole.records.unwrap()[0].reasons[0];
        assert_eq!(reason.comment.text, "a & é € <b>");
    }
}

/// AOL's generator forgot to close its prefixed root; see data/aggregate/48.
#[test]
fn a_prefixed_root_may_stay_open_behind_a_line_that_ends_a_record() {
    let open = HEAD.replace("<feedback>", "<a:feedback xmlns:a='b'>");
    let records = format!("{}\r\n ", record("")).repeat(2);
    let text = format!("{open}\n{records}");
    let ends: Vec<usize> = (0..=text.len())
        .filter(|&end| whole(&text.as_bytes()[..end]).is_ok())
        .collect();
    for &end in &ends {
        let cut = &text[..end];
        let is_line = cut.trim_end().ends_with("</record>") && cut.ends_with(['\n', ' ']);
        assert!(is_line, "cut at {end}");
        let report = whole(cut.as_bytes()).unwrap().report;
        assert_eq!(
            flags(report.skipped_records, &report.notes),
            [Flag::Incomplete, Flag::Repaired]
        );
    }
    assert_eq!(ends.len(), 4);
    for text in [
        format!("{HEAD}\n{records}"),
        format!("{open}\n"),
        format!("{open}\n{records}x\n"),
        format!("{open}\n{records}<more/>\n"),
        format!("{open}\n{records}<extension>\n"),
        format!("{open}\n{records}<!-- \n"),
    ] {
        assert_eq!(
            whole(text.as_bytes()).unwrap_err(),
            Rejection::Truncated,
            "{text}"
        );
    }
}

#[test]
fn bad_records_are_listed_up_to_the_bound() {
    let bad = record("").replace("192.0.2.1", "no address");
    let read = |count| {
        let text = document(&(record("") + &bad.repeat(count)));
        whole(text.as_bytes()).unwrap().report
    };
    for (count, listed) in [(MAX_SKIPPED, MAX_SKIPPED), (MAX_SKIPPED + 1, MAX_SKIPPED)] {
        let report = read(count);
        assert_eq!((report.records, report.skipped_records), (1, count as u64));
        let numbers: Vec<u64> = report.skipped.iter().map(|it| it.record).collect();
        assert_eq!(numbers, (2..listed as u64 + 2).collect::<Vec<_>>());
    }
}

#[test]
fn both_tokenisers_say_the_same_of_what_is_well_formed() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/aggregate");
    let mut compared = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "xml") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        if let Ok(strict) = read_as(&bytes, Reading::Strict) {
            let repaired = read_as(&bytes, Reading::Repairing);
            assert_eq!(
                format!("{:?}", Ok::<_, Broken>(strict)),
                format!("{repaired:?}"),
                "{path:?}"
            );
            compared += 1;
        }
    }
    assert!(compared > 20);
}

#[test]
fn hostile_documents_end_at_a_bound() {
    let deep = document(&"<a>".repeat(200_000));
    let attributes = format!("<feedback {}>", "a='b' ".repeat(300_000));
    let namespaces = format!("<feedback {}>", "xmlns:a='b' ".repeat(10_000));
    let long = document(&record(&format!(
        "<spf><domain>{}</domain></spf>",
        "x".repeat(1 << 20)
    )));
    let entities = document(&record(&format!(
        "<spf><domain>{}</domain></spf>",
        "&amp;".repeat(1 << 17)
    )));
    let laughs = format!(
        "<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a '{}'>]>{HEAD}",
        "b".repeat(100)
    );
    let late = format!("{HEAD}<!doctype x>{}</feedback>", record("&"));
    let sum = document(
        &record("")
            .repeat(2)
            .replace("<count>1<", "<count>9223372036854775807<"),
    );
    for (text, rejection) in [
        (deep, Rejection::TooDeep),
        (attributes, Rejection::TokenTooLong),
        (namespaces, Rejection::TokenTooLong),
        (long, Rejection::TokenTooLong),
        (entities, Rejection::TokenTooLong),
        (laughs, Rejection::Doctype),
        (late, Rejection::Doctype),
        (sum, Rejection::BadCount),
        (
            document(&format!("<record>{}</record>", record(""))),
            Rejection::IllFormed,
        ),
        (document("<policy_published/>"), Rejection::IllFormed),
        (" \n".to_owned(), Rejection::WrongRoot),
    ] {
        assert_eq!(whole(text.as_bytes()).unwrap_err(), rejection);
    }
    let comments = document(&format!(
        "{}{}",
        "<!-- a --><?b?>".repeat(100_000),
        record("")
    ));
    assert_eq!(whole(comments.as_bytes()).unwrap().report.records, 1);
}

#[test]
fn what_is_kept_of_a_record_is_bounded() {
    let many = "<dkim><domain>d.example</domain><result>pass</result></dkim>".repeat(1_000)
        + &format!(
            "<spf><domain>{}</domain><human_result lang='{}'>x</human_result></spf>",
            "ü".repeat(5_000),
            "é".repeat(5_000)
        );
    let read = whole(document(&record(&many)).as_bytes()).unwrap();
    let record = &read.records.unwrap()[0];
    assert_eq!(record.dkim_auth.len(), MAX_PER_RECORD);
    assert_eq!(record.spf_auth[0].domain.chars().count(), MAX_TEXT);
    let lang = record.spf_auth[0].human_result.lang.as_deref();
    assert_eq!(lang.unwrap().chars().count(), MAX_LANG);
    assert_eq!(read.report.notes.len(), 2);
}

#[test]
fn records_beyond_the_room_for_them_are_left_to_a_second_pass() {
    let text = document(&record("").repeat(5));
    let read = |keep| aggregate::read_whole(|| text.as_bytes(), &Hints::default(), keep).unwrap();
    let size = read(usize::MAX).size;
    assert_eq!(read(size).records.unwrap().len(), 5);
    assert!(read(size - 1).records.is_none());
    assert_eq!(read(size - 1).report.messages, 5);
    // What counts is what they hold: few records may have long texts.
    let long = document(&record(&format!(
        "<spf><domain>{}</domain></spf>",
        "x".repeat(1_000)
    )));
    assert!(whole(long.as_bytes()).unwrap().size > 1_000);
}

#[test]
fn the_head_tells_the_domain_before_the_records() {
    let head = |text: &str| recognise(text.as_bytes());
    let known = Head {
        kind: Kind::Aggregate,
        domain: Domain::parse("d.example"),
        report_id: Some("1".to_owned()),
    };
    assert_eq!(head(&document(&record(""))), Some(known.clone()));
    // Cut short, damaged later, or to be repaired before: the head says the same.
    assert_eq!(head(HEAD), Some(known.clone()));
    assert_eq!(head(&format!("{HEAD}</x>")), Some(known.clone()));
    let raw = HEAD.replace("<org_name>R<", "<org_name><r@example> & 'co<");
    assert_eq!(head(&raw), Some(known.clone()));
    let late = format!(
        "<feedback>{}{}",
        record(""),
        &HEAD[HEAD.find("<policy").unwrap()..]
    );
    assert_eq!(head(&late).unwrap().domain, None);
    assert_eq!(head("<html/>"), None);
    assert_eq!(head("<!DOCTYPE feedback><feedback>"), None);
}

#[test]
fn other_kinds_are_recognised() {
    let kind = |text: &str| recognise(text.as_bytes()).map(|head| head.kind);
    assert_eq!(
        kind("\u{feff}{\"organization-name\":\"a\",\"policies\":[]}"),
        Some(Kind::Tls)
    );
    assert_eq!(kind("{\"a\": 1}"), None);
    assert_eq!(
        kind("Version: 1\nfeedback-type: auth-failure\n"),
        Some(Kind::Failure)
    );
    assert_eq!(
        kind("Hello\n  Sender Domain: example.com\n"),
        Some(Kind::Failure)
    );
}

/// Pieces of which careless and hostile documents are made.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(HEAD.to_owned()),
        Just(record("")),
        Just("</feedback>".to_owned()),
        prop::sample::select(vec![
            "<",
            ">",
            "&",
            "&amp;",
            "&#0;",
            "&#x110000;",
            "<![CDATA[",
            "]]>",
            "<!--",
            "-->",
            "<?",
            "?>",
            "</",
            "/>",
            "<record>",
            "</record>",
            "<email>",
            "</email>",
            "<xs:schema>",
            "\u{feff}",
            "\0",
            "<!DOCTYPE",
            "'",
            "\"",
            "<report_id>",
            "</report_metadata>",
            "<reason>",
            "x",
            "é",
        ])
        .prop_map(str::to_owned),
        ".{0,8}",
    ]
}

proptest! {
    #[test]
    fn no_document_makes_it_panic(pieces in proptest::collection::vec(piece(), 0..12)) {
        let text = pieces.concat();
        let _ = whole(text.as_bytes());
        let _ = read_as(text.as_bytes(), Reading::Repairing);
        let _ = recognise(text.as_bytes());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1_000)) {
        let _ = whole(&bytes);
        let _ = read_as(&bytes, Reading::Repairing);
    }

    /// Whatever is damaged, no record is lost in silence: either nothing counts, or what does not
    /// count is told.
    #[test]
    fn damage_never_loses_a_record_in_silence(at in any::<prop::sample::Index>(), byte in 0x20_u8..0x7f) {
        let clean = document(&record("").repeat(3));
        let mut bytes = clean.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(read) = whole(&bytes) {
            let report = read.report;
            let mut told = String::new();
            write!(told, "{} {:?}", report.skipped_records, report.notes).unwrap();
            prop_assert!(report.records + report.skipped_records == 3, "{}", told);
        }
    }
}

#[test]
fn stray_markup_costs_in_proportion_to_its_length() {
    let started = std::time::Instant::now();
    for stray in ["&", "<", "&a", "<a ", "< \"", "&#", "</", "<!-"] {
        let text = format!("<feedback><x>{}", stray.repeat((1 << 20) / stray.len()));
        assert!(whole(text.as_bytes()).is_err());
    }
    // Quadratic reading takes minutes.
    assert!(started.elapsed() < std::time::Duration::from_secs(30));
}
