//! The other ways in: local submission, authenticated submission, import.

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
};

use super::{ONE, foreign, report};
use crate::lab::{
    Lab, RUA, SOON, USER,
    daemon::{Daemon, Settings, Stored},
    files_below, mails, open_dir, until,
};

#[test]
fn a_report_by_sendmail_is_taken() {
    let lab = Lab::with(|settings, options| {
        options.non_smtpd_milters = settings.listen[0].clone();
    });
    lab.postfix.sendmail(&unix_lines(&report().google(RUA)));
    lab.daemon.expect_stored("example.com", ONE);
    lab.settle();
    assert!(lab.sink.received().is_empty());
}

#[test]
fn local_mail_is_never_refused_at_its_recipients() {
    let lab = Lab::with(|settings, options| {
        options.non_smtpd_milters = settings.listen[0].clone();
        // Nothing would be taken over SMTP now.
        settings.limits = format!("min_free_bytes = {}", 1_u64 << 60);
    });
    lab.postfix.sendmail(&unix_lines(&mails::ordinary(USER)));
    until("it went on", SOON, || lab.sink.recipients() == [USER]);
    // An address at our host that we do not know keeps the mail from nobody else.
    let both = mails::ordinary("nobody@reports.example>, <user@other.example");
    lab.postfix.sendmail(&unix_lines(&both));
    until("so did this", SOON, || {
        let users = lab.sink.recipients();
        users.iter().filter(|user| *user == USER).count() == 2
    });
    lab.settle();
    assert!(!lab.postfix.log().contains("milter-reject: RCPT"));
}

#[test]
fn authenticated_submission_is_marked() {
    let lab = Lab::with(|_, options| {
        options.main_cf = "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = cyrus\n".into();
    });
    let mut client = lab.client();
    let reply = client.command("XCLIENT ADDR=203.0.113.9 LOGIN=customer@example.com");
    assert!(reply.starts_with("220"), "{reply}");
    assert!(client.command("EHLO reporter.example").starts_with("250"));
    // Parked, so that its envelope stays to be looked at.
    assert!(
        client
            .submit(&[RUA, USER], &foreign().google(RUA))
            .starts_with("250")
    );
    lab.settle();
    assert_eq!(lab.daemon.spool("parked"), ["foreign_domain"]);
    let envelope = lab.daemon.envelopes("parked").remove(0);
    assert_eq!(
        envelope["authenticated"], "customer@example.com",
        "{envelope}"
    );
    assert_eq!(envelope["client"], "203.0.113.9", "{envelope}");

    let mut client = lab.client();
    assert!(
        client
            .submit(&[RUA, USER], &foreign().google(RUA))
            .starts_with("250")
    );
    let envelope = lab.daemon.envelopes("parked").remove(1);
    assert!(envelope["authenticated"].is_null(), "{envelope}");
}

#[test]
fn an_import_beside_the_running_daemon_is_the_daemon_s_work() {
    let lab = Lab::start();
    let dir = open_dir();
    let path = dir.path().join("one.eml");
    fs::write(&path, report().google(RUA)).expect("to write");
    let path = path.to_str().expect("UTF-8");
    for _ in 0..2 {
        let output = lab.daemon.run(&["import", path]);
        assert_eq!(output.code, 0, "{output:?}");
        lab.daemon.expect_stored("example.com", ONE);
    }
    assert!(
        lab.client()
            .submit(&[RUA], &report().google(RUA))
            .starts_with("250")
    );
    lab.daemon.expect_stored("example.com", ONE);
}

#[test]
fn an_import_as_root_leaves_every_file_to_the_owner_of_the_directory() {
    /// Somebody who owns nothing else.
    const OWNER: u32 = 64_123;
    let dir = open_dir();
    let settings = Settings::new(&dir.path().join("data"));
    let daemon = Daemon::stopped(&dir.path().join("rua-milter.toml"), &settings);
    chown(daemon.data(), Some(OWNER), Some(OWNER)).expect("root");
    // On standard input, which is open before the program becomes somebody else.
    let output = daemon.run_with(&["import", "-"], &report().google(RUA));
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(
        daemon.stored("example.com"),
        ONE,
        "no daemon, so the command did it"
    );
    let files = files_below(daemon.data());
    assert!(files.len() > 2, "{files:?}");
    for file in files {
        let uid = fs::symlink_metadata(&file).expect("a file").uid();
        assert_eq!(uid, OWNER, "{}", file.display());
    }
}

#[test]
fn an_import_names_foreign_reports_and_says_so() {
    let dir = open_dir();
    let settings = Settings::new(&dir.path().join("data"));
    let daemon = Daemon::stopped(&dir.path().join("rua-milter.toml"), &settings);
    let mails = dir.path().join("mails");
    fs::create_dir(&mails).expect("a folder");
    fs::write(mails.join("ours.eml"), report().rfc9990(RUA)).expect("to write");
    fs::write(mails.join("foreign.eml"), foreign().google(RUA)).expect("to write");
    let output = daemon.run(&["import", mails.to_str().expect("UTF-8")]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!((output.stdout + &output.stderr).contains("foreign.example"));
    assert_eq!(daemon.stored("example.com"), ONE);
    assert_eq!(daemon.stored("foreign.example"), Stored::NOTHING);
}

/// Lines as a local program writes them.
fn unix_lines(mail: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(mail.to_vec()).expect("ASCII");
    text.replace("\r\n", "\n").into_bytes()
}
