//! The log: one line for each mail that concerned us, in either form, whatever a stranger wrote.

use serde_json::Value;

use crate::lab::{
    Lab, RUA, SOON, USER,
    mails::{self, Report},
    replies, until,
};

/// Ends a line, colours it, and starts one of its own.
const HOSTILE: &str = "a\n2026-01-01T00:00:00Z ERROR rua_milter: forged\u{1b}[31m\u{202e}z";

fn lab(log: &str) -> Lab {
    Lab::with(|settings, _| settings.log = log.into())
}

/// One mail of each fate, in the order of [`expected`].
fn traffic(lab: &Lab) {
    let mut client = lab.client();
    let report = Report::new("plain id", "example.com", &[1]);
    assert!(
        client
            .submit(&[RUA], &report.google(RUA))
            .starts_with("250")
    );
    let hostile = Report::new(HOSTILE, "example.com", &[1]);
    let hostile = mails::attached(RUA, &mails::gzip(hostile.xml().as_bytes()));
    assert!(client.submit(&[RUA, USER], &hostile).starts_with("250"));
    let foreign = Report::new("f", "foreign.example", &[1]);
    assert_eq!(
        client.submit(&[RUA], &foreign.google(RUA)),
        replies::FOREIGN
    );
    assert_eq!(
        client.submit(&[RUA], &mails::ordinary(RUA)),
        replies::NOT_A_REPORT
    );
    client.mail();
    assert_eq!(client.rcpt("nobody@reports.example"), replies::UNKNOWN);
    assert!(client.command("RSET").starts_with("250"));
    // Of this one nothing is said.
    assert!(
        client
            .submit(&[USER], &mails::ordinary(USER))
            .starts_with("250")
    );
    lab.settle();
    until("the others have theirs", SOON, || {
        lab.sink.received().len() == 2
    });
}

/// What a line must say of a mail: to, domain, verdict, reason, code; and whether it is whole.
type Line = (
    &'static str,
    Option<&'static str>,
    &'static str,
    Option<&'static str>,
    u16,
);

fn expected() -> [Line; 5] {
    let com = Some("example.com");
    [
        (RUA, com, "accepted", None, 250),
        (RUA, com, "accepted", None, 250),
        (
            RUA,
            Some("foreign.example"),
            "refused",
            Some("foreign_domain"),
            550,
        ),
        (RUA, None, "refused", Some("not_a_report"), 550),
        (
            "nobody@reports.example",
            None,
            "refused",
            Some("unknown_recipient"),
            550,
        ),
    ]
}

#[test]
fn as_json_each_line_is_an_object_and_each_mail_is_one() {
    let lab = lab("format = \"json\"");
    traffic(&lab);
    let log = lab.daemon.log();
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let lines: Vec<Value> = log.lines().map(parse).collect();
    let mails: Vec<_> = lines
        .iter()
        .filter(|line| line["message"] == "mail")
        .collect();
    assert_eq!(mails.len(), expected().len(), "{log}");
    for (line, (to, domain, verdict, reason, code)) in mails.iter().zip(expected()) {
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["door"], "milter");
        assert_eq!(line["client"], "127.0.0.1");
        assert_eq!(line["from"], "noreply@reporter.example");
        assert_eq!(line["to"], to);
        assert_eq!(line["domain"].as_str(), domain, "{line}");
        assert_eq!(line["kind"].as_str(), domain.map(|_| "aggregate"), "{line}");
        assert_eq!(line["report_id"].is_string(), domain.is_some(), "{line}");
        assert_eq!(line["verdict"], verdict);
        assert_eq!(line["reason"].as_str(), reason, "{line}");
        assert_eq!(line["code"], code);
        assert_eq!(line["spool_id"].is_u64(), verdict == "accepted", "{line}");
        assert!(line["ms"].is_u64(), "{line}");
        let at_rcpt = reason == Some("unknown_recipient");
        assert_eq!(line["bytes"].as_u64() > Some(300), !at_rcpt, "{line}");
        // Postfix gives one with the first recipient that it takes.
        let queue_id = line["queue_id"].as_str().expect("a text");
        assert_eq!(queue_id.is_empty(), at_rcpt, "{line}");
        assert!(lab.postfix.log().contains(queue_id), "{line}");
    }
    assert_eq!(mails[0]["report_id"], "plain id");
    assert_eq!(
        (&mails[0]["others"], &mails[1]["others"]),
        (&false.into(), &true.into())
    );
    let id = mails[1]["report_id"].as_str().expect("a text");
    assert!(id.contains("forged"), "{id:?}");
    assert!(!id.contains(['\n', '\u{1b}', '\u{202e}']), "{id:?}");
}

#[test]
fn as_text_a_stranger_s_words_stay_within_their_line() {
    let lab = lab("");
    traffic(&lab);
    let log = lab.daemon.log();
    assert!(!log.contains(['\u{1b}', '\u{202e}']), "{log}");
    assert!(
        !log.lines()
            .any(|line| line.starts_with("2026-01-01T00:00:00Z")),
        "{log}"
    );
    let mails: Vec<_> = log
        .lines()
        .filter(|line| line.contains(": mail "))
        .collect();
    assert_eq!(mails.len(), expected().len(), "{log}");
    for (line, (to, domain, verdict, reason, code)) in mails.iter().zip(expected()) {
        let mut parts = vec![
            "door=milter".to_owned(),
            "listener=".to_owned(),
            "client=127.0.0.1".to_owned(),
            "from=noreply@reporter.example".to_owned(),
            format!("to=\"{to}\" "),
            format!("verdict={verdict}"),
            format!("code={code}"),
            " bytes=".to_owned(),
            " ms=".to_owned(),
            "queue_id=".to_owned(),
        ];
        parts.extend(domain.map(|domain| format!("domain=\"{domain}\"")));
        parts.extend(domain.map(|_| "kind=\"aggregate\"".to_owned()));
        parts.extend(reason.map(|reason| format!("reason={reason}")));
        if verdict == "accepted" {
            parts.push("spool_id=".to_owned());
        }
        for part in parts {
            assert!(line.contains(&part), "{part} is not in {line}");
        }
    }
    assert!(mails[1].contains("forged"), "{}", mails[1]);
}

#[test]
fn a_quiet_log_says_nothing_of_mail() {
    let lab = lab("level = \"warn\"");
    traffic(&lab);
    assert_eq!(lab.daemon.log(), "");
}
