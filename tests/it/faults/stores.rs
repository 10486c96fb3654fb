//! Databases that are locked, broken, gone, or of another version.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{Place, is_later};
use crate::lab::{SOON, files_below, until};

/// What was stored, in all and by domain.
fn totals(place: &Place) -> String {
    let output = place.daemon.run(&["summary", "--json", "--days", "0"]);
    assert_eq!(output.code, 0, "{output:?}");
    output.stdout
}

fn companions(store: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|end| PathBuf::from(format!("{}{end}", store.display())))
}

fn remove(store: &Path) {
    for file in companions(store) {
        let _ = fs::remove_file(file);
    }
}

#[test]
fn a_report_store_that_stays_locked_delays_no_mail() {
    let place = Place::start();
    let lock = place.daemon.block_store();
    place.take("first");
    // Longer than the worker waits for the lock.
    place.expect_log("database is locked");
    place.take("second");
    place.pass();
    assert_eq!(place.daemon.spool("new").len(), 2);
    drop(lock);
    place.end_whole(2);
}

/// Intake goes on with a store that is broken in this way, and `replay --rebuild` brings all of it
/// back.
fn heals_from_the_archive(name: &str, damage: impl Fn(&Path)) {
    let mut place = Place::start();
    for n in 0..3 {
        place.take(&format!("before-{n}"));
    }
    place.expect(3);
    place.stop();
    let store = place.file("reports.sqlite");
    // Into the file itself, or a journal that was left would mend the damage.
    let checkpoint = rusqlite::Connection::open(&store).expect("a store");
    let done = checkpoint.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    done.expect("a checkpoint");
    drop(checkpoint);
    damage(&store);
    place.daemon.restart();
    place.take("meanwhile");
    place.pass();
    place.expect_log("reports wait in the spool");
    assert_eq!(place.daemon.spool("new").len(), 1, "{name}");
    place.stop();
    rebuild(&place);
    place.daemon.restart();
    place.expect(4);
    // What waited may have been archived before the store failed, and is now for certain.
    let before = totals(&place);
    place.stop();
    rebuild(&place);
    assert_eq!(totals(&place), before, "{name}");
    place.daemon.restart();
    place.end_whole(4);
}

fn rebuild(place: &Place) {
    remove(&place.file("reports.sqlite"));
    let output = place.daemon.run(&["replay", "--rebuild"]);
    assert_eq!(output.code, 0, "{output:?}");
}

#[test]
fn a_broken_report_store_is_rebuilt_from_the_archive() {
    let overwrite = |store: &Path, from: u64, length: u64| {
        let file = fs::File::options()
            .write(true)
            .open(store)
            .expect("a store");
        let length = usize::try_from(length).expect("a small store");
        file.write_all_at(&vec![0xa5; length], from)
            .expect("to write");
    };
    let length = |store: &Path| fs::metadata(store).expect("a store").len();
    heals_from_the_archive("no header", |store| overwrite(store, 0, 100));
    // The first page, with the schema, is whole.
    heals_from_the_archive("no tables", |store| {
        overwrite(store, 4_096, length(store) - 4_096);
    });
    heals_from_the_archive("half of it", |store| {
        let file = fs::File::options().write(true).open(store);
        let half = length(store) / 2;
        file.expect("a store").set_len(half).expect("to cut");
    });
}

#[test]
fn a_report_store_that_is_removed_beneath_the_daemon_is_noticed() {
    let mut place = Place::start();
    place.take("before");
    place.expect(1);
    remove(&place.file("reports.sqlite"));
    place.take("meanwhile");
    place.pass();
    place.expect_log("removed or replaced");
    assert_eq!(place.daemon.spool("new").len(), 1);
    place.stop();
    rebuild(&place);
    place.daemon.restart();
    place.end_whole(2);
}

#[test]
fn a_report_store_that_is_put_back_is_gone_on_with() {
    let place = Place::start();
    place.take("before");
    place.expect(1);
    let (store, aside) = (place.file("reports.sqlite"), place.file("aside.sqlite"));
    fs::rename(&store, &aside).expect("to move");
    place.take("meanwhile");
    place.expect_log("removed or replaced");
    fs::rename(&aside, &store).expect("to move back");
    place.end_whole(2);
}

#[test]
fn a_report_store_of_a_newer_version_is_left_alone_while_mail_comes_in() {
    let mut place = Place::start();
    place.take("before");
    place.expect(1);
    place.stop();
    let store = place.file("reports.sqlite");
    let version = |new: i64| -> i64 {
        let store = rusqlite::Connection::open(&store).expect("a store");
        let old = store.pragma_query_value(None, "user_version", |row| row.get(0));
        store
            .pragma_update(None, "user_version", new)
            .expect("to write");
        old.expect("a version")
    };
    let known = version(99);
    place.daemon.restart();
    place.take("meanwhile");
    place.pass();
    place.expect_log("has schema 99");
    assert_eq!(place.daemon.spool("new").len(), 1);
    assert_eq!(version(known), 99);
    place.end_whole(2);
}

#[test]
fn a_broken_spool_is_set_aside_and_mail_comes_in() {
    let mut place = Place::start();
    place.take("before");
    place.expect(1);
    place.stop();
    let garbage = vec![0xa5; 20_000];
    fs::write(place.file("spool.sqlite"), &garbage).expect("to write");
    place.daemon.restart();
    place.take("after");
    place.pass();
    place.expect(2);
    place.expect_log("the spool is broken; it was set aside");
    let is_aside = |file: &PathBuf| {
        file.display().to_string().contains("spool.sqlite.broken")
            && fs::read(file).is_ok_and(|content| content == garbage)
    };
    until("it is kept for those who can read it", SOON, || {
        files_below(place.daemon.data()).iter().any(is_aside)
    });
}

#[test]
fn nothing_is_taken_into_a_spool_that_was_removed() {
    let place = Place::start();
    place.take("before");
    place.expect(1);
    let (spool, aside) = (place.file("spool.sqlite"), place.file("aside.sqlite"));
    fs::rename(&spool, &aside).expect("to move");
    assert!(is_later(&place.submit("meanwhile")));
    place.pass();
    place.expect_log("removed or replaced");
    fs::rename(&aside, &spool).expect("to move back");
    place.insist("meanwhile");
    place.end_whole(2);
}
