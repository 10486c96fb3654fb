//! The command `import`: what it takes, what it tells, and what a killed one leaves behind.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    corpus::corpus,
    lab::{
        RUA, SOON, USER,
        daemon::{self, Daemon, Output, Settings, Stored},
        free_port,
        mails::{self, Report},
        open_dir, page, until,
    },
};

/// A place to import into, where no daemon runs yet.
struct Place {
    daemon: Daemon,
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = open_dir();
        let mut settings = Settings::new(&dir.path().join("data"));
        settings.listen = vec![format!("unix:{}/rua.sock", dir.path().display())];
        change(&mut settings);
        let daemon = Daemon::stopped(&dir.path().join("rua-milter.toml"), &settings);
        Self { daemon, dir }
    }

    /// Writes a file below the directory, folders included.
    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, content).expect("to write");
        path
    }

    fn import(&self, paths: &[&Path]) -> Output {
        let mut args = vec!["import", "--json"];
        args.extend(paths.iter().map(|path| path.to_str().expect("UTF-8")));
        self.daemon.run(&args)
    }
}

fn com(id: &str) -> Report {
    Report::new(id, "example.com", &[4, 3, 2])
}

/// That the command ended with `code`, and told these totals; those that are not named are 0.
fn tells(output: &Output, code: i32, expected: &[(&str, u64)]) {
    let totals = output.json();
    let totals = totals.as_object().expect("an object");
    let told: BTreeSet<_> = totals
        .iter()
        .map(|(name, number)| (name.as_str(), number.as_u64().expect("a number")))
        .filter(|(_, number)| *number > 0)
        .collect();
    assert_eq!(told, expected.iter().copied().collect(), "{output:?}");
    assert_eq!(output.code, code, "{output:?}");
}

/// A report of the corpus, as `inspect --json` shows it: what makes it another one, and what
/// makes it a revision.
fn key(report: &Value) -> String {
    ["kind", "org_name", "report_id", "domain", "begin", "end"]
        .map(|of| report[of].to_string())
        .join(" ")
}

#[test]
fn the_corpus_is_stored_once_as_inspect_shows_it() {
    let Some(corpus) = corpus() else {
        println!("no corpus here: nothing was imported");
        return;
    };
    let shown = daemon::run(&["inspect", "--json", corpus.to_str().expect("UTF-8")], b"");
    let shown = shown.json_lines();
    let reports: Vec<_> = shown
        .iter()
        .filter(|line| line["error"].is_null())
        .collect();
    let text = |report: &Value, of: &str| report[of].as_str().expect("a text").to_owned();
    let mut digests = HashSet::new();
    let mut current = HashMap::new();
    for report in &reports {
        if digests.insert(text(report, "digest")) {
            let messages = report["messages"].as_u64().expect("a number");
            current.entry(key(report)).or_insert(messages);
        }
    }
    let domains: BTreeSet<_> = reports
        .iter()
        .map(|report| text(report, "domain"))
        .collect();
    let place = Place::with(|settings| {
        settings.domains = domains.iter().fold(String::new(), |mut all, name| {
            let domain = format!("[[domain]]\nname = \"{name}\"\n");
            let _ = writeln!(all, "{domain}failure_reports = true");
            all
        });
    });

    let first = place.import(&[&corpus]);
    let totals = first.json();
    let count = |of: &str| totals[of].as_u64().expect("a number");
    assert!(!current.is_empty());
    assert_eq!(count("stored"), current.len() as u64, "{}", first.stdout);
    assert_eq!(count("stored") + count("revisions"), digests.len() as u64);
    assert_eq!(count("duplicates"), (reports.len() - digests.len()) as u64);
    assert_eq!(count("messages"), current.values().sum::<u64>());
    let summary = || {
        place
            .daemon
            .run(&["summary", "--days", "0", "--json"])
            .json()
    };
    let before = summary();
    // The summary keeps messages and TLS sessions apart.
    let messages: Vec<_> = current
        .iter()
        .filter(|(key, _)| key.starts_with("\"aggregate\""))
        .map(|(_, messages)| *messages)
        .collect();
    assert!(messages.len() < current.len(), "the corpus has TLS reports");
    assert_eq!(before["totals"]["reports"], messages.len());
    assert_eq!(before["totals"]["messages"], messages.iter().sum::<u64>());

    let second = place.import(&[&corpus]).json();
    assert_eq!(
        (&second["stored"], &second["messages"]),
        (&0.into(), &0.into()),
        "{second}"
    );
    assert_eq!(summary(), before);
}

fn unix_lines(mail: Vec<u8>) -> String {
    let text = String::from_utf8(mail).expect("ASCII");
    text.replace("\r\n", "\n")
}

