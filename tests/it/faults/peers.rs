//! Clients that are too many or too slow, and servers that do not answer.

use std::{
    fs,
    io::Write,
    net::UdpSocket,
    os::unix::net::UnixStream,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::Place;
use crate::lab::{
    RUA, SOON,
    mails::Report,
    milter::{DISCARD, Milter},
    until,
};

/// A number of a line of `/proc/PID/status`, such as `VmRSS`.
fn status(pid: u32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with(key));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|number| number.parse().ok()).expect(key)
}

/// Clock ticks, a hundredth of a second each, that a process has computed.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, rest) = stat.rsplit_once(") ").expect("a name");
    let fields: Vec<u64> = rest.split(' ').map(|f| f.parse().unwrap_or(0)).collect();
    fields[11] + fields[12]
}

fn descriptors(pid: u32) -> usize {
    let open = fs::read_dir(format!("/proc/{pid}/fd"));
    open.expect("it runs").count()
}

#[test]
fn exhausted_descriptors_shut_out_only_new_connections() {
    const LIMIT: usize = 48;
    let place = Place::with(|settings, _| {
        settings.under = ["prlimit".into(), format!("--nofile={LIMIT}")].into();
    });
    let mail = |id: &str| Report::new(id, "example.com", &[1]).google(RUA);
    let mut inside = Milter::connect(&place.socket()).expect("a session");
    let answer = inside.submit(RUA, &mail("before")).expect("an answer");
    assert_eq!(answer, DISCARD);
    place.expect(1);
    let pid = place.daemon.pid();
    let crowd: Vec<_> = (0..LIMIT)
        .map(|_| UnixStream::connect(place.socket()).expect("room in the backlog"))
        .collect();
    place.expect_log("cannot accept a milter connection");
    for n in 0..5 {
        let answer = inside.submit(RUA, &mail(&format!("meanwhile-{n}")));
        assert_eq!(answer.expect("an answer"), DISCARD);
    }
    let before = ticks(pid);
    thread::sleep(Duration::from_secs(2));
    let spent = ticks(pid) - before;
    println!("{spent} ticks, {} descriptors", descriptors(pid));
    assert!(spent < 40, "{spent} of 200 ticks while nothing can be done");
    drop(crowd);
    place.take("after");
    drop(inside);
    place.end_whole(7);
}

/// The time that ten mails take in a session.
fn time(session: &mut Milter, round: &str) -> Duration {
    let mails = (0..10).map(|n| Report::new(&format!("{round}-{n}"), "example.com", &[1]));
    let mails: Vec<_> = mails.map(|report| report.google(RUA)).collect();
    let began = Instant::now();
    for mail in mails {
        assert_eq!(session.submit(RUA, &mail).expect("an answer"), DISCARD);
    }
    began.elapsed()
}

#[test]
fn thousands_of_idle_and_slow_connections_hold_up_nobody() {
    const IDLE: usize = 2_000;
    const SLOW: usize = 1_000;
    // Of this process, which has as many.
    let own = std::process::id().to_string();
    let raised = Command::new("prlimit")
        .args(["--pid", &own, "--nofile=8192:"])
        .status();
    assert!(raised.is_ok_and(|status| status.success()), "prlimit");
    let place = Place::with(|settings, _| {
        settings.milter = "max_connections = 5000".into();
        settings.under = ["prlimit", "--nofile=8192"].map(Into::into).into();
    });
    let mut session = Milter::connect(&place.socket()).expect("a session");
    let alone = time(&mut session, "alone");
    let pid = place.daemon.pid();
    let before = status(pid, "VmRSS");
    let idle: Vec<_> = (0..IDLE)
        .map(|_| Milter::connect(&place.socket()).expect("a session"))
        .collect();
    // A length and half of what it announces.
    let mut slow: Vec<_> = (0..SLOW)
        .map(|_| UnixStream::connect(place.socket()).expect("a connection"))
        .collect();
    for stream in &mut slow {
        stream.write_all(b"\0\0\0\x0dO\0\0").expect("room");
    }
    until("they are all inside", SOON, || {
        descriptors(pid) > IDLE + SLOW
    });
    let crowded = time(&mut session, "crowded");
    let more = status(pid, "VmRSS") - before;
    println!("alone {alone:?}, crowded {crowded:?}, {more} KiB more");
    // A busy machine's disk takes what it takes.
    assert!(crowded < 2 * alone + Duration::from_secs(1), "{crowded:?}");
    assert!(
        more < 90 << 10,
        "{more} KiB for {} connections",
        IDLE + SLOW
    );
    place.pass();
    drop((idle, slow));
    until("they are let go", SOON, || descriptors(pid) < 100);
    drop(session);
    place.end_whole(20);
}

#[test]
fn without_dns_mail_comes_in_and_nothing_is_concluded() {
    // One that hears and never answers, and one that is not there.
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let gone = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let at = |socket: &UdpSocket| socket.local_addr().expect("bound");
    let (silent_at, gone_at) = (at(&silent), at(&gone));
    drop(gone);
    for server in [silent_at, gone_at] {
        let place = Place::with(|settings, _| {
            settings.dns = format!("servers = [\"{server}\"]\ntimeout_secs = 1");
        });
        for n in 0..5 {
            place.take(&format!("{n}"));
        }
        place.pass();
        place.expect(5);
        let count = || -> i64 {
            let store = rusqlite::Connection::open(place.file("reports.sqlite"));
            let count = "SELECT count(*) FROM finding";
            let count = store.and_then(|store| store.query_row(count, [], |row| row.get(0)));
            count.expect("a store")
        };
        assert_eq!(count(), 0);
        let began = Instant::now();
        place.end_whole(5);
        assert!(began.elapsed() < Duration::from_secs(10), "{server}");
    }
}
