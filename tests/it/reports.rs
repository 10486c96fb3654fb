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
        let mut settings = Settings::new(&dir.path().join("data"));
        let socket = dir.path().join("milter.sock");
        settings.listen = vec![format!("unix:{}", socket.display())];
        let daemon = Daemon::stopped(&dir.path().join("config.toml"), &settings);
        let place = Self { dir, daemon };
        for mail in ["01-google", "02-microsoft", "03-rfc9990"] {
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
fn a_tls_report_is_listed_and_shown_with_its_policies() {
    let place = Place::new();
    let mail = mails::tls(RUA, "t-1", "example.com");
    place.import_bytes(&mail, 0);
    let listed = place.lines(&["reports", "--json", "--kind", "tls"]);
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (&listed[0]["records"], &listed[0]["messages"]),
        (&1.into(), &22.into())
    );
    assert_eq!(place.lines(&["reports", "--json"]).len(), 4);
    let id = id_of(&place, "t-1");
    let report = place.daemon.run(&["show", &id, "--json"]).json();
    assert_eq!(report["contact_info"], "tls@reporter.example");
    let policy = &report["rows"][0];
    assert_eq!(
        (&policy["successful"], &policy["failed"]),
        (&20.into(), &2.into())
    );
    assert_eq!(policy["mx_host"][0], "mx.example.com");
    assert_eq!(policy["failures"][0]["result_type"], "certificate-expired");
    let (code, text) = place.run(&["show", &id]);
    assert!(
        code == 0 && text.contains("2 certificate-expired"),
        "{text}"
    );
    let (code, raw) = place.run(&["show", &id, "--raw"]);
    assert_eq!((code, raw.into_bytes()), (0, mail));
}

