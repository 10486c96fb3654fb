//! Single oddities of failure reports; whole ones are in `tests/data/failure`.

use proptest::prelude::*;

use super::*;
use crate::{
    limits::{MAX_FAILURE_FIELD, MAX_FAILURE_VALUES, MAX_TEXT},
    report::Stated,
    terms::{AuthFailure, DeliveryResult},
};

const FIELDS: &str = "Feedback-Type: auth-failure\r\nReported-Domain: example.com\r\n\
    Arrival-Date: Tue, 14 Nov 2023 10:00:00 +0100 (CET)\r\n";

fn around<'a>(mail: &'a str, reported: &'a str) -> Around<'a> {
    Around {
        mail: mail.as_bytes(),
        reported: reported.as_bytes(),
        is_notice: false,
    }
}

fn read_alone(fields: &str) -> Result<FailureReport, Rejection> {
    let read = read(fields.as_bytes(), &around("", ""));
    read.map_err(|broken| broken.rejection)
}

fn with(more: &str) -> FailureReport {
    read_alone(&format!("{FIELDS}{more}")).unwrap()
}

#[test]
fn a_field_may_be_folded_repeated_unknown_or_no_field() {
    let report = with(
        "Auth-Failure: DMARC\r\nauth-failure: spf\r\nX-Other: 1\r\nno field at all\r\n\
         Authentication-Results: mx.example;\r\n\tspf=fail\r\n  smtp.mailfrom=a@x.example\r\n\
         Delivery-Result: smg-policy-action\r\n\r\nIncidents: 7\r\n",
    );
    assert_eq!(report.said.auth_failure, Stated::Known(AuthFailure::Dmarc));
    let results = ["mx.example; spf=fail smtp.mailfrom=a@x.example"];
    assert_eq!(report.said.authentication_results, results);
    let other: Stated<DeliveryResult> = Stated::Other("smg-policy-action".into());
    assert_eq!(report.said.delivery_result, other);
    assert_eq!(report.incidents, 1, "behind the blank line");
    assert_eq!(report.arrival, 1_699_952_400);
    assert!(
        report
            .notes
            .contains(&"an element came twice and the first was taken".into())
    );
}

#[test]
fn a_line_of_blanks_is_part_of_a_field() {
    let header = "Subject: one\r\n \r\n two\r\n\t\r\nFrom: a@x.example\r\n";
    let read = read(FIELDS.as_bytes(), &around("", header)).unwrap();
    assert_eq!(read.header.subject, "one two");
    assert_eq!(read.header.from, "a@x.example");
    let report = with("Auth-Failure: spf\r\n \r\nIncidents: 7\r\n");
    assert_eq!(report.incidents, 7);
}

