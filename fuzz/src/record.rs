//! DMARC records, as they are published in DNS.

use rua_milter::{
    dns::{
        record::{self, Parsed, ProblemKind, Record, Selection},
        tls_record,
    },
    limits::MAX_RECORD_ITEMS,
};

/// Any text is a record or none, within the bounds; a record prints as one that says the same and
/// has nothing amiss that a printer could mend.
pub fn record(input: &[u8]) {
    let texts = [input.to_vec()];
    let _ = tls_record::select(&texts);
    let Parsed::Dmarc(record) = record::parse(input) else {
        assert!(matches!(record::select(&texts), Selection::None { .. }));
        return;
    };
    assert_eq!(record::select(&texts), Selection::One(record.clone()));
    assert_eq!(
        record::select(&[input.to_vec(), input.to_vec()]),
        Selection::Several(2)
    );
    assert!(record::is_meant(input));
    for items in [record.rua.len(), record.ruf.len()] {
        assert!(items <= MAX_RECORD_ITEMS);
    }
    assert!(record.problems.len() <= MAX_RECORD_ITEMS + 2);
    for problem in &record.problems {
        assert!(problem.at.start <= problem.at.end && problem.at.end <= input.len());
        assert!(!problem.to_string().is_empty());
        let mended = record::mended(input, problem);
        assert_eq!(mended.is_some(), problem.better.is_some());
        assert!(mended.is_none_or(|text| record::parse(&text) != Parsed::NotDmarc));
    }
    prints_as_itself(*record);
}

fn prints_as_itself(mut record: Record) {
    let text = record.to_string();
    let printed = record::parse(text.as_bytes()).into_record();
    let mut printed = printed.expect("a record");
    for problem in &printed.problems {
        assert!(
            matches!(
                problem.kind,
                ProblemKind::SizeLimit(_)
                    | ProblemKind::Historic(_)
                    | ProblemKind::NoPolicy
                    | ProblemKind::NotApplied
                    | ProblemKind::TooLong
            ),
            "{problem}: {text}"
        );
    }
    // More fits into a record with lists than is read of a text.
    if printed
        .problems
        .iter()
        .any(|it| it.kind == ProblemKind::TooLong)
    {
        return;
    }
    record.problems.clear();
    printed.problems.clear();
    assert_eq!(printed, record, "{text}");
}