/// As mboxrd asks.
fn quoted(mail: &str) -> String {
    let mark = |line: &str| {
        let marked = line.trim_start_matches('>').starts_with("From ");
        format!("{}{line}\n", if marked { ">" } else { "" })
    };
    mail.lines().map(mark).collect()
}

#[test]
fn an_mbox_is_split_and_its_quoting_undone() {
    let place = Place::new();
    // Within the document, so that its digest tells whether the marks went away again.
    let comment = "<!--\nFrom here\n>From there\n-->\n  <version>";
    let first = unix_lines(com("first").plain(RUA)).replace("  <version>", comment);
    let quoted = quoted(&first);
    assert!(quoted.contains("\n>From here\n>>From there\n"), "{quoted}");
    let ordinary = unix_lines(mails::ordinary(USER));
    let second = unix_lines(com("second").google(RUA));
    let mbox = format!(
        "From a@reporter.example Wed Nov 15 01:02:03 2023\n{quoted}\n\
         From b@reporter.example Wed Nov 15 01:02:03 2023\n{ordinary}\n\
         From c@reporter.example Wed Nov 15 01:02:03 2023\n{second}\n"
    );
    let output = place.import(&[&place.file("mbox", mbox.as_bytes())]);
    tells(
        &output,
        1,
        &[
            ("mails", 3),
            ("spooled", 2),
            ("stored", 2),
            ("messages", 18),
            ("not_a_report", 1),
        ],
    );
    let output = place.import(&[&place.file("first.eml", first.as_bytes())]);
    tells(
        &output,
        0,
        &[("mails", 1), ("spooled", 1), ("duplicates", 1)],
    );
}

#[test]
fn a_maildir_a_folder_and_standard_input_are_read() {
    let place = Place::new();
    for (n, name) in [
        "box/cur/1:2,S",
        "box/new/2",
        "box/.Archive/cur/3",
        "box/.Archive/new/4",
    ]
    .iter()
    .enumerate()
    {
        place.file(name, &com(&n.to_string()).microsoft(RUA));
    }
    for name in ["box/tmp/5", "box/dovecot.index", "box/.Archive/tmp/6"] {
        place.file(name, &com(name).google(RUA));
    }
    let output = place.import(&[&place.dir.path().join("box")]);
    tells(
        &output,
        0,
        &[
            ("mails", 4),
            ("spooled", 4),
            ("stored", 4),
            ("messages", 36),
        ],
    );

    let folder = place.dir.path().join("folder");
    place.file("folder/b/c/one.eml", &com("c").rfc9990(RUA));
    place.file("folder/a.eml", &com("a").plain(RUA));
    let single = place.file("single", &com("single").google(RUA));
    let output = place.import(&[&folder, &single]);
    tells(
        &output,
        0,
        &[
            ("mails", 3),
            ("spooled", 3),
            ("stored", 3),
            ("messages", 27),
        ],
    );

    let output = place
        .daemon
        .run_with(&["import", "--json", "-"], &com("stdin").google(RUA));
    tells(
        &output,
        0,
        &[("mails", 1), ("spooled", 1), ("stored", 1), ("messages", 9)],
    );
    assert_eq!(
        place.daemon.stored("example.com"),
        Stored {
            reports: 8,
            messages: 72
        }
    );
}

#[test]
fn a_bare_report_is_the_same_in_every_wrapping() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/aggregate/01-plain.xml");
    let xml = fs::read(&path).expect("a sample");
    let place =
        Place::with(|settings| settings.domains = "[[domain]]\nname = \"d.example\"".into());
    let output = place.import(&[&path]);
    tells(
        &output,
        0,
        &[("mails", 1), ("spooled", 1), ("stored", 1), ("messages", 2)],
    );
    let gz = place.file("report.xml.gz", &mails::gzip(&xml));
    let zip = place.file("report.zip", &mails::zip("report.xml", &xml));
    let output = place.import(&[&gz, &zip]);
    tells(
        &output,
        0,
        &[("mails", 2), ("spooled", 2), ("duplicates", 2)],
    );
    assert_eq!(
        place.daemon.stored("d.example"),
        Stored {
            reports: 1,
            messages: 2
        }
    );
}

#[test]
fn what_is_no_report_is_named_and_not_taken() {
    let place = Place::new();
    let ordinary = place.file("ordinary.eml", &mails::ordinary(USER));
    let picture = place.file("picture.png", b"\x89PNG\r\n\x1a\nrubbish");
    let paper = place.file("paper.pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n");
    let output = place.import(&[&ordinary, &picture, &paper]);
    tells(&output, 1, &[("mails", 3), ("not_a_report", 3)]);
    assert_eq!(output.stderr.matches(": not_a_report\n").count(), 3);
}

