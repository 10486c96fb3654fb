//! `reports`, `show`, `export` and `replay`, as an operator uses them after an `import`.

use std::{fs, path::PathBuf};

use serde_json::Value;

use crate::lab::{
    RUA,
    daemon::{Daemon, Settings},
    mails::{self, Report},
    open_dir,
};

/// A data directory without a daemon, and the mails imported into it.
struct Place {
    dir: tempfile::TempDir,
    daemon: Daemon,
}

impl Place {
    fn new() -> Self {
        let dir = open_dir();
        let settings = Settings::new(&dir.path().join("data"));
        let daemon = Daemon::stopped(&dir.path().join("config.toml"), &settings);
        let place = Self { dir, daemon };
        for mail in ["google", "microsoft", "rfc9990"] {
            place.import(&sample(mail), 0);
        }
        place
    }

    fn import(&self, file: &std::path::Path, code: i32) {
        let output = self.run(&["import", file.to_str().unwrap()]);
        assert_eq!(output.0, code, "{output:?}");
    }

    fn import_bytes(&self, mail: &[u8], code: i32) {
        let file = self.dir.path().join("mail.eml");
        fs::write(&file, mail).unwrap();
        self.import(&file, code);
    }

    /// Exit code and standard output; nothing may stand on standard error but for an error.
    fn run(&self, args: &[&str]) -> (i32, String) {
        let output = self.daemon.run(args);
        assert!(output.code != 0 || output.stderr.is_empty(), "{output:?}");
        (output.code, output.stdout + &output.stderr)
    }

    fn lines(&self, args: &[&str]) -> Vec<Value> {
        let output = self.daemon.run(args);
        assert_eq!(output.code, 0, "{output:?}");
        output.json_lines()
    }

    fn messages(&self) -> u64 {
        let summary = self.daemon.run(&["summary", "--days", "0", "--json"]);
        summary.json()["totals"]["messages"].as_u64().unwrap()
    }
}

fn sample(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/mails")
        .join(name)
        .with_extension("eml")
}

fn id_of(place: &Place, report_id: &str) -> String {
    let listed = place.lines(&["reports", "--json"]);
    let found = listed
        .iter()
        .find(|report| report["report_id"] == report_id);
    found.unwrap()["id"].to_string()
}

#[test]
fn stored_reports_are_listed_and_one_is_shown_whole() {
    let place = Place::new();
    let listed = place.lines(&["reports", "--json"]);
    assert_eq!(listed.len(), 3);
    let messages: u64 = listed.iter().filter_map(|r| r["messages"].as_u64()).sum();
    assert_eq!(messages, place.messages());
    assert_eq!(place.lines(&["reports", "example.org", "--json"]).len(), 1);
    assert_eq!(place.lines(&["reports", "--limit", "2", "--json"]).len(), 2);
    let none = ["reports", "--json", "--since", "2030-01-01"];
    assert_eq!(place.lines(&none).len(), 0);
    let (code, text) = place.run(&["reports"]);
    assert_eq!((code, text.lines().count()), (0, 4), "{text}");

    let id = id_of(&place, "8593127690416743321");
    let output = place.daemon.run(&["show", &id, "--json"]);
    let report = output.json();
    assert_eq!(report["domain"], "example.com", "{output:?}");
    assert_eq!(report["rows"].as_array().unwrap().len(), 3);
    assert_eq!(report["arrivals"][0]["door"], "import");
    assert!(report["policy_published"]["p"].is_string());
    let (code, text) = place.run(&["show", &id]);
    assert_eq!(code, 0);
    assert!(text.contains("8593127690416743321"), "{text}");
    assert_eq!(place.run(&["show", "99"]).0, 1);
    assert_eq!(place.run(&["reports", "--since", "now"]).0, 2);
}

#[test]
fn a_mail_comes_back_byte_for_byte() {
    let place = Place::new();
    for (name, report_id) in [
        ("google", "8593127690416743321"),
        ("microsoft", "0e4a92f9f3ab4d1d"),
    ] {
        let output = place
            .daemon
            .run(&["show", &id_of(&place, report_id), "--raw"]);
        let mail = fs::read_to_string(sample(name)).unwrap();
        assert_eq!((output.code, output.stdout), (0, mail), "{name}");
    }
    fs::remove_dir_all(place.daemon.data().join("archive")).unwrap();
    let id = id_of(&place, "8593127690416743321");
    assert_eq!(place.daemon.run(&["show", &id, "--raw"]).code, 1);
    assert!(!place.daemon.data().join("archive").exists());
}

#[test]
fn what_a_reporter_wrote_cannot_move_the_cursor() {
    let place = Place::new();
    let xml = Report::new("esc", "example.com", &[1]).xml().replacen(
        "<org_name>",
        "<org_name>\u{202e}x",
        1,
    );
    place.import_bytes(&mails::attached(RUA, &mails::gzip(xml.as_bytes())), 0);
    let id = id_of(&place, "esc");
    for args in [
        &["reports"][..],
        &["reports", "--json"],
        &["show", &id],
        &["show", &id, "--json"],
    ] {
        let (code, text) = place.run(args);
        assert_eq!(code, 0);
        assert!(
            !text.contains('\u{202e}') && text.contains("202e"),
            "{text}"
        );
    }
}

#[test]
fn exported_rows_add_up_to_the_summary() {
    let place = Place::new();
    let rows = place.lines(&["export", "--json"]);
    let sum: u64 = rows.iter().filter_map(|row| row["count"].as_u64()).sum();
    assert_eq!(sum, place.messages());
    assert!(rows.iter().all(|row| row["org_name"].is_string()));
    assert!(rows.iter().all(|row| row["dkim_auth"].is_array()));
    let (_, csv) = place.run(&["export", "--csv"]);
    assert_eq!(csv.matches("\r\n").count(), rows.len() + 1);
    let count = |line: &str| -> u64 { line.split(',').nth(13).unwrap().parse().unwrap() };
    assert_eq!(csv.lines().skip(1).map(count).sum::<u64>(), sum);
    let one = place.lines(&["export", "example.org", "--json"]);
    assert!(one.len() < rows.len() && one.iter().all(|row| row["domain"] == "example.org"));
    let none = ["export", "--json", "--until", "2000-01-01"];
    assert_eq!(place.lines(&none).len(), 0);
    assert_eq!(place.run(&["export"]).0, 2);
    assert_eq!(place.run(&["export", "--csv", "--json"]).0, 2);
}

#[test]
fn exported_cells_execute_nothing() {
    let place = Place::new();
    let xml = Report::new("@SUM(A1)", "example.com", &[1]).xml().replacen(
        "<org_name>",
        "<org_name>=cmd|' /C calc'!A0;=",
        1,
    );
    place.import_bytes(&mails::attached(RUA, &mails::gzip(xml.as_bytes())), 0);
    let (_, csv) = place.run(&["export", "--csv"]);
    let line = csv.lines().find(|line| line.contains("SUM")).unwrap();
    assert!(line.contains("\"'=cmd|' /C calc'!A0;'="), "{line}");
    assert!(line.contains(",'@SUM(A1),"), "{line}");
}
