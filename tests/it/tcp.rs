//! Milter over TCP is not slower than over a unix socket: no step waits for a delayed ACK.

use std::time::{Duration, Instant};

use crate::lab::{
    Lab, RUA, SOON, USER,
    daemon::Stored,
    free_port,
    mails::{self, Report},
    smtp::Client,
    until,
};

/// Mails in each of the [`ROUNDS`].
const MAILS: usize = 10;
/// Sockets are measured by turns, so that a busy moment of the machine meets both.
const ROUNDS: usize = 3;
/// What a busy machine may take longer; one delayed ACK for each mail would be 1.2 s.
const SLACK: Duration = Duration::from_millis(600);

/// A lab whose Postfix comes by unix socket at its own port, and by TCP at the other.
fn lab() -> (Lab, u16) {
    let (port, milter) = (free_port(), free_port());
    let lab = Lab::with(|settings, options| {
        let address = format!("inet:127.0.0.1:{milter}");
        options.master_cf =
            format!("127.0.0.1:{port} inet n - n - 200 smtpd\n  -o smtpd_milters={address}\n");
        settings.listen.push(address);
    });
    until("the second smtpd greets", SOON, || {
        Client::greeted(port).is_some()
    });
    (lab, port)
}

/// The time that one session needs for [`MAILS`] mails, each with a number of its own.
fn time(port: u16, mail: impl Fn(usize) -> (&'static str, Vec<u8>)) -> Duration {
    let mails: Vec<_> = (0..=MAILS).map(mail).collect();
    let mut client = Client::connect(port);
    let mut began = Instant::now();
    for (n, (to, mail)) in mails.iter().enumerate() {
        // The first one wakes everybody up.
        if n == 1 {
            began = Instant::now();
        }
        let reply = client.submit(&[to], mail);
        assert!(reply.starts_with("250"), "{reply}");
    }
    began.elapsed()
}

/// Gives the lab, in which every mail went its way.
fn tcp_keeps_up(mail: impl Fn(usize) -> (&'static str, Vec<u8>)) -> Lab {
    let (lab, tcp_port) = lab();
    let (mut unix, mut tcp) = (Duration::ZERO, Duration::ZERO);
    for round in 0..ROUNDS {
        let number = |socket: usize, n: usize| (round * 2 + socket) * (MAILS + 1) + n;
        unix += time(lab.postfix.port(), |n| mail(number(0, n)));
        tcp += time(tcp_port, |n| mail(number(1, n)));
    }
    println!("unix {unix:?}, TCP {tcp:?}");
    assert!(tcp < 2 * unix + SLACK, "unix {unix:?}, TCP {tcp:?}");
    lab
}

/// All mails of a test.
const ALL: u64 = 2 * (ROUNDS * (MAILS + 1)) as u64;

#[test]
fn reports_do_not_wait_for_acks() {
    let lab = tcp_keeps_up(|n| {
        // As large as many real ones.
        let report = Report::new(&n.to_string(), "example.com", &[1; 12]);
        (RUA, report.plain(RUA))
    });
    let all = Stored {
        reports: ALL,
        messages: 12 * ALL,
    };
    lab.daemon.expect_stored("example.com", all);
    assert!(
        lab.sink.received().is_empty(),
        "both ways lead through the milter"
    );
}

#[test]
fn ordinary_mail_does_not_wait_for_acks() {
    tcp_keeps_up(|_| (USER, mails::long(USER, 100)));
}
