//! One connection of an MTA: what it told us, message by message.
//!
//! Nothing here speaks the protocol, so that every rule of what is said when can be read in
//! one place. Per-message state begins at MAIL and ends with the answer to the end of message,
//! at ABORT, or with the next MAIL, whichever comes first.

use std::{
    ffi::CString,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Instant, SystemTime},
};

use indymilter::{ProtoOpts, SocketInfo};
use tokio::sync::OwnedSemaphorePermit;

use super::super::{
    Account, Inside, Intake, examine,
    examine::Examined,
    policy::{self, AtEom, AtRcpt, Message},
    reply::{self, Reply},
};
use crate::{
    config::{After, Config, Listen, Peer},
    limits,
    spool::{Envelope, NewEntry, SpoolError},
    terms::{Door, Rejection, Stage, Verdict},
};

/// What the MTA's macros tell at a step.
pub struct Facts {
    pub queue_id: String,
    /// `{auth_authen}`: the mail was submitted with authentication.
    pub login: Option<String>,
}

/// What the MTA hears at a step before the end of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Continue,
    Accept,
    /// No more of the body is wanted.
    Skip,
    Reply(Reply),
}

/// What the MTA hears at the end of the message.
#[derive(Debug)]
pub enum Ending {
    Reply(Reply),
    Accept,
    Discard,
    /// These recipients are taken out, and the rest goes on.
    Remove(Vec<CString>),
}

pub struct Session {
    listen: Arc<Listen>,
    intake: Intake,
    opts: ProtoOpts,
    client: Option<IpAddr>,
    client_name: String,
    helo: String,
    /// Postfix's own mail (`non_smtpd_milters`): no SMTP client hears an answer, and a refused
    /// recipient would be a configuration error that keeps the mail in the queue for ever.
    non_smtp: bool,
    mail: Option<Mail>,
}

/// One message on its way in.
struct Mail {
    config: Arc<Config>,
    queue_id: String,
    sender: String,
    login: Option<String>,
    declared: Option<u64>,
    /// Recipients of ours, byte for byte as the MTA gave them.
    ours: Vec<CString>,
    /// Whether there are recipients that are not ours.
    others: bool,
    /// Whether an unknown address at a host of ours had to be let through (Stalwart).
    unknown: bool,
    authentication_results: Vec<String>,
    raw: Vec<u8>,
    /// How much of `raw` is the header block.
    headers: usize,
    kept: Kept,
    held: Option<OwnedSemaphorePermit>,
    inside: Option<Inside>,
}

/// How much of a message is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// All that came.
    Whole,
    /// Its first part: it is larger than the limit.
    Head,
    /// Nothing: all sessions together held too much, and this one had to let go.
    Nothing,
}

impl Session {
    pub fn new(listen: Arc<Listen>, intake: Intake) -> Self {
        Self {
            listen,
            intake,
            opts: ProtoOpts::empty(),
            client: None,
            client_name: String::new(),
            helo: String::new(),
            non_smtp: false,
            mail: None,
        }
    }

    pub fn peer(&self) -> Peer {
        self.listen.peer
    }

    pub fn negotiated(self, opts: ProtoOpts) -> Self {
        Self { opts, ..self }
    }

    pub fn opts(&self) -> ProtoOpts {
        self.opts
    }

    pub fn connect(&mut self, host: &[u8], socket: &SocketInfo) {
        self.client_name = bounded(host);
        let address = match socket {
            SocketInfo::Inet(address) => Some(address),
            _ => None,
        };
        self.client = address.map(|address| address.ip().to_canonical());
        self.non_smtp = address.is_some_and(is_simulated);
    }

    pub fn helo(&mut self, name: &[u8]) {
        self.helo = bounded(name);
    }

