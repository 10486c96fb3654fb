//! One message on its way in: whose it is, and what is kept of it, within the limit of one message
//! and within that of all sessions together.

use std::{sync::Arc, time::Instant};

use tokio::sync::OwnedSemaphorePermit;

use super::{
    Account, Inside, Intake,
    policy::{self, AtRcpt},
    reply::{self, Reply},
};
use crate::{
    config::Config,
    limits,
    spool::Envelope,
    terms::{Rejection, Verdict},
};

/// Who hears what becomes of a recipient, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hearer {
    /// An SMTP client, of each recipient at RCPT.
    Recipient,
    /// The same, of a mail that comes anew with each recipient: it counts where it ends.
    Replayed,
    /// An SMTP client at the end only: a recipient refused takes the message with it.
    Message,
    /// Nobody. What is refused would be bounced, and a refused recipient would be a configuration
    /// error that keeps the mail in the queue for ever.
    Nobody,
}

/// One message on its way in.
pub(super) struct Mail {
    pub intake: Intake,
    /// As it was when the message began.
    pub config: Arc<Config>,
    /// What is known of it; its recipients are those of ours.
    pub envelope: Envelope,
    pub hearer: Hearer,
    /// The size that its sender declared.
    pub declared: Option<u64>,
    /// Whether an unknown address at a host of ours had to be let through.
    pub unknown: bool,
    /// Why it is to come again, which its sender could not be told at RCPT.
    pub later: Option<Rejection>,
    pub raw: Vec<u8>,
    pub kept: Kept,
    pub held: Option<OwnedSemaphorePermit>,
    pub inside: Option<Inside>,
}

/// How much of a message is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// All that came.
    Whole,
    /// Its first part: it is larger than the limit.
    Head,
    /// Nothing: all sessions together held too much, and this one had to let go.
    Nothing,
}

/// What a recipient comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recipient {
    /// Others may have it.
    NotOurs,
    /// The message is for us.
    Ours,
    /// Its sender hears no.
    TurnedAway(Reply),
}

impl Mail {
    /// A message of which nothing is there but what is known of it.
    pub fn new(intake: Intake, envelope: Envelope, hearer: Hearer) -> Self {
        let config = intake.config.borrow().clone();
        Self {
            intake,
            config,
            envelope,
            hearer,
            declared: None,
            unknown: false,
            later: None,
            raw: Vec::new(),
            kept: Kept::Whole,
            held: None,
            inside: None,
        }
    }

    /// Whether a recipient of ours is among those that came.
    pub fn is_ours(&self) -> bool {
        !self.envelope.recipients.is_empty()
    }

    /// Whether its end is for us to judge. An unknown address is the peer's own business where
    /// others get the mail as well.
    pub fn concerns_us(&self) -> bool {
        self.is_ours() || self.unknown && !self.envelope.others
    }

    /// Judges a recipient. Where nobody would hear it, or the whole message would go with it, the end
    /// of the message decides.
    pub fn rcpt(&mut self, argument: &[u8]) -> Recipient {
        let verdict = policy::at_rcpt(
            &self.config.domains,
            argument,
            self.declared,
            self.config.limits.max_message,
            || self.room(),
        );
        let is_heard = matches!(self.hearer, Hearer::Recipient | Hearer::Replayed);
        match verdict {
            AtRcpt::NotOurs => {
                self.envelope.others = true;
                Recipient::NotOurs
            }
            AtRcpt::Refuse(reason) if is_heard => {
                self.turn_away(argument, Verdict::Refused, reason)
            }
            AtRcpt::TryLater(reason) if is_heard => {
                self.turn_away(argument, Verdict::TryLater, reason)
            }
            AtRcpt::Refuse(Rejection::UnknownRecipient) => {
                match self.hearer {
                    Hearer::Nobody => self.envelope.others = true,
                    _ => self.unknown = true,
                }
                Recipient::NotOurs
            }
            AtRcpt::Ours | AtRcpt::Refuse(_) => self.take(argument),
            AtRcpt::TryLater(reason) => {
                if self.hearer == Hearer::Message {
                    self.later = Some(reason);
                }
                self.take(argument)
            }
        }
    }

    /// The network whose share of the parked space the mail takes. A relay brings everybody's mail,
    /// so it has none, like the operator's own.
    pub fn network(&self) -> String {
        let rate = &self.config.rate;
        match self.envelope.client {
            Some(client) if rate.is_relay(client) => String::new(),
            _ => self.envelope.network(),
        }
    }

