//! `backup`: made while mail comes in, and worth restoring.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    thread,
};

use crate::lab::{
    Lab, RUA, SOON,
    daemon::{Daemon, Settings, Stored},
    files_below,
    mails::Report,
    open_dir, until,
};

/// A report of two messages with this number.
fn mail(n: u64) -> Vec<u8> {
    Report::new(&n.to_string(), "example.com", &[2]).google(RUA)
}

fn reports(n: u64) -> Stored {
    Stored {
        reports: n,
        messages: 2 * n,
    }
}

/// A daemon on what was restored; not started.
fn restored(dir: &Path, backup: &Path) -> Daemon {
    let data = dir.join("restored");
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([backup, &data])
        .status();
    assert!(copied.unwrap().success());
    let mut settings = Settings::new(&data);
    // The name of the host is part of what an arrival is known by.
    settings.listen = vec![format!("unix:{}/restored.sock", dir.display())];
    Daemon::stopped(&dir.join("restored.toml"), &settings)
}

fn is_sound(database: &Path) {
    let database = rusqlite::Connection::open(database).unwrap();
    let verdict: String = database
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(verdict, "ok");
}

#[test]
fn made_while_mail_comes_in_it_counts_everything_once_when_restored() {
    let lab = Lab::start();
    let dir = open_dir();
    let backup = dir.path().join("backup");
    let path = backup.to_str().unwrap();
    let (taken, enough) = (AtomicU64::new(0), AtomicBool::new(false));
    let before = thread::scope(|scope| {
        for first in 0..4 {
            let (lab, taken, enough) = (&lab, &taken, &enough);
            scope.spawn(move || {
                let mut client = lab.client();
                for n in (first..).step_by(4) {
                    if enough.load(SeqCst) {
                        return;
                    }
                    assert!(client.submit(&[RUA], &mail(n)).starts_with("250"));
                    taken.fetch_add(1, SeqCst);
                }
            });
        }
        until("some mail is there", SOON, || taken.load(SeqCst) >= 40);
        let before = taken.load(SeqCst);
        let output = lab.daemon.run(&["backup", path]);
        let after = taken.load(SeqCst);
        until("mail goes on", SOON, || taken.load(SeqCst) >= after + 20);
        enough.store(true, SeqCst);
        assert_eq!(output.code, 0, "{output:?}");
        before
    });
    let all = taken.load(SeqCst);
    lab.daemon.expect_stored("example.com", reports(all));

    is_sound(&backup.join("spool.sqlite"));
    is_sound(&backup.join("reports.sqlite"));
    let mut other = restored(dir.path(), &backup);
    other.restart();
    until("what waited is done", SOON, || {
        other.spool("new").is_empty()
    });
    let stored = other.stored("example.com");
    assert_eq!(stored, reports(stored.reports));
    assert!(
        (before..=all).contains(&stored.reports),
        "{before} {stored:?} {all}"
    );
    // The archive has the mail of every report.
    assert!({
        other.signal("TERM");
        other.wait().success()
    });
    let replayed = other.run(&["replay"]);
    assert_eq!(replayed.code, 0, "{replayed:?}");
    // Mail that nobody saw is not taken for what came while the copy was made.
    let import = |name: &str, numbers: std::ops::Range<u64>| {
        let folder = dir.path().join(name);
        fs::create_dir(&folder).unwrap();
        for n in numbers {
            fs::write(folder.join(format!("{n}.eml")), mail(n)).unwrap();
        }
        assert_eq!(other.run(&["import", folder.to_str().unwrap()]).code, 0);
    };
    import("new", all + 4..2 * all);
    let new = all - 4;
    assert_eq!(other.stored("example.com"), reports(stored.reports + new));
    // Senders send everything again: what was there counts no second time.
    import("all", 0..2 * all);
    assert_eq!(other.stored("example.com"), reports(2 * all));
}

#[test]
fn the_archive_is_linked_where_that_can_be_and_copied_elsewhere() {
    let dir = open_dir();
    let mut settings = Settings::new(&dir.path().join("data"));
    settings.listen = vec![format!("unix:{}/rua.sock", dir.path().display())];
    let daemon = Daemon::stopped(&dir.path().join("rua-milter.toml"), &settings);
    let nothing = daemon.run(&["backup", "/nonexistent"]);
    assert_eq!(nothing.code, 1, "{nothing:?}");
    for n in 0..3 {
        assert_eq!(daemon.run_with(&["import", "-"], &mail(n)).code, 0);
    }
    let mails = |dir: &Path| {
        let mut files = files_below(&dir.join("archive"));
        files.retain(|path| path.is_file());
        files.sort();
        files
    };
    let near = dir.path().join("near");
    let output = daemon.run(&["backup", near.to_str().unwrap()]);
    assert!(
        output.stdout.contains("3 archived mails linked"),
        "{output:?}"
    );
    assert!(
        mails(&near)
            .iter()
            .all(|file| fs::metadata(file).unwrap().nlink() == 2)
    );
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&near), 0o700);
    assert_eq!(mode(&near.join("reports.sqlite")), 0o600);
    assert_eq!(mode(&near.join("spool.sqlite")), 0o600);
    assert!(!near.join("reports.sqlite.partial").exists());
    let again = daemon.run(&["backup", near.to_str().unwrap()]);
    assert_eq!(again.code, 1, "nothing is written over");

    let shared = tempfile::Builder::new().tempdir_in("/dev/shm").unwrap();
    let far = shared.path().join("far");
    let output = daemon.run(&["backup", far.to_str().unwrap()]);
    assert!(
        output.stdout.contains("3 archived mails copied"),
        "{output:?}"
    );
    for (one, other) in mails(daemon.data()).iter().zip(mails(&far)) {
        assert_eq!(one.file_name(), other.file_name());
        let written = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
        assert_eq!(written(one), written(&other));
        assert_eq!(fs::read(one).unwrap(), fs::read(other).unwrap());
    }
    let without = dir.path().join("without");
    let args = ["backup", without.to_str().unwrap(), "--no-archive"];
    assert_eq!(daemon.run(&args).code, 0);
    assert!(without.join("reports.sqlite").exists() && !without.join("archive").exists());
    let other = restored(dir.path(), &far);
    assert_eq!(other.stored("example.com"), reports(3));
}
