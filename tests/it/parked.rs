//! Parked mail as an operator meets it: looked at, tried again, exported, dropped; and what an
//! upgrade and a crash do with it.

use std::{fs, path::PathBuf};

use serde_json::Value;

use crate::lab::{
    Lab, RUA, RUA_ORG, SOON,
    daemon::{Daemon, Output, Settings, Stored},
    mails::{self, Report},
    open_dir, until,
};

/// What the store holds once [`large`] is in it.
const ALL: Stored = Stored {
    reports: 1,
    messages: 9,
};

/// Parked as too large while a report may have two records.
fn large() -> Report {
    Report::new("large", "example.com", &[4, 3, 2])
}

fn two_records(settings: &mut Settings) {
    settings.limits += "\nmax_records = 2";
}

/// A report that ends in its second record.
fn cut(to: &str) -> Vec<u8> {
    let xml = Report::new("cut", "example.com", &[1, 2]).xml();
    let end = xml.rfind("<source_ip>").unwrap();
    mails::attached(to, &mails::gzip(&xml.as_bytes()[..end]))
}

/// A data directory without a daemon.
fn place(change: impl FnOnce(&mut Settings)) -> (tempfile::TempDir, Daemon) {
    let dir = open_dir();
    let mut settings = Settings::new(&dir.path().join("data"));
    settings.listen = vec![format!("unix:{}/rua.sock", dir.path().display())];
    change(&mut settings);
    let daemon = Daemon::stopped(&dir.path().join("rua-milter.toml"), &settings);
    (dir, daemon)
}

fn import(daemon: &Daemon, mail: &[u8]) -> Output {
    daemon.run_with(&["import", "-"], mail)
}

fn listed(daemon: &Daemon, filter: &[&str]) -> Vec<Value> {
    let output = daemon.run(&[&["parked", "list", "--json"][..], filter].concat());
    assert_eq!(output.code, 0, "{output:?}");
    output.json_lines()
}

/// Makes a mail ten days older.
fn age(daemon: &Daemon, id: &Value) {
    let spool = rusqlite::Connection::open(daemon.data().join("spool.sqlite")).unwrap();
    spool.busy_timeout(SOON).unwrap();
    let sql = "UPDATE entry SET arrived = arrived - 10 * 86400 WHERE id = ?1";
    spool.execute(sql, [id.as_i64()]).unwrap();
}

fn id_of(daemon: &Daemon) -> String {
    listed(daemon, &[])[0]["id"].to_string()
}

