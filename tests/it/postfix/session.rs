//! Several messages on one connection, and mail that is not for us.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{ONE, report};
use crate::lab::{
    Lab, RUA, RUA_ORG, SOON, USER,
    daemon::Stored,
    mails::{self, Report},
    open_dir,
    postfix::{Options, Postfix},
    replies,
    sink::Sink,
    smtp::{self, Client},
    tap::Tap,
    until,
};

#[test]
fn every_message_of_a_session_stands_for_itself() {
    let lab = Lab::start();
    let mut client = lab.client();
    assert!(
        client
            .submit(&[RUA], &report().google(RUA))
            .starts_with("250")
    );
    assert!(
        client
            .submit(&[USER], &mails::ordinary(USER))
            .starts_with("250")
    );
    // What RSET and EHLO end leaves nothing behind.
    client.mail();
    assert!(client.rcpt(RUA).starts_with("250"));
    assert!(client.command("RSET").starts_with("250"));
    assert!(
        client
            .submit(&[USER], &mails::ordinary(USER))
            .starts_with("250")
    );
    client.mail();
    assert!(client.rcpt(RUA).starts_with("250"));
    assert!(client.command("EHLO again.example").starts_with("250"));
    let other = Report::new("two", "example.org", &[1]);
    assert_eq!(
        client.submit(&[RUA], &mails::ordinary(RUA)),
        replies::NOT_A_REPORT
    );
    assert!(
        client
            .submit(&[RUA_ORG, USER], &other.google(RUA_ORG))
            .starts_with("250")
    );
    assert!(client.command("QUIT").starts_with("221"));

    lab.daemon.expect_stored("example.com", ONE);
    let org = Stored {
        reports: 1,
        messages: 1,
    };
    lab.daemon.expect_stored("example.org", org);
    until("the others have theirs", SOON, || {
        lab.sink.recipients() == [USER; 3]
    });
}

#[test]
fn pipelined_commands_get_their_own_answers() {
    let lab = Lab::start();
    let mut client = lab.client();
    client.send(
        b"MAIL FROM:<a@reporter.example>\r\nRCPT TO:<rua@reports.example>\r\n\
          RCPT TO:<nobody@reports.example>\r\nRCPT TO:<user@other.example>\r\nDATA\r\n",
    );
    let replies: Vec<_> = (0..5).map(|_| client.reply()).collect();
    assert!(replies[1].starts_with("250"), "{replies:?}");
    assert_eq!(replies[2], replies::UNKNOWN);
    assert!(replies[3].starts_with("250"), "{replies:?}");
    assert!(replies[4].starts_with("354"), "{replies:?}");
    let mut second = smtp::stuffed(&report().google(RUA));
    second.extend_from_slice(
        b"MAIL FROM:<b@reporter.example>\r\nRCPT TO:<rua@reports.example>\r\nDATA\r\n",
    );
    client.send(&second);
    let replies: Vec<_> = (0..4).map(|_| client.reply()).collect();
    assert!(replies[0].starts_with("250"), "{replies:?}");
    assert!(replies[3].starts_with("354"), "{replies:?}");
    let third = Report::new("two", "example.com", &[1]).google(RUA);
    client.send(&smtp::stuffed(&third));
    assert!(client.reply().starts_with("250"));
    let both = Stored {
        reports: 2,
        messages: 10,
    };
    lab.daemon.expect_stored("example.com", both);
    until("the other has it", SOON, || lab.sink.recipients() == [USER]);
}

#[test]
fn the_null_sender_may_report() {
    let lab = Lab::start();
    let mut client = lab.client();
    client.mail_from("");
    assert!(client.rcpt(RUA).starts_with("250"));
    assert!(client.data(&report().google(RUA)).starts_with("250"));
    lab.daemon.expect_stored("example.com", ONE);
}

#[test]
fn a_message_that_never_ends_is_none() {
    let lab = Lab::start();
    let mut client = lab.client();
    client.mail();
    assert!(client.rcpt(RUA).starts_with("250"));
    assert!(client.command("DATA").starts_with("354"));
    client.send(&report().google(RUA));
    drop(client);
    until("Postfix has noticed", SOON, || {
        lab.postfix.log().contains("lost connection after DATA")
    });
    lab.settle();
    lab.daemon.expect_stored("example.com", Stored::NOTHING);
    assert!(lab.daemon.spool("parked").is_empty());
}

#[test]
fn a_hundred_recipients_of_ours_are_one_report() {
    let lab = Lab::start();
    let many: Vec<_> = (0..100)
        .map(|n| format!("rua+{n}@reports.example"))
        .collect();
    let mut many: Vec<_> = many.iter().map(String::as_str).collect();
    many.push(USER);
    assert!(
        lab.client()
            .submit(&many, &report().google(RUA))
            .starts_with("250")
    );
    until("the other has it", SOON, || lab.sink.recipients() == [USER]);
    lab.settle();
    assert_eq!(lab.sink.recipients(), [USER]);
    lab.daemon.expect_stored("example.com", ONE);
}

