//! That a crash of the machine loses nothing either. What was written outlives a kill, on the disk or
//! not; so here the order of system calls shows what was on the disk before what was said or done.

use std::{fs, path::Path, thread};

use crate::lab::{
    RUA,
    daemon::{Daemon, Settings, Stored},
    mails::Report,
    milter::{DISCARD, Milter},
    open_dir, strace,
    trace::{self, Call},
};

/// What is looked at; texts as long as a page of the spool.
const OPTIONS: [&str; 4] = [
    "-s",
    "9000",
    "-e",
    "trace=read,recvfrom,write,writev,sendto,pwrite64,fsync,fdatasync,syncfs,rename",
];

/// The system calls of a daemon which, once `work` is done, has stored so many reports; and its data
/// directory.
fn calls(reports: u64, work: impl FnOnce(&mut Daemon, &Path)) -> (Vec<Call>, String) {
    let dir = open_dir();
    let (output, socket) = (dir.path().join("trace"), dir.path().join("rua.sock"));
    let mut settings = Settings::new(&dir.path().join("data"));
    settings.listen = vec![format!("unix:{}", socket.display())];
    settings.under = strace::command(&output, &OPTIONS.map(Into::into));
    let mut daemon = Daemon::stopped(&dir.path().join("rua-milter.toml"), &settings);
    work(&mut daemon, &socket);
    let all = Stored {
        reports,
        messages: reports,
    };
    daemon.expect_stored("example.com", all);
    let pid = daemon.pid();
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    let data = daemon.data().display().to_string();
    (trace::read(&strace::trace_of(pid, &output)), data)
}

/// Mails of one session. Their ids do not begin with one another.
fn session(socket: &Path, ids: impl Iterator<Item = String>) {
    let mut milter = Milter::connect(socket).expect("a milter");
    for id in ids {
        let mail = Report::new(&id, "example.com", &[1]).google(RUA);
        assert_eq!(milter.submit(RUA, &mail).expect("an answer"), DISCARD);
    }
}

/// The answer to the mail that holds `text`: the first discard after it, where it was read.
fn answer<'a>(calls: &'a [Call], text: &str) -> &'a Call {
    let read = calls
        .iter()
        .find(|call| ["read", "recvfrom"].contains(&&*call.name) && call.text.contains(text))
        .unwrap_or_else(|| panic!("{text} was not read"));
    calls
        .iter()
        .find(|call| {
            call.began > read.began
                && call.about == read.about
                && call.is_write()
                && call.text.contains(r#""\0\0\0\1d""#)
        })
        .unwrap_or_else(|| panic!("{text} was not answered"))
}

#[test]
fn what_is_acknowledged_was_synced_after_it_was_written() {
    let id = |session: u64, mail: u64| format!("durable-{session}-{mail}-");
    let (calls, data) = calls(8 * 4, |daemon, socket| {
        daemon.restart();
        thread::scope(|scope| {
            for n in 0..8 {
                scope.spawn(move || session(socket, (0..4).map(|mail| id(n, mail))));
            }
        });
    });
    let log = format!("{data}/spool.sqlite-wal");
    for id in (0..8).flat_map(|session| (0..4).map(move |mail| id(session, mail))) {
        trace::synced_before(&calls, &log, &id, answer(&calls, &id)).expect("durable");
    }
}

#[test]
fn one_archived_mail_is_synced_before_the_spool_lets_it_go() {
    archived_in_one_batch(1);
}

#[test]
fn many_archived_mails_are_synced_before_the_spool_lets_them_go() {
    archived_in_one_batch(rua_milter::limits::ARCHIVE_SINGLE_SYNCS + 1);
}

fn archived_in_one_batch(mails: usize) {
    let (calls, data) = calls(mails as u64, |daemon, socket| {
        // Where the archive should be, nothing is worked on.
        let archive = daemon.data().join("archive");
        fs::write(&archive, "").expect("to write");
        daemon.restart();
        session(socket, (0..mails).map(|n| format!("archived-{n}-")));
        fs::remove_file(&archive).expect("to remove");
    });
    let index = |what: &str, found: Option<usize>| found.unwrap_or_else(|| panic!("no {what}"));
    let of = |call: &Call, name: &str, about: &str| call.name == name && call.about == about;
    let renamed: Vec<usize> = (0..calls.len())
        .filter(|&n| calls[n].name == "rename" && calls[n].about.starts_with(&data))
        .collect();
    assert_eq!(renamed.len(), mails);
    // All of them were claimed at once, so the next commit of the spool is the one that deletes them.
    let log = format!("{data}/spool.sqlite-wal");
    let deleting = (renamed[0]..calls.len()).find(|&n| of(&calls[n], "pwrite64", &log));
    let deleting = index("commit", deleting);
    let synced = |path: &str, after: usize, before: usize| {
        (after..before).any(|n| {
            let call = &calls[n];
            call.is_sync()
                && (call.about == path || call.name == "syncfs")
                && call.ended.is_some_and(|ended| ended < calls[before].began)
        })
    };
    for &rename in &renamed {
        let path = &calls[rename].about;
        let written = (0..rename).rfind(|&n| of(&calls[n], "write", path));
        let written = index("write", written);
        assert!(synced(path, written, rename), "{path}: its content");
        // From the day up to the root.
        for directory in Path::new(path).ancestors().skip(1).take(4) {
            let directory = directory.display().to_string();
            assert!(synced(&directory, rename, deleting), "{path}: {directory}");
        }
    }
    let store = format!("{data}/reports.sqlite-wal");
    let stored = (renamed[0]..deleting).rfind(|&n| of(&calls[n], "pwrite64", &store));
    let stored = index("commit of the store", stored);
    assert!(synced(&store, stored, deleting), "the report store");
}
