//! An upgrade while mail comes in, and the data of an older version.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    machine::{Beside, CONFIG, DOMAIN, SERVICE, install, installed, start_postfix, stored},
    package,
};
use crate::lab::{
    RUA, SOON,
    container::{Container, Debian},
    mails::Report,
    open_dir, until,
};

/// More than come in during an upgrade.
const MAILS: usize = 3_000;

const SOCKET: &str = "/var/spool/postfix/rua-milter/rua.sock";

/// The same program, named as an older one.
fn older(into: &Path) -> PathBuf {
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/build");
    let output = Command::new(build)
        .args(["--as", "0.0.9", "--into"])
        .arg(into)
        .output()
        .expect("packaging/build");
    assert!(output.status.success(), "{output:?}");
    let packages = String::from_utf8(output.stdout).expect("text");
    let package = packages.lines().find(|line| line.ends_with("_amd64.deb"));
    package.expect("a Debian package").into()
}

/// A machine with the older package, whose chrooted Postfix asks us by the socket unit.
fn machine(package: &Path) -> Container {
    let container = Container::boot(Debian::Bookworm);
    install(&container, package);
    start_postfix(&container);
    let listen = format!("[[listen]]\naddress = \"unix:{SOCKET}\"");
    let lines = format!("{listen}\n[recipients]\nhosts = [\"reports.example\"]\n{DOMAIN}\n");
    fs::write(container.path(CONFIG), lines).expect("to write");
    container.sh("systemctl stop rua-milter
        systemctl enable --now rua-milter.socket rua-milter
        cat /usr/share/rua-milter/postfix/rua-milter.cf >>/etc/postfix/main.cf
        systemctl restart postfix");
    container
}

#[test]
fn an_upgrade_under_load_loses_nothing_and_refuses_no_connection() {
    let dir = open_dir();
    let older = older(&dir.path().join("older"));
    let container = machine(&older);
    let (folder, end) = (dir.path().join("mails"), dir.path().join("end"));
    fs::create_dir(&folder).expect("a folder");
    for n in 0..MAILS {
        let mail = Report::new(&format!("load-{n}"), "example.com", &[1]).google(RUA);
        fs::write(folder.join(format!("{n:05}.eml")), mail).expect("to write");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/packages/load.py");
    let words = [&script, &folder, &end].map(|path| path.to_str().expect("UTF-8"));
    let mut load = Beside(container.begin_in_network(&["python3", words[0], words[1], words[2]]));
    until("some are stored", 2 * SOON, || stored(&container) > 20);

    let before = (container.property(SERVICE, "MainPID"), stored(&container));
    install(&container, &package(".deb"));
    container.expect_active(SERVICE);
    assert_ne!(
        container.property(SERVICE, "MainPID"),
        before.0,
        "the new one runs"
    );
    until("more are stored", 2 * SOON, || {
        stored(&container) > before.1 + 20
    });
    fs::write(end, "").expect("to write");
    let mut taken = String::new();
    load.0
        .stdout
        .as_mut()
        .expect("piped")
        .read_to_string(&mut taken)
        .expect("text");
    assert!(load.0.wait().expect("to end").success(), "{taken}");

    // What came by a session whose milter went away waits in the queue, as the manual tells.
    let queue = container.sh("postqueue -j | sed 's/.*\"queue_id\": \"\\([^\"]*\\)\".*/\\1/'");
    for id in queue.lines() {
        container.sh(&format!(
            "postcat -bh -q {id} | rua-milter import - && postsuper -d {id}"
        ));
    }
    let taken = u64::try_from(taken.lines().count()).expect("a number");
    until("each that was taken is stored once", SOON, || {
        stored(&container) == taken
    });
    let log = container.sh("journalctl --quiet --no-pager --output=cat --identifier=postfix/smtpd");
    assert!(!log.contains("connect to Milter service"), "{log}");
    println!(
        "{taken} taken, {} of them in the queue",
        queue.lines().count()
    );
}

#[test]
fn data_of_an_older_version_are_migrated() {
    let container = installed(Debian::Bookworm);
    let store = container.path("/var/lib/rua-milter/reports.sqlite");
    let works = || container.run(&["rua-milter", "summary"]).code == 0;
    until("there is a store", SOON, works);
    container.sh("systemctl stop rua-milter");
    let dir = open_dir();
    let older = older_store(&store, dir.path());
    // Into the same file, which keeps its owner.
    fs::write(&store, fs::read(older).expect("a database")).expect("to write");
    let summary = container.run(&["rua-milter", "summary"]);
    assert!(summary.stderr.contains("start serve once"), "{summary:?}");
    install(&container, &package(".deb"));
    container.expect_active(SERVICE);
    until("it is migrated", SOON, works);
}

/// A report store as the first versions had it.
fn older_store(newest: &Path, dir: &Path) -> PathBuf {
    let (copy, older) = (dir.join("newest"), dir.join("older"));
    fs::copy(newest, &copy).expect("a copy");
    let store = rusqlite::Connection::open(copy).expect("a database");
    let id: i64 = store
        .query_row("PRAGMA application_id", [], |row| row.get(0))
        .expect("a number");
    let store = rusqlite::Connection::open(&older).expect("a database");
    for step in steps().iter().take(5) {
        let step = fs::read_to_string(step).expect("a step");
        store.execute_batch(&step).expect("SQL");
    }
    let pragmas = format!("PRAGMA application_id = {id}; PRAGMA user_version = 5");
    store.execute_batch(&pragmas).expect("SQL");
    older
}

/// The steps of the schema, in their order.
fn steps() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/schema");
    let files = fs::read_dir(folder).expect("the schema").flatten();
    let mut steps: Vec<_> = files.map(|file| file.path()).collect();
    steps.sort();
    steps
}