#[test]
fn a_source_may_have_its_name_behind_it() {
    for (text, source) in [
        ("192.0.2.1 (mail.example)", "192.0.2.1"),
        ("[192.0.2.1]", "192.0.2.1"),
        ("IPv6:2001:db8::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ] {
        let report = with(&format!("Source-IP: {text}\r\n"));
        assert_eq!(report.said.source_ip, source.parse().ok(), "{text}");
    }
    let report = with("Source-IP: unknown\r\n");
    assert_eq!(report.said.source_ip, None);
    assert!(report.notes.contains(&"the source is no address".into()));
}

#[test]
fn incidents_are_one_unless_they_are_a_number() {
    for (text, incidents) in [
        ("5", 5),
        ("0", 1),
        ("-1", 1),
        ("many", 1),
        ("99999999999999999", 1),
    ] {
        assert_eq!(
            with(&format!("Incidents: {text}\r\n")).incidents,
            incidents,
            "{text}"
        );
    }
}

#[test]
fn what_is_missing_is_not_guessed() {
    let reject = |fields: &str| read_alone(fields).unwrap_err();
    assert_eq!(reject(""), Rejection::NoFeedback);
    assert_eq!(
        reject("Version: 1\r\nReported-Domain: example.com\r\n"),
        Rejection::NoFeedback
    );
    let dated = "Feedback-Type: auth-failure\r\nArrival-Date: Tue, 14 Nov 2023 10:00:00 +0000\r\n";
    assert_eq!(reject(dated), Rejection::NoDomain);
    assert_eq!(
        reject(&format!("{dated}Reported-Domain: not a domain\r\n")),
        Rejection::NoDomain
    );
    let undated = "Feedback-Type: auth-failure\r\nReported-Domain: example.com\r\n";
    assert_eq!(reject(undated), Rejection::BadDates);
    assert_eq!(
        reject(&format!("{undated}Arrival-Date: yesterday\r\n")),
        Rejection::BadDates
    );
}

#[test]
fn the_mail_and_the_message_stand_in_for_time_and_domain() {
    let mail = "From: R <r@Reporter.example>\nDate: Tue, 14 Nov 2023 10:00:00 +0000\n";
    let reported = "From: =?utf-8?q?J=C3=B6rg?= <joerg@mail.example.com>\nSubject: x\n";
    let report = read(
        &b"Feedback-Type: auth-failure\n"[..],
        &around(mail, reported),
    )
    .unwrap();
    assert_eq!(report.org_name, "reporter.example");
    assert_eq!(
        (report.domain.as_str(), report.arrival),
        ("mail.example.com", 1_699_956_000)
    );
    assert_eq!(report.header.from, "joerg@mail.example.com");
    assert_eq!(
        report.report_id,
        report.digest.to_string(),
        "the mail has no id"
    );
    assert_eq!(report.notes.len(), 2);
}

#[test]
fn the_digest_is_of_the_report_and_not_of_its_mail() {
    let read = |mail, reported| {
        read(FIELDS.as_bytes(), &around(mail, reported))
            .unwrap()
            .digest
    };
    let (one, two) = ("Message-ID: <1@r>\r\n", "Message-ID: <2@r>\r\n");
    assert_eq!(read(one, "Subject: a\r\n"), read(two, "Subject: a\n"));
    assert_ne!(read(one, "Subject: a\r\n"), read(one, "Subject: b\r\n"));
    assert_ne!(
        read(one, ""),
        read(two, ""),
        "nothing else tells them apart"
    );
}

#[test]
fn everything_is_bounded() {
    let long = "x".repeat(1 << 20);
    let one = format!("Authentication-Results: {long}\r\nOriginal-Rcpt-To: <a@{long}>\r\n");
    let fields = format!(
        "DKIM-Canonicalized-Body: {long}\r\nUser-Agent: {long}\r\n{}",
        one.repeat(100)
    );
    let report = with(&fields);
    assert_eq!(report.generator.len(), MAX_TEXT);
    let results = &report.said.authentication_results;
    assert_eq!(results.len(), MAX_FAILURE_VALUES);
    assert!(results.iter().all(|text| text.len() <= MAX_FAILURE_FIELD));
    assert!(report.size() < 64 << 10, "{}", report.size());
    assert!(!format!("{report:?}").contains("DKIM-Canon"));
}

#[test]
fn no_local_part_is_left_after_redaction() {
    let reported = "From: Alice Secret <secret@x.example>\r\nTo: secret@y.example\r\n\
        Subject: =?utf-8?b?c2VjcmV0QHouZXhhbXBsZQ==?= wrote\r\nMessage-ID: <secret@x.example>\r\n";
    let fields = format!(
        "{FIELDS}Original-Mail-From: <secret@x.example>\r\nOriginal-Rcpt-To: secret\r\n\
         DKIM-Identity: secret@x.example\r\nIdentity-Alignment: secret@x.example\r\n\
         Authentication-Results: mx; spf=fail smtp.mailfrom=secret@x.example smtp.auth=secret;\r\n\
         \tdkim=fail header.i=secret=x@y.example\r\n\
         Delivery-Result: secret@x.example\r\n"
    );
    let report = read(fields.as_bytes(), &around("", reported)).unwrap();
    assert_eq!(report.header.subject, "secret@z.example wrote");
    let redacted = report.redacted();
    assert_eq!(redacted.header.from, "redacted@x.example");
    assert_eq!(redacted.header.subject, "redacted@z.example wrote");
    assert_eq!(redacted.said.rcpt_to, ["redacted"]);
    assert!(
        !format!("{redacted:?}").to_lowercase().contains("secret"),
        "{redacted:?}"
    );
}

#[test]
fn of_what_is_parked_nothing_is_kept_but_headers() {
    let header = "From: r@reporter.example\r\nSubject: FW: secret\r\nContent-Type: x/y\r\n";
    let fields = "Feedback-Type: auth-failure\r\nOriginal-Mail-From: <secret@x.example>\r\n\
        DKIM-Canonicalized-Body: c2VjcmV0\r\n\r\nsecret body\r\n";
    let notice = "<feedback><body>: it would be another document\r\n\
        Note: so would <feedback>\r\n\
        Sender Domain: x.example\r\n  Note: secret@x.example\r\n------ headers\r\n\
        From: secret@x.example\r\n";
    let reports = [(fields.as_bytes(), false), (notice.as_bytes(), true)];
    let mail = String::from_utf8(kept(header.as_bytes(), reports, true)).unwrap();
    // Whatever their first field is, it is a mail.
    assert!(mail.starts_with("mime-version: 1.0\r\n"), "{mail}");
    assert!(
        !mail.contains("secret") && !mail.contains("c2VjcmV0"),
        "{mail}"
    );
    for part in [
        "from: r@reporter.example\r\n",
        "original-mail-from: redacted@x.example\r\n",
        "sender domain: x.example\r\n",
    ] {
        assert!(mail.contains(part), "{mail}");
    }
    assert!(!mail.contains("<feedback"), "{mail}");
    let mail = String::from_utf8(kept(header.as_bytes(), reports, false)).unwrap();
    assert!(
        mail.contains("secret@x.example") && !mail.contains("body"),
        "{mail}"
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        lines in proptest::collection::vec("(Source-IP|Original-Mail-From|Arrival-Date|X): ?.{0,60}", 0..10),
        reported in ".{0,200}",
    ) {
        let fields = format!("{FIELDS}{}\r\n", lines.join("\r\n"));
        let header = format!("From: {reported}\nSubject: {reported}");
        for is_notice in [false, true] {
            let around = Around {
                mail: reported.as_bytes(),
                reported: header.as_bytes(),
                is_notice,
            };
            let _ = read(fields.as_bytes(), &around).map(FailureReport::redacted);
            kept(reported.as_bytes(), [(fields.as_bytes(), is_notice)], true);
        }
    }
}
