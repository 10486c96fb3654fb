//! What a new version does by itself with reports that an older parser has read.

use std::fs;

use crate::lab::{
    RUA, SOON,
    daemon::{Daemon, Settings},
    files_below,
    mails::{self, Report},
    open_dir, until,
};

const BEGUN: &str = "reports of an older parser are read again";
const DONE: &str = "reports of an older parser were read again";

/// A directory with so many aggregate reports and a TLS report.
fn place(reports: u64) -> (tempfile::TempDir, Daemon) {
    let dir = open_dir();
    let mut settings = Settings::new(&dir.path().join("data"));
    settings.listen = vec![format!("unix:{}/rua.sock", dir.path().display())];
    let daemon = Daemon::stopped(&dir.path().join("rua-milter.toml"), &settings);
    let folder = dir.path().join("mails");
    fs::create_dir(&folder).unwrap();
    for n in 1..=reports {
        let mail = Report::new(&format!("id-{n}"), "example.com", &[4, 3]).google(RUA);
        fs::write(folder.join(format!("{n:04}.eml")), mail).unwrap();
    }
    let tls = mails::tls(RUA, "tls", "example.com");
    fs::write(folder.join("tls.eml"), tls).unwrap();
    assert_eq!(daemon.run(&["import", folder.to_str().unwrap()]).code, 0);
    (dir, daemon)
}

fn store(daemon: &Daemon) -> rusqlite::Connection {
    let store = rusqlite::Connection::open(daemon.data().join("reports.sqlite")).unwrap();
    store.busy_timeout(SOON).unwrap();
    store
}

/// As an older parser would have left it: no name of the reporter, and no message counted.
fn make_older(daemon: &Daemon) {
    let sql = "UPDATE report SET parser_version = 1, org_name = '', messages = 0;
        UPDATE tls_report SET parser_version = 1, contact = '';
        UPDATE record SET count = 0;
        DELETE FROM rollup";
    store(daemon).execute_batch(sql).unwrap();
}

fn older(daemon: &Daemon) -> i64 {
    let sql = "SELECT (SELECT count(*) FROM report WHERE parser_version = 1)
        + (SELECT count(*) FROM tls_report WHERE parser_version = 1)";
    store(daemon).query_row(sql, [], |row| row.get(0)).unwrap()
}

fn summary(daemon: &Daemon) -> String {
    daemon.run(&["summary", "--json"]).stdout
}

#[test]
fn reports_of_an_older_parser_are_read_again_by_itself() {
    let (_dir, mut daemon) = place(5);
    let before = summary(&daemon);
    make_older(&daemon);
    assert_ne!(summary(&daemon), before);
    daemon.restart();
    until("they are read again", SOON, || daemon.log().contains(DONE));
    assert_eq!(summary(&daemon), before);
    assert_eq!(older(&daemon), 0);
    let log = daemon.log();
    assert_eq!(log.matches(BEGUN).count(), 1, "{log}");
    assert!(log.contains("read=6 changed=6 left_alone=0"), "{log}");
}

#[test]
fn what_the_archive_has_no_more_stays_and_is_not_tried_at_each_start() {
    let (_dir, mut daemon) = place(3);
    make_older(&daemon);
    let mut mails = files_below(&daemon.data().join("archive"));
    mails.retain(|path| path.is_file());
    fs::remove_file(&mails[0]).unwrap();
    fs::write(&mails[1], b"damaged").unwrap();
    daemon.restart();
    until("the others are read again", SOON, || {
        daemon.log().contains("read=2 changed=2 left_alone=2")
    });
    assert_eq!(older(&daemon), 2);
    daemon.kill();
    daemon.restart();
    // Behind it comes the next start's own mail.
    let mail = Report::new("next", "example.org", &[1]).google(RUA);
    assert_eq!(daemon.run_with(&["import", "-"], &mail).code, 0);
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    assert_eq!(daemon.log().matches(BEGUN).count(), 1, "{}", daemon.log());
    assert_eq!(older(&daemon), 2);
}

#[test]
fn killed_on_the_way_it_goes_on_and_mail_comes_first() {
    let (_dir, mut daemon) = place(150);
    let before = summary(&daemon);
    make_older(&daemon);
    daemon.restart();
    until("some are read again", SOON, || older(&daemon) < 140);
    daemon.kill();
    let left = older(&daemon);
    assert!(left > 0, "it was done at once");
    daemon.restart();
    until("all are read again", SOON, || daemon.log().contains(DONE));
    assert_eq!(summary(&daemon), before);
    assert_eq!(older(&daemon), 0);
}
