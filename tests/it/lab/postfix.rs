//! A private Postfix: its own configuration, queue, log and port, below one directory. The
//! Postfix of the machine, if there is one, is left alone.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use super::{bounded, free_port, holds_within, is_running, signal, smtp::Client, until};

/// What differs between labs.
pub struct Options {
    /// `smtpd_milters`.
    pub milters: String,
    /// `non_smtpd_milters`.
    pub non_smtpd_milters: String,
    /// Whether smtpd is chrooted to the queue directory, as Debian ships it.
    pub chroot: bool,
    /// Lines added to main.cf; a later line wins over an earlier one.
    pub main_cf: String,
    /// Lines added to master.cf.
    pub master_cf: String,
    sink_port: u16,
}

/// A transport that leads nowhere: what the milter did not take stays in the queue, never lost.
pub const DEFERRING_SINK: &str = "lmtp:unix:private/rua-milter-must-take-this";

impl Options {
    /// No milter; everything is delivered to a sink.
    pub fn new(sink_port: u16) -> Self {
        Self {
            milters: String::new(),
            non_smtpd_milters: String::new(),
            chroot: false,
            main_cf: String::new(),
            master_cf: String::new(),
            sink_port,
        }
    }

    fn main_cf(&self, dir: &Path) -> String {
        let Self {
            milters,
            non_smtpd_milters,
            main_cf,
            sink_port,
            ..
        } = self;
        let dir = dir.display();
        format!(
            "compatibility_level = 3.6
queue_directory = {dir}/spool
data_directory = {dir}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
meta_directory = /etc/postfix
shlib_directory = /usr/lib/postfix
mail_owner = postfix
setgid_group = postdrop
maillog_file = {dir}/mail.log
maillog_file_prefixes = {dir}, /dev
myhostname = mx.reports.example
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = all
alias_maps =
alias_database =
local_header_rewrite_clients =
smtp_dns_support_level = disabled
smtp_host_lookup = native
disable_dns_lookups = yes
smtpd_peername_lookup = no
biff = no
recipient_delimiter = +
relay_domains = reports.example, other.example
relay_recipient_maps = inline:{{ {{@reports.example=x}}, {{user@other.example=x}}, {{user2@other.example=x}} }}
relay_transport = smtp:[127.0.0.1]:{sink_port}
smtpd_relay_restrictions = reject_unauth_destination
smtpd_client_connection_count_limit = 0
smtpd_authorized_xclient_hosts = 127.0.0.1
message_size_limit = 52428800
mailbox_size_limit = 0
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
smtpd_milters = {milters}
non_smtpd_milters = {non_smtpd_milters}
milter_default_action = tempfail
{main_cf}
"
        )
    }

    fn master_cf(&self, port: u16) -> String {
        let chroot = if self.chroot { "y" } else { "n" };
        format!(
            "127.0.0.1:{port} inet n - {chroot} - 200 smtpd
pickup unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
{}
",
            self.master_cf
        )
    }
}

/// The running instance; it ends when it is dropped.
pub struct Postfix {
    dir: PathBuf,
    port: u16,
    master: u32,
}

/// One message in the queue.
#[derive(Debug)]
pub struct Queued {
    pub id: String,
    pub recipients: Vec<String>,
}

