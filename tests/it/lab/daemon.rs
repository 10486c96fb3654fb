//! The program itself: `serve` as a child process, and its other commands.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::Write as _,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use super::{SOON, bounded, holds_within, is_running, signal, until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_rua-milter");

/// A configuration in parts. The texts of sections are lines of TOML.
#[derive(Clone)]
pub struct Settings {
    /// What is run as the daemon.
    pub program: PathBuf,
    pub data: PathBuf,
    /// Relative to the configuration.
    pub domain_files: Vec<String>,
    pub listen: Vec<String>,
    /// Lines added to every `[[listen]]` on a unix socket.
    pub socket: String,
    /// Lines added to every `[[listen]]`.
    pub peer: String,
    pub milter: String,
    pub hook: String,
    pub recipients: String,
    /// `[[domain]]` tables.
    pub domains: String,
    pub retention: String,
    pub limits: String,
    pub rate: String,
    pub log: String,
    pub metrics: String,
    pub dns: String,
    /// Variables of the daemon's environment.
    pub env: Vec<(String, String)>,
    /// A command with arguments that runs the daemon, such as strace; none runs it as it is.
    pub under: Vec<String>,
}

impl Settings {
    /// example.com and example.org report to reports.example; DNS is not asked.
    pub fn new(data: &Path) -> Self {
        Self {
            program: PROGRAM.into(),
            data: data.to_owned(),
            domain_files: Vec::new(),
            listen: Vec::new(),
            socket: "mode = \"0666\"".into(),
            peer: String::new(),
            milter: String::new(),
            hook: String::new(),
            recipients: "hosts = [\"reports.example\"]".into(),
            domains: "[[domain]]\nname = \"example.com\"\nrua = [\"rua@reports.example\"]\n\
                      [[domain]]\nname = \"example.org\"\nrua = [\"rua-org@reports.example\"]\n"
                .into(),
            retention: String::new(),
            // A busy machine's disk may be fuller than the default allows.
            limits: "min_free_bytes = 1048576".into(),
            rate: String::new(),
            log: String::new(),
            metrics: String::new(),
            dns: "watch = false".into(),
            env: Vec::new(),
            under: Vec::new(),
        }
    }

    /// The file's text.
    pub fn to_toml(&self) -> String {
        let mut text = format!(
            "data_dir = \"{}\"\ndomain_files = {:?}\n",
            self.data.display(),
            self.domain_files
        );
        for address in &self.listen {
            let unix = address.starts_with("unix:");
            let socket = if unix { &*self.socket } else { "" };
            let peer = &self.peer;
            let _ = write!(
                text,
                "[[listen]]\naddress = \"{address}\"\n{socket}\n{peer}\n"
            );
        }
        for (name, lines) in [
            ("milter", &self.milter),
            ("hook", &self.hook),
            ("recipients", &self.recipients),
            ("retention", &self.retention),
            ("limits", &self.limits),
            ("rate", &self.rate),
            ("log", &self.log),
            ("metrics", &self.metrics),
            ("dns", &self.dns),
        ] {
            let _ = write!(text, "[{name}]\n{lines}\n");
        }
        text + &self.domains
    }
}

/// A daemon, running or between two runs. It is killed when it is dropped.
pub struct Daemon {
    config: PathBuf,
    settings: Settings,
    child: Option<Child>,
    notify: UnixDatagram,
}

impl Daemon {
    /// Writes the configuration, and starts `serve` once its data directory is there.
    pub fn start(config: &Path, settings: &Settings) -> Self {
        let mut daemon = Self::stopped(config, settings);
        daemon.restart();
        daemon
    }

    /// The same without starting it yet.
    pub fn stopped(config: &Path, settings: &Settings) -> Self {
        fs::create_dir_all(&settings.data).expect("a data directory");
        let notify = UnixDatagram::bind(config.with_extension("notify")).expect("a socket");
        let daemon = Self {
            config: config.to_owned(),
            settings: settings.clone(),
            child: None,
            notify,
        };
        daemon.configure(settings);
        daemon
    }

    /// Starts it (again), on the same data, and waits for its READY=1.
    pub fn restart(&mut self) {
        self.launch();
        self.hear("READY=1");
    }

