//! Failure reports: which parts belong together, and what is kept of the message.

use super::*;

#[test]
fn feedback_parts_are_recognised() {
    let mail = multipart(&["Content-Type: message/feedback-report\r\n\r\nVersion: 1\r\nFeedback-Type: auth-failure\r\n".to_owned()]);
    assert_eq!(found(mail.as_bytes()).documents[0].shape, Shape::Feedback);
}

fn failure(parts: &[&str]) -> String {
    let parts: Vec<_> = parts
        .iter()
        .map(|part| format!("--b\r\n{part}\r\n"))
        .collect();
    format!(
        "From: r@reporter.example\r\nContent-Type: multipart/report; \
         report-type=feedback-report; boundary=b\r\n\r\n{}--b--\r\n",
        parts.concat()
    )
}

const FIELDS: &str = "Content-Type: message/feedback-report\r\n\r\nFeedback-Type: auth-failure\r\n";

/// H66: a message of 5 MB, with HTML and a report of its own, beside the fields.
#[test]
fn h66_of_the_message_in_a_failure_report_nothing_is_kept_but_its_header() {
    let xml = attachment("application/xml", b"<feedback></feedback>");
    let nested = failure(&[
        FIELDS,
        &format!("Content-Type: message/rfc822\r\n\r\n{xml}"),
    ]);
    let nested = nested
        .replace("boundary=b", "boundary=c")
        .replace("--b", "--c");
    let body = "<html><body>hello</body></html>\r\n".repeat(5 << 15);
    let message = format!(
        "Content-Type: message/rfc822\r\n\r\nSubject: hello\r\nX-Long: {}\r\n\r\n{body}\r\n{nested}",
        "x".repeat(100)
    );
    let mail = failure(&[FIELDS, &message, &message]);
    let found = found(mail.as_bytes());
    assert!(
        found.holds_failure && found.rejected.is_empty(),
        "{found:?}"
    );
    let [document] = &found.documents[..] else {
        panic!("{found:?}");
    };
    let headers = document.headers.as_ref().unwrap();
    assert!(headers.mail.starts_with(b"From: r@reporter.example\r\n"));
    assert!(headers.reported.starts_with(b"Subject: hello\r\n"));
    assert!(headers.reported.len() < 200);
}

/// H67: the fields are missing, or come twice.
#[test]
fn h67_a_failure_report_without_fields_is_rejected_and_one_with_two_is_two() {
    let message = "Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\n";
    let with_report = format!("{message}<?xml version='1.0'?><feedback/>\r\n");
    let mail = failure(&["\r\nhello\r\n", &with_report]);
    let without = found(mail.as_bytes());
    assert!(without.documents.is_empty() && without.holds_failure);
    assert_eq!(without.rejected, [(String::new(), Rejection::NoFeedback)]);
    let mail = failure(&[FIELDS, FIELDS, message]);
    let twice = found(mail.as_bytes());
    let headers = twice
        .documents
        .iter()
        .map(|of| of.headers.as_ref().unwrap());
    let reported: Vec<_> = headers.map(|of| !of.reported.is_empty()).collect();
    assert_eq!(reported, [false, true]);
}

#[test]
fn messages_elsewhere_are_looked_into_as_before() {
    let xml = attachment("application/xml", b"<feedback></feedback>");
    let message = format!("Content-Type: message/rfc822\r\n\r\n{xml}");
    let report =
        format!("Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n{FIELDS}\r\n--c--\r\n");
    let mail = multipart(&[report, message]);
    let found = found(mail.as_bytes());
    let parts: Vec<_> = found.documents.iter().map(|of| of.part.as_str()).collect();
    assert_eq!(parts, ["1.1", "2.1"]);
}

#[test]
fn a_header_is_whole_lines_within_the_bound() {
    assert_eq!(
        header(b"A: 1\r\nB: 2\r\n\r\nbody: 3\r\n"),
        b"A: 1\r\nB: 2\r\n"
    );
    assert_eq!(header(b"\r\n\r\nA: 1"), b"A: 1");
    assert_eq!(
        header(b"A: 1\r\n \r\nB: 2\r\n\t\r\n \r\n\r\nC: 3"),
        b"A: 1\r\n \r\nB: 2\r\n\t\r\n \r\n"
    );
    assert_eq!(header(b"A: 1\r\n \r\nbody"), b"A: 1\r\n");
    assert_eq!(header(b""), b"");
    let long = b"A: 1234567\r\n".repeat(limits::MAX_HEADER);
    let cut = header(&long);
    assert!(cut.len() <= limits::MAX_HEADER && cut.ends_with(b"\r\n"));
}
