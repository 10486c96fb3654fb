//! What the sender hears when the mail is for us alone.

use super::{ONE, foreign, report};
use crate::lab::{
    Lab, RUA, SOON, USER,
    daemon::Stored,
    mails::{self, Report},
    replies, until,
};

#[test]
fn reports_of_every_shape_are_taken_stored_and_discarded() {
    let lab = Lab::start();
    let mut client = lab.client();
    let make = |id: &str| Report::new(id, "example.com", &[4, 3, 2]);
    for mail in [
        make("google").google(RUA),
        make("microsoft").microsoft(RUA),
        make("rfc9990").rfc9990(RUA),
        make("plain").plain(RUA),
    ] {
        let reply = client.submit(&[RUA], &mail);
        assert!(reply.starts_with("250 2.0.0 Ok"), "{reply}");
    }
    let all = Stored {
        reports: 4,
        messages: 36,
    };
    lab.daemon.expect_stored("example.com", all);
    lab.settle();
    assert!(lab.sink.received().is_empty(), "discarded");
    assert_eq!(lab.postfix.log().matches("milter-discard").count(), 4);
}

#[test]
fn a_report_below_a_configured_domain_is_ours() {
    let lab = Lab::start();
    let mail = Report::new("below", "mail.example.com", &[2]).google(RUA);
    let reply = lab.client().submit(&[RUA], &mail);
    assert!(reply.starts_with("250"), "{reply}");
    lab.settle();
    assert!(lab.daemon.spool("parked").is_empty());
}

#[test]
fn the_raw_mail_is_archived_once() {
    let lab = Lab::start();
    let mail = report().google(RUA);
    for _ in 0..2 {
        assert!(lab.client().submit(&[RUA], &mail).starts_with("250"));
    }
    lab.daemon.expect_stored("example.com", ONE);
    let files = crate::lab::files_below(&lab.daemon.data().join("archive"));
    let mails = files
        .iter()
        .filter(|file| file.to_string_lossy().ends_with(".eml.gz"));
    assert_eq!(mails.count(), 1, "{files:?}");
}

#[test]
fn an_unknown_address_at_our_host_is_refused_alone() {
    let lab = Lab::start();
    let mut client = lab.client();
    client.mail();
    assert_eq!(client.rcpt("nobody@reports.example"), replies::UNKNOWN);
    assert_eq!(client.rcpt("postmaster@REPORTS.example."), replies::UNKNOWN);
    assert!(client.rcpt(RUA).starts_with("250"));
    assert!(client.data(&report().google(RUA)).starts_with("250"));
    client.mail();
    assert_eq!(client.rcpt("nobody@reports.example"), replies::UNKNOWN);
    assert!(client.command("DATA").starts_with("554"), "nobody is left");
    lab.daemon.expect_stored("example.com", ONE);
}

#[test]
fn a_report_about_a_foreign_domain_is_refused() {
    let lab = Lab::start();
    let mut client = lab.client();
    let foreign = foreign();
    for mail in [
        foreign.google(RUA),
        foreign.microsoft(RUA),
        foreign.plain(RUA),
    ] {
        assert_eq!(client.submit(&[RUA], &mail), replies::FOREIGN);
    }
    assert!(
        client
            .submit(&[RUA], &report().google(RUA))
            .starts_with("250")
    );
    lab.daemon.expect_stored("example.com", ONE);
    lab.settle();
    assert!(lab.daemon.spool("parked").is_empty());
}

#[test]
fn a_mail_that_is_no_report_is_refused() {
    let lab = Lab::start();
    let reply = lab.client().submit(&[RUA], &mails::ordinary(RUA));
    assert_eq!(reply, replies::NOT_A_REPORT);
    lab.settle();
    assert!(lab.daemon.spool("parked").is_empty());
    assert!(lab.sink.received().is_empty());
}

#[test]
fn a_mail_that_is_no_report_is_parked_if_so_configured() {
    let lab = Lab::with(|settings, _| settings.milter = "unrecognised = \"park\"".into());
    let reply = lab.client().submit(&[RUA], &mails::ordinary(RUA));
    assert!(reply.starts_with("250"), "{reply}");
    lab.settle();
    assert_eq!(lab.daemon.spool("parked"), ["not_a_report"]);
    assert!(lab.sink.received().is_empty());
}

#[test]
fn a_mail_that_is_no_report_is_delivered_if_so_configured() {
    let lab = Lab::with(|settings, _| settings.milter = "unrecognised = \"deliver\"".into());
    let mail = mails::ordinary(RUA);
    assert!(lab.client().submit(&[RUA], &mail).starts_with("250"));
    until("it is delivered", SOON, || lab.sink.recipients() == [RUA]);
    assert!(lab.sink.received()[0].data.ends_with(&mail));
    assert!(lab.daemon.spool("parked").is_empty());
    assert!(lab.daemon.spool("new").is_empty());
}

#[test]
fn what_looks_like_a_report_and_cannot_be_read_is_taken_and_parked() {
    let lab = Lab::start();
    let mut mail = report();
    mail.counts = vec![1; 2_000];
    let xml = mail.xml();
    let cut = &mails::gzip(xml.as_bytes())[..2_000];
    let text = mails::attached(RUA, cut);
    let reply = lab.client().submit(&[RUA], &text);
    assert!(reply.starts_with("250"), "{reply}");
    lab.settle();
    assert_eq!(lab.daemon.spool("parked").len(), 1);
    lab.daemon.expect_stored("example.com", Stored::NOTHING);
}

