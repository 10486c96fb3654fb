//! Whoever sends too much: hears to come again, fills no log and no memory, and nobody else notices.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::lab::{
    RUA, SOON, USER,
    daemon::{Daemon, Settings, memory, release},
    mails::{self, Report},
    milter::{DISCARD, Milter},
    open_dir, until,
};

const TOO_FAST: &str = "y451 4.7.0 Too many reports, please try again later";
const NO_ROOM: &str = "y451 4.3.1 Reports cannot be taken right now, please try again later";
/// Networks of documentation's, and a client in each.
const A: &str = "192.0.2.25";
const A_TOO: &str = "192.0.2.26";
const B: &str = "2001:db8:b::25";
/// As Sendmail writes it.
const B_TOO: &str = "IPv6:2001:db8:b::26";
const RELAY: &str = "198.51.100.25";

struct Site {
    daemon: Daemon,
    settings: Settings,
    address: String,
    _dir: tempfile::TempDir,
}

impl Site {
    fn start(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = open_dir();
        let address = format!("unix:{}/rua.sock", dir.path().display());
        let mut settings = Settings::new(&dir.path().join("data"));
        settings.listen = vec![address.clone()];
        change(&mut settings);
        let daemon = Daemon::start(&dir.path().join("rua-milter.toml"), &settings);
        Self {
            daemon,
            settings,
            address,
            _dir: dir,
        }
    }

    fn session(&self, client: &str) -> Milter {
        Milter::dial(&self.address, client).expect("the daemon")
    }
}

/// What comes at a rate a minute since `began`, when a minute's worth came at once.
fn most(rate: usize, began: Instant) -> usize {
    let secs = usize::try_from(began.elapsed().as_secs()).expect("a short time");
    rate + rate * (secs + 1) / 60 + 1
}

/// How many of so many report mails are taken; the others hear that they come too fast.
fn taken(session: &mut Milter, mails: usize) -> usize {
    let mail = Report::new("rate", "example.com", &[1]).google(RUA);
    let answers = (0..mails).map(|_| session.submit(RUA, &mail).expect("an answer"));
    let is_taken = |answer: &String| {
        assert!(answer == DISCARD || answer == TOO_FAST, "{answer}");
        answer == DISCARD
    };
    answers.filter(is_taken).count()
}

#[test]
fn a_network_that_sends_too_much_is_to_come_again_and_the_others_are_not() {
    const RATE: usize = 20;
    let mut site = Site::start(|settings| {
        settings.rate = format!("per_network = {RATE}\nrelays = [\"198.51.100.0/24\"]");
    });
    let began = Instant::now();
    let mut a = site.session(A);
    let of_a = taken(&mut a, 60) + taken(&mut site.session(A_TOO), 20);
    assert!((RATE..=most(RATE, began)).contains(&of_a), "{of_a}");
    // Not the mail of others, nor the refusal of what is never taken.
    let answer = a.submit(USER, &mails::ordinary(USER)).expect("an answer");
    assert_eq!(answer, "a");
    let answer = a.submit("nobody@reports.example", &mails::ordinary(RUA));
    assert!(answer.expect("an answer").starts_with("y550"));
    let began = Instant::now();
    let of_b = taken(&mut site.session(B), 10);
    assert_eq!(of_b, 10);
    let of_b = of_b + taken(&mut site.session(B_TOO), 30);
    assert!((RATE..=most(RATE, began)).contains(&of_b), "{of_b}");
    assert_eq!(taken(&mut site.session(RELAY), 60), 60);

    // All together have a bound of their own, and a reload takes either away.
    site.settings.rate = "overall = 20".into();
    site.daemon.configure(&site.settings);
    site.daemon.signal("HUP");
    until("the new rate holds", SOON, || {
        site.daemon.log().contains("configuration reloaded")
    });
    let began = Instant::now();
    let of_all = taken(&mut a, 15) + taken(&mut site.session(B), 15);
    assert!((RATE..=most(RATE, began)).contains(&of_all), "{of_all}");
    site.settings.rate = String::new();
    site.daemon.configure(&site.settings);
    site.daemon.signal("HUP");
    until("no rate holds", SOON, || {
        let log = site.daemon.log();
        log.matches("configuration reloaded").count() == 2
    });
    assert_eq!(taken(&mut a, 60), 60);
    let log = site.daemon.log();
    assert!(log.contains("reason=rate_limited code=451"), "{log}");
}

