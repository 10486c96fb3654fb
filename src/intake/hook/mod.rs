//! The hook door: Stalwart's MTA hook, JSON over HTTP, at the stages `rcpt` and `data`.
//!
//! The same policy, the same end of a message and the same words as the milter; only how it is heard
//! and said is here. A request is one message: nothing is remembered between two.

mod body;
mod request;
mod response;
mod secrets;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{Method, header},
    response::{IntoResponse, Response},
};

use self::{
    body::{Heard, Text},
    request::{Context, Stage},
    response::{Answer, Refusal},
};
use super::{
    Intake,
    judgement::{self, Ending},
    mail::{Hearer, Mail, Recipient, bounded},
    reply::Reply,
};
use crate::{
    limits,
    sockets::{
        Socket,
        http::{self, Bounds},
    },
    spool::Envelope,
    terms::Door,
};
pub use secrets::{SecretError, Secrets};

/// What log and metrics call the listener, of which there is one.
pub const LISTENER: &str = "hook";

const BOUNDS: Bounds = Bounds {
    connections: limits::HOOK_CONNECTIONS,
    life: limits::HOOK_CONNECTION,
};

/// Serves until the doors close, and then what has come in.
pub async fn run(socket: Socket, secrets: Secrets, intake: Intake) -> std::io::Result<()> {
    let closed = Arc::clone(&intake.closing).closed();
    let routes = Router::new().fallback(move |request: Request| {
        let (secrets, intake) = (secrets.clone(), intake.clone());
        async move { answer(request, &secrets, intake).await }
    });
    match socket {
        Socket::Tcp(listener) => http::serve(listener, routes, BOUNDS, closed).await,
        Socket::Unix(listener, _file) => http::serve(listener, routes, BOUNDS, closed).await,
    }
}

/// One request, from its head to the answer.
async fn answer(request: Request, secrets: &Secrets, intake: Intake) -> Response {
    let (head, mut body) = request.into_parts();
    let authorization = head.headers.get(header::AUTHORIZATION);
    let text = if !secrets.permit(authorization.map(header::HeaderValue::as_bytes)) {
        Text::Refused(Refusal::Unauthorized)
    } else if head.method != Method::POST {
        Text::Refused(Refusal::Method)
    } else {
        Text::Whole(Vec::new(), None)
    };
    match judged(&mut body, text, &intake).await {
        Ok(answer) => answer.into_response(),
        Err(refusal) => {
            // The operator has to see why Stalwart's mail waits; strangers who knock must not fill
            // the disk.
            if intake.throttle.line(LISTENER) {
                let (status, reason) = refusal.told();
                tracing::warn!(
                    status = status.as_u16(),
                    reason,
                    "a hook request was refused"
                );
            }
            refusal.into_response()
        }
    }
}

async fn judged(body: &mut Body, text: Text, intake: &Intake) -> Result<Answer, Refusal> {
    let mut heard = Heard {
        text,
        addressed: None,
    };
    let hearing = body::hear(body, &mut heard, intake);
    let in_time = tokio::time::timeout(limits::HOOK_READ, hearing)
        .await
        .is_ok();
    let (json, held) = match heard.text {
        Text::Refused(refusal) => return Err(refusal),
        _ if !in_time => return Err(Refusal::TooSlow),
        Text::NotOurs => return Ok(Answer::Accept),
        Text::NoRoom => {
            let mut addressed = heard.addressed.ok_or(Refusal::NoRoom)?;
            addressed.mail.let_go();
            return addressed.end().await;
        }
        Text::Whole(json, held) => (json, held),
    };
    let request = read(json).await?;
    let context = request.context.as_ref();
    match context.map(|context| context.stage) {
        Some(Stage::Rcpt) => recipient(&request, intake),
        Some(Stage::Data) => {
            let missing = Refusal::Malformed(request::Malformed::NoRequest);
            let addressed = heard.addressed.or_else(|| Addressed::of(&request, intake));
            let mut addressed = addressed.ok_or(missing)?;
            addressed.keep(request.message.ok_or(missing)?);
            // The message has room of its own now.
            drop(held);
            addressed.end().await
        }
        _ => Ok(Answer::Accept),
    }
}

/// Reads a request; a long one on a thread where it may take its time.
async fn read(json: Vec<u8>) -> Result<request::Request, Refusal> {
    let read = if json.len() <= limits::HOOK_FRONT {
        request::whole(&json)
    } else {
        let aside = tokio::task::spawn_blocking(move || request::whole(&json));
        aside.await.map_err(|_| Refusal::Gone)?
    };
    read.map_err(Refusal::Malformed)
}

/// The stage `rcpt`: the last one named is the one in question.
fn recipient(request: &request::Request, intake: &Intake) -> Result<Answer, Refusal> {
    let missing = Refusal::Malformed(request::Malformed::NoRequest);
    let (mut mail, addresses) = begun(request, Hearer::Replayed, intake).ok_or(missing)?;
    let last = addresses.last().ok_or(missing)?;
    Ok(match mail.rcpt(last.address.as_bytes()) {
        Recipient::TurnedAway(reply) => Answer::Reject(reply),
        Recipient::Ours | Recipient::NotOurs => Answer::Accept,
    })
}

