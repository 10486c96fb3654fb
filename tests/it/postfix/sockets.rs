//! The ways in which Postfix reaches us.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use super::{ONE, report};
use crate::lab::{
    Lab, RUA,
    daemon::{Daemon, Settings},
    free_port, open_dir,
    postfix::Postfix,
    replies,
};

fn takes_a_report(lab: &Lab) {
    let mut client = lab.client();
    client.mail();
    assert_eq!(client.rcpt("nobody@reports.example"), replies::UNKNOWN);
    assert!(client.rcpt(RUA).starts_with("250"));
    let reply = client.data(&report().google(RUA));
    assert!(reply.starts_with("250"), "{reply}");
    lab.daemon.expect_stored("example.com", ONE);
}

/// A lab whose milter listens at `listen`, and whose Postfix goes to `milters`.
fn at(listen: &str, milters: &str) -> Lab {
    Lab::with(|settings, options| {
        settings.listen = vec![listen.into()];
        options.milters = milters.into();
    })
}

#[test]
fn ipv4() {
    let address = format!("inet:127.0.0.1:{}", free_port());
    takes_a_report(&at(&address, &address));
}

#[test]
fn ipv6() {
    let address = format!("inet:[::1]:{}", free_port());
    takes_a_report(&at(&address, &address));
}

#[test]
fn a_unix_socket_for_the_group_of_postfix_alone() {
    let lab = Lab::with(|settings, _| {
        settings.socket = "mode = \"0660\"\ngroup = \"postfix\"".into();
    });
    takes_a_report(&lab);
    let socket = lab.daemon.settings().listen[0]
        .trim_start_matches("unix:")
        .to_owned();
    let mode = fs::metadata(socket)
        .expect("the socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[test]
fn a_unix_socket_below_the_chroot_of_smtpd() {
    let lab = Lab::with(|settings, options| {
        let dir = settings.data.parent().expect("the lab's").to_owned();
        let folder = Postfix::queue_dir(&dir).join("rua-milter");
        fs::create_dir_all(&folder).expect("a folder");
        settings.listen = vec![format!("unix:{}/rua.sock", folder.display())];
        options.chroot = true;
        options.milters = "{ unix:/rua-milter/rua.sock, default_action=tempfail }".into();
    });
    takes_a_report(&lab);
}

#[test]
fn several_listeners_at_once() {
    let (port, six) = (free_port(), free_port());
    for via in [
        format!("inet:127.0.0.1:{port}"),
        format!("inet:[::1]:{six}"),
    ] {
        let lab = Lab::with(|settings, options| {
            settings.listen.push(format!("inet:127.0.0.1:{port}"));
            settings.listen.push(format!("inet:[::1]:{six}"));
            options.milters = via;
        });
        takes_a_report(&lab);
    }
}

#[test]
fn a_socket_file_that_a_crash_left_is_no_hindrance() {
    let mut lab = Lab::start();
    lab.daemon.kill();
    lab.daemon.restart();
    takes_a_report(&lab);
}

#[test]
fn a_second_daemon_on_the_same_data_ends_at_once() {
    let dir = open_dir();
    let mut settings = Settings::new(&dir.path().join("data"));
    settings.listen = vec![format!("unix:{}/one.sock", dir.path().display())];
    let first = Daemon::start(&dir.path().join("one.toml"), &settings);
    settings.listen = vec![format!("unix:{}/two.sock", dir.path().display())];
    let second = Daemon::stopped(&dir.path().join("two.toml"), &settings);
    let output = second.run(&["serve"]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(first.is_running());
}

#[test]
fn a_socket_in_use_is_not_taken_away() {
    let dir = open_dir();
    let mut settings = Settings::new(&dir.path().join("one"));
    settings.listen = vec![format!("unix:{}/rua.sock", dir.path().display())];
    let first = Daemon::start(&dir.path().join("one.toml"), &settings);
    settings.data = dir.path().join("two");
    let second = Daemon::stopped(&dir.path().join("two.toml"), &settings);
    let output = second.run(&["serve"]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(first.is_running());
    let listening = Command::new("test")
        .arg("-S")
        .arg(dir.path().join("rua.sock"))
        .status();
    assert!(
        listening.expect("test").success(),
        "the socket is still there"
    );
}