#[test]
fn what_cannot_be_taken_is_named_and_the_rest_goes_in() {
    let place = Place::with(|settings| settings.limits += "\nmax_message_bytes = 65536");
    let foreign = Report::new("f", "foreign.example", &[5]);
    let long = Report::new("long", "example.com", &[1; 200]);
    place.file("mails/1-foreign.eml", &foreign.google(RUA));
    place.file("mails/2-large.eml", &long.plain(RUA));
    let cut = &mails::gzip(long.xml().as_bytes())[..500];
    place.file("mails/3-cut.eml", &mails::attached(RUA, cut));
    place.file("mails/4-ours.eml", &com("ours").google(RUA));
    let missing = place.dir.path().join("missing");
    let output = place.import(&[&place.dir.path().join("mails"), &missing]);
    tells(
        &output,
        1,
        &[
            ("mails", 5),
            ("spooled", 2),
            ("stored", 1),
            ("messages", 9),
            ("foreign", 1),
            ("parked", 1),
            ("unreadable", 2),
        ],
    );
    for (file, why) in [
        ("1-foreign.eml", "foreign_domain foreign.example"),
        ("2-large.eml", "larger than the limit"),
        ("3-cut.eml", "part"),
        ("missing", "No such file"),
    ] {
        let named = |line: &str| line.contains(file) && line.contains(why);
        assert!(
            output.stderr.lines().any(named),
            "{file}: {}",
            output.stderr
        );
    }
    assert!(!output.stderr.contains("ours.eml"), "{}", output.stderr);
    assert_eq!(place.daemon.spool("parked").len(), 1);
}

#[test]
fn an_import_waits_while_the_spool_is_full() {
    const MAILS: u64 = 60;
    let mut place = Place::with(|settings| {
        settings.limits += "\nmax_spool_bytes = 1048576\nmax_message_bytes = 100000";
    });
    for n in 0..MAILS {
        // About 70 kB each, and more than the spool takes together.
        let report = Report::new(&n.to_string(), "example.com", &[1; 100]);
        place.file(&format!("mails/{n:02}.eml"), &report.plain(RUA));
    }
    place.daemon.restart();
    let store = place.daemon.block_store();
    let mails = place.dir.path().join("mails");
    let output = std::thread::scope(|scope| {
        let import = scope.spawn(|| place.import(&[&mails]));
        until("the spool is full", SOON, || {
            place.daemon.spool("new").len() > 9
        });
        let held = || {
            place
                .daemon
                .spooled("new")
                .iter()
                .map(Vec::len)
                .sum::<usize>()
        };
        let (mut last, mut since) = (0, Instant::now());
        until("it stays as it is", SOON, || {
            let now = held();
            if now != last {
                (last, since) = (now, Instant::now());
            }
            since.elapsed() > Duration::from_secs(1)
        });
        assert!(!import.is_finished());
        assert!(last <= 1 << 20, "{last} bytes");
        drop(store);
        import.join().expect("no panic")
    });
    tells(
        &output,
        0,
        &[
            ("mails", MAILS),
            ("spooled", MAILS),
            ("stored", MAILS),
            ("messages", MAILS * 100),
        ],
    );
}

#[test]
fn a_wait_that_only_the_operator_can_end_is_told() {
    let place =
        Place::with(|settings| settings.limits = format!("min_free_bytes = {}", 1_u64 << 60));
    let file = place.file("one.eml", &com("one").google(RUA));
    let import = place
        .daemon
        .begin(&["import", file.to_str().expect("UTF-8")]);
    until("it says why it waits", SOON, || {
        import.errors().contains("full")
    });
    assert!(import.is_running());
}

#[test]
fn what_keeps_the_work_from_being_done_is_told() {
    let place = Place::new();
    let file = place.file("one.eml", &com("one").google(RUA));
    // Files where the folders of years are to be.
    fs::create_dir_all(place.daemon.data().join("archive")).expect("a folder");
    for year in 2020..2100 {
        place.file(&format!("data/archive/{year}"), b"");
    }
    let import = place
        .daemon
        .begin(&["import", file.to_str().expect("UTF-8")]);
    until("it says why", 2 * SOON, || {
        let said = import.errors();
        said.contains("reports wait in the spool") && said.contains("does not get done")
    });
    assert!(import.is_running());
}