/// A message of which it is known for whom it is.
pub(super) struct Addressed {
    mail: Mail,
    /// Those of its recipients that are ours, as Stalwart calls them.
    ours: Vec<String>,
    /// What its sender hears whatever the message is.
    turned_away: Option<Reply>,
}

impl Addressed {
    /// `None` as long as it is not known, or of another stage.
    fn of(request: &request::Request, intake: &Intake) -> Option<Self> {
        let stage = request.context.as_ref()?.stage;
        if stage != Stage::Data {
            return None;
        }
        let (mut mail, addresses) = begun(request, Hearer::Message, intake)?;
        let (mut ours, mut turned_away) = (Vec::new(), None);
        for to in addresses {
            match mail.rcpt(to.address.as_bytes()) {
                Recipient::Ours => ours.push(to.address.clone()),
                Recipient::NotOurs => {}
                Recipient::TurnedAway(reply) => turned_away = Some(reply),
            }
        }
        Some(Self {
            mail,
            ours,
            turned_away,
        })
    }

    /// Puts the message together as it was received.
    fn keep(&mut self, message: request::Message) {
        if !self.mail.is_ours() {
            return;
        }
        let envelope = &mut self.mail.envelope;
        envelope.lossy = message.is_lossy();
        envelope.authentication_results = message.header.authentication_results;
        self.mail.keep(message.header.block.as_bytes());
        self.mail.keep(b"\r\n");
        self.mail.keep(message.contents.as_bytes());
    }

    /// The end of the message, which is finished even when nobody waits for the answer any more.
    async fn end(self) -> Result<Answer, Refusal> {
        if let Some(reply) = self.turned_away {
            return Ok(Answer::Reject(reply));
        }
        if !self.mail.concerns_us() {
            return Ok(Answer::Accept);
        }
        let judged = tokio::spawn(judgement::judge(self.mail)).await;
        Ok(match judged.map_err(|_| Refusal::Gone)? {
            Ending::Reply(reply) => Answer::Reject(reply),
            Ending::Accept => Answer::Accept,
            Ending::Discard => Answer::Discard,
            Ending::Remove => Answer::Remove(self.ours),
        })
    }
}

/// A message as its envelope tells, and its recipients.
fn begun<'a>(
    request: &'a request::Request,
    hearer: Hearer,
    intake: &Intake,
) -> Option<(Mail, &'a [request::Address])> {
    let (context, addresses) = (request.context.as_ref()?, request.envelope.as_ref()?);
    let envelope = envelope(context, &addresses.from.address);
    let mail = Mail::new(intake.clone(), envelope, hearer);
    Some((mail, &addresses.to))
}

fn envelope(context: &Context, sender: &str) -> Envelope {
    let text =
        |text: Option<&String>| text.map_or_else(String::new, |text| bounded(text.as_bytes()));
    let client = context.client.as_ref();
    let queue = context.queue.as_ref();
    let login = context.sasl.as_ref().and_then(|sasl| sasl.login.as_ref());
    Envelope {
        listener: LISTENER.to_owned(),
        client: client.map(|client| client.ip.to_canonical()),
        client_name: text(client.and_then(|client| client.ptr.as_ref())),
        helo: text(client.and_then(|client| client.helo.as_ref())),
        queue_id: text(queue.and_then(|queue| queue.id.as_ref())),
        sender: bounded(sender.as_bytes()),
        authenticated: login.map(|login| text(Some(login))),
        ..Envelope::of(Door::Hook)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::{fixtures::intake, reply};

    /// A request at the stage `data` for one recipient.
    fn request(to: &str, bytes: usize) -> String {
        let envelope = format!(r#"{{"from":{{"address":""}},"to":[{{"address":"{to}"}}]}}"#);
        let contents = "x".repeat(bytes);
        format!(
            r#"{{"context":{{"stage":"data"}},"envelope":{envelope},"message":{{"contents":"{contents}"}}}}"#
        )
    }

    #[tokio::test]
    async fn while_memory_is_full_mail_for_others_goes_on_and_ours_comes_again() {
        let dir = tempfile::tempdir().unwrap();
        let intake = intake(dir.path());
        let full = Arc::clone(&intake.in_flight);
        let all = u32::try_from(full.available_permits()).unwrap();
        let held = full.try_acquire_many_owned(all).unwrap();
        let ask = async |to: &str, bytes| {
            let text = Text::Whole(Vec::new(), None);
            judged(&mut Body::from(request(to, bytes)), text, &intake).await
        };
        for bytes in [10, limits::HOOK_FRONT] {
            assert_eq!(ask("user@other.example", bytes).await, Ok(Answer::Accept));
            let later = Answer::Reject(reply::NOT_STORED);
            assert_eq!(ask("rua@reports.example", bytes).await, Ok(later));
        }
        drop(held);
        let refused = Answer::Reject(reply::NOT_A_REPORT);
        assert_eq!(ask("rua@reports.example", 10).await, Ok(refused));
    }
}
