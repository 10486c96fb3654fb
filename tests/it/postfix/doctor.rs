//! `doctor` beside a real Postfix: set up well, set up wrong, and with nobody behind the socket.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use crate::{
    lab::{
        Lab,
        daemon::{Daemon, Output, Settings},
        free_port,
        nsd::black_hole,
        open_dir,
        postfix::{DEFERRING_SINK, Options},
    },
    otlp::Receiver,
};

/// A host for reports only, as the manual recommends, and nothing that `doctor` could warn of.
fn well(settings: &mut Settings, options: &mut Options) {
    settings.socket = "mode = \"0660\"\ngroup = \"postfix\"".into();
    options.main_cf = format!(
        "relay_domains = reports.example
relay_recipient_maps = inline:{{ {{@reports.example=x}} }}
relay_transport = {DEFERRING_SINK}
smtpd_forbid_bare_newline = yes
smtpd_client_connection_count_limit = 50
"
    );
    options.milters = format!("{{ {}, default_action=accept }}", settings.listen[0]);
}

/// What `doctor` says of one thing: the states, and the sentences with their next steps.
struct Said {
    output: Output,
    checks: Vec<serde_json::Value>,
}

impl Said {
    fn ask(lab: &Lab) -> Self {
        Self::by(&lab.daemon, &lab.postfix.config_dir(), &[])
    }

    fn by(daemon: &Daemon, postfix: &Path, more: &[&str]) -> Self {
        let dir = postfix.to_str().expect("UTF-8");
        let output = daemon.run(&[&["doctor", "--json", "--postfix-config", dir], more].concat());
        let checks = output.json()["checks"].as_array().cloned();
        let checks = checks.unwrap_or_else(|| panic!("{output:?}"));
        Self { output, checks }
    }

    /// The states of the checks of this name.
    fn states(&self, check: &str) -> Vec<&str> {
        let of = self.checks.iter().filter(|found| found["about"] == check);
        of.map(|found| found["state"].as_str().expect("a state"))
            .collect()
    }

    /// What is amiss, except for what the lab's machine is to blame for.
    fn amiss(&self) -> Vec<&serde_json::Value> {
        let checks = self.checks.iter();
        checks
            .filter(|found| found["state"] != "ok")
            .filter(|found| {
                !["time", "data", "disk"].contains(&found["about"].as_str().unwrap_or(""))
            })
            .collect()
    }
}

#[test]
fn as_the_manual_recommends_nothing_is_amiss() {
    let lab = Lab::with(well);
    let said = Said::ask(&lab);
    assert!(said.amiss().is_empty(), "{:#?}", said.amiss());
    assert_eq!(said.output.code, 0);
    for check in [
        "listen", "milters", "away", "socket", "size", "newline", "sink",
    ] {
        assert_eq!(said.states(check), ["ok"], "{check}");
    }
    // Both addresses are taken, at the port that Postfix's own configuration names.
    assert_eq!(said.states("smtp"), ["ok", "ok"]);
    // It took no mail for that, and put nothing into anybody's way.
    assert!(lab.daemon.spool("new").is_empty() && lab.postfix.queue().is_empty());

    let dir = lab.postfix.config_dir();
    let text = lab
        .daemon
        .run(&["doctor", "--postfix-config", dir.to_str().expect("UTF-8")]);
    assert_eq!(text.code, 0);
    assert!(text.stdout.contains("ok       milters"), "{}", text.stdout);
    assert!(text.stdout.contains(" 0 problems, "), "{}", text.stdout);
}

#[test]
fn each_wrong_setting_is_told_and_no_other() {
    let lab = Lab::with(well);
    let socket = &lab.daemon.settings().listen[0];
    let good = [
        format!("smtpd_milters={{ {socket}, default_action=accept }}"),
        "message_size_limit=52428800".into(),
        "smtpd_forbid_bare_newline=yes".into(),
        "smtpd_client_connection_count_limit=50".into(),
        "relay_domains=reports.example".into(),
        format!("relay_transport={DEFERRING_SINK}"),
    ];
    let rejects = format!("smtpd_milters={{ {socket}, default_action=reject }}");
    let first = format!("smtpd_milters={socket}, inet:127.0.0.1:1");
    let cases = [
        ("smtpd_milters=", "milters", "problem"),
        (
            "smtpd_milters=unix:/elsewhere/rua.sock",
            "milters",
            "problem",
        ),
        (&rejects, "away", "problem"),
        (&first, "milters", "warning"),
        ("message_size_limit=1000000", "size", "warning"),
        ("smtpd_forbid_bare_newline=no", "newline", "warning"),
        (
            "smtpd_client_connection_count_limit=0",
            "connections",
            "warning",
        ),
        ("relay_domains=other.example", "sink", "problem"),
        ("relay_transport=discard:lost", "sink", "problem"),
        ("relay_transport=error:no", "sink", "problem"),
        ("relay_transport=smtp:[192.0.2.1]", "sink", "warning"),
        (
            "transport_maps=inline:{{rua@reports.example=discard:}}",
            "sink",
            "problem",
        ),
        ("transport_maps=hash:/nowhere/at/all", "sink", "unknown"),
    ];
    for (wrong, check, state) in cases {
        lab.postfix.set(&["-e", wrong]);
        let said = Said::ask(&lab);
        let amiss: Vec<_> = said
            .amiss()
            .into_iter()
            .filter(|found| found["about"] != "smtp")
            .collect();
        assert!(
            amiss.len() == 1 && amiss[0]["about"] == check && amiss[0]["state"] == state,
            "{wrong}: {amiss:#?}"
        );
        assert!(amiss[0]["next"].is_string(), "{wrong}");
        if state == "problem" {
            assert_eq!(said.output.code, 1, "{wrong}");
        }
        let good = good.iter().map(String::as_str);
        let words: Vec<_> = ["-e", "transport_maps="].into_iter().chain(good).collect();
        lab.postfix.set(&words);
    }
}

