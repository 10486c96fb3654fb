//! A private Sendmail: Debian's binary, taken out of its packages without installing them, with
//! its own configuration, queue and port, below one directory.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{bounded, free_port, holds_within, smtp::Client, until};

/// What differs between labs.
pub struct Options {
    /// Our socket.
    pub socket: PathBuf,
    /// Seconds that Sendmail waits for an answer.
    pub patience: u32,
    sink_port: u16,
}

impl Options {
    /// The milter at `socket`; mail for other.example goes to a sink.
    pub fn new(socket: &Path, sink_port: u16) -> Self {
        Self {
            socket: socket.to_owned(),
            patience: 60,
            sink_port,
        }
    }

    fn mc(&self, dir: &Path, port: u16) -> String {
        let (sink_port, ours) = (self.sink_port, self.ours(dir));
        let dir = dir.display();
        format!(
            "divert(0)dnl
OSTYPE(`linux')dnl
undefine(`confFORWARD_PATH')dnl
define(`confCW_FILE', `-o {dir}/etc/local-host-names')dnl
define(`confCT_FILE', `-o {dir}/etc/trusted-users')dnl
define(`QUEUE_DIR', `{dir}/mqueue')dnl
define(`STATUS_FILE', `{dir}/sendmail.st')dnl
define(`HELP_FILE', `')dnl
define(`ALIAS_FILE', `{dir}/etc/aliases')dnl
define(`confPID_FILE', `{dir}/sendmail.pid')dnl
define(`confSERVICE_SWITCH_FILE', `{dir}/etc/service.switch')dnl
define(`confDOMAIN_NAME', `mx.reports.example')dnl
define(`confDEAD_LETTER_DROP', `{dir}/dead.letter')dnl
define(`confCONTROL_SOCKET_NAME', `')dnl
define(`confDEF_USER_ID', `mail:mail')dnl
define(`confTO_IDENT', `0')dnl
define(`confDELIVERY_MODE', `background')dnl
define(`confMAX_MESSAGE_SIZE', `52428800')dnl
define(`confREFUSE_LA', `1000')dnl
define(`confQUEUE_LA', `1000')dnl
define(`confDELAY_LA', `1000')dnl
define(`confBAD_RCPT_THROTTLE', `0')dnl
define(`ESMTP_MAILER_ARGS', `TCP $h {sink_port}')dnl
FEATURE(`nouucp', `reject')dnl
FEATURE(`nocanonify')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`accept_unqualified_senders')dnl
FEATURE(`no_default_msa')dnl
FEATURE(`mailertable', `hash -o {dir}/etc/mailertable')dnl
DAEMON_OPTIONS(`Family=inet, Name=MTA, Port={port}, Addr=127.0.0.1')dnl
DAEMON_OPTIONS(`Family=inet6, Name=MTA6, Port={port}, Addr=::1')dnl
{ours}
MAILER(`local')dnl
MAILER(`smtp')dnl
"
        )
    }

    /// The lines that we give operators to paste, with the paths of this lab.
    fn ours(&self, dir: &Path) -> String {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/packaging/sendmail/rua-milter.mc"
        );
        let mut text = fs::read_to_string(path).expect("the lines");
        let patience = self.patience;
        for (shipped, here) in [
            (
                "/run/rua-milter/rua.sock",
                self.socket.display().to_string(),
            ),
            (
                "S:30s;R:30s;E:5m",
                format!("S:{patience}s;R:{patience}s;E:{patience}s"),
            ),
            (
                "/etc/mail/virtusertable.db",
                format!("{}/etc/virtusertable", dir.display()),
            ),
        ] {
            assert!(text.contains(shipped), "{shipped}");
            text = text.replace(shipped, &here);
        }
        text
    }
}

/// The running instance; it ends when it is dropped.
pub struct Sendmail {
    dir: PathBuf,
    port: u16,
    child: Child,
}

/// Where `tests/run` has unpacked the packages.
fn root() -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_rua-milter"))
        .ancestors()
        .nth(2);
    target.expect("a target directory").join("sendmail")
}

impl Sendmail {
    /// Starts one below `dir`, and waits until it greets.
    pub fn start(dir: &Path, options: &Options) -> Self {
        let etc = dir.join("etc");
        for sub in ["etc", "mqueue", "kept"] {
            fs::create_dir_all(dir.join(sub)).expect("a directory");
        }
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
        };
        mode(dir, 0o755);
        mode(&dir.join("mqueue"), 0o700);
        let kept = dir.join("kept/reports");
        let write = |name: &str, text: &str| fs::write(etc.join(name), text).expect("a file");
        let port = free_port();
        write("sendmail.mc", &options.mc(dir, port));
        write("service.switch", "hosts files\naliases files\n");
        write("virtusertable", "@reports.example rua-not-taken\n");
        write("mailertable", "other.example esmtp:[127.0.0.1]\n");
        let aliases = format!(
            "rua-not-taken: {}\npostmaster: root\nroot: /dev/null\nmailer-daemon: /dev/null\n",
            kept.display()
        );
        write("aliases", &aliases);
        for empty in ["local-host-names", "trusted-users"] {
            write(empty, "");
        }
        fs::write(dir.join("sendmail.st"), "").expect("a file");
        fs::write(&kept, "").expect("a file");
        mode(&kept, 0o666);
        configure(&etc);
        let child = named("sendmail")
            .args(["-C"])
            .arg(etc.join("sendmail.cf"))
            .args(["-bD", "-q1s"])
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("unshare");
        let sendmail = Self {
            dir: dir.to_owned(),
            port,
            child,
        };
        until("Sendmail greets", Duration::from_secs(30), || {
            Client::greeted(port)
                .is_some_and(|mut client| client.command("QUIT").starts_with("221"))
        });
        sendmail
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it delivered to the file that our addresses stand for.
    pub fn kept(&self) -> Vec<u8> {
        fs::read(self.dir.join("kept/reports")).expect("a file")
    }

    /// Whether nothing waits in its queue.
    pub fn is_idle(&self) -> bool {
        let queue = fs::read_dir(self.dir.join("mqueue")).expect("a queue");
        queue.count() == 0
    }
}

impl Drop for Sendmail {
    fn drop(&mut self) {
        super::signal(self.child.id(), "TERM");
        let ended = holds_within(Duration::from_secs(10), || {
            self.child.try_wait().is_ok_and(|status| status.is_some())
        });
        if !ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A command of Sendmail under a host name with a dot, without which it waits a minute for one.
fn named(command: &str) -> Command {
    let path = root().join("usr/libexec/sendmail").join(command);
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--uts", "sh", "-c"])
        .args(["hostname mx.reports.example; exec \"$@\"", "sh"])
        .arg(path);
    unshare
}

/// Makes sendmail.cf and the maps.
fn configure(etc: &Path) {
    let cf = root().join("usr/share/sendmail/cf");
    let made = bounded("m4")
        .arg(format!("-D_CF_DIR_={}/", cf.display()))
        .arg(cf.join("m4/cf.m4"))
        .arg(etc.join("sendmail.mc"))
        .output()
        .expect("m4");
    assert!(made.status.success(), "{made:?}");
    fs::write(etc.join("sendmail.cf"), made.stdout).expect("a file");
    for map in ["virtusertable", "mailertable"] {
        let made = named("makemap")
            .arg("-C")
            .arg(etc.join("sendmail.cf"))
            .arg("hash")
            .arg(etc.join(map))
            .stdin(fs::File::open(etc.join(map)).expect("a map"))
            .output()
            .expect("makemap: unpacked by tests/run");
        assert!(made.status.success(), "{map}: {made:?}");
    }
    let made = named("sendmail")
        .arg("-C")
        .arg(etc.join("sendmail.cf"))
        .arg("-bi")
        .output()
        .expect("sendmail");
    assert!(made.status.success(), "{made:?}");
}
