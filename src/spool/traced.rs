//! That [`Spool::put`] returns after the disk has the message, seen from outside: by strace. And that
//! the check which the program's own traces pass (tests/it/durable.rs) would see it if it did not,
//! as with a lower `synchronous`, which [`schema::open`] refuses.

use std::{env, fs, path::Path, process::Command, sync::Arc};

use super::{Envelope, Limits, NewEntry, SpoolError, schema, start};
use crate::terms::Door;

#[path = "../../tests/it/lab/trace.rs"]
#[expect(
    dead_code,
    reason = "the program's own traces are looked at more closely"
)]
mod trace;

/// With this variable set, which names a level of `synchronous`, the test is what strace runs.
const LEVEL: &str = "TRACED_SPOOL_SYNCHRONOUS";
/// The folder of its spool.
const FOLDER: &str = "TRACED_SPOOL_FOLDER";
const IDS: [&str; 3] = ["traced-1-", "traced-2-", "traced-3-"];

#[test]
fn a_message_is_on_the_disk_before_it_is_taken_unless_synchronous_is_lowered() {
    if let (Ok(level), Ok(folder)) = (env::var(LEVEL), env::var(FOLDER)) {
        return put(&level, Path::new(&folder));
    }
    assert_eq!(durable("FULL"), Ok(()));
    let not = durable("NORMAL").expect_err("it is not synced");
    assert!(not.contains("was not synced"), "{not}");
}

/// Puts each message, and then says so.
fn put(level: &str, folder: &Path) {
    let (connection, id) = schema::open(&folder.join(super::FILE)).expect("a spool");
    connection
        .pragma_update(None, "synchronous", level)
        .expect("a level");
    let (spool, writer) =
        start((connection, id), folder, Limits::default(), Arc::default()).expect("a spool");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    for id in IDS {
        let entry = NewEntry {
            envelope: Envelope::of(Door::Import),
            arrived: 1_700_000_000,
            raw: format!("Subject: {id}\r\n\r\n").into_bytes(),
            parked: None,
        };
        let put: Result<i64, SpoolError> = runtime.block_on(spool.put(entry));
        put.expect("taken");
        println!("taken {id}");
    }
    drop(spool);
    writer.join();
}

/// Whether each message was synced before it was said to be taken.
fn durable(level: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("trace");
    let name = std::thread::current().name().expect("a test").to_owned();
    let run = Command::new("strace")
        .args(["-f", "-y", "-s", "9000", "-o"])
        .arg(&output)
        .args([
            "-e",
            "trace=write,pwrite64,fsync,fdatasync",
            "-e",
            "signal=none",
        ])
        .arg(env::current_exe().expect("this test"))
        .args([&name, "--exact", "--nocapture"])
        .env(LEVEL, level)
        .env(FOLDER, folder.path())
        .output()
        .expect("strace");
    assert!(run.status.success(), "{run:?}");
    let trace = fs::read_to_string(&output).expect("a trace");
    let calls = trace::read(&trace);
    let log = format!("{}/{}-wal", folder.path().display(), super::FILE);
    IDS.iter().try_for_each(|id| {
        let said = calls
            .iter()
            .find(|call| call.is_write() && call.text.contains(&format!("taken {id}")))
            .expect("it was taken");
        trace::synced_before(&calls, &log, id, said)
    })
}