#[test]
fn a_socket_that_postfix_does_not_get_to_is_told() {
    let lab = Lab::with(well);
    // A chroot, in which the socket's path leads elsewhere.
    let port = lab.postfix.port();
    lab.postfix
        .set(&["-F", &format!("127.0.0.1:{port}/inet/chroot=y")]);
    let said = Said::ask(&lab);
    assert_eq!(said.states("milters"), ["problem"]);
    lab.postfix
        .set(&["-F", &format!("127.0.0.1:{port}/inet/chroot=n")]);

    // A socket that Postfix's user may not write to.
    let path = lab.daemon.settings().listen[0].trim_start_matches("unix:");
    for (mode, state) in [(0o600, "problem"), (0o666, "warning"), (0o660, "ok")] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
        assert_eq!(Said::ask(&lab).states("socket"), [state], "{mode:o}");
    }
}

#[test]
fn a_daemon_that_is_away_and_an_unknown_address_are_told() {
    let mut lab = Lab::with(|settings, options| {
        well(settings, options);
        options.main_cf += "relay_recipient_maps = inline:{ {rua@reports.example=x} }\n";
        options.milters = format!("{{ {}, default_action=tempfail }}", settings.listen[0]);
    });
    let said = Said::ask(&lab);
    // In the order of the addresses: rua-org is none that Postfix knows.
    assert_eq!(
        said.states("smtp"),
        ["ok", "problem"],
        "{:#?}",
        said.amiss()
    );
    assert_eq!(said.output.code, 1);

    lab.daemon.kill();
    let said = Said::ask(&lab);
    assert_eq!(said.output.code, 1);
    assert_eq!(said.states("listen"), ["problem"]);
    let refused = said.checks.iter().find(|found| found["about"] == "smtp");
    let text = refused.expect("an answer")["says"].to_string();
    assert!(text.contains("MAIL FROM:<>: 451"), "{text}");
    // Postfix itself is still set up well.
    for check in ["milters", "away", "sink"] {
        assert_eq!(said.states(check), ["ok"], "{check}");
    }
}

#[test]
fn without_an_mta_what_is_not_known_is_no_problem() {
    let dir = open_dir();
    let (_silent, server) = black_hole();
    let mut settings = Settings::new(&dir.path().join("data"));
    settings.listen = vec![format!("inet:127.0.0.1:{}", free_port())];
    settings.dns = format!("servers = [\"{server}\"]\ntimeout_secs = 1");
    settings.metrics = format!("otlp_endpoint = \"http://127.0.0.1:{}\"", free_port());
    let mut daemon = Daemon::start(&dir.path().join("rua-milter.toml"), &settings);
    let nowhere = dir.path().join("no-postfix");
    let said = Said::by(&daemon, &nowhere, &[]);
    assert_eq!(said.states("postfix"), ["unknown"]);
    assert_eq!(said.states("listen"), ["ok"]);
    assert_eq!(said.states("collector"), ["warning"]);
    assert_eq!(said.states("dns"), ["problem"], "it never answers");
    for check in ["milters", "sink", "away", "size"] {
        assert!(said.states(check).is_empty(), "{check}");
    }
    // One that was named has to be there.
    let named = format!("127.0.0.1:{}", free_port());
    let said = Said::by(&daemon, &nowhere, &["--smtp", &named]);
    assert_eq!(said.states("smtp"), ["problem"]);

    daemon.kill();
    fs::write(dir.path().join("rua-milter.toml"), "nonsense = 1\n").expect("written");
    assert_eq!(daemon.run(&["doctor"]).code, 2);
}

/// Speaks HTTP, and wants a token.
fn guarded_collector() -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    use axum::{Router, http::StatusCode, routing::post};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("set");
    let at = listener.local_addr().expect("bound");
    let listener = tokio::net::TcpListener::from_std(listener).expect("within a runtime");
    let route = post(async || StatusCode::UNAUTHORIZED);
    let serve = axum::serve(listener, Router::new().fallback(route));
    (at, tokio::spawn(async { serve.await.expect("serving") }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_is_sent_an_export_without_metrics() {
    let collector = Receiver::start().await;
    let (guarded, server) = guarded_collector();
    let guarded = format!("http://{guarded}/secret-token");
    for (endpoint, protocol, expected) in [
        (&collector.grpc, "grpc", "takes metrics"),
        (&collector.http, "http/protobuf", "takes metrics"),
        // An HTTP server that is asked for gRPC, and the other way round.
        (&collector.http, "grpc", "takes no metrics: "),
        (&collector.grpc, "http/protobuf", "takes no metrics: "),
        (&guarded, "http/protobuf", "status code: 401"),
    ] {
        let dir = open_dir();
        let mut settings = Settings::new(&dir.path().join("data"));
        settings.metrics =
            format!("otlp_endpoint = \"{endpoint}\"\notlp_protocol = \"{protocol}\"");
        let daemon = Daemon::stopped(&dir.path().join("rua-milter.toml"), &settings);
        let said = Said::by(&daemon, &dir.path().join("no-postfix"), &[]);
        let found = said
            .checks
            .iter()
            .find(|found| found["about"] == "collector");
        let says = found.expect("an answer")["says"].to_string();
        assert!(says.contains(expected), "{endpoint} {protocol}: {says}");
        assert!(!says.contains("secret"), "{says}");
        let ok = expected == "takes metrics";
        assert_eq!(
            said.states("collector"),
            [if ok { "ok" } else { "warning" }]
        );
    }
    assert!(collector.metrics().is_empty(), "it was told nothing");
    server.abort();
}
