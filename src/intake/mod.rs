//! Front doors: [`milter`] for MTAs, [`hook`] for Stalwart's own way, [`import`] for files. What
//! every door shares is here: the way into the spool, the log line, the count, and the end.
//!
//! The doors and the back rooms meet only at the spool.

pub mod examine;
#[cfg(test)]
mod fixtures;
pub mod hook;
pub mod import;
mod judgement;
mod mail;
pub mod milter;
pub mod policy;
mod rate;
mod reply;
mod throttle;

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Instant,
};

use tokio::sync::{Notify, Semaphore, watch};

use self::{examine::Examined, throttle::Throttle};
use crate::{
    config::Config,
    limits,
    report::Head,
    spool::{Envelope, Spool},
    telemetry::instruments::Instruments,
    terms::{Rejection, Verdict},
    unpack,
};

/// What a door needs; cheap to clone.
#[derive(Clone)]
pub struct Intake {
    /// The configuration as it is now; each message takes a snapshot.
    pub config: watch::Receiver<Arc<Config>>,
    /// Where accepted mail becomes durable.
    pub spool: Spool,
    /// What is counted.
    pub instruments: Arc<Instruments>,
    /// Kibibytes of messages in memory, all sessions together.
    pub in_flight: Arc<Semaphore>,
    /// Who sends too much.
    throttle: Arc<Throttle>,
    /// Whether we are about to end, and who is still inside.
    pub closing: Arc<Closing>,
}

impl Intake {
    /// Opens the doors' common room.
    pub fn new(
        config: watch::Receiver<Arc<Config>>,
        spool: Spool,
        instruments: Arc<Instruments>,
    ) -> Self {
        let in_flight = Arc::new(Semaphore::new(limits::IN_FLIGHT / 1_024));
        Self {
            config,
            spool,
            instruments,
            in_flight,
            throttle: Arc::new(Throttle::new()),
            closing: Arc::default(),
        }
    }

    /// Whether a message for us may come in now: there is room, and we stay.
    fn room(&self, network: &str) -> Result<(), Rejection> {
        if self.closing.begun.load(SeqCst) {
            return Err(Rejection::ShuttingDown);
        }
        self.spool.state().room(network)
    }
}

/// [`examine::examine`], which may take its time. A panic in a reader means only that we cannot tell.
pub fn examine(raw: &[u8], config: &Config) -> Examined {
    let look = AssertUnwindSafe(|| examine::examine(raw, &config.domains));
    std::panic::catch_unwind(look).unwrap_or_else(|_| Examined::unread())
}

/// The same, on a thread of its own if the message is large; gives the message back. `None`: the
/// program is ending.
async fn examine_aside(raw: Vec<u8>, config: &Arc<Config>) -> Option<(Vec<u8>, Examined)> {
    if raw.len() <= limits::EXAMINE_AT_ONCE {
        let examined = examine(&raw, config);
        return Some((raw, examined));
    }
    let config = Arc::clone(config);
    let work = move || {
        let examined = examine(&raw, &config);
        (raw, examined)
    };
    tokio::task::spawn_blocking(work).await.ok()
}

/// [`examine::kept`], likewise; of what makes a reader panic nothing but the header is kept.
async fn kept(raw: Vec<u8>, reason: Rejection, config: &Arc<Config>) -> Option<Vec<u8>> {
    let redact = config.redact;
    let work = move || {
        let keep = AssertUnwindSafe(|| examine::kept(&raw, reason, redact));
        std::panic::catch_unwind(keep).unwrap_or_else(|_| unpack::header(&raw).to_vec())
    };
    tokio::task::spawn_blocking(work).await.ok()
}

/// Counts the open transactions that hold mail of ours, so that SIGTERM can wait for them.
#[derive(Debug, Default)]
pub struct Closing {
    begun: AtomicBool,
    begin: Notify,
    inside: AtomicUsize,
    left: Notify,
}

/// One open transaction.
#[derive(Debug)]
pub struct Inside(Arc<Closing>);

impl Closing {
    /// From now on recipients of ours hear 451, and no connection is accepted.
    pub fn close(&self) {
        self.begun.store(true, SeqCst);
        self.begin.notify_waiters();
    }

    /// Whether [`Closing::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.begun.load(SeqCst)
    }

    /// Resolves once [`Closing::close`] was called.
    pub async fn closed(self: Arc<Self>) {
        let begin = self.begin.notified();
        if !self.begun.load(SeqCst) {
            begin.await;
        }
    }

    /// Waits until no transaction with mail of ours is open. The caller sets the bound.
    pub async fn empty(&self) {
        loop {
            let left = self.left.notified();
            if self.inside.load(SeqCst) == 0 {
                return;
            }
            left.await;
        }
    }

    fn enter(self: &Arc<Self>) -> Inside {
        self.inside.fetch_add(1, SeqCst);
        Inside(Arc::clone(self))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if self.0.inside.fetch_sub(1, SeqCst) == 1 {
            self.0.left.notify_waiters();
        }
    }
}

/// The one line and the one count of a mail that concerned us.
struct Account<'a> {
    envelope: &'a Envelope,
    spool_id: Option<i64>,
    bytes: usize,
    head: Option<&'a Head>,
    verdict: Verdict,
    reason: Option<Rejection>,
    code: u16,
    since: Instant,
}

impl Account<'_> {
    fn give(&self, intake: &Intake) {
        let envelope = self.envelope;
        let bytes = self.bytes as u64;
        intake.instruments.mail(
            envelope.door,
            &envelope.listener,
            self.verdict,
            self.reason,
            bytes,
        );
        // What was taken is always told of. Whatever comes to nothing is free of charge to whoever
        // sends it, and must not fill the disk.
        let is_taken = self.verdict == Verdict::Accepted;
        if !is_taken && !intake.throttle.line(&envelope.network()) {
            return;
        }
        let suppressed = intake.throttle.left_out();
        if suppressed > 0 {
            tracing::warn!(
                suppressed,
                "lines about mail that was not taken are left out"
            );
        }
        let head = |part: fn(&Head) -> Option<String>| self.head.and_then(part);
        // A thousand of them would make a line of a megabyte, which a journal takes apart.
        let to = envelope.recipients.iter().take(limits::LOGGED_RECIPIENTS);
        let to: Vec<_> = to.map(|to| to.escape_debug().to_string()).collect();
        tracing::info!(
            queue_id = %envelope.queue_id.escape_default(),
            spool_id = self.spool_id,
            door = %envelope.door,
            listener = %envelope.listener,
            client = envelope.client.map(tracing::field::display),
            from = %envelope.sender.escape_debug(),
            to = to.join(","),
            recipients = envelope.recipients.len(),
            others = envelope.others,
            authenticated = envelope.authenticated.is_some(),
            lossy = envelope.lossy.then_some(true),
            bytes,
            kind = head(|head| Some(head.kind.to_string())),
            domain = head(|head| head.domain.as_ref().map(ToString::to_string)),
            report_id = head(|head| head.report_id.as_ref().map(|id| id.escape_debug().to_string())),
            verdict = %self.verdict,
            reason = self.reason.map(tracing::field::display),
            code = self.code,
            ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            "mail"
        );
    }
}