    pub fn mail(&mut self, args: &[CString], facts: &Facts) {
        let declared = args.iter().skip(1).find_map(|arg| {
            let (name, value) = arg.to_str().ok()?.split_once('=')?;
            name.eq_ignore_ascii_case("SIZE")
                .then(|| value.parse().ok())?
        });
        self.mail = Some(Mail {
            config: self.intake.config.borrow().clone(),
            queue_id: facts.queue_id.clone(),
            sender: args.first().map(plain).unwrap_or_default(),
            login: facts.login.clone(),
            declared,
            ours: Vec::new(),
            others: false,
            unknown: false,
            authentication_results: Vec::new(),
            raw: Vec::new(),
            headers: 0,
            kept: Kept::Whole,
            held: None,
            inside: None,
        });
    }

    pub fn rcpt(&mut self, argument: &CString) -> Answer {
        let peer = self.peer();
        let Some(mail) = &mut self.mail else {
            return Answer::Continue;
        };
        let envelope = Envelope {
            client: self.client,
            ..envelope(&self.listen)
        };
        let verdict = policy::at_rcpt(
            &mail.config.domains,
            argument.to_bytes(),
            mail.declared,
            mail.config.limits.max_message,
            || self.intake.room(&envelope.network()),
        );
        // Where a refused recipient would take the whole message with it (Stalwart), or keep it
        // in the queue (mail that did not come by SMTP), the end of the message decides.
        let lenient = self.non_smtp || peer == Peer::Stalwart;
        let (verdict, reason, reply) = match verdict {
            AtRcpt::NotOurs => {
                mail.others = true;
                return Answer::Continue;
            }
            AtRcpt::Ours => return mail.take(argument, &self.intake),
            AtRcpt::Refuse(Rejection::UnknownRecipient) if lenient => {
                mail.others |= self.non_smtp;
                mail.unknown |= !self.non_smtp;
                return Answer::Continue;
            }
            AtRcpt::Refuse(_) | AtRcpt::TryLater(_) if lenient => {
                return mail.take(argument, &self.intake);
            }
            AtRcpt::Refuse(reason) => (Verdict::Refused, reason, Reply::to(reason)),
            AtRcpt::TryLater(reason) => (Verdict::TryLater, reason, Reply::to(reason)),
        };
        let envelope = Envelope {
            client_name: self.client_name.clone(),
            helo: self.helo.clone(),
            queue_id: mail.queue_id.clone(),
            sender: mail.sender.clone(),
            recipients: vec![plain(argument)],
            ..envelope
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
        .give(&self.intake.instruments);
        Answer::Reply(reply)
    }

    pub fn data(&mut self) -> Answer {
        let ours = self
            .mail
            .as_ref()
            .is_some_and(|mail| !mail.ours.is_empty() || mail.unknown);
        match self.peer() {
            _ if ours => Answer::Continue,
            // Accept before DATA could let a later recipient of ours pass us by; here it cannot.
            Peer::Mta => {
                self.mail = None;
                Answer::Accept
            }
            // Takes accept for continue: it is heard to the end, and no byte is kept.
            Peer::Stalwart => Answer::Continue,
        }
    }

    pub fn header(&mut self, name: &[u8], value: &[u8]) {
        let leading_space = self.opts.contains(ProtoOpts::LEADING_SPACE);
        let Some(mail) = self.mail.as_mut().filter(|mail| !mail.ours.is_empty()) else {
            return;
        };
        if name.eq_ignore_ascii_case(b"Authentication-Results")
            && mail.authentication_results.len() < limits::MAX_AUTH_RESULTS
        {
            let kept = &value[..value.len().min(limits::MAX_AUTH_RESULTS_LEN)];
            mail.authentication_results
                .push(String::from_utf8_lossy(kept).trim().to_owned());
        }
        let mut line = Vec::with_capacity(name.len() + value.len() + 4);
        line.extend_from_slice(name);
        line.push(b':');
        if !leading_space {
            line.push(b' ');
        }
        // Folded values come with bare LF between their lines.
        for (at, &byte) in value.iter().enumerate() {
            if byte == b'\n' && (at == 0 || value[at - 1] != b'\r') {
                line.push(b'\r');
            }
            line.push(byte);
        }
        line.extend_from_slice(b"\r\n");
        mail.keep(&line, &self.intake);
        mail.headers = mail.raw.len();
    }

    pub fn end_of_headers(&mut self) {
        if let Some(mail) = self.mail.as_mut().filter(|mail| !mail.ours.is_empty()) {
            mail.keep(b"\r\n", &self.intake);
        }
    }

    pub fn body(&mut self, chunk: &[u8]) -> Answer {
        let Some(mail) = self.mail.as_mut().filter(|mail| !mail.ours.is_empty()) else {
            return Answer::Continue;
        };
        if self.listen.peer == Peer::Stalwart && mail.repeats_headers(chunk) {
            mail.raw.clear();
            mail.headers = 0;
        }
        mail.keep(chunk, &self.intake);
        let enough = mail.kept != Kept::Whole;
        if enough && self.opts.contains(ProtoOpts::SKIP) {
            Answer::Skip
        } else {
            Answer::Continue
        }
    }

    /// Lets go of the message.
    pub fn forget(&mut self) {
        self.mail = None;
    }

    /// Takes the message out of the session for judgement; `None` if none of it is ours.
    pub fn end(&mut self, queue_id: &str) -> Option<Judgement> {
        let mut mail = self.mail.take()?;
        if mail.ours.is_empty() && !mail.unknown {
            return None;
        }
        if !queue_id.is_empty() {
            queue_id.clone_into(&mut mail.queue_id);
        }
        let envelope = Envelope {
            client: self.client,
            client_name: self.client_name.clone(),
            helo: self.helo.clone(),
            queue_id: mail.queue_id.clone(),
            sender: mail.sender.clone(),
            recipients: mail.ours.iter().map(plain).collect(),
            others: mail.others,
            authenticated: mail.login.clone(),
            authentication_results: std::mem::take(&mut mail.authentication_results),
            ..envelope(&self.listen)
        };
        let non_smtp = self.non_smtp;
        Some(Judgement {
            mail,
            envelope,
            non_smtp,
            intake: self.intake.clone(),
        })
    }
}

impl Mail {
    fn take(&mut self, argument: &CString, intake: &Intake) -> Answer {
        if self.ours.len() >= limits::MAX_RECIPIENTS {
            return Answer::Reply(reply::TOO_MANY);
        }
        self.ours.push(argument.clone());
        self.inside.get_or_insert_with(|| intake.closing.enter());
        Answer::Continue
    }

