//! One connection of an MTA: what it told us, message by message.
//!
//! Nothing here speaks the protocol, so that every rule of what is said when can be read in
//! one place. Per-message state begins at MAIL and ends with the answer to the end of message,
//! at ABORT, or with the next MAIL, whichever comes first.

use std::{
    ffi::CString,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use indymilter::{ProtoOpts, SocketInfo};

use super::super::{
    Intake,
    mail::{Hearer, Mail, Recipient, bounded, note_field, plain},
    reply::Reply,
};
use crate::{
    config::{Listen, Peer},
    spool::Envelope,
    terms::Door,
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
    Reply(Reply),
}

pub struct Session {
    listen: Arc<Listen>,
    intake: Intake,
    opts: ProtoOpts,
    client: Option<IpAddr>,
    client_name: String,
    helo: String,
    /// Postfix's own mail (`non_smtpd_milters`).
    non_smtp: bool,
    message: Option<Message>,
}

/// A message, and what of it only this protocol knows.
struct Message {
    mail: Mail,
    /// Recipients of ours, byte for byte as the MTA gave them.
    ours: Vec<CString>,
    /// How much of what is kept is the header block.
    headers: usize,
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
            message: None,
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
        let envelope = Envelope {
            client: self.client,
            client_name: self.client_name.clone(),
            helo: self.helo.clone(),
            queue_id: facts.queue_id.clone(),
            sender: args
                .first()
                .map(|sender| plain(sender.to_bytes()))
                .unwrap_or_default(),
            authenticated: facts.login.clone(),
            listener: self.listen.name.clone(),
            ..Envelope::of(Door::Milter)
        };
        let hearer = match self.peer() {
            _ if self.non_smtp => Hearer::Nobody,
            Peer::Mta => Hearer::Recipient,
            Peer::Stalwart { rcpt_stage: true } => Hearer::Replayed,
            Peer::Stalwart { rcpt_stage: false } => Hearer::Message,
        };
        self.message = Some(Message {
            mail: Mail {
                declared,
                ..Mail::new(self.intake.clone(), envelope, hearer)
            },
            ours: Vec::new(),
            headers: 0,
        });
    }

    pub fn rcpt(&mut self, argument: &CString) -> Answer {
        let Some(message) = &mut self.message else {
            return Answer::Continue;
        };
        match message.mail.rcpt(argument.to_bytes()) {
            Recipient::NotOurs => Answer::Continue,
            Recipient::Ours => {
                message.ours.push(argument.clone());
                Answer::Continue
            }
            Recipient::TurnedAway(reply) => Answer::Reply(reply),
        }
    }

    pub fn data(&mut self) -> Answer {
        let message = self.message.as_ref();
        match self.peer() {
            _ if message.is_some_and(|message| message.mail.concerns_us()) => Answer::Continue,
            // Accept before DATA could let a later recipient of ours pass us by; here it cannot.
            Peer::Mta => {
                self.message = None;
                Answer::Accept
            }
            // Takes accept for continue: it is heard to the end, and no byte is kept.
            Peer::Stalwart { .. } => Answer::Continue,
        }
    }

    pub fn header(&mut self, name: &[u8], value: &[u8]) {
        let leading_space = self.opts.contains(ProtoOpts::LEADING_SPACE);
        let Some(message) = self.ours() else {
            return;
        };
        let envelope = &mut message.mail.envelope;
        note_field(&mut envelope.authentication_results, name, value);
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
        message.mail.keep(&line);
        message.headers = message.mail.raw.len();
    }

    pub fn end_of_headers(&mut self) {
        if let Some(message) = self.ours() {
            message.mail.keep(b"\r\n");
        }
    }

    pub fn body(&mut self, chunk: &[u8]) {
        let peer = self.peer();
        let Some(message) = self.ours() else {
            return;
        };
        if matches!(peer, Peer::Stalwart { .. }) && message.is_repeated_by(chunk) {
            message.mail.raw.clear();
            message.headers = 0;
        }
        message.mail.keep(chunk);
    }

    /// Lets go of the message.
    pub fn forget(&mut self) {
        self.message = None;
    }

    /// Takes the message out of the session for judgement, with the names under which its recipients
    /// of ours are taken out of it; `None` if it is none of our business.
    pub fn end(&mut self, queue_id: &str) -> Option<(Mail, Vec<CString>)> {
        let Message { mut mail, ours, .. } = self.message.take()?;
        if !mail.concerns_us() {
            return None;
        }
        if !queue_id.is_empty() {
            queue_id.clone_into(&mut mail.envelope.queue_id);
        }
        let stripped: Vec<_> = ours.iter().filter_map(without_source_route).collect();
        Some((mail, ours.into_iter().chain(stripped).collect()))
    }

    /// The message, if it has recipients of ours: nothing is kept of any other.
    fn ours(&mut self) -> Option<&mut Message> {
        self.message
            .as_mut()
            .filter(|message| message.mail.is_ours())
    }
}

impl Message {
    /// Stalwart sends the whole message, headers included, as the body.
    fn is_repeated_by(&self, chunk: &[u8]) -> bool {
        let raw = &self.mail.raw;
        let first_body = raw.len() == self.headers + 2;
        let name = raw.split(|&byte| byte == b':').next().unwrap_or_default();
        first_body
            && !name.is_empty()
            && chunk.len() > name.len()
            && chunk[..name.len()].eq_ignore_ascii_case(name)
            && chunk[name.len()] == b':'
    }
}

/// Postfix tells us a source route and has forgotten it when it looks for the recipient that we
/// take out; so such a recipient is taken out under both names.
fn without_source_route(argument: &CString) -> Option<CString> {
    let inner = argument.to_bytes().strip_prefix(b"<@")?;
    let colon = inner.iter().position(|&byte| byte == b':')?;
    CString::new([b"<", &inner[colon + 1..]].concat()).ok()
}

/// Postfix plays an SMTP session for mail that did not come by one: client localhost, port 0.
fn is_simulated(address: &SocketAddr) -> bool {
    address.ip().is_loopback() && address.port() == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::{
        fixtures::intake,
        judgement::{self, Ending},
        reply,
    };

    /// One message of something that may be a report, from MAIL to the answer at its end.
    async fn send(intake: &Intake, peer: Peer) -> Ending {
        let listen = Listen {
            peer,
            ..Listen::default()
        };
        let mut session = Session::new(Arc::new(listen), intake.clone());
        let facts = Facts {
            queue_id: String::new(),
            login: None,
        };
        session.mail(&[c"<a@reporter.example>".into()], &facts);
        session.rcpt(&c"<rua@reports.example>".into());
        session.header(b"Content-Type", b" application/xml");
        session.end_of_headers();
        session.body(b"<feedback>");
        session.body(&vec![b' '; 60_000]);
        let (mail, _) = session.end("").expect("ours");
        judgement::judge(mail).await
    }

    #[tokio::test]
    async fn the_bound_of_the_spool_holds_for_a_peer_that_is_not_turned_away_at_rcpt() {
        let dir = tempfile::tempdir().unwrap();
        let intake = intake(dir.path());
        let mut discarded = 0;
        let end = loop {
            match send(&intake, Peer::Stalwart { rcpt_stage: false }).await {
                Ending::Discard if discarded < 30 => discarded += 1,
                end => break end,
            }
        };
        assert_eq!(end, Ending::Reply(reply::NOT_STORED), "after {discarded}");
        assert_eq!(intake.spool.state().depth().new_entries, discarded);
    }
}
