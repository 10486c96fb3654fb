//! The program behind one of two MTAs, and what became of a mail.

use std::{fs, net::Ipv6Addr};

use crate::lab::{
    SOON, USER,
    daemon::{Daemon, Settings},
    free_port, open_dir_below,
    postfix::{self, Postfix},
    sendmail::{self, Sendmail},
    sink::Sink,
    smtp::Client,
    until,
};

/// The MTA in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Postfix,
    Sendmail,
}

enum Mta {
    Postfix(Postfix),
    Sendmail(Sendmail),
}

/// What differs between sites.
pub struct Setup {
    pub settings: Settings,
    /// Lines of main.cf.
    pub main_cf: String,
    /// Seconds that the MTA waits for an answer.
    pub patience: u32,
}

/// Everything of one test. Fields end in this order.
pub struct Site {
    mta: Mta,
    /// Where it listens on the other loopback address.
    ipv6_port: u16,
    pub daemon: Daemon,
    pub sink: Sink,
    _dir: tempfile::TempDir,
}

impl Site {
    /// The MTA as the guides set it up: what cannot be asked of the milter comes again.
    pub fn start(which: Which, change: impl FnOnce(&mut Setup)) -> Self {
        let dir = open_dir_below("/run");
        let sink = Sink::start();
        let socket = dir.path().join("rua.sock");
        let mut settings = Settings::new(&dir.path().join("data"));
        settings.listen = vec![format!("unix:{}", socket.display())];
        let mut setup = Setup {
            settings,
            main_cf: String::new(),
            patience: 60,
        };
        change(&mut setup);
        let patience = setup.patience;
        let daemon = Daemon::start(&dir.path().join("rua-milter.toml"), &setup.settings);
        let (mta, ipv6_port) = match which {
            Which::Postfix => {
                let ipv6_port = free_port();
                let mut options = postfix::Options::new(sink.port());
                options.master_cf = format!("[::1]:{ipv6_port} inet n - n - 200 smtpd\n");
                let waits = format!("command_timeout={patience}s, content_timeout={patience}s");
                options.milters = format!(
                    "{{ unix:{}, default_action=tempfail, {waits} }}",
                    socket.display()
                );
                // As for Sendmail: reports have a destination that keeps them.
                options.main_cf = format!(
                    "transport_maps = inline:{{ {{reports.example={}}} }}\n{}",
                    postfix::DEFERRING_SINK,
                    setup.main_cf
                );
                let postfix = Postfix::start(&dir.path().join("postfix"), &options);
                (Mta::Postfix(postfix), ipv6_port)
            }
            Which::Sendmail => {
                let mut options = sendmail::Options::new(&socket, sink.port());
                options.patience = patience;
                let sendmail = Sendmail::start(&dir.path().join("sendmail"), &options);
                let port = sendmail.port();
                (Mta::Sendmail(sendmail), port)
            }
        };
        Self {
            mta,
            ipv6_port,
            daemon,
            sink,
            _dir: dir,
        }
    }

    /// An SMTP session, greeted.
    pub fn client(&self) -> Client {
        Client::connect(self.port())
    }

    /// The same, of a client with an IPv6 address.
    pub fn ipv6_client(&self) -> Client {
        Client::connect_to((Ipv6Addr::LOCALHOST, self.ipv6_port).into())
    }

    pub fn port(&self) -> u16 {
        match &self.mta {
            Mta::Postfix(postfix) => postfix.port(),
            Mta::Sendmail(sendmail) => sendmail.port(),
        }
    }

    /// What became of all that was sent, in the words of the page.
    pub fn became(&self) -> String {
        until("the spool is worked through", SOON, || {
            self.daemon.spool("new").is_empty()
        });
        until("the MTA has let go", SOON, || self.is_idle());
        let stored = self.daemon.stored("example.com").reports;
        let mut words = Vec::new();
        match stored {
            0 => {}
            1 => words.push("stored".to_owned()),
            n => words.push(format!("{n} stored")),
        }
        let parked = self.daemon.spool("parked");
        words.extend(parked.iter().map(|reason| format!("parked as {reason}")));
        let delivered = self.sink.recipients();
        let others = delivered.iter().filter(|to| *to == USER).count();
        match others {
            0 => {}
            1 => words.push("delivered to the other".to_owned()),
            n => words.push(format!("{n} delivered to the other")),
        }
        if others < delivered.len() {
            words.push("a copy delivered".to_owned());
        }
        if self.has_kept() {
            words.push("kept by the MTA".to_owned());
        }
        if words.is_empty() {
            words.push("nothing taken".to_owned());
        }
        words.join(", ")
    }

    /// Whether what the milter did not take is where the MTA keeps it.
    fn has_kept(&self) -> bool {
        match &self.mta {
            Mta::Postfix(postfix) => postfix.queue().iter().any(is_ours),
            Mta::Sendmail(sendmail) => !sendmail.kept().is_empty(),
        }
    }

    fn is_idle(&self) -> bool {
        match &self.mta {
            Mta::Postfix(postfix) => postfix.queue().iter().all(is_ours),
            Mta::Sendmail(sendmail) => sendmail.is_idle(),
        }
    }
}

fn is_ours(queued: &postfix::Queued) -> bool {
    let mut to = queued.recipients.iter();
    to.all(|to| to.ends_with("@reports.example"))
}

/// The cases of the page: name, and the lines about it.
pub fn page() -> Vec<(String, String)> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/packaging/man/rua-milter-mta.7"
    );
    let page = fs::read_to_string(path)
        .expect("the page")
        .replace("\\-", "-");
    let (_, cases) = page.split_once(".SH CASES\n").expect("cases");
    let (cases, _) = cases.split_once(".SH ").expect("notes");
    let cases = cases.split(".TP\n.B ").skip(1);
    let split = |case: &str| {
        let (name, lines) = case.split_once('\n').expect("lines");
        (name.to_owned(), lines.to_owned())
    };
    cases.map(split).collect()
}

/// What the page says of a row.
pub fn told(row: &str, which: Which) -> String {
    let start = format!("{which:?}: ");
    let page = page();
    let (_, lines) = page.iter().find(|(name, _)| name == row).expect("a case");
    let line = lines.lines().find_map(|line| line.strip_prefix(&*start));
    line.unwrap_or_default().to_owned()
}