    /// Keeps bytes of the message, within the limit of one and within that of all together.
    fn keep(&mut self, bytes: &[u8], intake: &Intake) {
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
    fn repeats_headers(&self, chunk: &[u8]) -> bool {
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
}

/// A whole message that has recipients of ours.
pub struct Judgement {
    mail: Mail,
    envelope: Envelope,
    non_smtp: bool,
    intake: Intake,
}

impl Judgement {
    /// Decides, makes it durable where it is to be, and tells what the MTA is to hear.
    pub async fn judge(self) -> Ending {
        let since = Instant::now();
        let Self {
            mut mail,
            envelope,
            non_smtp,
            intake,
        } = self;
        let mut account = Account {
            envelope: &envelope,
            spool_id: None,
            bytes: mail.raw.len(),
            head: None,
            verdict: Verdict::Refused,
            reason: None,
            code: 250,
            since,
        };
        let mut raw = std::mem::take(&mut mail.raw);
        let mut examined = Examined::unread();
        let action = if mail.ours.is_empty() {
            AtEom::Refuse(Rejection::UnknownRecipient)
        } else {
            if mail.kept == Kept::Whole {
                if let Some(seen) = examine(raw, &mail.config).await {
                    (raw, examined) = seen;
                } else {
                    // The program is ending, and has let go of the message.
                    (raw, mail.kept) = (Vec::new(), Kept::Nothing);
                }
            }
            let message = Message {
                opinion: examined.opinion,
                oversized: mail.kept == Kept::Head,
                may_refuse: !mail.others && !non_smtp,
            };
            policy::at_eom(message, mail.config.milter.unrecognised)
        };
        account.head = examined.head.as_ref();

        let parked = match action {
            _ if mail.kept == Kept::Nothing => {
                account.verdict = Verdict::TryLater;
                account.reason = Some(Rejection::NoRoom);
                return finish(account, &intake, Ending::Reply(reply::NOT_STORED));
            }
            AtEom::Refuse(reason) => {
                account.reason = Some(reason);
                return finish(account, &intake, Ending::Reply(Reply::to(reason)));
            }
            AtEom::LeaveAlone => {
                account.verdict = Verdict::NotOurs;
                account.reason = Some(Rejection::NotAReport);
                return finish(account, &intake, Ending::Accept);
            }
            AtEom::Spool => None,
            AtEom::Park(reason) => Some(reason),
        };
        account.reason = parked;
        let arrived = epoch_secs();
        let entry = NewEntry {
            envelope: envelope.clone(),
            arrived,
            raw,
            parked,
        };
        match put(entry, &intake).await {
            Ok(id) => {
                account.spool_id = Some(id);
                account.verdict = Verdict::Accepted;
                finish(account, &intake, mail.after())
            }
            Err(error) => {
                log_failure(&error, &envelope);
                account.verdict = Verdict::TryLater;
                account.reason = Some(Rejection::NoRoom);
                finish(account, &intake, Ending::Reply(reply::NOT_STORED))
            }
        }
    }
}

impl Mail {
    fn after(self) -> Ending {
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

fn finish(mut account: Account<'_>, intake: &Intake, ending: Ending) -> Ending {
    if let Ending::Reply(reply) = &ending {
        account.code = reply.number();
    }
    intake
        .instruments
        .stage(Stage::Eom, account.since.elapsed());
    account.give(&intake.instruments);
    ending
}

/// Makes an entry durable, and measures how long that takes.
async fn put(entry: NewEntry, intake: &Intake) -> Result<i64, SpoolError> {
    let handed_over = Instant::now();
    let put = intake.spool.put(entry).await;
    intake
        .instruments
        .stage(Stage::SpoolCommit, handed_over.elapsed());
    put
}

fn log_failure(error: &SpoolError, envelope: &Envelope) {
    tracing::error!(
        %error,
        queue_id = %envelope.queue_id.escape_default(),
        "a report could not be made durable; its sender hears 451"
    );
}

fn envelope(listen: &Listen) -> Envelope {
    Envelope {
        door: Door::Milter,
        listener: listen.name.clone(),
        client: None,
        client_name: String::new(),
        helo: String::new(),
        queue_id: String::new(),
        sender: String::new(),
        recipients: Vec::new(),
        others: false,
        authenticated: None,
        authentication_results: Vec::new(),
    }
}

/// Postfix plays an SMTP session for mail that did not come by one: client localhost, port 0.
fn is_simulated(address: &SocketAddr) -> bool {
    address.ip().is_loopback() && address.port() == 0
}

/// Postfix tells us a source route and has forgotten it when it looks for the recipient that we
/// take out; so such a recipient is taken out under both names.
fn without_source_route(argument: &CString) -> Option<CString> {
    let inner = argument.to_bytes().strip_prefix(b"<@")?;
    let colon = inner.iter().position(|&byte| byte == b':')?;
    CString::new([b"<", &inner[colon + 1..]].concat()).ok()
}

fn plain(argument: &CString) -> String {
    let bytes = argument.to_bytes();
    let inner = bytes
        .strip_prefix(b"<")
        .and_then(|b| b.strip_suffix(b">"))
        .unwrap_or(bytes);
    bounded(inner)
}

fn bounded(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(limits::MAX_ADDRESS)]).into_owned()
}

fn epoch_secs() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
