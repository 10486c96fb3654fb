//! A Debian with a real systemd: a container whose every change is gone with it, and whose network
//! is its own loopback.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    SOON, bounded,
    daemon::{Output, target},
    holds_within, is_running, until,
};

/// systemd-nspawn runs a root once at a time; and so many that boot would disturb tests of time.
static ONE: Mutex<()> = Mutex::new(());

/// Releases of Debian that tests/run makes a root of.
#[derive(Clone, Copy, Debug)]
pub enum Debian {
    Bookworm,
    Trixie,
}

/// A running container. It is killed when it is dropped, and with whoever started it.
pub struct Container {
    nspawn: Child,
    /// Its systemd, as this machine numbers it.
    init: u32,
    _dir: tempfile::TempDir,
    _one: MutexGuard<'static, ()>,
}

impl Container {
    /// Boots until systemd says that all is well.
    pub fn boot(debian: Debian) -> Self {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("{debian:?}").to_lowercase();
        let root = target().join("containers").join(&name);
        assert!(
            root.is_dir(),
            "no {}: tests/run makes it, of trixie with --long",
            root.display()
        );
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = File::create(dir.path().join("log")).expect("a log file");
        // Its own process 1 goes with us, and with it all that runs in there.
        let mut nspawn = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--pid", "--mount-proc"])
            .args(["--fork", "--kill-child=KILL"])
            .args(["systemd-nspawn", "--quiet", "--boot"])
            .args(["--register=no", "--keep-unit", "--private-network"])
            .args(["--volatile=overlay", "--link-journal=no"])
            .args(["--resolv-conf=off", "--timezone=off", "--console=pipe"])
            .arg(format!("--machine=rua-it-{}", std::process::id()))
            .arg("--directory")
            .arg(root)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn()
            .expect("setpriv, of util-linux");
        let mut init = None;
        let begun = holds_within(SOON, || {
            init = first_process(nspawn.id());
            init.is_some() || nspawn.try_wait().expect("a child").is_some()
        });
        let log = || fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        let Some(init) = init.filter(|_| begun) else {
            panic!("systemd-nspawn starts nothing:\n{}", log());
        };
        let container = Self {
            nspawn,
            init,
            _dir: dir,
            _one: one,
        };
        let mut state = String::new();
        let booted = holds_within(2 * SOON, || {
            state = container.run(&["systemctl", "is-system-running"]).stdout;
            ["running\n", "degraded\n"].contains(&&*state)
        });
        assert!(booted, "{name} does not boot: {state}");
        assert_eq!(state, "running\n", "{}", container.sh("systemctl --failed"));
        container
    }

    /// Where this machine finds a file of the container.
    pub fn path(&self, path: &str) -> PathBuf {
        Path::new("/proc")
            .join(self.init.to_string())
            .join("root")
            .join(path.trim_start_matches('/'))
    }

    /// Puts a file there, which anybody may read.
    pub fn put(&self, path: &str, data: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, data).expect("to write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Runs a command of the container's in it.
    pub fn run(&self, command: &[&str]) -> Output {
        self.enter(&["--all"], command, b"")
    }

    /// Runs a script of its shell, which must succeed; what it printed.
    pub fn sh(&self, script: &str) -> String {
        let output = self.run(&["sh", "-ec", script]);
        assert_eq!(output.code, 0, "{script}\n{output:?}");
        output.stdout
    }

    /// Runs a command of this machine in the container's network.
    pub fn in_network(&self, command: &[&str], stdin: &[u8]) -> Output {
        self.enter(&["--net"], command, stdin)
    }

    /// The same without waiting for its end.
    pub fn begin_in_network(&self, command: &[&str]) -> Child {
        Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "nsenter", "--net"])
            .args(["--target", &self.init.to_string()])
            .args(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("to start")
    }

    fn enter(&self, namespaces: &[&str], command: &[&str], stdin: &[u8]) -> Output {
        let mut input = tempfile::tempfile().expect("a file");
        input.write_all(stdin).expect("to write");
        std::io::Seek::rewind(&mut input).expect("to rewind");
        let output = bounded("nsenter")
            .args(namespaces)
            .args(["--target", &self.init.to_string()])
            .args(command)
            // What a login gives; programs of the container look for nothing of ours.
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("LC_ALL", "C.UTF-8")
            .stdin(input)
            .output()
            .expect("nsenter, of util-linux");
        Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What a unit has logged.
    pub fn journal(&self, unit: &str) -> String {
        self.sh(&format!(
            "journalctl --quiet --no-pager --output=cat --unit={unit}"
        ))
    }

    /// `systemctl show` of one property.
    pub fn property(&self, unit: &str, name: &str) -> String {
        let value = self.sh(&format!("systemctl show --value --property={name} {unit}"));
        value.trim().to_owned()
    }

    /// Waits until the unit is active and stays.
    pub fn expect_active(&self, unit: &str) {
        let mut state = String::new();
        let active = holds_within(SOON, || {
            state = self.property(unit, "ActiveState");
            state != "activating" && state != "deactivating"
        });
        assert!(
            active && state == "active",
            "{unit} is {state}\n{}",
            self.journal(unit)
        );
    }

    /// Waits for a condition that a script of the container's shell tells.
    pub fn until(&self, script: &str) {
        until(script, SOON, || self.run(&["sh", "-c", script]).code == 0);
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.run(&["journalctl", "--no-pager", "--boot"]).stdout;
            let last: Vec<_> = log.lines().rev().take(100).collect();
            eprintln!("--- the container's journal, its end");
            last.iter().rev().for_each(|line| eprintln!("{line}"));
        }
        let _ = self.nspawn.kill();
        let _ = self.nspawn.wait();
        until("the container is gone", SOON, || !is_running(self.init));
    }
}

/// The process that is the first of its namespace, within that of systemd-nspawn.
fn first_process(parent: u32) -> Option<u32> {
    children(parent).into_iter().find_map(|nspawn| {
        let mut within = children(nspawn).into_iter();
        within.find(|child| {
            let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            // Here, where systemd-nspawn is, and inside.
            numbers.is_some_and(|numbers| numbers.split_whitespace().nth(2) == Some("1"))
        })
    })
}

fn children(parent: u32) -> Vec<u32> {
    let file = format!("/proc/{parent}/task/{parent}/children");
    let children = fs::read_to_string(file).unwrap_or_default();
    children.split_whitespace().flat_map(str::parse).collect()
}
