//! A machine as the pages take it to be: rua-milter installed from a package, Debian's Postfix, old
//! mails in the home folder. It lies below a folder of its own, to which the paths of the pages are
//! led; the commands of a system that are not to be run here have stand-ins.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::page::{Block, Page};
use crate::lab::{
    RUA, SOON, bounded,
    daemon::Output,
    free_port, holds_within,
    mails::{self, Report},
    nsd::Nsd,
    open_dir,
    postfix::{Options, Postfix},
    signal,
    smtp::Client,
    until,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_rua-milter");
/// Postfix's tools, which are to mean the Postfix of this machine.
const POSTFIX_TOOLS: [&str; 6] = [
    "postfix",
    "postconf",
    "postqueue",
    "postcat",
    "postsuper",
    "postmap",
];
/// What systemd does with the two services. What ended and was not waited for yet has ended.
const SYSTEMCTL: &str = r#"#!/bin/sh
set -eu
dir=$(dirname "$(dirname "$0")")
is_running() { grep -qs '^State:.[^ZX]' "/proc/$(cat "$dir/pid")/status"; }
stop() {
    if is_running; then kill -TERM "$(cat "$dir/pid")"; fi
    while is_running; do sleep 0.02; done
}
start() {
    if is_running; then return; fi
    cat "$dir/log" >>"$dir/log.before"
    setsid rua-milter serve >"$dir/log" 2>&1 </dev/null &
    echo $! >"$dir/pid"
    until grep -q ready "$dir/log"; do is_running || { cat "$dir/log" >&2; exit 1; }; sleep 0.02; done
}
case "$*" in
"restart postfix") exec postfix reload ;;
"status rua-milter") is_running ;;
"reload rua-milter") kill -HUP "$(cat "$dir/pid")" ;;
"start rua-milter" | "start rua-milter.socket rua-milter") start ;;
"enable --now rua-milter.socket rua-milter") start ;;
"stop rua-milter" | "stop rua-milter.socket rua-milter") stop ;;
"disable --now rua-milter.socket rua-milter") stop ;;
"restart rua-milter") stop; start ;;
*) echo "systemctl $*?" >&2; exit 1 ;;
esac
"#;
/// Everything is root's here, so nobody else has to be become.
const RUNUSER: &str = "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\"\n";

/// As far as the guides use it, where it is not installed.
const RSYNC: &str = "#!/bin/sh\nmkdir -p \"$3\" && cp -a \"$2.\" \"$3\"\n";

/// A machine. What runs on it ends when it is dropped.
pub struct Machine {
    dir: tempfile::TempDir,
    postfix: Postfix,
    /// A second port, for what a page has at another address.
    other_port: u16,
    filter_port: u16,
    reports: u64,
    nsd: Nsd,
}

