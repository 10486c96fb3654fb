//! What goes wrong around the daemon, one thing at a time. While the spool has room nobody hears of
//! it; where it has none only mail of ours is asked to come again; and once the fault is gone
//! everything is stored, once.

mod disk;
mod log;
mod peers;
mod signals;
mod stores;

use std::path::{Path, PathBuf};

use crate::lab::{
    RUA, SOON, USER, aftermath,
    daemon::{Daemon, Settings, Stored},
    mails::{self, Report},
    milter::{self, DISCARD},
    open_dir, replies, until,
};

/// What a milter says that has no business with a mail.
const ACCEPT: &str = "a";

/// A daemon to which the test speaks as an MTA does. Fields end in this order.
struct Place {
    daemon: Daemon,
    dir: tempfile::TempDir,
}

impl Place {
    fn start() -> Self {
        Self::with(|_, _| {})
    }

    /// The same with settings for its directory.
    fn with(change: impl FnOnce(&mut Settings, &Path)) -> Self {
        let dir = open_dir();
        let mut settings = Settings::new(&dir.path().join("data"));
        settings.listen = vec![format!("unix:{}", dir.path().join("rua.sock").display())];
        change(&mut settings, dir.path());
        let daemon = Daemon::start(&dir.path().join("rua-milter.toml"), &settings);
        Self { daemon, dir }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("rua.sock")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.daemon.data().join(name)
    }

    /// The answer to a report that is told from others by its id, and counts one message.
    fn submit(&self, id: &str) -> String {
        answer(&self.socket(), id)
    }

    fn take(&self, id: &str) {
        assert_eq!(self.submit(id), DISCARD, "{id}");
    }

    /// As an MTA does, comes again until the report is taken; hears nothing worse than that.
    fn insist(&self, id: &str) {
        until("it is taken", SOON, || {
            let answer = self.submit(id);
            assert!(answer == DISCARD || is_later(&answer), "{answer}");
            answer == DISCARD
        });
    }

    /// Mail for others goes on.
    fn pass(&self) {
        let mail = mails::ordinary(USER);
        let answer = milter::submit(&self.socket(), USER, &mail);
        assert_eq!(answer.as_deref(), Some(ACCEPT));
    }

    /// Waits until the log tells of something.
    fn expect_log(&self, text: &str) {
        let log = || self.daemon.log();
        until(text, SOON, || log().contains(text));
    }

    /// Waits until so many reports are stored and nothing waits.
    fn expect(&self, reports: u64) {
        let all = Stored {
            reports,
            messages: reports,
        };
        self.daemon.expect_stored("example.com", all);
    }

    /// Ends it, and looks at what it leaves: so many reports and mails of them, and nothing else.
    fn end_whole(mut self, reports: u64) {
        self.expect(reports);
        self.stop();
        aftermath::assert_whole(self.daemon.data(), reports);
        assert!(!self.daemon.log().contains("panicked"));
    }

    fn stop(&mut self) {
        self.daemon.signal("TERM");
        assert!(self.daemon.wait().success());
    }
}

/// See [`Place::submit`]; empty when nobody is there.
fn answer(socket: &Path, id: &str) -> String {
    let mail = Report::new(id, "example.com", &[1]).google(RUA);
    milter::submit(socket, RUA, &mail).unwrap_or_default()
}

/// Whether a recipient of ours was asked to come again.
fn is_later(answer: &str) -> bool {
    let reply = answer.strip_prefix('y');
    reply.is_some_and(|reply| [replies::NO_ROOM, replies::NOT_STORED].contains(&reply))
}
