//! The commands as a shell and an operator meet them: exit codes, errors, pipes.

use std::{
    fs,
    io::Write,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use crate::lab::{
    RUA, bounded,
    daemon::{Daemon, Settings, run},
    mails::{self, Report},
    nsd::Nsd,
    open_dir,
};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn check_config_names_file_line_key_and_what_was_expected() {
    let dir = open_dir();
    let path = dir.path().join("rua-milter.toml");
    let path = text(&path);
    for (lines, at) in [
        ("data_dri = \"/x\"\n", "1: data_dri: unknown field"),
        (
            "\n\n[milter]\nafter = \"burn\"\n",
            "4: after: expected \"discard\" or \"deliver\"",
        ),
        (
            "[limits]\nmax_message_bytes = 1\n",
            "2: max_message_bytes: expected bytes, from 65536",
        ),
        (
            "[limits]\nmax_spool_bytes = 1048576\n",
            "2: max_spool_bytes: expected bytes, at least 1048576 and at least max_message_bytes",
        ),
        (
            "[metrics]\nprometheus = \"here\"\n",
            "2: prometheus: expected an address and port",
        ),
        (
            "[metrics]\notlp_endpoint = \"collector:4317\"\n",
            "2: otlp_endpoint: expected a URL",
        ),
        (
            "[dns]\nservers = [\"127.0.0.1\", \"ns\"]\n",
            "2: servers: expected an address",
        ),
        (
            "[log]\nformat = \"xml\"\n",
            "2: format: expected \"text\" or \"json\"",
        ),
        (
            "[[domain]]\nname = \"a b\"\n",
            "2: name: expected a domain name",
        ),
        (
            "[[domain]]\nrua = [\"x@y.example\"]\n",
            "1: [[domain]]: missing field `name`",
        ),
        (
            "[[listen]]\naddress = \"/run/rua.sock\"\n",
            "2: address: expected \"unix:/path\"",
        ),
        ("[milter\n", "1: "),
    ] {
        fs::write(path, lines).expect("to write");
        for command in ["check-config", "serve", "import"] {
            let mut args = vec![command, "--config", path];
            args.extend((command == "import").then_some("-"));
            let output = run(&args, b"");
            assert_eq!(output.code, 2, "{lines}: {output:?}");
            assert_eq!(output.stdout, "", "{lines}");
            let start = format!("rua-milter: {path}:{at}");
            assert!(output.stderr.starts_with(&start), "{lines}: {output:?}");
        }
    }
    fs::write(path, "domain_files = [\"list\"]\n").expect("to write");
    fs::write(dir.path().join("list"), "a.example\nb example\n").expect("to write");
    let output = run(&["check-config", "--config", path], b"");
    assert_eq!(output.code, 2, "{output:?}");
    assert!(
        output
            .stderr
            .contains("/list:2: b example: expected a domain name"),
        "{output:?}"
    );
    fs::write(dir.path().join("list"), "a.example\nb.example\n").expect("to write");
    let output = run(&["check-config", "--config", path], b"");
    assert_eq!(output.code, 0, "{output:?}");
    assert!(
        output
            .stdout
            .starts_with(&format!("{path}: ok, domains: 2\n")),
        "{output:?}"
    );
}

#[test]
fn check_config_reads_the_secret_and_lints_the_wanted_record() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("rua-milter.toml");
    let secret = dir.path().join("secret");
    let text = format!(
        "[webhook]\nurl = \"https://hook.example/\"\nsecret_file = {secret:?}\n\
         [[domain]]\nname = \"a.example\"\nwanted = \"v=DMARC1; p=none; pct=50\"\n"
    );
    fs::write(&path, text).expect("to write");
    let path = path.to_str().expect("UTF-8");
    let output = run(&["check-config", "--config", path], b"");
    assert_eq!(output.code, 2, "{output:?}");
    let missing = format!("webhook.secret_file: {}: expected a file", secret.display());
    assert!(output.stderr.contains(&missing), "{output:?}");
    fs::write(&secret, "open sesame\n").expect("to write");
    let output = run(&["check-config", "--config", path], b"");
    assert_eq!(output.code, 0, "{output:?}");
    let note = "note: a.example: wanted: ";
    assert!(output.stdout.contains(note), "{output:?}");
}