#[test]
fn a_daemon_that_starts_gets_the_work_of_an_import() {
    let mut place = Place::new();
    let mails: Vec<_> = ["first", "second"]
        .into_iter()
        .map(|id| {
            let mail = String::from_utf8(com(id).google(RUA)).expect("ASCII");
            format!("From a@reporter.example Wed Nov 15 01:02:03 2023\n{mail}\n")
        })
        .collect();
    let mut import = place.daemon.begin(&["import", "-"]);
    // The second one is not whole, and the import waits for the rest of it.
    import.feed(mails[0].as_bytes());
    import.feed(&mails[1].as_bytes()[..200]);
    let stored = |reports| Stored {
        reports,
        messages: 9 * reports,
    };
    place.daemon.expect_stored("example.com", stored(1));
    place.daemon.restart();
    let log = place.daemon.log();
    assert!(log.contains("to give way"), "{log}");
    import.feed(&mails[1].as_bytes()[200..]);
    assert!(import.finish().success());
    place.daemon.expect_stored("example.com", stored(2));
}

#[test]
fn beside_a_running_daemon_the_daemon_does_the_work() {
    let port = free_port();
    let mut place = Place::with(|settings| {
        settings.metrics = format!("prometheus = \"127.0.0.1:{port}\"");
    });
    place.daemon.restart();
    let cut = &mails::gzip(&[b'<'; 9_000])[..20];
    place.file("mails/cut.eml", &mails::attached(RUA, cut));
    place.file("mails/ours.eml", &com("ours").google(RUA));
    place.file("mails/same.eml", &com("ours").microsoft(RUA));
    let output = place.import(&[&place.dir.path().join("mails")]);
    tells(
        &output,
        1,
        &[
            ("mails", 3),
            ("spooled", 3),
            ("stored", 1),
            ("messages", 9),
            ("duplicates", 1),
            ("parked", 1),
        ],
    );
    let text = page(port, "/metrics").1;
    for line in [
        r#"dmarc_reports_total{domain="example.com",kind="aggregate",outcome="stored"} 1"#,
        r#"dmarc_reports_total{domain="example.com",kind="aggregate",outcome="duplicate"} 1"#,
        r#"rua_spool_entries{state="parked"} 1"#,
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    let log = place.daemon.log();
    assert!(
        log.lines()
            .any(|line| line.contains("parked") && line.contains("spool_id=1")),
        "{log}"
    );
}

#[test]
fn an_import_that_was_killed_is_done_again_and_counts_once() {
    const MAILS: u64 = 40;
    let place = Place::new();
    let reports = (0..MAILS).map(|n| Report::new(&n.to_string(), "example.com", &[2]));
    let mbox: Vec<_> = reports
        .map(|report| {
            let mail = String::from_utf8(report.google(RUA)).expect("ASCII");
            format!("From a@reporter.example Wed Nov 15 01:02:03 2023\n{mail}\n")
        })
        .collect();
    let mut import = place.daemon.begin(&["import", "-"]);
    import.feed(mbox[..25].concat().as_bytes());
    until("some are stored", SOON, || {
        place.daemon.stored("example.com").reports > 5
    });
    assert!(import.is_running());
    drop(import);

    let path = place.file("mbox", mbox.concat().as_bytes());
    let output = place.import(&[&path]);
    assert_eq!(output.code, 0, "{output:?}");
    let totals = output.json();
    let count = |of: &str| totals[of].as_u64().expect("a number");
    assert_eq!(count("stored") + count("duplicates"), MAILS, "{totals}");
    let all = Stored {
        reports: MAILS,
        messages: 2 * MAILS,
    };
    assert_eq!(place.daemon.stored("example.com"), all);
}

#[test]
fn what_a_killed_import_left_in_the_spool_is_worked_on() {
    const MAILS: u64 = 40;
    let place = Place::new();
    // The store must exist to be blocked.
    let first = place.file("first.eml", &com("first").google(RUA));
    assert_eq!(place.import(&[&first]).code, 0);
    for n in 0..MAILS {
        let report = Report::new(&n.to_string(), "example.com", &[2]);
        place.file(&format!("mails/{n}.eml"), &report.google(RUA));
    }
    let mails = place.dir.path().join("mails");
    let store = place.daemon.block_store();
    let import = place
        .daemon
        .begin(&["import", mails.to_str().expect("UTF-8")]);
    until("all are spooled", SOON, || {
        place.daemon.spool("new").len() as u64 == MAILS
    });
    drop(import);
    drop(store);

    let output = place.import(&[&first]);
    tells(
        &output,
        0,
        &[("mails", 1), ("spooled", 1), ("duplicates", 1)],
    );
    assert_eq!(
        place.daemon.spool("new").len(),
        0,
        "the older ones come first"
    );
    let all = Stored {
        reports: MAILS + 1,
        messages: 2 * MAILS + 9,
    };
    assert_eq!(place.daemon.stored("example.com"), all);
    tells(
        &place.import(&[&mails]),
        0,
        &[("mails", MAILS), ("spooled", MAILS), ("duplicates", MAILS)],
    );
    assert_eq!(place.daemon.stored("example.com"), all);
    assert!(place.daemon.spool("parked").is_empty());
}
