//! Aggregate reports, strictly and by repair.

use std::collections::BTreeMap;

use roxmltree::{Document, Error};
use rua_milter::{
    limits::MAX_SKIPPED,
    report::{
        Broken, Record, Report, Results,
        aggregate::{self, Hints, Reading},
        flags, recognise,
    },
    terms::{Flag, Rejection},
};

use super::oracle;

/// However a document is read, what it counts is what was given out, and twice is the same; what
/// the head told at SMTP time is what the whole tells. Another XML reader agrees on what is
/// well-formed and on what it adds up to.
pub fn aggregate(input: &[u8]) {
    let strict = read(input, Reading::Strict);
    let repairing = read(input, Reading::Repairing);
    let whole = aggregate::read_whole(|| input, &Hints::default(), usize::MAX);
    match &whole {
        Ok(whole) => {
            let pass = match whole.reading {
                Reading::Strict => &strict,
                Reading::Repairing => &repairing,
            };
            let records = whole.records.as_ref().expect("room for all");
            assert_eq!(
                shown(pass),
                shown(&Ok((whole.report.clone(), records.clone())))
            );
            room_changes_nothing(input, whole);
            if let Some(domain) = recognise(input).and_then(|head| head.domain) {
                assert_eq!(domain, whole.report.policy.domain, "told at SMTP time");
            }
        }
        Err(_) => assert!(strict.is_err()),
    }
    as_another_reader(input, &strict);
    where_chunks_end_changes_nothing(input, &whole);
}

type Read = Result<(Report, Vec<Record>), Broken>;

fn shown(read: &Read) -> String {
    format!("{read:?}")
}

/// Reads twice, and holds the sums against the records.
fn read(input: &[u8], reading: Reading) -> Read {
    let pass = || {
        let mut records = Vec::new();
        let mut sink = |record| records.push(record);
        let report = aggregate::read(input, reading, &Hints::default(), &mut sink)?;
        Ok((report, records))
    };
    let read = pass();
    assert_eq!(shown(&read), shown(&pass()), "read a second time");
    if let Ok((report, records)) = &read {
        adds_up(report, records);
        // An element of that name starts and ends.
        assert!(records.len() * 2 <= occurrences(input, b"record"));
    }
    read
}

fn adds_up(report: &Report, records: &[Record]) {
    let mut totals = BTreeMap::<Results, u64>::new();
    for record in records {
        *totals.entry(record.results()).or_default() += record.count;
    }
    assert_eq!(report.records, records.len() as u64);
    assert_eq!(report.totals, totals);
    assert_eq!(report.messages, totals.values().sum::<u64>());
    assert!(i64::try_from(report.messages).is_ok());
    let listed =
        usize::try_from(report.skipped_records).map_or(MAX_SKIPPED, |it| it.min(MAX_SKIPPED));
    assert_eq!(report.skipped.len(), listed);
    assert!(
        report
            .skipped
            .is_sorted_by(|one, next| one.record < next.record)
    );
    assert!(0 < report.metadata.begin && report.metadata.begin <= report.metadata.end);
}

/// How often a word stands in a document, in UTF-16 too, and with controls in it, which a reader
/// drops.
fn occurrences(input: &[u8], word: &[u8]) -> usize {
    let text: Vec<_> = input.iter().copied().filter(|byte| *byte >= b' ').collect();
    text.windows(word.len())
        .filter(|here| *here == word)
        .count()
}

/// Records are kept as long as there is room, and the report is the same without them.
fn room_changes_nothing(input: &[u8], whole: &aggregate::Whole) {
    let with = |room| aggregate::read_whole(|| input, &Hints::default(), room).expect("as before");
    let exact = with(whole.size);
    assert!(exact.records.is_some() && exact.size == whole.size);
    if whole.size > 0 {
        let less = with(whole.size - 1);
        assert!(less.records.is_none() && less.size == 0 && less.reading == whole.reading);
        assert_eq!(format!("{:?}", less.report), format!("{:?}", whole.report));
    }
}

/// Blanks in front of the root move it against the chunks in which it is read.
fn where_chunks_end_changes_nothing(input: &[u8], whole: &Result<aggregate::Whole, Broken>) {
    if !input.starts_with(b"<feedback") || occurrences(input, b"<?xml") > 0 {
        return;
    }
    let moved = [&b" ".repeat(1_024 - input.len() % 64), input].concat();
    let read = aggregate::read_whole(|| &moved[..], &Hints::default(), usize::MAX);
    let gist = |read: &Result<aggregate::Whole, Broken>| match read {
        Ok(whole) => format!("{:?} {:?}", whole.records, whole.report.notes),
        Err(broken) => broken.rejection.to_string(),
    };
    assert_eq!(gist(whole), gist(&read));
}

/// What was read as XML and needed no repair is well-formed, as far as elements go; what is
/// well-formed is not cut short, and has the same number of records and messages.
fn as_another_reader(input: &[u8], strict: &Read) {
    let plain = std::str::from_utf8(input).ok();
    let Some(text) = plain.filter(|text| !text.contains("encoding")) else {
        return;
    };
    let other = Document::parse(text.trim_start_matches('\u{feff}'));
    match (strict, other) {
        (Ok((report, _)), Err(error)) => {
            let flags = flags(report.skipped_records, &report.notes);
            let is_repaired = flags.contains(&Flag::Repaired);
            assert!(is_repaired || is_tolerated(&error), "{error}");
        }
        (Ok((report, records)), Ok(other)) => {
            let said = oracle::records(&other);
            assert!(said.len() as u64 >= report.records + report.skipped_records);
            let counts: Option<Vec<u64>> = said.iter().map(|record| record.count).collect();
            if let Some(counts) = counts
                && counts.len() == records.len()
            {
                assert_eq!(counts.iter().sum::<u64>(), report.messages);
            }
        }
        (Err(broken), Ok(_)) => assert_ne!(broken.rejection, Rejection::Truncated),
        (Err(_), Err(_)) => {}
    }
}

/// What XML forbids and no element depends on: attributes, namespaces, names, comments. We read on
/// where a person would.
fn is_tolerated(error: &Error) -> bool {
    !matches!(
        error,
        Error::UnexpectedCloseTag(..) | Error::UnclosedRootNode | Error::NoRootNode
    )
}
