//! Our own small failure reports, one oddity each, read as the program reads them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rua_milter::{
    limits,
    pipeline::hints,
    report::{self, Stated, Whole, failure::FailureReport},
    unpack::{self, Bounds, Document},
};
use serde_json::{Value, json};

use crate::{lab::daemon, samples};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/failure")
}

fn stated<T: ToString + Copy>(value: &Stated<T>) -> Value {
    match value {
        Stated::Not => Value::Null,
        Stated::Known(word) => json!(word.to_string()),
        Stated::Other(text) => json!({"other": text}),
    }
}

/// What is stored by default.
fn stored(report: FailureReport) -> Value {
    let report = report.redacted();
    let (said, header) = (&report.said, &report.header);
    json!({
        "digest": report.digest.to_string(),
        "org_name": report.org_name,
        "email": report.email,
        "report_id": report.report_id,
        "generator": report.generator,
        "domain": report.domain,
        "arrival": report.arrival,
        "incidents": report.incidents,
        "feedback_type": said.feedback_type,
        "auth_failure": stated(&said.auth_failure),
        "delivery_result": stated(&said.delivery_result),
        "identity_alignment": said.identity_alignment,
        "source_ip": said.source_ip,
        "envelope_id": said.envelope_id,
        "mail_from": said.mail_from,
        "rcpt_to": said.rcpt_to,
        "authentication_results": said.authentication_results,
        "dkim": [&said.dkim_domain, &said.dkim_identity, &said.dkim_selector],
        "spf_dns": said.spf_dns,
        "from": header.from,
        "subject": header.subject,
        "date": header.date,
        "message_id": header.message_id,
        "notes": report.notes,
    })
}

fn outcome(document: &Document<'_>) -> Value {
    let hints = hints(document, limits::MAX_RECORDS);
    let found = match report::read(|| document.open(), &hints, usize::MAX) {
        Ok(Whole::Failure(report)) => stored(*report),
        Ok(_) => json!("another kind"),
        Err(unread) => json!({"error": unread.broken.rejection, "kind": unread.kind}),
    };
    json!([document.part, found])
}

fn outcomes(path: &Path) -> Value {
    let raw = fs::read(path).unwrap();
    let unpacked = unpack::documents(&raw, &Bounds::default());
    assert!(unpacked.holds_failure, "{}", path.display());
    json!({
        "reports": unpacked.documents.iter().map(outcome).collect::<Vec<_>>(),
        "rejected": unpacked.rejected,
    })
}

#[test]
fn every_sample_reads_as_written_beside_it() {
    samples::hold("failure", outcomes);
}

#[test]
fn what_tells_of_people_is_in_no_expectation() {
    let people = [
        "alice",
        "bob",
        "carol",
        "peter",
        "sharepoint",
        "cafe@",
        "info@",
        "user@",
    ];
    for path in samples::of("failure") {
        let text = fs::read_to_string(path.with_extension("expected")).unwrap();
        for name in people {
            assert!(!text.contains(name), "{}: {name}", path.display());
        }
    }
}

#[test]
fn inspect_names_the_kind_also_of_what_it_cannot_read() {
    let of = |name: &str| {
        let path = folder().join(name);
        daemon::run(&["inspect", "--json", path.to_str().unwrap()], b"")
    };
    let read = of("08-text-only.eml");
    let [line] = &read.json_lines()[..] else {
        panic!("{read:?}");
    };
    assert_eq!((read.code, &line["kind"]), (0, &json!("failure")));
    assert_eq!(
        (&line["records"], &line["messages"]),
        (&json!(1), &json!(1))
    );
    let unread = of("15-says-nothing.eml");
    let [line] = &unread.json_lines()[..] else {
        panic!("{unread:?}");
    };
    assert_eq!((unread.code, &line["kind"]), (1, &json!("failure")));
    assert_eq!(line["error"], "no_feedback");
}