#[test]
fn check_config_reads_what_metrics_need() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("rua-milter.toml");
    let file = dir.path().join("file");
    fs::write(&file, "no header\n").expect("to write");
    let check = |settings: &str| {
        let text = format!("[metrics]\notlp_endpoint = \"http://127.0.0.1:4317\"\n{settings}\n");
        fs::write(&path, text).expect("to write");
        run(
            &["check-config", "--config", path.to_str().expect("UTF-8")],
            b"",
        )
    };
    assert_eq!(check("").code, 0);
    for (setting, says) in [
        (
            "otlp_ca_file = \"/none.pem\"",
            "metrics.otlp_ca_file, or OTEL_EXPORTER_OTLP_CERTIFICATE: cannot read /none.pem",
        ),
        (
            &format!("otlp_ca_file = {file:?}"),
            "holds no certificate in PEM",
        ),
        (
            "otlp_headers_file = \"/none\"",
            "metrics.otlp_headers_file: cannot read /none",
        ),
        (
            &format!("otlp_headers_file = {file:?}"),
            "line 1: expected `Name: value`",
        ),
    ] {
        let output = check(setting);
        assert_eq!(output.code, 2, "{output:?}");
        assert!(output.stderr.contains(says), "{output:?}");
    }
}

#[test]
fn check_config_says_where_reports_go_too_soon_to_find_who_falls_silent() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("rua-milter.toml");
    for (report_days, watch, is_noted) in [
        (30, true, true),
        (89, true, true),
        (90, true, false),
        (0, true, false),
        (30, false, false),
    ] {
        let text = format!("[retention]\nreport_days = {report_days}\n[dns]\nwatch = {watch}\n");
        fs::write(&path, text).expect("to write");
        let path = path.to_str().expect("UTF-8");
        let output = run(&["check-config", "--config", path], b"");
        assert_eq!(output.code, 0, "{output:?}");
        let note = "note: retention.report_days is less than 90: ";
        assert_eq!(output.stdout.contains(note), is_noted, "{output:?}");
    }
}

#[test]
fn usage_is_2_and_says_what_there_is() {
    for args in [
        &["no-such-command"][..],
        &["summary", "--no-such-option"],
        &["summary", "not a domain"],
        &["drift", "--server", "ns.example", "example.test"],
        &["import"],
        &["inspect"],
        &[],
    ] {
        let output = run(args, b"");
        assert_eq!(output.code, 2, "{args:?}: {output:?}");
        assert_eq!(output.stdout, "", "{args:?}");
        assert!(output.stderr.contains("--help"), "{args:?}: {output:?}");
    }
    for args in [&["--help"][..], &["import", "--help"], &["--version"]] {
        assert_eq!(run(args, b"").code, 0, "{args:?}");
    }
    assert!(!run(&["--help"], b"").stdout.contains("generate"), "hidden");
}

#[test]
fn a_configuration_that_is_asked_for_and_missing_is_2() {
    for args in [
        &["check-config"][..],
        &["serve"],
        &["summary"],
        &["import", "-"],
        &["drift", "example.test"],
    ] {
        let mut args = args.to_vec();
        args.extend(["--config", "/no/such/file.toml"]);
        let output = run(&args, b"");
        assert_eq!(output.code, 2, "{args:?}: {output:?}");
        assert!(
            output
                .stderr
                .contains("cannot read /no/such/file.toml: No such file"),
            "{output:?}"
        );
    }
}

/// A data directory with one report about example.com.
fn imported() -> (Daemon, tempfile::TempDir) {
    let dir = open_dir();
    let settings = Settings::new(&dir.path().join("data"));
    let daemon = Daemon::stopped(&dir.path().join("rua-milter.toml"), &settings);
    let report = Report::new("one", "example.com", &[4, 3, 2]).google(RUA);
    let output = daemon.run_with(&["import", "-"], &report);
    assert_eq!(output.code, 0, "{output:?}");
    (daemon, dir)
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let (_daemon, dir) = imported();
    let nsd = Nsd::start(&[("test", "_dmarc TXT \"v=DMARC1; p=reject\"")]);
    let server = nsd.address().to_string();
    let config = dir.path().join("rua-milter.toml");
    let mail = dir.path().join("one.eml");
    fs::write(&mail, Report::new("one", "example.com", &[1]).google(RUA)).expect("to write");
    for args in [
        &["check-config"][..],
        &["inspect", text(&mail)],
        &["inspect", "--json", text(&mail)],
        &["summary"],
        &["summary", "--json"],
        &["import", text(&mail)],
        &["import", "--json", text(&mail)],
        &["drift", "--server", &server, "test"],
        &["drift", "--json", "--server", &server, "test"],
    ] {
        // The reading end is closed before the first line is written.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = bounded(env!("CARGO_BIN_EXE_rua-milter"))
            .args(args)
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .expect("to run");
        assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{args:?}: {output:?}");
    }
}

