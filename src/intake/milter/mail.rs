//! One message on its way in: what is kept of it, within the limit of one message and within
//! that of all sessions together.

use std::{ffi::CString, sync::Arc};

use tokio::sync::OwnedSemaphorePermit;

use super::{
    super::{Inside, Intake, reply},
    session::{Answer, Ending},
};
use crate::{
    config::{After, Config},
    limits,
};

/// One message on its way in.
pub(super) struct Mail {
    pub config: Arc<Config>,
    pub queue_id: String,
    pub sender: String,
    pub login: Option<String>,
    pub declared: Option<u64>,
    /// Recipients of ours, byte for byte as the MTA gave them.
    pub ours: Vec<CString>,
    /// Whether there are recipients that are not ours.
    pub others: bool,
    /// Whether an unknown address at a host of ours had to be let through (Stalwart).
    pub unknown: bool,
    /// Whether its sender could not be told that it comes too fast (Stalwart).
    pub too_fast: bool,
    pub authentication_results: Vec<String>,
    pub raw: Vec<u8>,
    /// How much of `raw` is the header block.
    pub headers: usize,
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

impl Mail {
    pub fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            queue_id: String::new(),
            sender: String::new(),
            login: None,
            declared: None,
            ours: Vec::new(),
            others: false,
            unknown: false,
            too_fast: false,
            authentication_results: Vec::new(),
            raw: Vec::new(),
            headers: 0,
            kept: Kept::Whole,
            held: None,
            inside: None,
        }
    }

    /// Remembers a recipient of ours.
    pub fn take(&mut self, argument: &CString, intake: &Intake) -> Answer {
        if self.ours.len() >= limits::MAX_RECIPIENTS {
            return Answer::Reply(reply::TOO_MANY);
        }
        self.ours.push(argument.clone());
        self.inside.get_or_insert_with(|| intake.closing.enter());
        Answer::Continue
    }

    /// Keeps bytes of the message, within the limit of one and within that of all together.
    pub fn keep(&mut self, bytes: &[u8], intake: &Intake) {
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
        let held = self
            .held
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        let needed = (self.raw.len() + bytes.len()) / 1_024 + 1;
        if let Ok(more) = u32::try_from(needed.saturating_sub(held))
            && more > 0
        {
            let Ok(more) = Arc::clone(&intake.in_flight).try_acquire_many_owned(more) else {
                self.kept = Kept::Nothing;
                self.raw = Vec::new();
                self.held = None;
                return;
            };
            match &mut self.held {
                Some(held) => held.merge(more),
                None => self.held = Some(more),
            }
        }
        self.raw.extend_from_slice(bytes);
    }

    /// Stalwart sends the whole message, headers included, as the body.
    pub fn repeats_headers(&self, chunk: &[u8]) -> bool {
        let first_body = self.raw.len() == self.headers + 2;
        let name = self
            .raw
            .split(|&byte| byte == b':')
            .next()
            .unwrap_or_default();
        first_body
            && !name.is_empty()
            && chunk.len() > name.len()
            && chunk[..name.len()].eq_ignore_ascii_case(name)
            && chunk[name.len()] == b':'
    }

    /// What the MTA hears once the message is safe in the spool.
    pub fn after(self) -> Ending {
        match self.config.milter.after {
            After::Deliver => Ending::Accept,
            After::Discard if self.others => {
                let stripped: Vec<CString> =
                    self.ours.iter().filter_map(without_source_route).collect();
                Ending::Remove(self.ours.into_iter().chain(stripped).collect())
            }
            After::Discard => Ending::Discard,
        }
    }
}

/// Postfix tells us a source route and has forgotten it when it looks for the recipient that we
/// take out; so such a recipient is taken out under both names.
fn without_source_route(argument: &CString) -> Option<CString> {
    let inner = argument.to_bytes().strip_prefix(b"<@")?;
    let colon = inner.iter().position(|&byte| byte == b':')?;
    CString::new([b"<", &inner[colon + 1..]].concat()).ok()
}
