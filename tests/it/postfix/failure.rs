//! Failure reports take the same way as all others, where they are wanted; and nothing of the
//! messages that they are about stays.

use std::path::Path;

use crate::lab::{Lab, RUA, SOON, USER, mails, replies, until};

/// The address for failure reports of the configuration below; example.org has none.
const RUF: &str = "ruf@reports.example";
const BODY: &str = "the secret body";

fn lab() -> Lab {
    Lab::with(|settings, _| {
        let rua = "rua = [\"rua@reports.example\"]";
        let both = format!("{rua}\nruf = [\"{RUF}\"]");
        settings.domains = settings.domains.replacen(rua, &both, 1);
    })
}

/// No file of ours has the text; the spool's free pages, which are overwritten in time, may.
fn is_nowhere(lab: &Lab, text: &str) -> bool {
    let holds = |path: &Path| {
        let bytes = std::fs::read(path).expect("a file");
        bytes
            .windows(text.len())
            .any(|here| here == text.as_bytes())
    };
    let data = lab.daemon.data();
    let archive = crate::lab::files_below(&data.join("archive"));
    assert!(
        archive
            .iter()
            .all(|file| !file.to_string_lossy().ends_with(".gz"))
    );
    ["reports.sqlite", "reports.sqlite-wal"]
        .iter()
        .all(|name| !holds(&data.join(name)))
}

#[test]
fn a_failure_report_is_taken_stored_once_and_summed_up() {
    let lab = lab();
    let mut client = lab.client();
    for to in [RUF, RUA] {
        let reply = client.submit(&[to], &mails::failure(to, "one", "mail.example.com", BODY));
        assert!(reply.starts_with("250 2.0.0 Ok"), "{reply}");
    }
    let summary = || lab.daemon.run(&["summary", "example.com", "--json"]).json();
    until("it is stored", SOON, || {
        lab.daemon.spool("new").is_empty() && summary()["failures"][0]["reports"] == 1
    });
    lab.settle();
    let sums = &summary()["failures"][0];
    assert_eq!(sums["auth_failures"]["dmarc"], 1);
    assert_eq!(sums["sources"][0]["ip"], "192.0.2.9");
    assert!(lab.daemon.spool("parked").is_empty());
    assert!(lab.sink.received().is_empty(), "discarded");
    assert!(is_nowhere(&lab, BODY) && is_nowhere(&lab, "secret@"));

    let list = lab.daemon.run(&["reports", "--kind", "failure", "--json"]);
    let id = list.json_lines()[0]["id"].to_string();
    let shown = lab.daemon.run(&["show", &id, "--json"]).json();
    assert_eq!(shown["header_from"], "redacted@mail.example.com");
    assert_eq!(shown["arrivals_in_all"], 2);
    assert!(
        lab.daemon
            .run(&["show", &id])
            .stdout
            .contains("redacted@mail.example.com")
    );
    assert_eq!(lab.daemon.run(&["show", &id, "--raw"]).code, 1);
}

#[test]
fn it_is_refused_where_it_is_off_or_foreign() {
    let lab = lab();
    let mut client = lab.client();
    let off = mails::failure(RUF, "off", "example.org", BODY);
    assert_eq!(client.submit(&[RUF], &off), replies::FAILURE_OFF);
    let foreign = mails::failure(RUF, "foreign", "foreign.example", BODY);
    assert_eq!(client.submit(&[RUF], &foreign), replies::FOREIGN);
    lab.settle();
    assert!(lab.daemon.spool("parked").is_empty());
}

#[test]
fn where_no_domain_takes_any_it_is_refused_whatever_it_is_about() {
    let lab = Lab::start();
    let mail = mails::failure(RUA, "untold", "example.com", BODY);
    let untold = String::from_utf8(mail).expect("ASCII");
    let untold = untold.replace("Reported-Domain:", "X-Domain:");
    let reply = lab.client().submit(&[RUA], untold.as_bytes());
    assert_eq!(reply, replies::FAILURE_OFF);
}

#[test]
fn while_the_others_get_theirs_nothing_but_headers_is_parked() {
    let lab = lab();
    let mut client = lab.client();
    let off = mails::failure(RUF, "off", "example.org", BODY);
    let foreign = mails::failure(RUF, "foreign", "foreign.example", BODY);
    for mail in [&off, &foreign] {
        assert!(client.submit(&[RUF, USER], mail).starts_with("250"));
    }
    until("the other has both", SOON, || {
        lab.sink.received().len() == 2
    });
    let received = lab.sink.received();
    for mail in [&off, &foreign] {
        assert!(received.iter().any(|other| other.data.ends_with(mail)));
    }
    assert_eq!(
        lab.daemon.spool("parked"),
        ["failure_reports_off", "foreign_domain"]
    );
    let kept = lab.daemon.spooled("parked");
    let kept: Vec<_> = kept
        .iter()
        .map(|raw| String::from_utf8_lossy(raw))
        .collect();
    assert!(
        kept.iter().all(|mail| mail.contains("message-id: <")),
        "{kept:?}"
    );
    assert!(kept.iter().all(|mail| !mail.contains("secret")), "{kept:?}");
    assert!(!kept[0].contains("example.org"), "{}", kept[0]);
    assert!(
        kept[1].contains("reported-domain: foreign.example"),
        "{}",
        kept[1]
    );
}

#[test]
fn of_one_that_cannot_be_used_nothing_but_headers_is_parked() {
    let lab = lab();
    let mail = mails::failure(RUF, "undated", "example.com", BODY);
    let mail = String::from_utf8(mail).expect("ASCII");
    let undated = mail
        .replace("Arrival-Date:", "X-Date:")
        .replacen("Date: Wed", "X-Date: Wed", 1);
    assert!(
        lab.client()
            .submit(&[RUF], undated.as_bytes())
            .starts_with("250")
    );
    until("it is parked", SOON, || {
        lab.daemon.spool("parked") == ["bad_dates"]
    });
    let kept = String::from_utf8_lossy(&lab.daemon.spooled("parked")[0]).into_owned();
    assert!(kept.contains("reported-domain: example.com"), "{kept}");
    assert!(
        kept.contains("original-mail-from: redacted@example.com"),
        "{kept}"
    );
    assert!(!kept.contains("secret"), "{kept}");
}