impl Machine {
    /// The machine that a page begins on. That of README.md has nothing but a configuration; the others
    /// are set up as README.md says, and have some reports, and some mail that cannot be read.
    pub fn for_page(page: &Page) -> Self {
        let dir = open_dir();
        let at = dir.path();
        furnish(at);
        let nsd = Nsd::start(ZONES);
        let mut options = Options::new(free_port());
        options.chroot = true;
        options.main_cf =
            "relay_domains =\nrelay_recipient_maps =\nrelay_transport = relay\n".into();
        let mut machine = Self {
            postfix: Postfix::start(&at.join("postfix"), &options),
            other_port: free_port(),
            filter_port: free_port(),
            reports: 0,
            nsd,
            dir,
        };
        let readme = Page::read("README.md");
        let is_readme = page.name == readme.name;
        let installed = readme.of("toml").find(|block| block.says("install"));
        let config = &installed.expect("README.md configures").text;
        let dns = machine.nsd.address();
        let config = format!(
            "data_dir = \"/var/lib/rua-milter\"\n{config}\n[limits]\nmin_free_bytes = 1048576\n\
             [dns]\nservers = [\"{dns}\"]\n"
        );
        let path = machine.path().join("etc/rua-milter.toml");
        fs::write(path, machine.led(&config)).expect("to write");
        if !is_readme {
            machine.stock();
        }
        // The guide that says how starts with a Postfix that knows nothing of it.
        if !is_readme && !page.of("sh").any(|block| block.says("delivers")) {
            let attach = readme.of("sh").find(|block| block.says("delivers"));
            machine.types(&attach.expect("README.md attaches it").text);
        }
        machine
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Some mail that cannot be read, numbers 1 to 3, and reports; the daemon runs.
    fn stock(&mut self) {
        for n in 1..=3 {
            let broken = format!("<?xml version=\"1.0\"?><feedback><a{n}></b></feedback>");
            let mail = mails::attached(RUA, &mails::gzip(broken.as_bytes()));
            fs::write(self.path().join(format!("home/broken-{n}.eml")), mail).expect("to write");
            self.types(&format!("rua-milter import ~/broken-{n}.eml || true"));
        }
        self.types("rua-milter import ~/Maildir/.dmarc && systemctl start rua-milter");
    }

    /// Types a block, and looks whether it did what it promises.
    pub fn follow(&mut self, block: &Block) {
        let before = self.stored();
        if block.says("queued") {
            self.queue_a_report();
        }
        let said = self.shell(&block.text);
        assert_eq!(said.code, 0, "{}: {said:?}\n{}", block.at(), self.log());
        if block.says("delivers") {
            let elsewhere = block.text.contains(OTHER_ADDRESS);
            self.deliver(if elsewhere {
                self.other_port
            } else {
                self.postfix.port()
            });
        }
        if block.says("drains") {
            assert!(self.stored() > before, "{}: {said:?}", block.at());
            assert!(self.postfix.queue().is_empty(), "{}", block.at());
        }
    }

    /// Mails a report as a reporter does, and waits until it is stored. What was set a moment ago is not
    /// true of a process of Postfix's that has not ended yet, so it may take some tries.
    fn deliver(&mut self, port: u16) {
        let before = self.stored();
        let mail = self.report();
        let mut reply = String::new();
        let taken = holds_within(SOON, || {
            let client = Client::greeted(port);
            reply = client.map_or_else(String::new, |mut client| {
                client.command("EHLO reporter.example");
                client.try_submit(RUA, &mail)
            });
            reply.starts_with("250")
        });
        assert!(taken, "{reply}\n{}", self.log());
        until("it is stored", SOON, || self.stored() > before);
        assert!(self.postfix.queue().is_empty(), "it is nowhere else");
    }

    /// A report comes while the daemon is away.
    fn queue_a_report(&mut self) {
        self.types("systemctl stop rua-milter");
        let mail = self.report();
        let reply = Client::connect(self.postfix.port()).submit(&[RUA], &mail);
        assert!(reply.starts_with("250"), "{reply}");
        until("it waits in the queue", SOON, || {
            self.types("postqueue -j")
                .contains("rua-milter-must-take-this")
        });
        self.types("systemctl start rua-milter");
    }

    fn report(&mut self) -> Vec<u8> {
        self.reports += 1;
        Report::new(&format!("mailed-{}", self.reports), "example.com", &[4, 3]).google(RUA)
    }

    /// Reports about example.com; none before there is a store.
    fn stored(&self) -> u64 {
        let summary = self.shell("rua-milter summary example.com --days 0 --json");
        summary.json()["domains"][0]["reports"]
            .as_u64()
            .unwrap_or_default()
    }

    /// Types what must go well, and gives what it prints.
    fn types(&self, commands: &str) -> String {
        let said = self.shell(commands);
        assert_eq!(said.code, 0, "{commands}: {said:?}\n{}", self.log());
        said.stdout
    }

    fn shell(&self, commands: &str) -> Output {
        shell(self.path(), &self.led(commands))
    }

    /// Leads what a page names to this machine.
    fn led(&self, text: &str) -> String {
        let port = |port: u16| format!("127.0.0.1:{port}");
        led(self.path(), text)
            .replace(OTHER_ADDRESS, &port(self.other_port))
            .replace("127.0.0.1:10025", &port(self.filter_port))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let pid = fs::read_to_string(self.path().join("pid")).unwrap_or_default();
        if let Ok(pid) = pid.trim().parse() {
            signal(pid, "KILL");
        }
    }
}

/// The address of an smtpd of its own.
const OTHER_ADDRESS: &str = "192.0.2.25:smtp";
/// What DNS has, as the pages say to publish it.
const ZONES: &[(&str, &str)] = &[
    (
        "com",
        "_dmarc.example TXT \"v=DMARC1; p=none; rua=mailto:rua@reports.example\"",
    ),
    (
        "org",
        "_dmarc.example TXT \"v=DMARC1; p=none; rua=mailto:rua@reports.example\"",
    ),
    ("example", "*._report._dmarc.reports TXT \"v=DMARC1;\""),
];

/// Lays out the folders, the stand-ins and the old mails.
pub fn furnish(at: &Path) {
    for folder in [
        "bin",
        "etc",
        "data",
        "run",
        "backups",
        "home/Maildir/.dmarc/new",
        "home/Maildir/.dmarc/cur",
        "home/Maildir/.dmarc/tmp",
        "home/reports",
        "postfix/spool/rua-milter",
    ] {
        fs::create_dir_all(at.join(folder)).expect("a folder");
    }
    // As the socket unit has it, which no systemd reads here.
    let socket = at.join("postfix/spool/rua-milter");
    let chgrp = Command::new("chgrp").arg("postfix").arg(&socket).status();
    assert!(
        chgrp.is_ok_and(|status| status.success()),
        "root, and Postfix"
    );
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o2750)).expect("chmod");
    for name in ["log", "pid"] {
        fs::write(at.join(name), "").expect("to write");
    }
    let program = at.join("etc/rua-milter.toml");
    stand_in(
        at,
        "rua-milter",
        &format!(
            "#!/bin/sh\nexec {PROGRAM} --config {} \"$@\"\n",
            program.display()
        ),
    );
    stand_in(at, "systemctl", SYSTEMCTL);
    stand_in(at, "runuser", RUNUSER);
    stand_in(at, "rsync", RSYNC);
    for tool in POSTFIX_TOOLS {
        let config = at.join("postfix/etc");
        let script = format!(
            "#!/bin/sh\nexec /usr/sbin/{tool} -c {} \"$@\"\n",
            config.display()
        );
        stand_in(at, tool, &script);
    }
    let old = |n: u32| Report::new(&format!("old-{n}"), "example.com", &[3, 2]);
    let mut mbox = Vec::new();
    for n in 0..4 {
        let mail = at.join(format!("home/Maildir/.dmarc/cur/{n}:2,S"));
        fs::write(mail, old(n).microsoft(RUA)).expect("to write");
        mbox.extend(b"From noreply@reporter.example Wed Nov 15 01:02:03 2023\n");
        mbox.extend(old(n + 2).rfc9990(RUA));
        mbox.push(b'\n');
        let file = at.join(format!("home/reports/{n}.xml"));
        fs::write(file, old(n + 4).xml()).expect("to write");
    }
    fs::write(at.join("home/dmarc.mbox"), &mbox).expect("to write");
    fs::write(at.join("home/rua-not-taken"), &mbox).expect("to write");
}