#[test]
fn inspect_reads_standard_input_and_needs_no_configuration() {
    let report = Report::new("one", "example.com", &[4, 3, 2]);
    for input in [
        report.google(RUA),
        report.xml().into_bytes(),
        mails::gzip(report.xml().as_bytes()),
        mails::zip("report.xml", report.xml().as_bytes()),
    ] {
        let output = run(&["inspect", "--json", "-"], &input);
        let [line] = &output.json_lines()[..] else {
            panic!("{output:?}");
        };
        assert_eq!(
            (&line["path"], &line["report_id"]),
            (&"-".into(), &"one".into())
        );
        assert_eq!(
            (&line["records"], &line["messages"]),
            (&3.into(), &9.into())
        );
        let table = run(&["inspect", "-"], &input);
        assert_eq!((output.code, table.code), (0, 0), "{table:?}");
        assert!(table.stdout.contains("example.com"), "{table:?}");
    }
    assert_eq!(run(&["inspect", "--json", "-"], b"nothing").code, 1);
}

#[test]
fn summary_without_a_store_says_so_and_makes_none() {
    let dir = open_dir();
    let data = dir.path().join("data");
    let daemon = Daemon::stopped(&dir.path().join("rua-milter.toml"), &Settings::new(&data));
    let output = daemon.run(&["summary"]);
    assert_eq!(output.code, 1, "{output:?}");
    assert_eq!(output.stdout, "");
    assert!(output.stderr.contains(text(&data)), "{output:?}");
    assert_eq!(fs::read_dir(&data).expect("a directory").count(), 0);
    fs::remove_dir(&data).expect("to remove");
    assert_eq!(daemon.run(&["summary"]).code, 1);
    assert!(!data.exists());
}

#[test]
fn drift_tells_by_its_exit_code_without_any_configuration() {
    let zone = "_dmarc.good TXT \"v=DMARC1; p=reject\"\n_dmarc.bad TXT \"v=DMARC1; p=noone\"";
    let nsd = Nsd::start(&[("test", zone), ("broken.example", "")]);
    let server = |address: SocketAddr| address.to_string();
    let at = server(nsd.address());
    let drift = |args: &[&str]| {
        let mut all = vec!["drift", "--server", &*at];
        all.extend(args);
        run(&all, b"")
    };
    for (domains, code, nagios) in [
        (&["good.test"][..], 0, 0),
        (&["good.test", "bad.test"], 1, 2),
        (&["missing.test"], 1, 2),
        (&["broken.example"], 3, 3),
        (&["good.test", "broken.example"], 3, 3),
        (&["bad.test", "broken.example"], 1, 2),
    ] {
        let output = drift(domains);
        assert_eq!(output.code, code, "{domains:?}: {output:?}");
        assert!(output.stdout.contains(domains[0]), "{output:?}");
        let json = drift(&[&["--json"], domains].concat());
        assert_eq!(
            (json.code, json.json_lines().len()),
            (code, domains.len()),
            "{json:?}"
        );
        let monitor = drift(&[&["--format", "nagios"], domains].concat());
        assert_eq!(monitor.code, nagios, "{domains:?}: {monitor:?}");
        assert!(monitor.stdout.starts_with("DMARC "), "{monitor:?}");
    }
}

#[test]
fn generate_writes_completions_for_three_shells() {
    let dir = open_dir();
    let into = dir.path().join("new/completions");
    let output = run(&["generate", "completions", text(&into)], b"");
    assert_eq!(output.code, 0, "{output:?}");
    for name in ["rua-milter.bash", "_rua-milter", "rua-milter.fish"] {
        let script = fs::read_to_string(into.join(name)).expect(name);
        assert!(script.contains("check-config"), "{name}");
        let mode = fs::metadata(into.join(name))
            .expect(name)
            .permissions()
            .mode();
        assert_eq!(mode & 0o444, 0o444, "{name}: for everybody");
    }
    let parsed = Command::new("bash")
        .arg("-n")
        .arg(into.join("rua-milter.bash"))
        .status();
    assert!(parsed.expect("bash").success());
}

#[test]
fn generate_writes_a_man_page_that_groff_takes() {
    let dir = open_dir();
    let output = run(&["generate", "man", text(dir.path())], b"");
    assert_eq!(output.code, 0, "{output:?}");
    let page = fs::read_to_string(dir.path().join("man8/rua-milter.8")).expect("the page");
    for command in [
        "serve",
        "check-config",
        "import",
        "inspect",
        "summary",
        "drift",
    ] {
        let heading = format!(".SS {command}\n");
        assert!(page.contains(&heading), "{command}\n{page}");
    }
    assert!(
        page.contains("\n.TH rua-milter 8 ") && !page.contains(".SS generate"),
        "{page}"
    );
    let mut groff = Command::new("groff")
        .args(["-man", "-ww", "-z", "-K", "utf8"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("groff, of Debian's package groff-base");
    let mut stdin = groff.stdin.take().expect("piped");
    stdin.write_all(page.as_bytes()).expect("groff reads");
    drop(stdin);
    let result = groff.wait_with_output().expect("groff ends");
    assert!(
        result.status.success() && result.stderr.is_empty(),
        "{result:?}\n{page}"
    );
}