    fn room(&self) -> Result<(), Rejection> {
        self.intake.room(&self.network())?;
        // A mail counts once, and what the MTA itself has to say does not.
        if self.is_ours() || self.hearer != Hearer::Recipient {
            return Ok(());
        }
        self.count()
    }

    /// Counts the mail towards what its network may send.
    fn count(&self) -> Result<(), Rejection> {
        let Envelope { client, .. } = self.envelope;
        let network = self.envelope.network();
        let throttle = &self.intake.throttle;
        throttle.mail(&self.config.rate, client, &network)
    }

    /// Why the sender is asked to come again at the end, which could not be said before. No reason
    /// to hold up mail that others wait for.
    pub fn untold(&self) -> Result<(), Rejection> {
        let counted = match self.hearer {
            Hearer::Recipient | Hearer::Nobody => Ok(()),
            Hearer::Replayed | Hearer::Message => self.count(),
        };
        match self.later {
            _ if self.envelope.others => Ok(()),
            Some(reason) => Err(reason),
            None => counted,
        }
    }

    fn take(&mut self, argument: &[u8]) -> Recipient {
        let ours = &mut self.envelope.recipients;
        if ours.len() >= limits::MAX_RECIPIENTS {
            return Recipient::TurnedAway(reply::TOO_MANY);
        }
        ours.push(plain(argument));
        let closing = &self.intake.closing;
        self.inside.get_or_insert_with(|| closing.enter());
        Recipient::Ours
    }

    fn turn_away(&self, argument: &[u8], verdict: Verdict, reason: Rejection) -> Recipient {
        let reply = Reply::to(reason);
        let envelope = Envelope {
            recipients: vec![plain(argument)],
            ..self.envelope.clone()
        };
        Account {
            envelope: &envelope,
            spool_id: None,
            bytes: 0,
            head: None,
            verdict,
            reason: Some(reason),
            code: reply.number(),
            since: Instant::now(),
        }
        .give(&self.intake);
        Recipient::TurnedAway(reply)
    }

    /// Keeps bytes of the message, within the limit of one and within that of all together.
    pub fn keep(&mut self, bytes: &[u8]) {
        if self.kept != Kept::Whole {
            return;
        }
        if self.raw.len() + bytes.len() > self.config.limits.max_message {
            self.kept = Kept::Head;
            let room = limits::OVERSIZE_HEAD
                .saturating_sub(self.raw.len())
                .min(bytes.len());
            self.raw.extend_from_slice(&bytes[..room]);
            self.raw.truncate(limits::OVERSIZE_HEAD);
            self.raw.shrink_to_fit();
            return;
        }
        let whole = self.raw.len() + bytes.len();
        if !hold(&mut self.held, whole, &self.intake) {
            self.let_go();
            return;
        }
        self.raw.extend_from_slice(bytes);
    }

    /// Keeps nothing of it: there is no room for all that is on its way in.
    pub fn let_go(&mut self) {
        self.kept = Kept::Nothing;
        self.raw = Vec::new();
        self.held = None;
    }
}

/// Takes part of what all sessions together may have in memory, for `bytes` in all; whether there was
/// as much.
pub(super) fn hold(held: &mut Option<OwnedSemaphorePermit>, bytes: usize, intake: &Intake) -> bool {
    let has = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
    let needed = (bytes / 1_024 + 1).saturating_sub(has);
    if needed == 0 {
        return true;
    }
    let Ok(needed) = u32::try_from(needed) else {
        return false;
    };
    let Ok(more) = Arc::clone(&intake.in_flight).try_acquire_many_owned(needed) else {
        return false;
    };
    match held {
        Some(held) => held.merge(more),
        None => *held = Some(more),
    }
    true
}

/// Notes a header field that tells more than the message does.
pub(super) fn note_field(results: &mut Vec<String>, name: &[u8], value: &[u8]) {
    if name.eq_ignore_ascii_case(b"Authentication-Results")
        && results.len() < limits::MAX_AUTH_RESULTS
    {
        let kept = &value[..value.len().min(limits::MAX_AUTH_RESULTS_LEN)];
        results.push(String::from_utf8_lossy(kept).trim().to_owned());
    }
}

/// An address without its brackets.
pub(super) fn plain(argument: &[u8]) -> String {
    let inner = argument
        .strip_prefix(b"<")
        .and_then(|inner| inner.strip_suffix(b">"));
    bounded(inner.unwrap_or(argument))
}

/// What is kept of a text that a stranger may have written.
pub(super) fn bounded(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(limits::MAX_ADDRESS)]).into_owned()
}