    /// The same without waiting.
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "it runs");
        self.forget_messages();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("a log file");
        let under = self.settings.under.iter();
        let program = self.settings.program.to_str().expect("UTF-8");
        let mut words = under.map(String::as_str).chain([program]);
        let mut command = Command::new(words.next().expect("the program"));
        let child = clean(&mut command)
            .args(words)
            .arg("serve")
            .arg("--config")
            .arg(&self.config)
            .env("NOTIFY_SOCKET", self.config.with_extension("notify"))
            .envs(self.settings.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn()
            .expect("to start");
        self.child = Some(child);
    }

    /// What an earlier run has told the service manager is not what the next one tells.
    fn forget_messages(&self) {
        self.notify.set_nonblocking(true).expect("a socket");
        while self.notify.recv(&mut [0; 4096]).is_ok() {}
        self.notify.set_nonblocking(false).expect("a socket");
    }

    /// Replaces the configuration file; a running daemon reads it at [`Daemon::signal`] HUP.
    pub fn configure(&self, settings: &Settings) {
        fs::write(&self.config, settings.to_toml()).expect("to write");
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What runs the daemon from its next start on.
    pub fn put_under(&mut self, command: Vec<String>) {
        self.settings.under = command;
    }

    /// Where the spool, the store and the archive are.
    pub fn data(&self) -> &Path {
        &self.settings.data
    }

    /// Waits for a message to the service manager, which must come.
    pub fn hear(&mut self, message: &str) {
        assert!(self.hears(message), "no {message}\n{}", self.log());
    }

    /// The same; whether it came before the daemon ended.
    pub fn hears(&mut self, message: &str) -> bool {
        self.notify
            .set_read_timeout(Some(Duration::from_millis(200)))
            .expect("a timeout");
        let mut heard = false;
        let mut buffer = [0; 4096];
        let within = holds_within(SOON, || {
            if let Ok(length) = self.notify.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]);
                heard = text.lines().any(|line| line == message);
            }
            heard || !self.is_running()
        });
        within && heard
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("to kill");
        child.wait().expect("to end");
    }

    /// TERM, HUP.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for its end, which may be preceded by a drain.
    pub fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        let mut status = None;
        let ended = holds_within(2 * SOON, || {
            status = child.try_wait().expect("to wait");
            status.is_some()
        });
        if !ended {
            let _ = child.kill();
            let _ = child.wait();
        }
        status.expect("an end in time")
    }

    pub fn is_running(&self) -> bool {
        self.child
            .as_ref()
            .is_some_and(|child| is_running(child.id()))
    }

    /// What it has written to stdout and stderr, over all runs.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Runs another command with the same configuration.
    pub fn run(&self, args: &[&str]) -> Output {
        self.run_with(args, b"")
    }

    /// The same with something on its standard input.
    pub fn run_with(&self, args: &[&str], stdin: &[u8]) -> Output {
        let config = self.config.to_str().expect("UTF-8");
        let mut all = args.to_vec();
        all.extend(["--config", config]);
        run(&all, stdin)
    }

    /// Starts another command with the same configuration, its standard input open.
    pub fn begin(&self, args: &[&str]) -> Running {
        let errors = self.config.with_extension("errors");
        let child = program()
            .args(args)
            .arg("--config")
            .arg(&self.config)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(&errors).expect("a file"))
            .spawn()
            .expect("to start");
        Running { child, errors }
    }

    /// What the store holds about one domain.
    pub fn stored(&self, domain: &str) -> Stored {
        let output = self.run(&["summary", domain, "--json"]);
        Stored::read(&output, domain)
    }

    /// Waits until the store holds this about a domain, and nothing is on its way there.
    pub fn expect_stored(&self, domain: &str, expected: Stored) {
        let mut last = None;
        let held = holds_within(SOON, || {
            if !self.spool("new").is_empty() {
                return false;
            }
            last = Some(self.stored(domain));
            last == Some(expected)
        });
        assert!(
            held,
            "{domain}: {last:?} instead of {expected:?}\n{}",
            self.log()
        );
    }

    /// Reasons of the spool's entries in a state, in order of arrival; empty before it exists.
    pub fn spool(&self, state: &str) -> Vec<String> {
        self.entries("coalesce(reason, '')", state)
    }

    /// The raw mails of these entries.
    pub fn spooled(&self, state: &str) -> Vec<Vec<u8>> {
        self.entries("raw", state)
    }

    /// The envelopes of these entries.
    pub fn envelopes(&self, state: &str) -> Vec<serde_json::Value> {
        let texts: Vec<String> = self.entries("envelope", state);
        let parse = |text: String| serde_json::from_str(&text).expect("JSON");
        texts.into_iter().map(parse).collect()
    }

    fn entries<T: rusqlite::types::FromSql>(&self, column: &str, state: &str) -> Vec<T> {
        let path = self.data().join("spool.sqlite");
        if !path.exists() {
            return Vec::new();
        }
        let read = || -> rusqlite::Result<Vec<T>> {
            let query = format!(
                "SELECT {column} FROM entry JOIN message USING (id) WHERE state = ?1 ORDER BY id"
            );
            database(&path)?
                .prepare(&query)?
                .query_map([state], |row| row.get(0))?
                .collect()
        };
        match read() {
            // Whoever makes the spool has not come to its tables yet.
            Err(error) if error.to_string().contains("no such table") => Vec::new(),
            entries => entries.expect("the spool"),
        }
    }

    /// Holds a transaction on the report store, so that nothing can be stored meanwhile.
    pub fn block_store(&self) -> rusqlite::Connection {
        let path = self.data().join("reports.sqlite");
        until("the report store exists", SOON, || {
            fs::metadata(&path).is_ok_and(|file| file.len() > 0)
        });
        let store = rusqlite::Connection::open(path).expect("the report store");
        store.busy_timeout(SOON).expect("a timeout");
        store.execute_batch("BEGIN EXCLUSIVE").expect("the lock");
        store
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    fn log_path(&self) -> PathBuf {
        self.config.with_extension("log")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- rua-milter\n{}", self.log());
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A line of the kernel's about the memory of a process, such as `VmRSS`, in KiB.
pub fn memory(pid: u32, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let value = status.lines().find_map(|text| text.strip_prefix(line));
    let mut words = value.expect("a line").split_whitespace();
    words
        .nth(1)
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

/// What a process has taken of the processors so far, in seconds.
pub fn cpu_secs(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let (_, rest) = stat.rsplit_once(") ").expect("a name");
    // `utime` and `stime`, the 14th and 15th field, in ticks, of which Linux has 100 a second.
    let ticks = rest.split(' ').skip(11).take(2);
    ticks
        .map(|ticks| ticks.parse::<f64>().expect("a number"))
        .sum::<f64>()
        / 100.0
}

/// Cargo's target directory.
pub fn target() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = std::env::var_os("CARGO_TARGET_DIR");
    root.join(target.map_or_else(|| "target".into(), PathBuf::from))
}

/// The program of the packages: what operators run, and what memory and time are promised for.
pub fn release() -> PathBuf {
    let program = target().join("packages/made/rua-milter");
    assert!(
        program.is_file(),
        "no {}: packaging/build makes it, as tests/run does",
        program.display()
    );
    program
}

/// A command that was begun. It is killed when it is dropped.
pub struct Running {
    child: Child,
    errors: PathBuf,
}

impl Running {
    /// Gives it something to read; what it reads does not end by that.
    pub fn feed(&mut self, input: &[u8]) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(input).expect("it reads");
    }

    /// Ends what it reads, and waits for its end.
    pub fn finish(mut self) -> ExitStatus {
        drop(self.child.stdin.take());
        self.child.wait().expect("to wait")
    }

    /// What it has written to stderr.
    pub fn errors(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default()
    }

    pub fn is_running(&self) -> bool {
        is_running(self.child.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn database(path: &Path) -> rusqlite::Result<rusqlite::Connection> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = rusqlite::Connection::open_with_flags(path, flags)?;
    database.busy_timeout(SOON)?;
    Ok(database)
}

/// Counts of one domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    pub reports: u64,
    pub messages: u64,
}

impl Stored {
    pub const NOTHING: Self = Self {
        reports: 0,
        messages: 0,
    };

    /// From the output of `summary DOMAIN --json`.
    fn read(output: &Output, domain: &str) -> Self {
        let json = output.json();
        let domains = json["domains"].as_array().cloned().unwrap_or_default();
        let count = |key: &str| {
            domains
                .iter()
                .filter(|entry| entry["domain"] == domain)
                .filter_map(|entry| entry[key].as_u64())
                .sum()
        };
        Self {
            reports: count("reports"),
            messages: count("messages"),
        }
    }
}

/// What a command said.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Its standard output as one JSON value; null if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_default()
    }

    /// Its standard output as one JSON value a line.
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        let lines = self.stdout.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }
}

/// Runs the program to its end.
pub fn run(args: &[&str], stdin: &[u8]) -> Output {
    let input = tempfile::NamedTempFile::new_in("/tmp").expect("a file");
    fs::write(input.path(), stdin).expect("to write");
    let mut command = bounded(PROGRAM);
    let output = clean(&mut command)
        .args(args)
        .stdin(File::open(input.path()).expect("to open"))
        .output()
        .expect("to run");
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn program() -> Command {
    let mut command = Command::new(PROGRAM);
    clean(&mut command);
    command
}

/// Removes what the environment of the test could tell the program.
fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("OTEL_")
            || ["RUST_LOG", "NOTIFY_SOCKET", "WATCHDOG_USEC"].contains(&&*text)
        {
            command.env_remove(&name);
        }
    }
    command
}
