//! The Debian package, from a fresh installation to its purge.

use std::fs;

use super::{
    contents,
    machine::{
        CONFIG, DOMAIN, SERVICE, apply, install, installed, name_server, pasted, send,
        shown_config, start_postfix, stored,
    },
    package,
};
use crate::lab::{
    RUA, SOON,
    container::{Container, Debian},
    mails::Report,
    open_dir, until,
};

/// What README.md tells to publish, as it is once the first weeks are over.
const ZONES: &[(&str, &str)] = &[
    (
        "example.com",
        "_dmarc TXT \"v=DMARC1; p=reject; rua=mailto:rua@reports.example\"",
    ),
    (
        "reports.example",
        "example.com._report._dmarc TXT \"v=DMARC1\"",
    ),
];

#[test]
fn fresh_it_is_ready_and_stays_until_it_is_purged() {
    comes_and_goes(Debian::Bookworm);
}

#[test]
#[ignore = "tests/run --long: another root of Debian"]
fn fresh_it_is_ready_and_stays_until_it_is_purged_on_trixie() {
    comes_and_goes(Debian::Trixie);
}

#[test]
fn reports_come_through_a_chrooted_postfix_by_the_lines_of_the_readme() {
    comes_through_postfix(Debian::Bookworm);
}

#[test]
#[ignore = "tests/run --long: another root of Debian"]
fn reports_come_through_a_chrooted_postfix_by_the_lines_of_the_readme_on_trixie() {
    comes_through_postfix(Debian::Trixie);
}

fn comes_and_goes(debian: Debian) {
    let container = installed(debian);
    container.expect_active(SERVICE);
    assert!(container.journal(SERVICE).contains("ready"));
    assert_eq!(
        container.sh("systemctl is-enabled rua-milter").trim(),
        "enabled"
    );
    let socket = container.run(&["systemctl", "is-enabled", "rua-milter.socket"]);
    assert_eq!(socket.stdout.trim(), "disabled");
    contents::assert_installed(&container, "deb");
    assert_eq!(container.sh("dpkg --verify rua-milter"), "");

    edited_configuration_stays(&container);
    let mail = Report::new("kept", "example.com", &[1]).google(RUA);
    container.put("/root/report.eml", mail);
    container.sh("rua-milter import - </root/report.eml");
    assert_eq!(stored(&container), 1);

    container.sh("systemctl enable rua-milter.socket && dpkg --remove rua-milter");
    assert_eq!(
        container.run(&["pgrep", "rua-milter"]).code,
        1,
        "it is stopped"
    );
    assert_eq!(
        container.sh("systemctl list-units --quiet 'rua-milter*'"),
        ""
    );
    assert!(
        container
            .path("/var/lib/rua-milter/reports.sqlite")
            .exists()
    );
    install(&container, &package(".deb"));
    container.expect_active(SERVICE);
    container.expect_active("rua-milter.socket");
    assert_eq!(stored(&container), 1, "what was there is found");
    assert!(container.read(CONFIG).contains("example.com"));

    container.put("/etc/rua-milter/webhook-secret", "secret");
    let purged = container.run(&["dpkg", "--purge", "rua-milter"]);
    assert_eq!((purged.code, &*purged.stderr), (0, ""), "{purged:?}");
    for path in [
        "/etc/rua-milter",
        "/var/lib/rua-milter",
        "/run/rua-milter",
        "/var/spool/postfix/rua-milter",
    ] {
        assert!(!container.path(path).exists(), "{path} is left");
    }
    let links =
        container.sh("find /etc/systemd /var/lib/systemd/deb-systemd-helper* -name '*rua-milter*'");
    assert_eq!(links, "");
}

/// Whether the package that comes has the same configuration as the last, or another.
fn edited_configuration_stays(container: &Container) {
    container.sh(&format!("printf '%s\n' '{DOMAIN}' >>{CONFIG}"));
    container.sh(&format!("chmod 600 {CONFIG} && chown rua-milter: {CONFIG}"));
    let state = || {
        (
            container.read(CONFIG),
            container.sh(&format!("stat -c '%a %U:%G' {CONFIG}")),
        )
    };
    let before = state();
    install(container, &package(".deb"));
    assert_eq!(state(), before);
    // dpkg compares with the sum of what it installed last.
    let sum = "0123456789abcdef0123456789abcdef";
    container.sh(&format!(
        r"sed -i '\|^ {CONFIG} |s/ [0-9a-f]*$/ {sum}/' /var/lib/dpkg/status"
    ));
    let output = apply(
        container,
        &package(".deb"),
        "dpkg --force-confold --install",
    );
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stderr.contains("Configuration file"), "{output:?}");
    assert_eq!(state(), before);
    container.expect_active(SERVICE);
}

fn comes_through_postfix(debian: Debian) {
    let container = installed(debian);
    start_postfix(&container);
    let dir = open_dir();
    let _dns = name_server(&container, dir.path(), 53, ZONES);
    container.put("/etc/resolv.conf", "nameserver 127.0.0.1\n");
    // As an operator edits: the sections of the sample stay beside what is added.
    let sample = container.read(CONFIG);
    let config = shown_config();
    let sections: Vec<_> = config
        .lines()
        .filter(|line| line.starts_with('['))
        .collect();
    let rest = sample.lines().filter(|line| !sections.contains(line));
    let rest: Vec<_> = rest.collect();
    let edited = format!("{}\n\n{config}\n", rest.join("\n"));
    fs::write(container.path(CONFIG), edited).expect("to write");
    for line in pasted(&["systemctl", "postconf", "rua-milter check-config"]) {
        container.sh(&line);
    }
    container.expect_active(SERVICE);
    container.until("timeout 5 bash -c 'read -r line </dev/tcp/127.0.0.1/25 && test \"$line\"'");

    let mail = Report::new("pasted", "example.com", &[3]).google(RUA);
    let told = send(&container, &mail, RUA);
    assert!(
        told.contains("the message                       250"),
        "{told}"
    );
    until("it is stored", SOON, || stored(&container) == 1);
    let queue = container.sh("postqueue -j");
    assert_eq!(queue, "", "it came by the milter");
    let foreign = Report::new("foreign", "example.net", &[3]).google(RUA);
    let told = send(&container, &foreign, RUA);
    assert!(told.contains("550 5.7.1"), "{told}");

    let doctor = container.run(&["rua-milter", "doctor"]);
    assert_eq!(doctor.code, 0, "{doctor:?}");
}
