//! One connection of an MTA: what it told us, message by message.
//!
//! Nothing here speaks the protocol, so that every rule of what is said when can be read in
//! one place. Per-message state begins at MAIL and ends with the answer to the end of message,
//! at ABORT, or with the next MAIL, whichever comes first.

use std::{
    ffi::CString,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use indymilter::{ProtoOpts, SocketInfo};

use super::{
    super::{
        Account, Intake,
        policy::{self, AtRcpt},
        reply::Reply,
    },
    judgement::Judgement,
    mail::Mail,
};
use crate::{
    config::{Listen, Peer},
    limits,
    spool::Envelope,
    terms::{Door, Rejection, Verdict},
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
            queue_id: facts.queue_id.clone(),
            sender: args.first().map(plain).unwrap_or_default(),
            login: facts.login.clone(),
            declared,
            ..Mail::new(self.intake.config.borrow().clone())
        });
    }

    pub fn rcpt(&mut self, argument: &CString) -> Answer {
        let peer = self.peer();
        let Some(mail) = &mut self.mail else {
            return Answer::Continue;
        };
        let envelope = Envelope {
            client: self.client,
            listener: self.listen.name.clone(),
            ..Envelope::of(Door::Milter)
        };
        let verdict = policy::at_rcpt(
            &mail.config.domains,
            argument.to_bytes(),
            mail.declared,
            mail.config.limits.max_message,
            || {
                let network = envelope.network();
                self.intake.room(&network)?;
                // A mail counts once, and what the MTA itself has to say does not.
                if !mail.ours.is_empty() || self.non_smtp {
                    return Ok(());
                }
                let rate = &mail.config.rate;
                self.intake.throttle.mail(rate, self.client, &network)
            },
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
                mail.too_fast |= verdict == AtRcpt::TryLater(Rejection::RateLimited);
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
        .give(&self.intake);
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

    pub fn body(&mut self, chunk: &[u8]) {
        let Some(mail) = self.mail.as_mut().filter(|mail| !mail.ours.is_empty()) else {
            return;
        };
        if self.listen.peer == Peer::Stalwart && mail.repeats_headers(chunk) {
            mail.raw.clear();
            mail.headers = 0;
        }
        mail.keep(chunk, &self.intake);
    }

    /// Lets go of the message.
    pub fn forget(&mut self) {
        self.mail = None;
    }

    /// Takes the message out of the session for judgement; `None` if none of it is ours.
    pub fn end(&mut self, queue_id: &str) -> Option<Judgement> {
        let mut mail = self.mail.take()?;
        // An unknown address is the peer's own business where others get the mail as well.
        if mail.ours.is_empty() && (!mail.unknown || mail.others) {
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
            listener: self.listen.name.clone(),
            ..Envelope::of(Door::Milter)
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

/// Postfix plays an SMTP session for mail that did not come by one: client localhost, port 0.
fn is_simulated(address: &SocketAddr) -> bool {
    address.ip().is_loopback() && address.port() == 0
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::file, spool, telemetry::instruments::Instruments};

    const CONFIG: &str = r#"
        [recipients]
        hosts = ["reports.example"]
        [[domain]]
        name = "example.com"
        rua = ["rua@reports.example"]
        [limits]
        max_message_bytes = 65536
        max_spool_bytes = 1048576
        min_free_bytes = 0
    "#;

    fn intake(dir: &std::path::Path) -> Intake {
        let path = dir.join("rua-milter.toml");
        std::fs::write(&path, CONFIG).unwrap();
        let config = file::load(&path).unwrap();
        let (spool, _writer) = spool::open(dir, config.limits, Arc::default()).unwrap();
        let (_, config) = tokio::sync::watch::channel(Arc::new(config));
        Intake::new(config, spool, Arc::new(Instruments::disconnected()))
    }

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
        session.end("").expect("ours").judge().await
    }

    #[tokio::test]
    async fn the_bound_of_the_spool_holds_for_a_peer_that_is_not_turned_away_at_rcpt() {
        let dir = tempfile::tempdir().unwrap();
        let intake = intake(dir.path());
        let mut discarded = 0;
        let end = loop {
            match send(&intake, Peer::Stalwart).await {
                Ending::Discard if discarded < 30 => discarded += 1,
                end => break end,
            }
        };
        assert!(
            matches!(end, Ending::Reply(reply) if reply == crate::intake::reply::NOT_STORED),
            "{end:?} after {discarded}"
        );
        assert_eq!(intake.spool.state().depth().new_entries, discarded);
    }
}
