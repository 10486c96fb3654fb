//! The daemon is killed at random moments behind a real Postfix: what a client was told is taken
//! is stored, once, with its counts, and nothing else is left behind.
//!
//! `tests/crash-loop` runs this with as many kills as it is told.

use std::{
    collections::HashMap,
    env, fmt,
    fs::{self, File},
    io::Write,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    thread,
    time::{Duration, SystemTime},
};

use crate::lab::{
    Lab, RUA, SOON, aftermath, daemon::Stored, files_below, mails::Report, smtp::Client, until,
};

/// Sessions at a time.
const CLIENTS: u64 = 8;
/// How long a client waits before it comes again, as an MTA does.
const AGAIN: Duration = Duration::from_millis(50);
/// Milliseconds that the daemon lives.
const LIFE: std::ops::Range<u64> = 5..800;
/// How far the clients may fall behind before the daemon has one longer life: on a slow machine
/// most lives stay as short as the seed says.
const BEHIND: u64 = 200;
/// How long what is left may take at the end.
const DRAIN: Duration = Duration::from_mins(5);

#[test]
fn acknowledged_means_stored_once() {
    let kills = number("CRASH_LOOP_KILLS").unwrap_or(60);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seed = number("CRASH_LOOP_SEED").unwrap_or(now.map_or(0, |now| now.as_secs()));
    println!("{kills} kills, seed {seed}");
    let mut lab = Lab::start();
    let journals = tempfile::tempdir().expect("a directory");
    let (going, acknowledged) = (AtomicBool::new(true), AtomicU64::new(0));
    let port = lab.postfix.port();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let journal = File::create(journals.path().join(client.to_string())).expect("a file");
            let (going, acknowledged) = (&going, &acknowledged);
            scope.spawn(move || deliver(port, client, journal, going, acknowledged));
        }
        // Whatever fails below, the clients must end.
        let end = OnDrop(&going);
        kill(&mut lab, &mut Random(seed), kills, &acknowledged);
        drop(end);
    });
    until("the rest is stored", DRAIN, || {
        lab.daemon.spool("new").is_empty()
    });
    lab.daemon.signal("TERM");
    assert!(lab.daemon.wait().success());

    let tally = tally(&lab, journals.path());
    println!("{tally}");
    assert_eq!((tally.lost, tally.twice, tally.wrong), (0, 0, 0));
    assert!(tally.acknowledged >= least(kills), "too few");
    assert_nothing_is_left(&lab, &tally);
}

/// What has to be acknowledged for the kills to have met work.
fn least(kills: u64) -> u64 {
    match kills {
        ..=60 => 25 * kills,
        61..=500 => 1_500 + (kills - 60) * (20_000 - 1_500) / (500 - 60),
        501.. => 40 * kills,
    }
}

fn kill(lab: &mut Lab, random: &mut Random, kills: u64, acknowledged: &AtomicU64) {
    for kill in 1..=kills {
        let due = least(kills) * kill / kills;
        if acknowledged.load(SeqCst) + BEHIND < due || kill == kills {
            until("clients keep up", DRAIN, || {
                acknowledged.load(SeqCst) >= due
            });
        }
        thread::sleep(Duration::from_millis(random.within(LIFE)));
        lab.daemon.kill();
        // Now and then the next one is killed while it starts, or recovers.
        if random.within(0..8) == 0 {
            lab.daemon.launch();
            thread::sleep(Duration::from_millis(random.within(LIFE)) / 8);
            lab.daemon.kill();
        }
        lab.daemon.restart();
        if kill % 50 == 0 {
            println!("{kill} kills, {} acknowledged", acknowledged.load(SeqCst));
        }
    }
}

