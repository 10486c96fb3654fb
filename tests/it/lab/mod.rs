//! Real servers for tests: a private Postfix, the program itself, an SMTP sink, sample mails.
//!
//! Every lab has a directory and ports of its own, so labs run side by side. Whatever a lab
//! starts it ends, by process id. Every wait has a condition and a deadline.

pub mod aftermath;
pub mod container;
pub mod daemon;
pub mod disk;
pub mod hook;
pub mod mails;
pub mod metric_store;
pub mod milter;
pub mod nsd;
pub mod postfix;
pub mod sendmail;
pub mod sink;
pub mod smtp;
pub mod stalwart;
pub mod strace;
pub mod tap;
pub mod trace;
pub mod unbound;
pub mod zones;

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use daemon::{Daemon, Settings};
use postfix::{Options, Postfix};
use sink::Sink;
use smtp::Client;

/// Longest wait for anything that should come at once; the machine may be busy.
pub const SOON: Duration = Duration::from_secs(30);

/// What the sender hears from us; Postfix's own refusals have other texts.
pub mod replies {
    pub const UNKNOWN: &str = "550 5.1.1 No reports are received at this address";
    pub const NO_ROOM: &str = "451 4.3.1 Reports cannot be taken right now, please try again later";
    pub const TOO_MANY: &str = "452 4.5.3 Too many report recipients in one message";
    pub const TOO_LARGE: &str = "552 5.3.4 Report exceeds the size limit";
    pub const NOT_STORED: &str = "451 4.3.0 Report could not be stored, please try again later";
    pub const FOREIGN: &str = "550 5.7.1 This report is about a domain that is not handled here";
    pub const FAILURE_OFF: &str = "550 5.7.1 No failure reports are received for this domain";
    pub const NOT_A_REPORT: &str = "550 5.7.1 This address receives DMARC reports only";
}

pub const RUA: &str = "rua@reports.example";
pub const RUA_ORG: &str = "rua-org@reports.example";
pub const USER: &str = "user@other.example";

/// A directory that any user may enter (Postfix and a daemon without root need that).
pub fn open_dir() -> tempfile::TempDir {
    open_dir_below("/tmp")
}

/// The same elsewhere: Sendmail trusts no socket below a folder that everybody can write to.
pub fn open_dir_below(folder: &str) -> tempfile::TempDir {
    let dir = tempfile::Builder::new()
        .prefix("rua-it-")
        .tempdir_in(folder)
        .expect("a temporary directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    dir
}

/// A port that is free on both loopback addresses. Ports below the range of outgoing connections
/// are tried one after the other, so that neither a client nor another lab comes between.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..10_000 {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 12_000 + (std::process::id().wrapping_mul(97).wrapping_add(step) % 18_000);
        let port = u16::try_from(port).expect("below 30,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok()
            && TcpListener::bind(("::1", port)).is_ok()
        {
            return port;
        }
    }
    panic!("no free port");
}

/// Waits until `condition` holds, and fails the test with `what` when it does not in time.
pub fn until(what: &str, limit: Duration, condition: impl FnMut() -> bool) {
    assert!(
        holds_within(limit, condition),
        "not within {limit:?}: {what}"
    );
}

/// Whether `condition` came to hold within `limit`.
pub fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// A command that is ended when it takes longer than anything here should.
pub fn bounded(program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["-k", "1", "120", program]);
    command
}

/// Sends a signal to one process.
pub fn signal(pid: u32, name: &str) {
    assert!(pid > 1, "no process group, no init");
    // A process that has just ended is no failure.
    let _ = Command::new("sh")
        .args(["-c", "kill -s \"$1\" \"$2\" 2>/dev/null", "sh", name])
        .arg(pid.to_string())
        .status();
}

/// Whether a process runs; one that nobody has waited for yet has ended.
pub fn is_running(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with('Z'))
    })
}

/// A page of an HTTP server on the loopback: its status and its text.
pub fn page(port: u16, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("an HTTP server");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("to send");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.expect("a status"), body.to_owned())
}

/// Directories with every file of ours below `dir`, for assertions about what exists.
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found
}

/// Postfix with rua-milter attached, and a sink that receives what Postfix delivers. Fields end in
/// this order.
pub struct Lab {
    pub postfix: Postfix,
    pub daemon: Daemon,
    pub sink: Sink,
    _dir: tempfile::TempDir,
}

impl Lab {
    /// The plain case: unix socket, `default_action=tempfail`, default settings.
    pub fn start() -> Self {
        Self::with(|_, _| {})
    }

    /// The same after `change`.
    pub fn with(change: impl FnOnce(&mut Settings, &mut Options)) -> Self {
        let dir = open_dir();
        let sink = Sink::start();
        let socket = format!("unix:{}/rua.sock", dir.path().display());
        let mut settings = Settings::new(&dir.path().join("data"));
        settings.listen = vec![socket.clone()];
        let mut options = Options::new(sink.port());
        options.milters = format!("{{ {socket}, default_action=tempfail }}");
        change(&mut settings, &mut options);
        // The chroot case puts the socket below the queue directory, which must exist by then.
        let postfix = Postfix::start(&dir.path().join("postfix"), &options);
        let daemon = Daemon::start(&dir.path().join("rua-milter.toml"), &settings);
        Self {
            postfix,
            daemon,
            sink,
            _dir: dir,
        }
    }

    /// The plain case with a Prometheus page, after `change`; and the page's port.
    pub fn with_page(change: impl FnOnce(&mut Settings)) -> (Self, u16) {
        let port = free_port();
        let lab = Self::with(|settings, _| {
            settings.metrics = format!("prometheus = \"127.0.0.1:{port}\"\n");
            change(settings);
        });
        (lab, port)
    }

    /// An SMTP session, greeted.
    pub fn client(&self) -> Client {
        Client::connect(self.postfix.port())
    }

    /// Waits until everything that was taken has been worked through and everything else left.
    pub fn settle(&self) {
        until("the spool is worked through", SOON, || {
            self.daemon.spool("new").is_empty()
        });
        until("the queue is empty", SOON, || {
            self.postfix.queue().is_empty()
        });
    }
}
