//! A daemon that had a mail of each fate, and a DNS that knows one of its two domains.

use std::path::PathBuf;

use crate::lab::{
    RUA, RUA_ORG, SOON,
    daemon::{Daemon, Settings},
    free_port,
    mails::{self, Report},
    milter::{self, DISCARD},
    nsd::Nsd,
    open_dir, page, until,
};

/// Fields end in this order.
pub struct Site {
    pub daemon: Daemon,
    /// Of its Prometheus page.
    pub port: u16,
    socket: PathBuf,
    nsd: Nsd,
    _dir: tempfile::TempDir,
}

impl Site {
    /// With these lines in `[metrics]`.
    pub fn start(metrics: &str) -> Self {
        let dir = open_dir();
        // A finding; and of example.org this server says nothing.
        let nsd = Nsd::start(&[("example.com", "_dmarc TXT \"v=DMARC1; p=none; psd=n\"")]);
        let (socket, port) = (dir.path().join("rua.sock"), free_port());
        let mut settings = Settings::new(&dir.path().join("data"));
        settings.listen = vec![format!("unix:{}", socket.display())];
        settings.domains = settings
            .domains
            .replace("[[domain]]", "[[domain]]\nfailure_reports = true");
        settings.dns = watched_by(&nsd);
        settings.metrics = format!("prometheus = \"127.0.0.1:{port}\"\n{metrics}");
        let daemon = Daemon::start(&dir.path().join("rua-milter.toml"), &settings);
        let site = Self {
            daemon,
            port,
            socket,
            nsd,
            _dir: dir,
        };
        until("both domains were looked at", SOON, || {
            site.shows("dmarc_policy_info{domain=\"example.com\"")
                && site.shows("dmarc_policy_unknown_age_seconds{domain=\"example.org\"")
        });
        site
    }

    /// Whether the page has a line that begins so.
    fn shows(&self, start: &str) -> bool {
        let text = page(self.port, "/metrics").1;
        text.lines().any(|line| line.starts_with(start))
    }

    fn submit(&self, to: &str, mail: &[u8]) -> String {
        milter::submit(&self.socket, to, mail).expect("an answer")
    }

    /// One mail of each fate, new ones each round, as a counter has to grow to show an increase.
    pub fn take_mails(&self, round: u32) {
        let id = |what: &str| format!("{what}-{round}");
        let com = Report::new(&id("com"), "example.com", &[30, 6, 3]).google(RUA);
        let odd = Report::new(&id("odd"), "example.com", &[2]).xml();
        let odd = odd.replacen("<record>", "text<record>", 1);
        let cut = Report::new(&id("cut"), "example.com", &[1; 2_000]).xml();
        let cut = &mails::gzip(cut.as_bytes())[..2_000];
        for (to, mail) in [
            (RUA, com.clone()),
            (RUA, com),
            (RUA, mails::attached(RUA, odd.as_bytes())),
            (RUA, mails::attached(RUA, cut)),
            (
                RUA_ORG,
                Report::new(&id("org"), "example.org", &[40]).microsoft(RUA_ORG),
            ),
            (RUA, mails::tls(RUA, &id("tls"), "example.com")),
            (RUA, mails::failure(RUA, &id("ruf"), "example.com", "body")),
        ] {
            assert_eq!(self.submit(to, &mail), DISCARD);
        }
        let foreign = Report::new(&id("foreign"), "foreign.example", &[5]).google(RUA);
        let refused = self.submit(RUA, &foreign);
        assert!(refused.starts_with("y550"), "{refused}");
        until("all is worked through", SOON, || {
            self.daemon.spool("new").is_empty()
        });
    }

    /// From now on the DNS says nothing about anything.
    pub fn lose_dns(&mut self) {
        // A server that refuses says so at once, where one that is away lets us wait.
        let other = Nsd::start(&[("other.example", "@ TXT \"none of ours\"")]);
        let mut settings = self.daemon.settings().clone();
        settings.dns = watched_by(&other);
        self.daemon.configure(&settings);
        self.daemon.signal("HUP");
        self.nsd = other;
    }

    /// From now on the spool has no room.
    pub fn fill_up(&self) {
        let mut settings = self.daemon.settings().clone();
        settings.limits = format!("min_free_bytes = {}", i64::MAX);
        self.daemon.configure(&settings);
        self.daemon.signal("HUP");
        until("the spool has no room", SOON, || {
            self.turned_away().starts_with("y451")
        });
    }

    /// The answer to one more mail.
    pub fn turned_away(&self) -> String {
        let late = Report::new("late", "example.com", &[1]).google(RUA);
        self.submit(RUA, &late)
    }
}

fn watched_by(nsd: &Nsd) -> String {
    format!("servers = [\"{}\"]\ninterval_secs = 1\n", nsd.address())
}