impl Postfix {
    /// Starts one below `dir`, and waits until it greets.
    pub fn start(dir: &Path, options: &Options) -> Self {
        for sub in ["etc", "spool", "data"] {
            fs::create_dir_all(dir.join(sub)).expect("a directory");
        }
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("chmod");
        let chown = Command::new("chown")
            .arg("postfix")
            .arg(dir.join("data"))
            .status();
        assert!(
            chown.is_ok_and(|s| s.success()),
            "chown: root, and Postfix installed?"
        );
        let port = free_port();
        let main_cf = last_of_each(&options.main_cf(dir));
        fs::write(dir.join("etc/main.cf"), main_cf).expect("main.cf");
        fs::write(dir.join("etc/master.cf"), options.master_cf(port)).expect("master.cf");
        let mut postfix = Self {
            dir: dir.to_owned(),
            port,
            master: 0,
        };
        let started = postfix
            .tool("postfix")
            .arg("start")
            .output()
            .expect("postfix");
        assert!(started.status.success(), "{started:?}");
        let pid_file = dir.join("spool/pid/master.pid");
        until("Postfix has a process id", Duration::from_secs(30), || {
            let text = fs::read_to_string(&pid_file).unwrap_or_default();
            postfix.master = text.trim().parse().unwrap_or(0);
            postfix.master > 0
        });
        until("Postfix greets", Duration::from_secs(30), || {
            Client::greeted(port)
                .is_some_and(|mut client| client.command("QUIT").starts_with("221"))
        });
        postfix
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it is configured.
    pub fn config_dir(&self) -> PathBuf {
        self.dir.join("etc")
    }

    /// Changes settings of main.cf, or with `-F` fields of master.cf; what runs goes on as before.
    pub fn set(&self, settings: &[&str]) {
        let set = self.tool("postconf").args(settings).output();
        let set = set.expect("postconf");
        assert!(set.status.success(), "{set:?}");
    }

    /// `queue_directory`, to which a chrooted smtpd is confined.
    pub fn queue_dir(dir: &Path) -> PathBuf {
        dir.join("postfix/spool")
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read(self.dir.join("mail.log"))
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }

    /// What waits in its queue, in pickup's directory included.
    pub fn queue(&self) -> Vec<Queued> {
        let listing = self
            .tool("postqueue")
            .arg("-j")
            .output()
            .expect("postqueue");
        let listing = String::from_utf8(listing.stdout).expect("text");
        let entries = listing.lines().map(|line| {
            let entry: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let recipients = entry["recipients"].as_array().expect("recipients");
            Queued {
                id: entry["queue_id"].as_str().expect("an id").to_owned(),
                recipients: recipients
                    .iter()
                    .map(|r| r["address"].as_str().expect("an address").to_owned())
                    .collect(),
            }
        });
        entries.collect()
    }

    /// The message of a queue entry, as an operator takes it out: `postcat -bh -q ID`.
    pub fn postcat(&self, id: &str) -> Vec<u8> {
        let output = self.tool("postcat").args(["-bh", "-q", id]).output();
        let output = output.expect("postcat");
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }

    /// Removes a queue entry.
    pub fn remove(&self, id: &str) {
        let removed = self.tool("postsuper").args(["-d", id]).output();
        assert!(removed.expect("postsuper").status.success());
    }

    /// Submits a message with `sendmail -t`.
    pub fn sendmail(&self, message: &[u8]) {
        let mut sendmail = bounded("/usr/sbin/sendmail")
            .env("MAIL_CONFIG", self.dir.join("etc"))
            .args(["-t", "-i", "-f", "noreply@reporter.example"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("sendmail");
        let mut stdin = sendmail.stdin.take().expect("piped");
        stdin.write_all(message).expect("to write");
        drop(stdin);
        assert!(sendmail.wait().expect("to end").success());
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = bounded(&format!("/usr/sbin/{name}"));
        command.arg("-c").arg(self.dir.join("etc"));
        command
    }
}

/// The lines that win. Each process warns of the others, and when there are many the master waits
/// for its own logger, which it has not started yet.
fn last_of_each(main_cf: &str) -> String {
    let name = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let lines: Vec<_> = main_cf.lines().collect();
    let wins = |at: &usize| {
        !lines[at + 1..]
            .iter()
            .any(|later| name(later) == name(lines[*at]))
    };
    let won = (0..lines.len()).filter(wins).map(|at| lines[at]);
    won.collect::<Vec<_>>().join("\n") + "\n"
}

impl Drop for Postfix {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- Postfix\n{}", self.log());
        }
        // What `postfix stop` does, without its waiting in whole seconds: master ends its children.
        if self.master == 0 {
            return;
        }
        signal(self.master, "TERM");
        if !holds_within(Duration::from_secs(10), || !is_running(self.master)) {
            signal(self.master, "KILL");
        }
    }
}