#[test]
fn a_relay_brings_everybody_s_mail_and_has_no_share_of_the_parked_space() {
    let site = Site::start(|settings| {
        settings.rate = "relays = [\"198.51.100.0/24\"]".into();
        settings.limits += "\nmax_spool_bytes = 1048576\nmax_message_bytes = 200000";
        settings.milter = "unrecognised = \"park\"".into();
    });
    // More than a tenth of the spool.
    let junk = mails::long(RUA, 1_500);
    let report = Report::new("one", "example.com", &[1]).google(RUA);
    for (client, answer) in [(RELAY, DISCARD), (A, NO_ROOM)] {
        let mut session = site.session(client);
        assert_eq!(session.submit(RUA, &junk).expect("an answer"), DISCARD);
        assert_eq!(session.submit(RUA, &report).expect("an answer"), answer);
    }
    assert_eq!(taken(&mut site.session(B), 1), 1);
}

#[test]
fn what_is_refused_too_often_is_counted_in_the_log() {
    const MAILS: usize = 4_000;
    // Of one network, at once and in a minute.
    const LINES: usize = 600;
    let site = Site::start(|_| {});
    let began = Instant::now();
    let mut session = site.session(A);
    for n in 0..MAILS {
        let nobody = format!("nobody-{n}@reports.example");
        let answer = session.submit(&nobody, &mails::ordinary(&nobody));
        assert!(answer.expect("an answer").starts_with("y550"));
    }
    let most = most(LINES, began);
    // Another network's line comes, and what was taken is always told of.
    let answer = site.session(B).submit(RUA, &mails::ordinary(RUA));
    assert!(answer.expect("an answer").starts_with("y550"));
    assert_eq!(taken(&mut session, 1), 1);
    let log = site.daemon.log();
    let lines = log.matches("reason=unknown_recipient").count();
    assert!((LINES..=most).contains(&lines), "{lines} lines");
    let suppressed = log.lines().filter_map(|line| {
        let (_, number) = line.split_once("suppressed=")?;
        number.trim().parse::<usize>().ok()
    });
    assert_eq!(lines + suppressed.sum::<usize>(), MAILS);
    assert_eq!(log.matches("verdict=accepted").count(), 1);
    assert!(log.contains("reason=not_a_report"), "the other's line");
}

#[test]
#[ignore = "a million mails take minutes"]
fn a_million_rejected_mails_leave_the_memory_as_it_was() {
    const MAILS: usize = 1_000_000;
    const SESSIONS: usize = 4;
    /// Of which this part is heard to the end.
    const WHOLE: usize = 10;
    const GROWTH_KIB: u64 = 4 << 10;
    let site = Site::start(|settings| settings.program = release());
    let reject = |mails: usize| {
        thread::scope(|scope| {
            for session in 0..SESSIONS {
                let site = &site;
                scope.spawn(move || {
                    // Networks come and go.
                    let client = |n: usize| format!("10.{session}.{}.1", n / 1_000 % 256);
                    let mut peer = site.session(&client(0));
                    for n in 0..mails / SESSIONS {
                        if n % 1_000 == 0 {
                            peer = site.session(&client(n));
                        }
                        let to = match n % WHOLE {
                            0 => RUA.to_owned(),
                            _ => format!("nobody-{session}-{n}@reports.example"),
                        };
                        let answer = peer.submit(&to, &mails::ordinary(&to));
                        let answer = answer.expect("an answer");
                        assert!(answer.starts_with("y550"), "{answer}");
                    }
                });
            }
        });
    };
    let began = Instant::now();
    reject(MAILS / 20);
    let first = memory(site.daemon.pid(), "VmRSS");
    reject(MAILS - MAILS / 20);
    let last = memory(site.daemon.pid(), "VmRSS");
    let rate = MAILS as u64 / began.elapsed().max(Duration::from_secs(1)).as_secs();
    println!("{first} KiB after a twentieth, {last} KiB at the end; {rate} mails/s");
    assert!(last < first + GROWTH_KIB, "{first} KiB, then {last} KiB");
    let lines = site.daemon.log().lines().count();
    assert!(lines < MAILS / 20, "{lines} lines");
}