#[test]
fn more_recipients_of_ours_than_the_bound_wait_for_another_message() {
    let lab = Lab::with(|_, options| options.main_cf = "smtpd_recipient_limit = 2000\n".into());
    let mut client = lab.client();
    client.mail();
    for n in 0..1_000 {
        let reply = client.rcpt(&format!("rua+{n}@reports.example"));
        assert!(reply.starts_with("250"), "{n}: {reply}");
    }
    assert_eq!(client.rcpt(RUA), replies::TOO_MANY);
    assert!(client.rcpt(USER).starts_with("250"), "others go on");
    assert!(client.data(&report().google(RUA)).starts_with("250"));
    until("the other has it", SOON, || lab.sink.recipients() == [USER]);
    lab.daemon.expect_stored("example.com", ONE);
}

#[test]
fn a_message_in_chunks_is_one() {
    let lab = Lab::start();
    let mail = report().microsoft(RUA);
    let mut client = lab.client();
    client.mail();
    assert!(client.rcpt(RUA).starts_with("250"));
    let (head, tail) = mail.split_at(700);
    for (chunk, last) in [(head, ""), (tail, " LAST")] {
        client.send(format!("BDAT {}{last}\r\n", chunk.len()).as_bytes());
        client.send(chunk);
        let reply = client.reply();
        assert!(reply.starts_with("250"), "{reply}");
    }
    lab.daemon.expect_stored("example.com", ONE);
}

#[test]
fn a_sender_beyond_ascii_may_report() {
    let lab = Lab::start();
    let mut client = lab.client();
    let reply = client.command("MAIL FROM:<jörg@reporter.example> SMTPUTF8");
    assert!(reply.starts_with("250"), "{reply}");
    assert!(client.rcpt(RUA).starts_with("250"));
    assert_eq!(client.rcpt("rüa@reports.example"), replies::UNKNOWN);
    assert!(client.data(&report().google(RUA)).starts_with("250"));
    lab.daemon.expect_stored("example.com", ONE);
}

#[test]
fn a_surplus_connection_waits_its_turn() {
    let lab = Lab::with(|settings, _| settings.milter = "max_connections = 1".into());
    let mut first = lab.client();
    first.mail();
    assert!(first.rcpt(RUA).starts_with("250"));
    let port = lab.postfix.port();
    let second = thread::spawn(move || {
        let mail = Report::new("two", "example.com", &[1]).google(RUA);
        Client::connect(port).submit(&[RUA], &mail)
    });
    until("the second session has begun", SOON, || {
        lab.postfix.log().matches(": connect from").count() >= 3
    });
    assert!(!second.is_finished());
    assert!(first.data(&report().google(RUA)).starts_with("250"));
    assert!(first.command("QUIT").starts_with("221"));
    let reply = second.join().expect("the second session");
    assert!(reply.starts_with("250"), "{reply}");
    let both = Stored {
        reports: 2,
        messages: 10,
    };
    lab.daemon.expect_stored("example.com", both);
}

#[test]
fn the_body_of_ordinary_mail_never_reaches_us() {
    let dir = open_dir();
    let socket = dir.path().join("behind.sock");
    let tap = Tap::start(&socket);
    let lab = Lab::with(|settings, options| {
        settings.listen = vec![format!("unix:{}", socket.display())];
        options.milters = format!("inet:127.0.0.1:{}", tap.port());
    });
    let mut client = lab.client();
    let mail = mails::long(USER, 20_000);
    let start = Instant::now();
    assert!(client.submit(&[USER], &mail).starts_with("250"));
    assert!(start.elapsed() < Duration::from_secs(20), "hardly delayed");
    assert!(client.command("QUIT").starts_with("221"));
    until("the other has it", SOON, || lab.sink.recipients() == [USER]);
    assert!(lab.sink.received()[0].data.ends_with(&mail));
    let seen = tap.commands();
    assert!(seen.contains('R'), "{seen}");
    // Headers (L), end of headers (N), body (B), end of message (E).
    assert!(!seen.contains(['L', 'N', 'B', 'E']), "{seen}");
}

/// What the other tests mean by untouched.
#[test]
fn without_us_postfix_itself_adds_only_its_received_field() {
    let dir = open_dir();
    let sink = Sink::start();
    let postfix = Postfix::start(&dir.path().join("postfix"), &Options::new(sink.port()));
    let mail = mails::ordinary(USER);
    let reply = Client::connect(postfix.port()).submit(&[USER], &mail);
    assert!(reply.starts_with("250"), "{reply}");
    until("it is delivered", SOON, || sink.recipients() == [USER]);
    assert!(sink.received()[0].data.ends_with(&mail));
    postfix.sendmail(&mail);
    until("both are", SOON, || sink.recipients() == [USER, USER]);
    until("the queue is empty", SOON, || postfix.queue().is_empty());
}
