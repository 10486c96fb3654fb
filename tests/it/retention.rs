//! What the daemon deletes, and when it does not.

use std::fs;

use crate::lab::{
    RUA, SOON,
    daemon::{Daemon, Settings, Stored},
    mails::{self, Report},
    open_dir, until,
};

const DAY: i64 = 86_400;

fn place(change: impl FnOnce(&mut Settings)) -> (tempfile::TempDir, Daemon) {
    let dir = open_dir();
    let mut settings = Settings::new(&dir.path().join("data"));
    settings.listen = vec![format!("unix:{}/rua.sock", dir.path().display())];
    settings.domains = settings
        .domains
        .replacen("rua =", "failure_reports = true\nrua =", 1);
    change(&mut settings);
    let daemon = Daemon::stopped(&dir.path().join("rua-milter.toml"), &settings);
    (dir, daemon)
}

fn import(daemon: &Daemon, mail: &[u8], code: i32) {
    let output = daemon.run_with(&["import", "-"], mail);
    assert_eq!(output.code, code, "{output:?}");
}

fn open(daemon: &Daemon, file: &str) -> rusqlite::Connection {
    let database = rusqlite::Connection::open(daemon.data().join(file)).unwrap();
    database.busy_timeout(SOON).unwrap();
    database
}

fn number(daemon: &Daemon, sql: &str) -> i64 {
    let store = open(daemon, "reports.sqlite");
    store.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Makes all that is there `days` older, the mails of the archive too.
fn age(daemon: &Daemon, days: i64) {
    let seconds = days * DAY;
    let aged = [
        "document SET first_seen = first_seen",
        "failure_report SET first_seen = first_seen",
        "arrival SET arrived = arrived",
    ];
    for what in aged {
        let sql = format!("UPDATE {what} - {seconds}");
        open(daemon, "reports.sqlite").execute(&sql, []).unwrap();
    }
    let sql = format!("UPDATE entry SET arrived = arrived - {seconds}");
    open(daemon, "spool.sqlite").execute(&sql, []).unwrap();
    let archive = daemon.data().join("archive");
    let year = fs::read_dir(&archive).unwrap().next().unwrap().unwrap();
    fs::rename(year.path(), archive.join("2012")).unwrap();
}

/// Beside it, the newest time on record is today's.
fn young(daemon: &Daemon) {
    let mail = Report::new("young", "example.com", &[5]).google(RUA);
    import(daemon, &mail, 0);
}

fn cut() -> Vec<u8> {
    let xml = Report::new("cut", "example.com", &[1]).xml();
    mails::attached(RUA, &mails::gzip(&xml.as_bytes()[..700]))
}

/// What is left of a report of seven messages and the young one: the daily sums stay.
const LEFT: Stored = Stored {
    reports: 1,
    messages: 7 + 5,
};

#[test]
fn what_is_old_goes_and_what_is_young_stays() {
    let (_dir, mut daemon) = place(|_| {});
    import(
        &daemon,
        &Report::new("old", "example.com", &[4, 3]).google(RUA),
        0,
    );
    import(&daemon, &mails::tls(RUA, "old-tls", "example.com"), 0);
    import(
        &daemon,
        &mails::failure(RUA, "old-ruf", "example.com", "x"),
        0,
    );
    import(&daemon, &cut(), 1);
    open(&daemon, "reports.sqlite")
        .execute_batch(
            "INSERT INTO published (domain, outcome, texts, ttl, first_seen, last_seen)
                 VALUES ('example.com', 'found', '[]', 60, 1, 2),
                        ('example.com', 'found', '[]', 60, 2, unixepoch());
             INSERT INTO finding (domain, source, kind, severity, subject, detail, first_seen,
                     last_seen, closed_at)
                 VALUES ('example.com', 'dns', 'record_missing', 'high', 'example.com', '', 1, 2, 2),
                        ('example.com', 'dns', 'record_missing', 'high', 'example.com', '', 1, 2,
                         NULL)",
        )
        .unwrap();
    age(&daemon, 2_000);
    young(&daemon);
    daemon.restart();
    until("what is old has gone", SOON, || {
        daemon
            .log()
            .contains("old data deleted gone=1 what=closed findings")
            && daemon.spool("parked").is_empty()
    });
    for (table, rows) in [
        ("report", 1),
        ("record", 1),
        ("tls_report", 0),
        ("tls_policy", 0),
        ("failure_report", 0),
        ("arrival", 1),
        ("document", 1),
        ("published", 1),
        ("finding", 1),
    ] {
        let sql = format!("SELECT count(*) FROM {table}");
        assert_eq!(number(&daemon, &sql), rows, "{table}\n{}", daemon.log());
    }
    assert_eq!(daemon.stored("example.com"), LEFT);
    assert!(!daemon.data().join("archive/2012").exists());
    let id = number(&daemon, "SELECT id FROM report").to_string();
    assert_eq!(daemon.run(&["show", &id, "--raw"]).code, 0);
    // Parked mail never goes silently.
    let log = daemon.log();
    assert!(log.contains("parked mail goes within a week"), "{log}");
    let line = log
        .lines()
        .find(|line| line.contains("parked mail dropped"));
    assert!(line.unwrap().contains("reason=truncated"), "{log}");
}

#[test]
fn each_period_is_the_operators() {
    let (_dir, mut daemon) = place(|settings| {
        settings.retention = "report_days = 0\narchive_days = 0\nparked_days = 0\n\
                              arrival_days = 3"
            .into();
    });
    import(
        &daemon,
        &Report::new("old", "example.com", &[4, 3]).google(RUA),
        0,
    );
    import(&daemon, &cut(), 1);
    age(&daemon, 2_000);
    young(&daemon);
    daemon.restart();
    until("old arrivals have gone", SOON, || {
        daemon.log().contains("what=arrivals")
    });
    assert_eq!(number(&daemon, "SELECT count(*) FROM report"), 2);
    assert_eq!(daemon.spool("parked").len(), 1);
    assert!(daemon.data().join("archive/2012").exists());
}

#[test]
fn a_clock_that_has_jumped_deletes_nothing_until_it_is_to_be_believed() {
    let (_dir, mut daemon) = place(|_| {});
    import(
        &daemon,
        &Report::new("old", "example.com", &[4, 3]).google(RUA),
        0,
    );
    import(&daemon, &cut(), 1);
    age(&daemon, 2_000);
    // As after a jump of 2,000 days: the newest report is that old.
    daemon.restart();
    let jumped = "the clock has jumped";
    until("the clock is doubted", SOON, || {
        daemon.log().contains(jumped)
    });
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    let left = |daemon: &Daemon| number(daemon, "SELECT count(*) FROM report");
    assert_eq!((left(&daemon), daemon.spool("parked").len()), (1, 1));
    // It has run on for a week meanwhile, and nobody has set it.
    open(&daemon, "reports.sqlite")
        .execute("UPDATE clock SET since = since - 7 * 86400", [])
        .unwrap();
    daemon.restart();
    until("it is believed", SOON, || left(&daemon) == 0);
    until("so what is parked goes too", SOON, || {
        daemon.spool("parked").is_empty()
    });
    assert_eq!(daemon.log().matches(jumped).count(), 1);
}

#[test]
fn killed_while_it_deletes_it_goes_on_and_gives_the_space_back() {
    let (_dir, mut daemon) = place(|_| {});
    let xml = Report::new("long", "example.com", &vec![1; 40_000]).xml();
    import(
        &daemon,
        &mails::attached(RUA, &mails::gzip(xml.as_bytes())),
        0,
    );
    age(&daemon, 2_000);
    young(&daemon);
    let size = |daemon: &Daemon| {
        fs::metadata(daemon.data().join("reports.sqlite"))
            .unwrap()
            .len()
    };
    let before = size(&daemon);
    daemon.restart();
    let rows = |daemon: &Daemon| number(daemon, "SELECT count(*) FROM record");
    until("some of it has gone", SOON, || rows(&daemon) < 40_001);
    daemon.kill();
    let left = rows(&daemon);
    assert!(left > 1, "{left}: it went at once");
    assert_eq!(left % 5_000, 1, "in steps, none of them by half");
    assert_eq!(number(&daemon, "SELECT count(*) FROM report"), 2);
    daemon.restart();
    until("all of it has gone", SOON, || {
        number(&daemon, "SELECT count(*) FROM report") == 1
    });
    assert_eq!(rows(&daemon), 1);
    assert_eq!(daemon.stored("example.com").reports, 1);
    until("the file has shrunk", SOON, || {
        let store = open(&daemon, "reports.sqlite");
        let _ = store.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        size(&daemon) < before / 2
    });
}
