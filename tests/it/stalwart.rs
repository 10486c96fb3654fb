//! Stalwart as a milter client, by its own bytes; and that one mail is one report by whichever way
//! it comes.

use std::{fs, time::Instant};

use crate::lab::{
    RUA, RUA_ORG, USER,
    daemon::{Daemon, Settings, Stored},
    free_port,
    hook::Hook,
    mails::{self, Report},
    milter::Milter,
    open_dir, replies,
    stalwart::{self, ORDINARY, Outcome, Stages},
};

const NOBODY: &str = "nobody@reports.example";

/// A daemon on a TCP port, as Stalwart needs it. Fields end in this order.
struct Site {
    daemon: Daemon,
    address: String,
    stages: Stages,
    _dir: tempfile::TempDir,
}

impl Site {
    fn start(stages: Stages) -> Self {
        Self::with(stages, |_| {})
    }

    fn with(stages: Stages, change: impl FnOnce(&mut Settings)) -> Self {
        let dir = open_dir();
        let address = format!("inet:127.0.0.1:{}", free_port());
        let mut settings = Settings::new(&dir.path().join("data"));
        settings.listen = vec![address.clone()];
        settings.peer = "peer = \"stalwart\"".into();
        if stages == Stages::RcptAndData {
            settings.peer += "\nrcpt_stage = true";
        }
        change(&mut settings);
        let daemon = Daemon::start(&dir.path().join("rua-milter.toml"), &settings);
        Self {
            daemon,
            address,
            stages,
            _dir: dir,
        }
    }

    fn submit(&self, to: &[&str], mail: &[u8]) -> Outcome {
        stalwart::submit(&self.address, self.stages, to, mail).expect("answers")
    }

    fn expect(&self, reports: u64) {
        let all = Stored {
            reports,
            messages: reports,
        };
        self.daemon.expect_stored("example.com", all);
    }
}

fn report(id: &str) -> Vec<u8> {
    Report::new(id, "example.com", &[1]).google(RUA)
}

fn foreign() -> Vec<u8> {
    Report::new("foreign", "foreign.example", &[5]).google(RUA)
}

/// That a message is taken, and goes on to these.
fn taken(outcome: &Outcome, queued: &[&str]) {
    assert!(outcome.end.starts_with("250"), "{outcome:?}");
    assert_eq!(outcome.queued, queued, "{outcome:?}");
}

/// That the end of the message hears this, and nobody gets it.
fn refused(outcome: &Outcome, reply: &str) {
    assert_eq!(
        (&*outcome.end, outcome.queued.len()),
        (reply, 0),
        "{outcome:?}"
    );
}

#[test]
fn each_mix_of_recipients_has_its_end() {
    for stages in [Stages::Data, Stages::RcptAndData] {
        let site = Site::start(stages);
        taken(&site.submit(&[RUA], &report("one")), &[]);
        taken(
            &site.submit(&["RUA@Reports.Example", RUA_ORG], &report("two")),
            &[],
        );
        taken(&site.submit(&[RUA, USER], &report("three")), &[USER]);
        let began = Instant::now();
        taken(&site.submit(&[USER], &mails::long(USER, 2_000)), &[USER]);
        assert!(began.elapsed() < ORDINARY, "{:?}", began.elapsed());
        refused(&site.submit(&[RUA], &foreign()), replies::FOREIGN);
        refused(
            &site.submit(&[RUA], &mails::ordinary(RUA)),
            replies::NOT_A_REPORT,
        );
        taken(&site.submit(&[USER, RUA], &foreign()), &[USER]);
        site.expect(3);
        // Whole, each line as it was, but for the end of the last that Stalwart leaves out.
        let kept = site.daemon.spooled("parked");
        assert_eq!(kept, [foreign().strip_suffix(b"\r\n").expect("lines")]);
        let log = site.daemon.log();
        assert_eq!(
            log.matches("verdict=accepted").count(),
            4,
            "each mail once\n{log}"
        );
    }
}