/// One client: report after report, each until it is taken, which is written down at once.
fn deliver(
    port: u16,
    client: u64,
    mut journal: File,
    going: &AtomicBool,
    acknowledged: &AtomicU64,
) {
    let mut session = None;
    for n in 0_u64.. {
        if !going.load(SeqCst) {
            return;
        }
        let counts = [1 + client, 1 + n % 7];
        let report = Report::new(&format!("{client}-{n}"), "example.com", &counts);
        let mail = match n % 3 {
            0 => report.google(RUA),
            1 => report.rfc9990(RUA),
            _ => report.plain(RUA),
        };
        loop {
            let mut open = session.take().unwrap_or_else(|| Client::connect(port));
            let reply = open.try_submit(RUA, &mail);
            if reply.starts_with("250") {
                session = Some(open);
                break;
            }
            assert!(reply.starts_with('4') || reply.is_empty(), "{reply}");
            thread::sleep(AGAIN);
        }
        let line = format!("{} {}\n", report.id, counts.iter().sum::<u64>());
        journal.write_all(line.as_bytes()).expect("to write");
        journal.sync_data().expect("to sync");
        acknowledged.fetch_add(1, SeqCst);
    }
}

/// What became of what was acknowledged.
struct Tally {
    acknowledged: u64,
    messages: u64,
    stored: u64,
    lost: u64,
    twice: u64,
    wrong: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            acknowledged,
            stored,
            lost,
            twice,
            wrong,
            ..
        } = self;
        write!(
            f,
            "acknowledged {acknowledged} stored {stored} lost {lost} twice {twice} wrong {wrong}"
        )
    }
}

fn tally(lab: &Lab, journals: &Path) -> Tally {
    let mut tally = Tally {
        acknowledged: 0,
        messages: 0,
        stored: 0,
        lost: 0,
        twice: 0,
        wrong: 0,
    };
    let stored = stored(lab);
    for journal in files_below(journals) {
        for line in fs::read_to_string(journal).expect("a journal").lines() {
            let (id, messages) = line.split_once(' ').expect("an id and a number");
            let messages: u64 = messages.parse().expect("a number");
            tally.acknowledged += 1;
            tally.messages += messages;
            match stored.get(id) {
                None => tally.lost += 1,
                Some(&(times, head, records)) => {
                    tally.stored += 1;
                    tally.twice += u64::from(times != 1);
                    tally.wrong += u64::from((head, records) != (messages, messages));
                }
            }
        }
    }
    tally
}

/// By report id: how often it is stored, what its head counts, what its records do.
fn stored(lab: &Lab) -> HashMap<String, (u64, u64, u64)> {
    let query = "SELECT report_id, count(*), sum(messages),
            sum((SELECT sum(count) FROM record WHERE record.report = report.id))
        FROM report GROUP BY report_id";
    let store = lab.daemon.data().join("reports.sqlite");
    let store = rusqlite::Connection::open(store).expect("the report store");
    let mut statement = store.prepare(query).expect("the report store");
    let rows = statement.query_map([], |row| {
        Ok((row.get(0)?, (row.get(1)?, row.get(2)?, row.get(3)?)))
    });
    rows.expect("rows").map(|row| row.expect("a row")).collect()
}

fn assert_nothing_is_left(lab: &Lab, tally: &Tally) {
    let sums = Stored {
        reports: tally.acknowledged,
        messages: tally.messages,
    };
    assert_eq!(lab.daemon.stored("example.com"), sums, "{tally}");
    assert_eq!(lab.daemon.spool("parked"), [""; 0]);
    aftermath::assert_whole(lab.daemon.data(), tally.acknowledged);
    assert!(
        !lab.daemon.log().contains("panicked"),
        "{}",
        lab.daemon.log()
    );
    assert!(lab.sink.received().is_empty(), "all mail is the daemon's");
    until("the queue is empty", SOON, || {
        lab.postfix.queue().is_empty()
    });
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

/// Clears a flag when it goes, in a panic too.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(false, SeqCst);
    }
}

/// `SplitMix64`: the same moments for the same seed.
struct Random(u64);

impl Random {
    fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        range.start + (bits ^ (bits >> 31)) % (range.end - range.start)
    }
}
