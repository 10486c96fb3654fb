//! The milter door: translates the protocol to [`session::Session`] and back.
//!
//! indymilter speaks the protocol; its edges are filed off here, in [`listener`] and in [`frames`]:
//! what we ask for at negotiation stays a subset of what is offered, accept errors do not end us,
//! and a peer that is no MTA costs little.

mod frames;
pub mod listener;
mod session;

use std::{ffi::CStr, future::Future, sync::Arc};

use indymilter::{
    Actions, Callbacks, Context, ContextActions, EomContext, Macros, ProtoOpts, SetErrorReply,
    SmtpReply, Status,
};

use self::{
    listener::MilterListener,
    session::{Answer, Facts, Session},
};
use super::{
    Intake,
    judgement::{self, Ending},
    reply::Reply,
};
use crate::{
    config::{Listen, Peer},
    limits,
};

/// Serves one listener until `shutdown`. Sessions in the middle of a callback finish it.
pub async fn run(
    listener: MilterListener,
    listen: Listen,
    max_connections: usize,
    intake: Intake,
    shutdown: impl Future,
) -> std::io::Result<()> {
    let config = indymilter::Config {
        max_connections,
        actions: Actions::empty(),
        connection_timeout: limits::MILTER_IDLE,
    };
    indymilter::run(
        listener,
        callbacks(Arc::new(listen), intake),
        config,
        shutdown,
    )
    .await
}

fn callbacks(listen: Arc<Listen>, intake: Intake) -> Callbacks<Session> {
    message_callbacks(connection_callbacks(listen, intake))
}

fn connection_callbacks(listen: Arc<Listen>, intake: Intake) -> Callbacks<Session> {
    Callbacks::new()
        .on_negotiate(move |cx, actions, opts| {
            let session = Session::new(Arc::clone(&listen), intake.clone());
            Box::pin(async move {
                cx.requested_actions = Actions::DELETE_RCPT & actions;
                cx.requested_opts = (cx.requested_opts | wanted(session.peer())) & opts;
                cx.data = Some(session.negotiated(cx.requested_opts));
                Status::Continue
            })
        })
        .on_connect(|cx, host, socket| {
            Box::pin(async move {
                let no_reply = ProtoOpts::NOREPLY_CONNECT;
                with(cx, no_reply, |session| {
                    session.connect(host.to_bytes(), &socket);
                })
            })
        })
        .on_helo(|cx, name| {
            Box::pin(async move {
                with(cx, ProtoOpts::NOREPLY_HELO, |session| {
                    session.helo(name.to_bytes());
                })
            })
        })
        .on_close(|cx| {
            Box::pin(async move {
                cx.data = None;
                Status::Continue
            })
        })
        .on_unknown(|_, _| Box::pin(async { Status::Continue }))
}

fn message_callbacks(callbacks: Callbacks<Session>) -> Callbacks<Session> {
    callbacks
        .on_mail(|cx, args| {
            Box::pin(async move {
                let facts = facts(&cx.macros);
                with(cx, ProtoOpts::NOREPLY_MAIL, |session| {
                    session.mail(&args, &facts);
                })
            })
        })
        .on_rcpt(|cx, args| {
            Box::pin(async move {
                let answer = match (&mut cx.data, args.first()) {
                    (Some(session), Some(argument)) => session.rcpt(argument),
                    _ => Answer::Continue,
                };
                status(&mut cx.reply, answer)
            })
        })
        .on_data(|cx| {
            Box::pin(async move {
                let answer = cx.data.as_mut().map_or(Answer::Accept, Session::data);
                status(&mut cx.reply, answer)
            })
        })
        .on_header(|cx, name, value| {
            Box::pin(async move {
                with(cx, ProtoOpts::NOREPLY_HEADER, |session| {
                    session.header(name.to_bytes(), value.to_bytes());
                })
            })
        })
        .on_eoh(|cx| {
            Box::pin(async move {
                with(cx, ProtoOpts::NOREPLY_EOH, |session| {
                    session.end_of_headers();
                })
            })
        })
        .on_body(|cx, chunk| {
            Box::pin(async move {
                with(cx, ProtoOpts::NOREPLY_BODY, |session| {
                    session.body(&chunk);
                })
            })
        })
        .on_eom(|cx| Box::pin(eom(cx)))
        .on_abort(|cx| {
            // Postfix sends ABORT after a successful end of message too: nothing is undone.
            Box::pin(async move {
                if let Some(session) = &mut cx.data {
                    session.forget();
                }
                Status::Continue
            })
        })
}