#[test]
fn an_unknown_recipient_is_refused_where_that_does_not_take_the_message_with_it() {
    let site = Site::start(Stages::Data);
    // Nothing is heard at RCPT; the end of the message tells.
    let outcome = site.submit(&[NOBODY], &report("one"));
    refused(&outcome, replies::UNKNOWN);
    taken(&site.submit(&[NOBODY, RUA], &report("one")), &[]);
    taken(
        &site.submit(&[NOBODY, USER], &mails::ordinary(USER)),
        &[NOBODY, USER],
    );
    site.expect(1);

    let site = Site::start(Stages::RcptAndData);
    let outcome = site.submit(&[NOBODY], &report("one"));
    assert_eq!(outcome.rcpts, [replies::UNKNOWN]);
    assert_eq!(outcome.end, "", "nobody is left");
    let outcome = site.submit(&[USER, NOBODY, RUA], &report("one"));
    assert_eq!(outcome.rcpts, ["250 2.0.0", replies::UNKNOWN, "250 2.0.0"]);
    taken(&outcome, &[USER]);
    site.expect(1);
}

#[test]
fn whoever_comes_too_fast_is_asked_to_come_again() {
    let too_fast = "451 4.7.0 Too many reports, please try again later";
    for stages in [Stages::Data, Stages::RcptAndData] {
        let site = Site::with(stages, |settings| settings.rate = "per_network = 2".into());
        // However often Stalwart tells of it, a mail counts once.
        for id in ["one", "two"] {
            taken(&site.submit(&[RUA, RUA_ORG], &report(id)), &[]);
        }
        let outcome = site.submit(&[RUA], &report("three"));
        assert_eq!(outcome.rcpts, ["250 2.0.0"]);
        refused(&outcome, too_fast);
        // No reason to hold up mail that others wait for.
        taken(&site.submit(&[RUA, USER], &report("three")), &[USER]);
        site.expect(3);
    }
}

#[test]
fn no_room_holds_up_our_mail_alone() {
    let full = |settings: &mut Settings| {
        settings.limits = format!("min_free_bytes = {}", 1_u64 << 60);
    };
    let site = Site::with(Stages::Data, full);
    refused(&site.submit(&[RUA], &report("one")), replies::NOT_STORED);
    taken(&site.submit(&[USER], &mails::ordinary(USER)), &[USER]);
    let site = Site::with(Stages::RcptAndData, full);
    let outcome = site.submit(&[RUA, USER], &report("one"));
    assert_eq!(outcome.rcpts, [replies::NO_ROOM, "250 2.0.0"]);
    taken(&outcome, &[USER]);
}

#[test]
fn header_fields_that_are_no_utf8_come_with_the_body() {
    let site = Site::start(Stages::Data);
    // As the first field too, whose value comes empty.
    let mail = [
        b"X-First: caf\xe9\r\nX-Second: \xff\r\n".to_vec(),
        foreign(),
    ]
    .concat();
    taken(&site.submit(&[RUA, USER], &mail), &[USER]);
    let kept = site.daemon.spooled("parked").remove(0);
    assert_eq!(kept, mail.strip_suffix(b"\r\n").expect("lines"));
}

#[test]
fn asking_about_recipients_is_for_stalwart_alone() {
    let dir = open_dir();
    let mut settings = Settings::new(&dir.path().join("data"));
    settings.listen = vec!["inet:127.0.0.1:1".into()];
    settings.peer = "rcpt_stage = true".into();
    let daemon = Daemon::stopped(&dir.path().join("rua-milter.toml"), &settings);
    let output = daemon.run(&["check-config"]);
    assert_eq!(output.code, 2, "{output:?}");
    assert!(
        output.stderr.contains("rcpt_stage: expected only with"),
        "{output:?}"
    );
}

/// A way in.
#[derive(Clone, Copy, Debug)]
enum Way {
    Hook,
    Stalwart(Stages),
    Milter,
    Import,
}

