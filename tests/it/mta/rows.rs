//! The rows.

use std::thread;

use super::site::{Setup, Site, Which, page, told};
use crate::lab::{
    RUA, SOON, USER, holds_within,
    mails::{self, Report},
    replies,
    smtp::{self, Client},
    until,
};

/// A report about example.com.
fn report() -> Vec<u8> {
    Report::new("one", "example.com", &[4, 3, 2]).google(RUA)
}

/// Makes a test of each row behind each MTA.
macro_rules! rows {
    ($($(#[$about:meta])* $name:ident: $row:literal, $setup:expr, $case:expr;)+) => {
        mod postfix { use super::*; $(
            #[test]
            fn $name() { hold($row, Which::Postfix, $setup, $case); }
        )+ }
        mod sendmail { use super::*; $(
            #[test]
            fn $name() { hold($row, Which::Sendmail, $setup, $case); }
        )+ }
        /// What the page must have.
        const ROWS: &[&str] = &[$($row),+];
    };
}

fn hold(row: &str, which: Which, setup: fn(&mut Setup), case: fn(&mut Site) -> String) {
    let mut site = Site::start(which, setup);
    let seen = case(&mut site);
    assert_eq!(told(row, which), format!("{seen}."), "{row}, {which:?}");
}

fn plain(_: &mut Setup) {}

/// The code of a reply, with the enhanced one if it has one.
fn code(reply: &str) -> String {
    let is_code = |word: &&str| word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let words: Vec<_> = reply.split(' ').take(2).filter(is_code).collect();
    match words[..] {
        // Who still sends when the server hangs up may not hear why.
        [] => "closed".to_owned(),
        _ if reply.starts_with("421") => "closed".to_owned(),
        _ if reply.starts_with("250") => "250".to_owned(),
        _ => words.join(" "),
    }
}

/// A report to an address as the client writes it.
fn to(site: &mut Site, argument: &str) -> String {
    let mut client = site.client();
    client.mail();
    let reply = client.command(&format!("RCPT TO:{argument}"));
    if !reply.starts_with("250") {
        return format!("{} at RCPT", code(&reply));
    }
    end(site, &mut client, &report())
}

/// A message to whoever was named before, and what became of it.
fn end(site: &Site, client: &mut Client, message: &[u8]) -> String {
    let reply = client.data(message);
    let code = code(&reply);
    // Sendmail finds the end of the session, or a second, to deliver.
    client.command("QUIT");
    format!("{code}, {}", site.became())
}

rows! {
    bare_address: "Address without brackets", plain, |site| to(site, RUA);
    quoted_address: "Quoted local part", plain, |site| to(site, "<\"rua\"@reports.example>");
    extension: "Address extension", plain, |site| to(site, "<rua+tag@reports.example>");
    upper_case: "Address in upper case", plain, |site| to(site, "<RUA@REPORTS.EXAMPLE>");
    source_route: "Source route", plain, |site| to(site, "<@relay.example:rua@reports.example>");
    trailing_dot: "Host with a dot at its end", plain, |site| to(site, "<rua@reports.example.>");
    null_sender: "Null sender", plain, |site| {
        let mut client = site.client();
        client.mail_from("");
        assert!(client.rcpt(RUA).starts_with("250"));
        end(site, &mut client, &report())
    };
    smtputf8: "Sender beyond ASCII", plain, |site| {
        let mut client = site.client();
        let reply = client.command("MAIL FROM:<jörg@reporter.example> SMTPUTF8");
        if !reply.starts_with("250") {
            return format!("{} at MAIL", code(&reply));
        }
        assert!(client.rcpt(RUA).starts_with("250"));
        end(site, &mut client, &report())
    };
    unknown: "Unknown address at our host", plain, |site| {
        let mut client = site.client();
        client.mail();
        let unknown = client.rcpt("nobody@reports.example");
        assert!(client.rcpt(RUA).starts_with("250"), "that one alone");
        format!("{} at RCPT; {}", code(&unknown), end(site, &mut client, &report()))
    };
    nobody_left: "Unknown addresses only", plain, |site| {
        let mut client = site.client();
        client.mail();
        let unknown = client.rcpt("nobody@reports.example");
        let data = client.command("DATA");
        format!("{} at RCPT; {} at DATA", code(&unknown), code(&data))
    };
    mixed: "Ours and another recipient", plain, |site| {
        let mut client = site.client();
        client.mail();
        assert!(client.rcpt(USER).starts_with("250"));
        assert!(client.rcpt(RUA).starts_with("250"));
        end(site, &mut client, &report())
    };
    mixed_foreign: "A foreign report to ours and another recipient", plain, |site| {
        let mut client = site.client();
        client.mail();
        assert!(client.rcpt(USER).starts_with("250"));
        assert!(client.rcpt(RUA).starts_with("250"));
        let foreign = Report::new("foreign", "foreign.example", &[5]);
        end(site, &mut client, &foreign.google(RUA))
    };
    named_twice: "Our address named several times", plain, |site| {
        let mut client = site.client();
        client.mail();
        for to in [RUA, RUA, "RUA@reports.example", USER, "rua+x@reports.example"] {
            assert!(client.rcpt(to).starts_with("250"), "{to}");
        }
        end(site, &mut client, &report())
    };
    ordinary: "Mail to others only", plain, |site| {
        let mut client = site.client();
        client.mail();
        assert!(client.rcpt(USER).starts_with("250"));
        end(site, &mut client, &mails::ordinary(USER))
    };
    foreign: "A foreign report", plain, |site| {
        let foreign = Report::new("foreign", "foreign.example", &[5]).google(RUA);
        let mut client = site.client();
        let reply = client.submit(&[RUA], &foreign);
        assert!(reply.ends_with(&replies::FOREIGN[10..]), "our own words: {reply}");
        format!("{}, {}", code(&reply), site.became())
    };
    no_report: "No report", plain, |site| {
        let mut client = site.client();
        client.mail();
        assert!(client.rcpt(RUA).starts_with("250"));
        end(site, &mut client, &mails::ordinary(RUA))
    };
    no_room: "No room in the spool",
    |setup| setup.settings.limits = format!("min_free_bytes = {}", 1_u64 << 60),
    |site| {
        let mut client = site.client();
        client.mail();
        let ours = client.rcpt(RUA);
        assert!(client.rcpt(USER).starts_with("250"), "others go on");
        format!("{} at RCPT; {}", code(&ours), end(site, &mut client, &mails::ordinary(USER)))
    };
    size: "SIZE above the limit",
    |setup| setup.settings.limits += "\nmax_message_bytes = 100000",
    |site| {
        let mut client = site.client();
        let reply = client.command("MAIL FROM:<a@reporter.example> SIZE=100001");
        assert!(reply.starts_with("250"), "{reply}");
        format!("{} at RCPT", code(&client.rcpt(RUA)))
    };
    large: "30 MB", plain, |site| {
        let mut client = site.client();
        client.mail();
        assert!(client.rcpt(RUA).starts_with("250"));
        end(site, &mut client, &mails::long(RUA, 390_000))
    };
    large_mixed: "30 MB to ours and another recipient", plain, |site| {
        let mut client = site.client();
        client.mail();
        assert!(client.rcpt(USER).starts_with("250"));
        assert!(client.rcpt(RUA).starts_with("250"));
        end(site, &mut client, &mails::long(RUA, 390_000))
    };
    bdat: "BDAT", plain, |site| {
        let mut client = site.client();
        client.mail();
        assert!(client.rcpt(RUA).starts_with("250"));
        let mail = report();
        client.send(format!("BDAT {} LAST\r\n", mail.len()).as_bytes());
        // Where it is not known, what follows is taken for commands.
        client.send(&mail);
        let reply = client.reply();
        if !reply.starts_with("250") {
            return code(&reply);
        }
        format!("{}, {}", code(&reply), site.became())
    };
    nul_in_body: "NUL in the body", plain, |site| {
        let mut client = site.client();
        client.mail();
        assert!(client.rcpt(RUA).starts_with("250"));
        let mut mail = report();
        mail.extend_from_slice(b"\0\r\n");
        end(site, &mut client, &mail)
    };
    nul_in_header: "NUL in a header field", plain, |site| {
        let mut client = site.client();
        client.mail();
        assert!(client.rcpt(RUA).starts_with("250"));
        let mut mail = b"X-Odd: a\0b\r\n".to_vec();
        mail.extend_from_slice(&report());
        end(site, &mut client, &mail)
    };
    bare_lf: "Bare LF in the body", plain, |site| {
        let mut client = site.client();
        client.mail();
        assert!(client.rcpt(RUA).starts_with("250"));
        let mail = Report::new("one", "example.com", &[9]).plain(RUA);
        let head = mail.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        let mut bare = mail[..head].to_vec();
        bare.extend(mail[head..].iter().filter(|byte| **byte != b'\r'));
        bare.extend_from_slice(b"\r\n");
        end(site, &mut client, &bare)
    };
    eight_bit: "8-bit header field", plain, |site| {
        let mut client = site.client();
        client.mail();
        assert!(client.rcpt(RUA).starts_with("250"));
        let mut mail = b"X-Odd: caf\xe9\r\n".to_vec();
        mail.extend_from_slice(&report());
        end(site, &mut client, &mail)
    };
    pipelined: "Pipelining", plain, |site| {
        let mut client = site.client();
        client.send(
            b"MAIL FROM:<a@reporter.example>\r\nRCPT TO:<rua@reports.example>\r\n\
              RCPT TO:<nobody@reports.example>\r\nRCPT TO:<user@other.example>\r\nDATA\r\n",
        );
        let replies: Vec<_> = (0..5).map(|_| code(&client.reply())).collect();
        client.send(&smtp::stuffed(&report()));
        let last = code(&client.reply());
        client.command("QUIT");
        format!("{}, {last}, {}", replies.join(", "), site.became())
    };
    reset: "RSET", plain, |site| {
        let mut client = site.client();
        client.mail();
        assert!(client.rcpt(RUA).starts_with("250"));
        assert!(client.command("RSET").starts_with("250"));
        client.mail();
        assert!(client.rcpt(USER).starts_with("250"));
        end(site, &mut client, &mails::ordinary(USER))
    };
    several: "Several messages in one session", plain, |site| {
        let mut client = site.client();
        assert!(client.submit(&[RUA], &report()).starts_with("250"));
        assert!(client.submit(&[USER], &mails::ordinary(USER)).starts_with("250"));
        let two = Report::new("two", "example.com", &[1]).google(RUA);
        client.mail();
        assert!(client.rcpt(RUA).starts_with("250"));
        end(site, &mut client, &two)
    };
    xclient: "XCLIENT", plain, |site| {
        let mut client = site.client();
        let reply = client.command("XCLIENT ADDR=203.0.113.7");
        if !reply.starts_with("220") {
            return code(&reply);
        }
        assert!(client.command("EHLO reporter.example").starts_with("250"));
        let reply = client.submit(&[RUA], &report());
        let became = site.became();
        let log = site.daemon.log();
        let seen = if log.contains("203.0.113.7") { "as that client" } else { "as us" };
        format!("{}, {became}, {seen}", code(&reply))
    };
    ipv6: "Client with an IPv6 address", plain, |site| {
        let mut others = site.ipv6_client();
        assert!(others.submit(&[USER], &mails::ordinary(USER)).starts_with("250"));
        others.command("QUIT");
        let mut client = site.ipv6_client();
        client.mail();
        assert!(client.rcpt(RUA).starts_with("250"));
        let became = end(site, &mut client, &report());
        let log = site.daemon.log();
        let seen = if log.contains("client=::1 ") { "as that client" } else { "as nobody" };
        format!("{became}, {seen}")
    };
    aborted: "A message that never ends", plain, |site| {
        let mut client = site.client();
        client.mail();
        assert!(client.rcpt(RUA).starts_with("250"));
        assert!(client.command("DATA").starts_with("354"));
        client.send(&report());
        drop(client);
        // Behind it, so that it has been noticed.
        let mut next = site.client();
        next.mail();
        assert!(next.rcpt(USER).starts_with("250"));
        end(site, &mut next, &mails::ordinary(USER))
    };
    bcc: "always_bcc, ours alone",
    |setup| setup.main_cf = "always_bcc = copy@other.example\n".into(),
    |site| {
        let mut client = site.client();
        client.mail();
        assert!(client.rcpt(RUA).starts_with("250"));
        end(site, &mut client, &report())
    };
    bcc_mixed: "always_bcc, ours and another recipient",
    |setup| setup.main_cf = "always_bcc = copy@other.example\n".into(),
    |site| {
        let mut client = site.client();
        client.mail();
        assert!(client.rcpt(RUA).starts_with("250"));
        assert!(client.rcpt(USER).starts_with("250"));
        end(site, &mut client, &report())
    };
    deliver: "milter.after = deliver",
    |setup| setup.settings.milter = "after = \"deliver\"".into(),
    |site| {
        let mut client = site.client();
        client.mail();
        assert!(client.rcpt(RUA).starts_with("250"));
        end(site, &mut client, &report())
    };
    down: "rua-milter is down", plain, |site| {
        site.daemon.kill();
        let mut client = site.client();
        let reply = client.command("MAIL FROM:<noreply@reporter.example>");
        format!("{} at MAIL", code(&reply))
    };
    dies: "rua-milter ends during a message", plain, |site| {
        let mut client = site.client();
        client.mail();
        assert!(client.rcpt(RUA).starts_with("250"));
        assert!(client.command("DATA").starts_with("354"));
        site.daemon.kill();
        client.send(&smtp::stuffed(&report()));
        format!("{} at the end", code(&client.reply()))
    };
    hangs: "rua-milter does not answer in time",
    |setup| setup.patience = 5,
    |site| {
        let mut client = site.client();
        client.mail();
        assert!(client.rcpt(RUA).starts_with("250"));
        assert!(client.command("DATA").starts_with("354"));
        site.daemon.signal("STOP");
        client.send(&smtp::stuffed(&report()));
        let reply = client.reply();
        site.daemon.signal("CONT");
        format!("{} at the end", code(&reply))
    };
}

/// The page has these rows and no others, in this order.
#[test]
fn the_page_has_a_row_for_each_test() {
    let rows: Vec<_> = page().into_iter().map(|(row, _)| row).collect();
    assert_eq!(rows, ROWS);
}

#[test]
fn twenty_senders_at_once_are_served_behind_sendmail() {
    let site = Site::start(Which::Sendmail, plain);
    let port = site.port();
    let send = move |n: u64| {
        let mail = Report::new(&format!("r{n}"), "example.com", &[n + 1]).google(RUA);
        Client::connect(port).submit(&[RUA], &mail)
    };
    let senders: Vec<_> = (0..20).map(|n| thread::spawn(move || send(n))).collect();
    for sender in senders {
        let reply = sender.join().expect("a sender");
        assert!(reply.starts_with("250"), "{reply}");
    }
    until("all are stored", SOON, || {
        site.daemon.stored("example.com").reports == 20
    });
    assert!(
        holds_within(SOON, || site.became() == "20 stored"),
        "{}",
        site.became()
    );
}