fn stand_in(at: &Path, name: &str, script: &str) {
    let path = at.join("bin").join(name);
    fs::write(&path, script).expect("to write");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
}

/// Leads the paths of the pages below `at`.
pub fn led(at: &Path, text: &str) -> String {
    let at = at.display();
    [
        ("/var/lib/rua-milter", "data"),
        ("/etc/rua-milter", "etc"),
        ("/run/rua-milter", "run"),
        ("/var/spool/postfix", "postfix/spool"),
        ("/var/backups", "backups"),
        ("/var/mail", "home"),
    ]
    .into_iter()
    .fold(text.to_owned(), |text, (path, below)| {
        text.replace(path, &format!("{at}/{below}"))
    })
}

/// Types commands as root on the machine at `at`. The first that fails ends them.
pub fn shell(at: &Path, commands: &str) -> Output {
    let home = at.join("home");
    let path = format!(
        "{}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        at.display()
    );
    let output = bounded("sh")
        .args(["-euc", commands])
        .env_clear()
        .envs([("PATH", path.as_str()), ("LC_ALL", "C.UTF-8")])
        .env("HOME", &home)
        .current_dir(&home)
        .output()
        .expect("a shell");
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// What `check-config` says of a part of a configuration, with every secret in its place.
pub fn check_config(text: &str) -> Output {
    let dir = open_dir();
    let at = dir.path();
    let secrets: [PathBuf; 2] = ["webhook-secret", "hook-bearer"].map(|name| at.join(name));
    for secret in secrets {
        fs::write(secret, "secret\n").expect("to write");
    }
    fs::create_dir(at.join("home")).expect("a folder");
    let config = at.join("rua-milter.toml");
    fs::write(&config, text).expect("to write");
    shell(
        at,
        &format!("{PROGRAM} check-config --config {}", config.display()),
    )
}