/// What is stored of the samples when they come by one way: everything but when and how.
fn stored(way: Way) -> Vec<String> {
    let (dir, port, web) = (open_dir(), free_port(), free_port());
    let address = format!("inet:127.0.0.1:{port}");
    let mut settings = Settings::new(&dir.path().join("data"));
    settings.listen = vec![address.clone()];
    if let Way::Stalwart(_) = way {
        settings.peer = "peer = \"stalwart\"".into();
    }
    settings.hook = format!("listen = \"127.0.0.1:{web}\"");
    settings.domains += "failure_reports = true\n";
    let daemon = Daemon::start(&dir.path().join("rua-milter.toml"), &settings);
    let hook = Hook::at(web);
    for (n, mail) in samples().iter().enumerate() {
        match way {
            Way::Hook => drop(hook.submit(&[RUA], mail)),
            Way::Stalwart(stages) => {
                stalwart::submit(&address, stages, &[RUA], mail).expect("answers");
            }
            Way::Milter => {
                let mut milter = Milter::dial(&address, "192.0.2.25").expect("a session");
                milter.submit(RUA, mail).expect("an answer");
            }
            Way::Import => {
                let path = dir.path().join(format!("{n}.eml"));
                fs::write(&path, mail).expect("to write");
                daemon.run(&["import", path.to_str().expect("UTF-8")]);
            }
        }
    }
    crate::lab::until("all is read", crate::lab::SOON, || {
        daemon.spool("new").is_empty()
    });
    rows(&daemon)
}

/// Whole mails of every kind and make that are about domains of ours.
fn samples() -> Vec<Vec<u8>> {
    let one = |id: &str| Report::new(id, "example.org", &[4, 3, 2]);
    vec![
        one("1").google(RUA),
        one("2").microsoft(RUA),
        one("3").rfc9990(RUA),
        one("4").plain(RUA),
        one("1").google(RUA),
        Report::new("1", "example.org", &[5]).google(RUA),
        mails::tls(RUA, "5", "example.org"),
        mails::failure(RUA, "6", "example.org", "Hello"),
        mails::attached(RUA, b"\x1f\x8bbroken"),
    ]
}

fn rows(daemon: &Daemon) -> Vec<String> {
    let store = rusqlite::Connection::open(daemon.data().join("reports.sqlite"));
    let store = store.expect("the report store");
    let mut rows = Vec::new();
    let mut add = |query: &str| {
        let mut query = store.prepare(query).expect("a query");
        let columns = query.column_count();
        let row = |row: &rusqlite::Row<'_>| {
            let value = |n| row.get::<_, rusqlite::types::Value>(n);
            let values: Result<Vec<_>, _> = (0..columns).map(value).collect();
            Ok(format!("{:?}", values?))
        };
        let found = query.query_map([], row).expect("rows");
        rows.extend(found.map(|row| row.expect("a row")));
    };
    add("SELECT kind, digest, key FROM document ORDER BY digest, kind");
    add("SELECT part, outcome, rejection FROM arrival ORDER BY spool_id, part");
    for table in ["record", "rollup"] {
        add(&format!("SELECT * FROM {table} ORDER BY 1, 2, 3, 4, 5, 6"));
    }
    for kind in ["aggregate", "tls", "failure"] {
        let export = daemon.run(&["export", "--json", "--kind", kind]);
        assert_eq!(export.code, 0, "{export:?}");
        rows.extend(export.stdout.lines().map(str::to_owned));
    }
    rows.extend(daemon.spool("parked"));
    rows
}

#[test]
fn a_mail_is_the_same_report_by_whichever_way_it_comes() {
    let wanted = stored(Way::Import);
    assert!(wanted.len() > 40, "{wanted:#?}");
    for way in [
        Way::Hook,
        Way::Milter,
        Way::Stalwart(Stages::Data),
        Way::Stalwart(Stages::RcptAndData),
    ] {
        assert_eq!(stored(way), wanted, "{way:?}");
    }
}