#[test]
fn a_mail_comes_back_byte_for_byte() {
    let place = Place::new();
    for (name, report_id) in [
        ("01-google", "8593127690416743321"),
        ("02-microsoft", "0e4a92f9f3ab4d1d"),
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
fn tls_and_failure_reports_are_exported_by_their_kind() {
    let place = Place::new();
    assert_eq!(place.lines(&["export", "--json", "--kind", "tls"]).len(), 0);
    let formula = "=HYPERLINK(1)";
    let tls = mails::tls(RUA, "t", "example.com");
    place.import_bytes(&tls, 0);
    let mut settings = place.daemon.settings().clone();
    settings.domains = settings
        .domains
        .replacen("rua =", "failure_reports = true\nrua =", 1);
    place.daemon.configure(&settings);
    let failure = mails::failure(RUA, "f", "example.com", "secret");
    let failure = String::from_utf8(failure).unwrap();
    let (before, after) = failure.rsplit_once("Subject: ").unwrap();
    let failure = format!("{before}Subject: {formula}\r\nX-Was: {after}");
    place.import_bytes(failure.as_bytes(), 0);

    let rows = place.lines(&["export", "--json", "--kind", "tls"]);
    let sum: u64 = rows
        .iter()
        .filter_map(|row| row["successful"].as_u64())
        .sum();
    let summary = place
        .daemon
        .run(&["summary", "example.com", "--json"])
        .json();
    assert_eq!(summary["tls"][0]["policies"]["sts"]["successful"], sum);
    assert_eq!(
        (&rows[0]["domain"], &rows[0]["policy_domain"]),
        (&"example.com".into(), &"example.com".into())
    );
    let rows = place.lines(&["export", "--json", "--kind", "failure"]);
    assert_eq!(
        (rows.len(), &rows[0]["header_subject"]),
        (1, &formula.into())
    );
    for (kind, cell) in [
        ("tls", "certificate-expired"),
        ("failure", ",'=HYPERLINK(1),"),
    ] {
        let (code, csv) = place.run(&["export", "--csv", "--kind", kind]);
        let lines: Vec<_> = csv.lines().collect();
        assert_eq!((code, lines.len()), (0, 2), "{csv}");
        assert!(lines[0].starts_with("id,domain,policy_domain,org_name,report_id,"));
        assert!(lines[1].contains(cell), "{csv}");
        let other = ["export", "example.org", "--json", "--kind", kind];
        assert_eq!(place.lines(&other).len(), 0, "{kind}");
        let none = ["export", "--json", "--until", "2000-01-01", "--kind", kind];
        assert_eq!(place.lines(&none).len(), 0, "{kind}");
    }
    assert_eq!(place.run(&["export", "--json", "--kind", "arf"]).0, 2);
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

/// Everything that the store says of its reports and sums, but for times and numbers of rows.
fn contents(place: &Place) -> Vec<String> {
    let store = place.open("reports.sqlite");
    let texts = |sql: &str| -> Vec<String> {
        let mut statement = store.prepare(sql).unwrap();
        let columns = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| {
            (0..columns)
                .map(|column| Ok(format!("{:?}", row.get_ref(column)?)))
                .collect::<rusqlite::Result<String>>()
        };
        let rows = statement.query_map([], row).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let mut all = texts("SELECT report.*, document.* FROM report JOIN document USING (id)");
    all.extend(texts("SELECT * FROM tls_report ORDER BY id"));
    all.extend(texts("SELECT * FROM tls_policy ORDER BY report, seq"));
    all.extend(texts("SELECT * FROM tls_rollup ORDER BY 1, 2, 3, 4, 5"));
    all.extend(texts("SELECT * FROM record"));
    all.extend(texts("SELECT * FROM rollup"));
    all
}

impl Place {
    fn open(&self, file: &str) -> rusqlite::Connection {
        rusqlite::Connection::open(self.daemon.data().join(file)).unwrap()
    }

    fn archived(&self) -> Vec<PathBuf> {
        let mut files = crate::lab::files_below(&self.daemon.data().join("archive"));
        files.retain(|file| file.is_file());
        files
    }
}

#[test]
fn replay_replaces_what_an_older_parser_wrote() {
    let place = Place::new();
    let before = contents(&place);
    let (code, said) = place.run(&["replay"]);
    assert_eq!(code, 0);
    assert!(said.contains("3 reports as they were"), "{said}");
    assert_eq!(contents(&place), before);

    // As an older parser might have read it: a record less, another count, another name.
    let id = id_of(&place, "8593127690416743321");
    let store = place.open("reports.sqlite");
    store
        .execute_batch(&format!(
            "DELETE FROM record WHERE report = {id} AND seq = 1;
             UPDATE record SET count = 7 WHERE report = {id} AND seq = 0;
             UPDATE report SET parser_version = 0, org_name = '', records = 2, messages = 8
                WHERE id = {id};
             UPDATE rollup SET messages = messages - 3
                WHERE domain = 'example.com' AND dkim = 'pass' AND spf = 'pass';
             UPDATE rollup SET messages = messages - 2
                WHERE domain = 'example.com' AND disposition = 'reject';"
        ))
        .unwrap();
    drop(store);
    let altered = contents(&place);
    assert_ne!(altered, before);
    let (code, dry) = place.run(&["replay", "--dry-run"]);
    assert_eq!((code, contents(&place)), (0, altered));
    let (code, said) = place.run(&["replay", &id]);
    assert_eq!(code, 0);
    assert!(said.contains("messages 8 -> 13"), "{said}");
    assert!(said.contains("records differ"), "{said}");
    assert_eq!(dry.lines().next(), said.lines().next());
    assert_eq!(contents(&place), before);
}

#[test]
fn replay_replaces_tls_reports_too() {
    let place = Place::new();
    place.import_bytes(&mails::tls(RUA, "t-1", "example.com"), 0);
    place.import_bytes(&mails::tls(RUA, "t-2", "example.com"), 0);
    let before = contents(&place);
    let (code, said) = place.run(&["replay"]);
    assert_eq!(code, 0);
    assert!(said.contains("5 reports as they were"), "{said}");
    assert_eq!(contents(&place), before);

    let store = place.open("reports.sqlite");
    let sql = "SELECT id FROM tls_report WHERE report_id = 't-1'";
    let id: i64 = store.query_row(sql, [], |row| row.get(0)).unwrap();
    let id = id.to_string();
    // As an older parser might have read it: sessions less, and another contact.
    store
        .execute_batch(&format!(
            "UPDATE tls_policy SET successful = successful - 1 WHERE report = {id};
             UPDATE tls_report SET parser_version = 0, contact = '', sessions = sessions - 1
                WHERE id = {id};
             UPDATE tls_rollup SET sessions = sessions - 1 WHERE result = 'successful'"
        ))
        .unwrap();
    drop(store);
    let altered = contents(&place);
    assert_ne!(altered, before);
    let (code, dry) = place.run(&["replay", "--dry-run"]);
    assert_eq!((code, contents(&place)), (0, altered));
    let (code, said) = place.run(&["replay", &id]);
    assert_eq!(code, 0);
    assert!(said.contains("contact nothing -> "), "{said}");
    assert!(said.contains("records differ"), "{said}");
    assert_eq!(dry.lines().next(), said.lines().next());
    assert_eq!(contents(&place), before);
}

#[test]
fn replay_names_failure_reports_and_leaves_them_alone() {
    let place = Place::new();
    let mut settings = place.daemon.settings().clone();
    let on = "failure_reports = true\nrua =";
    settings.domains = settings.domains.replacen("rua =", on, 1);
    place.daemon.configure(&settings);
    place.import_bytes(&mails::failure(RUA, "f-1", "example.com", "hello"), 0);
    let listed = place.lines(&["reports", "--kind", "failure", "--json"]);
    let id = listed[0]["id"].to_string();
    let (code, said) = place.run(&["replay", &id]);
    assert_eq!(code, 0);
    assert!(said.contains("left alone: a failure report"), "{said}");
    assert!(said.contains("0 reports as they were"), "{said}");
    let (code, said) = place.run(&["replay"]);
    assert_eq!(code, 0);
    assert!(said.contains("3 reports as they were"), "{said}");
    assert_eq!(
        place.lines(&["reports", "--kind", "failure", "--json"]),
        listed
    );
}

#[test]
fn languages_and_bad_records_are_shown() {
    let place = Place::new();
    let lang = |name: &str| format!("<{name} lang=\"de\">Hallo</{name}>");
    let xml = Report::new("words", "example.com", &[1, 2])
        .xml()
        .replace("192.0.2.2", "192.0.2.x")
        .replace(
            "<extra_contact_info>https://reporter.example/dmarc</extra_contact_info>",
            &(lang("extra_contact_info") + &lang("error")),
        )
        .replace(
            "</selector>",
            &format!("</selector>{}", lang("human_result")),
        )
        .replace(
            "</policy_evaluated>",
            &format!(
                "<reason><type>other</type>{}</reason></policy_evaluated>",
                lang("comment")
            ),
        );
    place.import_bytes(&mails::attached(RUA, &mails::gzip(xml.as_bytes())), 0);
    let id = id_of(&place, "words");
    let report = place.daemon.run(&["show", &id, "--json"]).json();
    let bad = serde_json::json!([{"record": 2, "reason": "bad_source_ip"}]);
    assert_eq!(report["skipped"], bad);
    assert_eq!(report["skipped_records"], 1);
    assert_eq!(report["flags"][0], "incomplete");
    assert_eq!(report["extra_contact_info_lang"], "de");
    assert_eq!(report["errors"][0]["text"], "Hallo");
    assert_eq!(report["errors"][0]["lang"], "de");
    let row = &report["rows"][0];
    assert_eq!(row["reasons"][0]["comment_lang"], "de");
    assert_eq!(row["dkim_auth"][0]["human_result_lang"], "de");
    assert!(row["spf_auth"][0]["human_result_lang"].is_null());
    let (_, text) = place.run(&["show", &id]);
    assert_eq!(text.matches("Hallo [de]").count(), 4, "{text}");
    assert!(text.contains("record 2 left out: bad_source_ip"), "{text}");
    let flagged = place.lines(&["reports", "--flagged", "--json"]);
    assert_eq!(flagged.len(), 1, "{flagged:?}");
    assert_eq!(flagged[0]["skipped"], bad);

    let file = place.dir.path().join("words.xml");
    fs::write(&file, xml).unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(place.lines(&["inspect", "--json", file])[0]["skipped"], bad);
    let (_, text) = place.run(&["inspect", file]);
    assert!(text.contains("bad_source_ip"), "{text}");
}

#[test]
fn old_samples_are_imported_and_reports_of_the_future_are_parked() {
    let place = Place::new();
    let report = |id: &str, begin: i64, end: i64| {
        let xml = Report::new(id, "example.com", &[7]).xml();
        let begin = format!("<begin>{begin}<");
        let end = format!("<end>{end}<");
        let dated = |line: &str| match line.trim_start() {
            line if line.starts_with("<begin>") => line.replace("<begin>1699920000<", &begin),
            line if line.starts_with("<end>") => line.replace("<end>1700006399<", &end),
            line => line.to_owned(),
        };
        xml.lines().map(dated).collect::<Vec<_>>().join("\n")
    };
    let before = place.messages();
    let leap = 366 * 86_400;
    let now = jiff::Timestamp::now().as_second();
    for (id, begin, end) in [
        ("1979", 302_832_000, 302_918_399),
        ("long", 1_600_000_000, 1_600_000_000 + leap + 1),
        ("ahead", now, now + 2 * 86_400 - 60),
    ] {
        let xml = report(id, begin, end);
        place.import_bytes(&mails::attached(RUA, &mails::gzip(xml.as_bytes())), 0);
    }
    assert_eq!(place.messages(), before + 21);
    let xml = report("future", now, now + 2 * 86_400 + 60);
    place.import_bytes(&mails::attached(RUA, &mails::gzip(xml.as_bytes())), 1);
    assert_eq!(place.messages(), before + 21);
    assert_eq!(place.daemon.spool("parked"), ["bad_dates"]);
    let file = place.dir.path().join("future.xml");
    fs::write(&file, xml).unwrap();
    let inspected = place.lines(&["inspect", "--json", file.to_str().unwrap()]);
    let notes = inspected[0]["notes"].to_string();
    assert!(notes.contains("in the future"), "{notes}");
    // What was stored is not parked by being read again.
    let (code, said) = place.run(&["replay"]);
    assert!(
        code == 0 && said.contains("6 reports as they were"),
        "{said}"
    );
}

#[test]
fn replay_leaves_alone_what_it_cannot_read() {
    let place = Place::new();
    let before = contents(&place);
    let files = place.archived();
    assert_eq!(files.len(), 3);
    fs::remove_file(&files[0]).unwrap();
    fs::write(&files[1], b"no gzip").unwrap();
    let (code, said) = place.run(&["replay"]);
    assert_eq!(code, 1);
    assert_eq!(said.matches(": left alone: ").count(), 2, "{said}");
    assert!(said.contains("1 reports as they were"), "{said}");
    assert_eq!(contents(&place), before);
    assert_eq!(place.run(&["replay", "77"]).0, 1);
}

#[test]
fn replay_stores_parked_mails_that_can_be_read_now() {
    let place = Place::new();
    let whole = Report::new("late", "example.com", &[20, 2]).xml();
    let half = mails::attached(RUA, &mails::gzip(&whole.as_bytes()[..whole.len() / 2]));
    let other = mails::attached(RUA, &mails::gzip(&whole.as_bytes()[..whole.len() / 3]));
    place.import_bytes(&half, 1);
    place.import_bytes(&other, 1);
    assert_eq!(place.daemon.spool("parked").len(), 2);
    let before = place.messages();
    // What this version cannot read, it could not read before.
    let reasons = place.daemon.spool("parked");
    let (code, said) = place.run(&["replay"]);
    assert!(code == 0 && said.contains("2 parked mails tried"), "{said}");
    assert_eq!(place.daemon.spool("parked"), reasons);
    assert_eq!(place.messages(), before);

    let good = mails::attached(RUA, &mails::gzip(whole.as_bytes()));
    let sql = "UPDATE message SET raw = ?1 WHERE raw = ?2";
    place
        .open("spool.sqlite")
        .execute(sql, (&good, &half))
        .unwrap();
    let (_, said) = place.run(&["replay", "--dry-run"]);
    assert!(said.contains(": 1 readable"), "{said}");
    assert_eq!(place.messages(), before);
    for _ in 0..2 {
        assert_eq!(place.run(&["replay"]).0, 0);
        assert_eq!(place.messages(), before + 22);
        assert_eq!(place.daemon.spool("parked").len(), 1);
    }
}

#[test]
fn replay_does_not_work_beside_a_daemon_and_reading_does() {
    let mut place = Place::new();
    place.daemon.restart();
    let (code, said) = place.run(&["replay"]);
    assert!(code == 1 && said.contains("stop it first"), "{said}");
    assert_eq!(place.lines(&["reports", "--json"]).len(), 3);
    assert!(!place.lines(&["export", "--json"]).is_empty());
}

#[test]
fn a_lost_store_is_rebuilt_from_the_archive() {
    let place = Place::new();
    // A mail that comes twice, a revision, which stays one, and a TLS report.
    place.import(&sample("01-google"), 0);
    place.import_bytes(&mails::tls(RUA, "t-1", "example.com"), 0);
    let revised = Report::new("8593127690416743321", "example.com", &[500]);
    place.import_bytes(&revised.google(RUA), 0);
    let asked = [
        &["reports", "--json"][..],
        &["export", "--json"],
        &["summary", "--json", "--days", "0"],
    ];
    let ask = |place: &Place| asked.map(|args| place.run(args));
    let before = ask(&place);
    assert!(before[0].1.contains("revision"), "{}", before[0].1);
    let (code, said) = place.run(&["replay", "--rebuild"]);
    assert!(code == 1 && said.contains("move it away"), "{said}");

    let store = place.daemon.data().join("reports.sqlite");
    for companion in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{companion}", store.display()));
    }
    assert_eq!(place.run(&["replay"]).0, 1, "nothing to replay");
    assert!(!store.exists());
    fs::write(store.with_extension("sqlite.rebuild"), b"unfinished").unwrap();
    let (code, said) = place.run(&["replay", "--rebuild"]);
    assert!(
        code == 0 && said.contains("5 archived mails read"),
        "{said}"
    );
    assert_eq!(ask(&place), before);
    let beside = fs::read_dir(place.daemon.data()).unwrap();
    let left = |name: std::ffi::OsString| name.to_string_lossy().contains("rebuild");
    assert!(
        !beside
            .into_iter()
            .any(|file| left(file.unwrap().file_name()))
    );
    let (code, said) = place.run(&["replay"]);
    assert!(
        code == 0 && said.contains("5 reports as they were"),
        "{said}"
    );
    let raw = ["show", &id_of(&place, "0e4a92f9f3ab4d1d"), "--raw"];
    let mail = fs::read_to_string(sample("02-microsoft")).unwrap();
    assert_eq!(place.run(&raw), (0, mail));
}