/// What we would like to agree on; the caller keeps the part that is offered.
///
/// Header values keep their leading space, so that the message is kept as it came. Steps at
/// which we never say anything need no answer, which saves a round trip each. (indymilter would
/// answer no end of message that brings a piece of the body; Postfix and Sendmail, which offer
/// `NOREPLY_BODY`, send it empty.)
fn wanted(peer: Peer) -> ProtoOpts {
    match peer {
        Peer::Mta => {
            ProtoOpts::LEADING_SPACE
                | ProtoOpts::NOREPLY_CONNECT
                | ProtoOpts::NOREPLY_HELO
                | ProtoOpts::NOREPLY_MAIL
                | ProtoOpts::NOREPLY_HEADER
                | ProtoOpts::NOREPLY_EOH
                | ProtoOpts::NOREPLY_BODY
        }
        Peer::Stalwart { .. } => ProtoOpts::empty(),
    }
}

fn facts(macros: &Macros) -> Facts {
    let login = macros.get(c"{auth_authen}");
    Facts {
        queue_id: text(macros.get(c"i")),
        login: login.map(|login| text(Some(login))),
    }
}

/// Tells the session of a step that never gets an answer of ours.
fn with(cx: &mut Context<Session>, no_reply: ProtoOpts, step: impl FnOnce(&mut Session)) -> Status {
    let Some(session) = &mut cx.data else {
        return Status::Continue;
    };
    step(session);
    if session.opts().contains(no_reply) {
        Status::Noreply
    } else {
        Status::Continue
    }
}

fn text(value: Option<&CStr>) -> String {
    let kept = |value: &CStr| {
        let bytes = value.to_bytes();
        String::from_utf8_lossy(&bytes[..bytes.len().min(limits::MAX_ADDRESS)]).into_owned()
    };
    value.map(kept).unwrap_or_default()
}

fn status(to: &mut SmtpReply, answer: Answer) -> Status {
    match answer {
        Answer::Continue => Status::Continue,
        Answer::Accept => Status::Accept,
        Answer::Reply(reply) => say(to, reply),
    }
}

fn say(to: &mut SmtpReply, reply: Reply) -> Status {
    to.set_error_reply(reply.code, Some(reply.enhanced), [reply.text])
        .expect("replies are constants, and a test holds them valid");
    // The status must be of the class of the code.
    if reply.code.starts_with('4') {
        Status::Tempfail
    } else {
        Status::Reject
    }
}

async fn eom(cx: &mut EomContext<Session>) -> Status {
    let queue_id = text(cx.macros.get(c"i"));
    let Some((mail, ours)) = cx.data.as_mut().and_then(|session| session.end(&queue_id)) else {
        return Status::Accept;
    };
    let mut judged = std::pin::pin!(judgement::judge(mail));
    let end = loop {
        tokio::select! {
            end = &mut judged => break end,
            // Sets the MTA's timer back. When it has gone away, there is nobody to tell; the
            // work is finished all the same.
            () = tokio::time::sleep(limits::PROGRESS) => {
                let _ = cx.actions.progress().await;
            }
        }
    };
    match end {
        Ending::Reply(reply) => say(&mut cx.reply, reply),
        Ending::Accept => Status::Accept,
        Ending::Discard => Status::Discard,
        Ending::Remove => {
            for recipient in ours {
                // Byte for byte as the MTA gave it: Postfix compares it so.
                if let Err(error) = cx.actions.delete_recipient(recipient).await {
                    // The mail is in the spool already: it is better delivered once more than
                    // lost for the others.
                    let queue_id = queue_id.escape_default();
                    tracing::warn!(%error, %queue_id, "a recipient of ours could not be removed");
                }
            }
            Status::Accept
        }
    }
}