#[test]
fn a_declared_size_above_the_limit_is_refused_for_ours_alone() {
    let lab = Lab::with(|settings, _| settings.limits += "\nmax_message_bytes = 100000");
    let mut client = lab.client();
    let reply = client.command("MAIL FROM:<a@reporter.example> SIZE=100001");
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(client.rcpt(RUA), replies::TOO_LARGE);
    assert!(client.rcpt(USER).starts_with("250"));
    assert!(client.data(&mails::long(USER, 1_500)).starts_with("250"));
    until("the other has it", SOON, || lab.sink.recipients() == [USER]);

    let reply = client.command("MAIL FROM:<a@reporter.example> SIZE=99000");
    assert!(reply.starts_with("250"), "{reply}");
    assert!(client.rcpt(RUA).starts_with("250"), "below the limit");
}

#[test]
fn a_message_above_the_limit_is_refused_at_its_end() {
    let lab = Lab::with(|settings, _| settings.limits += "\nmax_message_bytes = 100000");
    let mut client = lab.client();
    let reply = client.submit(&[RUA], &mails::long(RUA, 1_500));
    assert_eq!(reply, replies::TOO_LARGE);
    assert!(
        client
            .submit(&[RUA], &report().google(RUA))
            .starts_with("250")
    );
    lab.daemon.expect_stored("example.com", ONE);
}

#[test]
fn without_room_ours_is_asked_to_come_again_and_others_go_on() {
    // More than any disk has.
    let lab =
        Lab::with(|settings, _| settings.limits = format!("min_free_bytes = {}", 1_u64 << 60));
    let mut client = lab.client();
    client.mail();
    assert_eq!(client.rcpt(RUA), replies::NO_ROOM);
    assert_eq!(client.rcpt("nobody@reports.example"), replies::UNKNOWN);
    assert!(client.rcpt(USER).starts_with("250"));
    assert!(client.data(&mails::ordinary(USER)).starts_with("250"));
    until("the other has it", SOON, || lab.sink.recipients() == [USER]);
}

#[test]
fn a_full_spool_asks_to_come_again() {
    let lab = Lab::with(|settings, _| {
        settings.limits += "\nmax_spool_bytes = 1048576\nmax_message_bytes = 200000";
        settings.milter = "unrecognised = \"park\"".into();
    });
    let mail = mails::long(RUA, 1_200);
    // From a network each, so that none of them holds too much for itself.
    let mut taken = 0;
    let refusal = (1..20).find_map(|n| {
        let mut client = lab.client();
        let reply = client.command(&format!("XCLIENT ADDR=203.0.{n}.1"));
        assert!(reply.starts_with("220"), "{reply}");
        assert!(client.command("EHLO reporter.example").starts_with("250"));
        client.mail();
        let reply = client.rcpt(RUA);
        if !reply.starts_with("250") {
            return Some(reply);
        }
        assert!(client.data(&mail).starts_with("250"));
        taken += 1;
        None
    });
    assert_eq!(refusal.as_deref(), Some(replies::NO_ROOM));
    assert_eq!(taken, lab.daemon.spool("parked").len());
    assert!(taken > 5, "{taken}: there was room for more");
}

#[test]
fn a_network_that_holds_too_much_of_the_parked_space_waits_outside() {
    let lab = Lab::with(|settings, _| {
        settings.limits += "\nmax_spool_bytes = 1048576\nmax_message_bytes = 200000";
        settings.milter = "unrecognised = \"park\"".into();
    });
    let mut client = lab.client();
    // More than a tenth of the spool.
    let mail = mails::long(RUA, 1_500);
    assert!(client.submit(&[RUA], &mail).starts_with("250"));
    lab.settle();
    client.mail();
    assert_eq!(client.rcpt(RUA), replies::NO_ROOM);
    drop(client);

    let mut other = lab.client();
    let reply = other.command("XCLIENT ADDR=198.51.100.7");
    assert!(reply.starts_with("220"), "{reply}");
    assert!(other.command("EHLO other.example").starts_with("250"));
    assert!(
        other
            .submit(&[RUA], &report().google(RUA))
            .starts_with("250")
    );
    lab.daemon.expect_stored("example.com", ONE);
}

#[test]
fn what_cannot_be_made_durable_is_asked_to_come_again() {
    let lab = Lab::start();
    let spool = rusqlite::Connection::open(lab.daemon.data().join("spool.sqlite")).expect("spool");
    spool.busy_timeout(SOON).expect("a timeout");
    spool.execute_batch("BEGIN EXCLUSIVE").expect("the lock");
    let mut client = lab.client();
    let reply = client.submit(&[RUA], &report().google(RUA));
    assert_eq!(reply, replies::NOT_STORED);
    drop(spool);
    until("it can be", SOON, || {
        client.mail();
        let taken = client.rcpt(RUA).starts_with("250");
        let taken = taken && client.data(&report().google(RUA)).starts_with("250");
        if !taken {
            client.command("RSET");
        }
        taken
    });
    lab.daemon.expect_stored("example.com", ONE);
}

#[test]
fn with_after_deliver_the_report_is_stored_and_delivered() {
    let lab = Lab::with(|settings, _| settings.milter = "after = \"deliver\"".into());
    let mail = report().google(RUA);
    assert!(lab.client().submit(&[RUA, USER], &mail).starts_with("250"));
    until("both have it", SOON, || {
        lab.sink.recipients() == [RUA, USER]
    });
    assert!(lab.sink.received().iter().all(|m| m.data.ends_with(&mail)));
    lab.daemon.expect_stored("example.com", ONE);
}
