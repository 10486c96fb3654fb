//! The program as who has just installed it meets it: what it says without arguments, without a
//! configuration, without rights, and on a terminal.

use std::{fs, path::Path};

use crate::lab::{
    RUA, SOON, bounded,
    daemon::{Daemon, Output, Settings, run},
    mails::{self, Report},
    open_dir, until,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_rua-milter");

/// Runs a command as somebody who has no rights here.
fn as_nobody(config: &Path, args: &[&str]) -> Output {
    let mut command = bounded("setpriv");
    let command = command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(PROGRAM)
        .arg("--config")
        .arg(config);
    let output = command.args(args).output().expect("setpriv, as root");
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// What a shell command writes when it writes to a terminal.
fn on_a_terminal(command: &str, no_color: &str) -> String {
    let output = bounded("script")
        .args(["-qec", command, "/dev/null"])
        .env("TERM", "xterm")
        .env("NO_COLOR", no_color)
        .output()
        .expect("script, of Debian's package bsdutils");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A configuration whose data directory has one report.
fn with_a_report(dir: &Path) -> Daemon {
    let mut settings = Settings::new(&dir.join("data"));
    settings.listen = vec![format!("unix:{}/rua.sock", dir.display())];
    let daemon = Daemon::stopped(&dir.join("rua-milter.toml"), &settings);
    let report = Report::new("one", "example.com", &[4, 3]).google(RUA);
    assert_eq!(daemon.run_with(&["import", "-"], &report).code, 0);
    daemon
}

#[test]
fn without_arguments_it_says_how_to_begin() {
    let said = run(&[], b"");
    assert_eq!(said.code, 2);
    for step in ["check-config", "doctor", "rua-milter.toml", "inspect FILE"] {
        assert!(said.stderr.contains(step), "{step}: {}", said.stderr);
    }
}

#[test]
fn an_error_says_what_to_do_next() {
    let dir = open_dir();
    let missing = run(&["summary", "--config", "/no/such/file.toml"], b"");
    assert!(
        missing.stderr.contains("-> name it with --config"),
        "{missing:?}"
    );
    let settings = Settings::new(&dir.path().join("data"));
    let daemon = Daemon::stopped(&dir.path().join("rua-milter.toml"), &settings);
    let empty = daemon.run(&["summary"]);
    assert!(empty.stderr.contains("-> rua-milter doctor"), "{empty:?}");
    let number = daemon.run(&["show", "first"]);
    assert!(number.stderr.contains("not a number"), "{number:?}");
}

#[test]
fn a_wrong_type_is_told_in_words_of_the_file() {
    let dir = open_dir();
    let config = dir.path().join("rua-milter.toml");
    let path = config.to_str().expect("UTF-8");
    for (text, expected) in [
        (
            "[domain]\nname = \"x.example\"\n",
            ":1: [domain]: expected [[...]], as there may be several",
        ),
        (
            "[[domain]]\nname = \"x.example\"\nrua = \"a@x.example\"\n",
            ":3: rua: invalid type: string \"a@x.example\", expected a list such as [\"one\", \"two\"]",
        ),
    ] {
        fs::write(&config, text).expect("to write");
        let said = run(&["check-config", "--config", path], b"");
        assert!(said.stderr.contains(expected), "{said:?}");
    }
    fs::write(&config, "").expect("to write");
    let said = run(&["check-config", "--config", path], b"");
    assert!(
        said.stdout.contains("note: no domain is configured"),
        "{said:?}"
    );
}

#[test]
fn who_may_not_read_hears_that_and_not_that_nothing_is_there() {
    let dir = open_dir();
    let _daemon = with_a_report(dir.path());
    let config = dir.path().join("rua-milter.toml");
    let data = dir.path().join("data");
    let mode = |path: &Path, mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(path, mode).expect("chmod");
    };
    mode(&data, 0o750);
    for args in [
        &["summary"][..],
        &["reports"],
        &["show", "1"],
        &["export", "--csv"],
        &["parked", "list"],
        &["backup", "/tmp/rua-it-never-made"],
        &["replay"],
        &["import", "-"],
        &["serve"],
    ] {
        let said = as_nobody(&config, args);
        assert_eq!(said.code, 1, "{args:?}: {said:?}");
        assert!(
            said.stderr.contains("Permission denied"),
            "{args:?}: {said:?}"
        );
        assert!(
            said.stderr.contains("-> run it as root"),
            "{args:?}: {said:?}"
        );
    }
    mode(&config, 0o640);
    let said = as_nobody(&config, &["summary"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.stderr.contains("-> run it as root"), "{said:?}");
}

#[test]
fn a_list_with_nothing_in_it_says_so() {
    let dir = open_dir();
    let daemon = with_a_report(dir.path());
    assert_eq!(
        daemon.run(&["reports", "other.example"]).stdout,
        "No reports.\n"
    );
    assert_eq!(
        daemon.run(&["parked", "list"]).stdout,
        "Nothing is parked.\n"
    );
    let json = daemon.run(&["reports", "other.example", "--json"]);
    assert_eq!(json.stdout, "", "that is for programs");
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let usage = format!("{PROGRAM} no-such-command");
    assert!(on_a_terminal(&usage, "").contains("\x1b["), "a terminal");
    let plain = on_a_terminal(&usage, "1");
    assert!(
        plain.contains("error:") && !plain.contains('\x1b'),
        "{plain:?}"
    );
    assert!(
        !run(&["no-such-command"], b"").stderr.contains('\x1b'),
        "no terminal"
    );
    // The log, which warns that there is no domain.
    let dir = open_dir();
    let config = dir.path().join("rua-milter.toml");
    let mut settings = Settings::new(&dir.path().join("data"));
    settings.domains = String::new();
    settings.listen = vec!["unix:/no/such/folder/rua.sock".into()];
    fs::write(&config, settings.to_toml()).expect("to write");
    let serve = format!("{PROGRAM} serve --config {}", config.display());
    assert!(on_a_terminal(&serve, "").contains("\x1b["), "a terminal");
    let plain = on_a_terminal(&serve, "1");
    assert!(!plain.is_empty() && !plain.contains('\x1b'), "{plain:?}");
}

#[test]
fn who_waits_at_a_terminal_sees_how_far_it_is() {
    let dir = open_dir();
    let mut daemon = with_a_report(dir.path());
    daemon.restart();
    let store = daemon.block_store();
    let mail = dir.path().join("two.eml");
    fs::write(&mail, Report::new("two", "example.com", &[1]).google(RUA)).expect("to write");
    let screen = dir.path().join("screen");
    let import = format!(
        "{PROGRAM} import {} --config {}",
        mail.display(),
        dir.path().join("rua-milter.toml").display()
    );
    let mut typed = bounded("script")
        .args(["-qec", &import, "/dev/null"])
        .env("TERM", "xterm")
        .stdout(fs::File::create(&screen).expect("a file"))
        .spawn()
        .expect("script, of Debian's package bsdutils");
    let seen = || fs::read_to_string(&screen).unwrap_or_default();
    until("it says how far it is", SOON, || {
        seen().contains("0/1 mails read")
    });
    // Elsewhere nothing is said, however long it takes.
    let unseen = daemon.begin(&["import", mail.to_str().expect("UTF-8")]);
    drop(store);
    assert!(typed.wait().expect("to end").success(), "{}", seen());
    assert!(seen().contains("1 reports stored"), "{}", seen());
    until("the other one ends", SOON, || !unseen.is_running());
    assert_eq!(unseen.errors(), "");
}

#[test]
fn what_a_script_would_read_is_there_as_json() {
    const WITHOUT: [&str; 4] = ["serve", "check-config", "parked export", "parked drop"];
    for command in [
        "serve",
        "check-config",
        "doctor",
        "import",
        "inspect",
        "summary",
        "reports",
        "show",
        "export",
        "replay",
        "backup",
        "drift",
        "parked list",
        "parked show",
        "parked retry",
        "parked export",
        "parked drop",
    ] {
        let mut args: Vec<_> = command.split(' ').collect();
        args.push("--help");
        let has = run(&args, b"").stdout.contains("--json");
        assert_eq!(has, !WITHOUT.contains(&command), "{command}");
    }
    let dir = open_dir();
    let daemon = with_a_report(dir.path());
    let broken = mails::attached(RUA, &mails::gzip(b"<feedback><a></b></feedback>"));
    assert_eq!(daemon.run_with(&["import", "-"], &broken).code, 1);
    let retried = daemon.run(&["parked", "retry", "--all", "--json"]);
    let tried = &retried.json();
    assert_eq!(
        (retried.code, &tried["outcome"]),
        (1, &"parked".into()),
        "{retried:?}"
    );
    assert_eq!(tried["reason"], "ill_formed", "{retried:?}");
    let replayed = daemon.run(&["replay", "--json"]).json();
    assert_eq!(
        (&replayed["same"], &replayed["tried"]),
        (&1.into(), &1.into())
    );
    let backup = dir.path().join("backup");
    let made = daemon.run(&["backup", "--json", backup.to_str().expect("UTF-8")]);
    assert_eq!(made.json()["linked"], 1, "{made:?}");
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(daemon.data().join(format!("reports.sqlite{end}")));
    }
    let rebuilt = daemon.run(&["replay", "--rebuild", "--json"]).json();
    assert_eq!(
        (&rebuilt["mails"], &rebuilt["not_taken"]),
        (&1.into(), &0.into())
    );
}