#[test]
fn parked_mail_has_its_reason_its_place_its_sender_and_its_address() {
    let lab = Lab::start();
    let submit = |from: &str, to: &str, mail: &[u8]| {
        let mut client = lab.client();
        let known = client.command(&format!("XCLIENT ADDR={from} NAME=mx.sender.example"));
        assert!(known.starts_with("220"), "{known}");
        assert!(client.command("EHLO helo.example").starts_with("250"));
        assert!(client.submit(&[to], mail).starts_with("250"));
    };
    submit("203.0.113.9", RUA, &cut(RUA));
    submit(
        "198.51.100.7",
        RUA_ORG,
        &mails::attached(RUA_ORG, b"\x1f\x8b no gzip"),
    );
    until("both are parked", SOON, || {
        lab.daemon.spool("parked").len() == 2
    });
    let all = listed(&lab.daemon, &[]);
    let cut = &all[0];
    assert_eq!((all.len(), &cut["reason"]), (2, &"truncated".into()));
    assert!(cut["at_byte"].as_u64().unwrap() > 500, "{cut}");
    assert_eq!(cut["envelope"]["client"], "203.0.113.9");
    assert_eq!(cut["envelope"]["client_name"], "mx.sender.example");
    assert_eq!(cut["envelope"]["recipients"][0], RUA);
    age(&lab.daemon, &cut["id"]);
    for (filter, found) in [
        (["--reason", "truncated"], Some(&cut["id"])),
        (["--reason", "bad_container"], Some(&all[1]["id"])),
        (["--network", "203.0.113.200"], Some(&cut["id"])),
        (["--network", "198.51.100.0/24"], Some(&all[1]["id"])),
        (["--older-than", "5"], Some(&cut["id"])),
        (["--older-than", "20"], None),
    ] {
        let entries = listed(&lab.daemon, &filter);
        assert!(entries.len() <= 1, "{filter:?}");
        assert_eq!(
            entries.first().map(|entry| &entry["id"]),
            found,
            "{filter:?}"
        );
    }
    assert_eq!(lab.daemon.run(&["parked", "list", "--reason", "x"]).code, 2);
    let text = lab.daemon.run(&["parked", "list"]).stdout;
    assert!(text.contains("mx.sender.example [203.0.113.9]"), "{text}");
    assert!(text.contains(RUA_ORG), "{text}");

    let id = cut["id"].to_string();
    let shown = lab.daemon.run(&["parked", "show", &id]).stdout;
    for part in [
        "truncated at byte",
        "mx.sender.example",
        "helo.example",
        RUA,
        "Subject: Report",
        "<report_id>cut</report_id>",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let json = lab.daemon.run(&["parked", "show", &id, "--json"]).json();
    assert_eq!(json["parts"][0]["rejection"], "truncated");
    assert_eq!(json["parts"][0]["at_byte"], cut["at_byte"]);
    assert_eq!(lab.daemon.run(&["parked", "show", "99"]).code, 1);
}

#[test]
fn what_a_stranger_wrote_in_it_cannot_move_the_cursor() {
    let (_dir, daemon) = place(|_| {});
    let xml = "<feedback>\u{1b}[2J\u{202e}<report_metadata>";
    let mail = mails::attached(RUA, &mails::gzip(xml.as_bytes()));
    assert_eq!(import(&daemon, &mail).code, 1);
    let id = id_of(&daemon);
    for args in [
        &["parked", "show", &id][..],
        &["parked", "show", &id, "--json"],
    ] {
        let text = daemon.run(args).stdout;
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
        assert!(text.contains("202e"), "{text}");
    }
}

#[test]
fn retried_beside_a_daemon_it_is_read_by_the_daemon() {
    let lab = Lab::with(|settings, _| two_records(settings));
    let reply = lab.client().submit(&[RUA], &large().google(RUA));
    assert!(reply.starts_with("250"), "{reply}");
    until("it is parked", SOON, || {
        lab.daemon.spool("parked") == ["too_large"]
    });
    let again = lab.daemon.run(&["parked", "retry", "--all"]);
    assert_eq!(again.code, 1, "{again:?}");
    assert!(
        again.stdout.contains("still parked, too_large"),
        "{again:?}"
    );

    let mut settings = lab.daemon.settings().clone();
    settings.limits = settings.limits.replace("max_records = 2", "");
    lab.daemon.configure(&settings);
    lab.daemon.signal("HUP");
    until("the new limits hold", SOON, || {
        lab.daemon.log().contains("configuration reloaded")
    });
    let none = lab
        .daemon
        .run(&["parked", "retry", "--reason", "truncated"]);
    assert_eq!((none.code, &*none.stdout), (0, ""));
    let read = lab
        .daemon
        .run(&["parked", "retry", "--reason", "too_large"]);
    assert_eq!(read.code, 0, "{read:?}");
    assert!(read.stdout.contains("stored large"), "{read:?}");
    lab.daemon.expect_stored("example.com", ALL);
    assert!(lab.daemon.spool("parked").is_empty());
}

#[test]
fn retried_without_a_daemon_it_is_read_by_the_command() {
    let (_dir, daemon) = place(two_records);
    assert_eq!(import(&daemon, &large().google(RUA)).code, 1);
    assert_eq!(import(&daemon, &cut(RUA)).code, 1);
    let id = id_of(&daemon);
    daemon.configure(&Settings {
        limits: String::new(),
        ..daemon.settings().clone()
    });
    let read = daemon.run(&["parked", "retry", &id]);
    assert_eq!(read.code, 0, "{read:?}");
    assert_eq!(daemon.spool("parked"), ["truncated"]);
    assert_eq!(daemon.stored("example.com"), ALL);
    assert_eq!(daemon.run(&["parked", "retry", &id]).code, 1);
    assert_eq!(daemon.run(&["parked", "retry"]).code, 2);
    assert_eq!(daemon.run(&["parked", "retry", &id, "--all"]).code, 2);
}

#[test]
fn exported_it_is_as_it_arrived_and_import_takes_it_back() {
    let lab = Lab::with(|settings, _| two_records(settings));
    let mail = large().google(RUA);
    assert!(lab.client().submit(&[RUA], &mail).starts_with("250"));
    until("it is parked", SOON, || {
        !lab.daemon.spool("parked").is_empty()
    });
    let id = id_of(&lab.daemon);
    let output = lab.daemon.run(&["parked", "export", &id]);
    let exported = output.stdout.into_bytes();
    let raw: Vec<Vec<u8>> = lab.daemon.spooled("parked");
    assert!(exported.ends_with(&raw[0]), "byte for byte");
    let lines = &exported[..exported.len() - raw[0].len()];
    assert!(lines.starts_with(b"X-Rua-Milter-Envelope-Bytes: "));

    let (dir, other) = place(|_| {});
    let file: PathBuf = dir.path().join("mail.eml");
    let name = file.to_str().unwrap();
    let args = ["parked", "export", &id, "--output", name];
    assert_eq!(lab.daemon.run(&args).code, 0);
    assert_eq!(fs::read(&file).unwrap(), exported);
    assert_eq!(lab.daemon.run(&args).code, 1, "a file is not written over");
    assert_eq!(fs::read(&file).unwrap(), exported);
    assert_eq!(other.run(&["import", name]).code, 0);
    assert_eq!(other.stored("example.com"), ALL);
    let listed = other.run(&["reports", "--json"]).json_lines();
    let report = other.run(&["show", &listed[0]["id"].to_string(), "--json"]);
    let arrival = &report.json()["arrivals"][0];
    assert_eq!(
        (&arrival["door"], &arrival["recipient"]),
        (&"import".into(), &RUA.into())
    );
}

#[test]
fn only_what_is_named_is_dropped_and_the_log_says_so() {
    let (_dir, daemon) = place(|_| {});
    for to in [RUA, RUA_ORG] {
        assert_eq!(import(&daemon, &cut(to)).code, 1);
    }
    assert_eq!(daemon.run(&["parked", "drop"]).code, 2);
    assert_eq!(daemon.run(&["parked", "drop", "99"]).code, 1);
    let id = id_of(&daemon);
    let dropped = daemon.run(&["parked", "drop", &id]);
    assert_eq!(dropped.code, 0, "{dropped:?}");
    assert!(
        dropped.stderr.contains("parked mail dropped"),
        "{dropped:?}"
    );
    assert!(dropped.stderr.contains("truncated"), "{dropped:?}");
    assert_eq!(listed(&daemon, &[]).len(), 1);
    assert_ne!(id_of(&daemon), id);
}

fn parked_by_another_version(daemon: &Daemon) {
    let spool = rusqlite::Connection::open(daemon.data().join("spool.sqlite")).unwrap();
    let sql = "UPDATE entry SET parked_by = '0.0.1/1'";
    spool.execute(sql, []).unwrap();
}

#[test]
fn a_new_version_tries_once_more_by_itself() {
    let (_dir, mut daemon) = place(two_records);
    assert_eq!(import(&daemon, &large().google(RUA)).code, 1);
    assert_eq!(import(&daemon, &cut(RUA)).code, 1);
    // The limit is the "version" that could not read it.
    daemon.configure(&Settings {
        limits: String::new(),
        ..daemon.settings().clone()
    });
    daemon.restart();
    assert_eq!(daemon.spool("parked").len(), 2, "the same version does not");
    daemon.kill();
    parked_by_another_version(&daemon);
    daemon.restart();
    let tried = "all mail that another version parked was tried again";
    until("both were tried", SOON, || daemon.log().contains(tried));
    until("one is read", SOON, || {
        daemon.spool("parked") == ["truncated"]
    });
    daemon.expect_stored("example.com", ALL);
    assert_ne!(listed(&daemon, &[])[0]["parked_by"], "0.0.1/1");
    // Once is enough.
    daemon.kill();
    daemon.restart();
    until("it is ready", SOON, || daemon.spool("new").is_empty());
    assert_eq!(daemon.log().matches(tried).count(), 1);
}

/// Waits until the program reads this mail.
fn wait_until_it_reads(daemon: &Daemon, id: &str) {
    let trying = daemon.data().join("trying");
    until("it is being read", SOON, || {
        let line = fs::read_to_string(&trying).unwrap_or_default();
        line.split_whitespace().nth(1) == Some(id)
    });
}

#[test]
fn what_is_being_read_when_the_program_dies_twice_is_left_and_nothing_else_is() {
    let (dir, mut daemon) = place(|_| {});
    let file = |name: &str, mail: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, mail).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let short = file(
        "a.eml",
        &Report::new("short", "example.com", &[9]).google(RUA),
    );
    // Long enough to be caught at.
    let xml = Report::new("long", "example.org", &vec![1; 30_000]).xml();
    let long = file(
        "b.eml",
        &mails::attached(RUA_ORG, &mails::gzip(xml.as_bytes())),
    );
    daemon.restart();
    let importing = daemon.begin(&["import", &short, &long]);
    wait_until_it_reads(&daemon, "2");
    // Else the command would do the work.
    drop(importing);
    daemon.kill();
    daemon.restart();
    until("the first time is counted", SOON, || {
        daemon
            .log()
            .contains("the program ended while it tried this mail")
    });
    wait_until_it_reads(&daemon, "2");
    daemon.kill();
    daemon.restart();
    until("it is left", SOON, || daemon.spool("parked") == ["crashed"]);
    daemon.expect_stored("example.com", ALL);
    let entry = &listed(&daemon, &[])[0];
    assert_eq!((&entry["id"], &entry["crashes"]), (&2.into(), &2.into()));
    // A new version does not try it either.
    daemon.kill();
    parked_by_another_version(&daemon);
    daemon.restart();
    let other = Report::new("other", "example.com", &[1]).google(RUA);
    assert_eq!(import(&daemon, &other).code, 0);
    assert_eq!(daemon.spool("parked"), ["crashed"]);
    // The operator may ask for it.
    assert_eq!(daemon.run(&["parked", "retry", "2"]).code, 0);
    assert_eq!(daemon.stored("example.org").messages, 30_000);
}
