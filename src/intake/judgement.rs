//! The end of a message: what is decided, made durable, and to be said. Each door says it in its
//! own way.

use std::time::{Instant, SystemTime};

use super::{
    Account, Intake,
    examine::Examined,
    examine_aside, kept,
    mail::{Hearer, Kept, Mail},
    policy::{self, AtEom, Message},
    reply::{self, Reply},
};
use crate::{
    config::After,
    spool::{Envelope, NewEntry, SpoolError},
    terms::{Rejection, Stage, Verdict},
};

/// What the MTA hears at the end of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Reply(Reply),
    Accept,
    Discard,
    /// Our recipients are taken out, and the rest goes on.
    Remove,
}

/// Decides, makes it durable where it is to be, and tells what the MTA is to hear.
pub(super) async fn judge(mut mail: Mail) -> Ending {
    let since = Instant::now();
    let (intake, envelope) = (mail.intake.clone(), mail.envelope.clone());
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
    if mail.is_ours()
        && let Err(reason) = mail.untold()
    {
        return try_later(account, &intake, reason);
    }
    let (mut raw, examined) = look(&mut mail).await;
    let action = if mail.is_ours() {
        let message = Message {
            opinion: examined.opinion,
            oversized: mail.kept == Kept::Head,
            may_refuse: !envelope.others && mail.hearer != Hearer::Nobody,
        };
        policy::at_eom(message, mail.config.milter.unrecognised)
    } else {
        AtEom::Refuse(Rejection::UnknownRecipient)
    };
    account.head = examined.head.as_ref();

    let parked = match action {
        _ if mail.kept == Kept::Nothing => {
            return try_later(account, &intake, Rejection::NoRoom);
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
        AtEom::Park(reason) => {
            if examined.holds_failure {
                let Some(rest) = kept(raw, reason, &mail.config).await else {
                    return try_later(account, &intake, Rejection::NoRoom);
                };
                raw = rest;
            }
            Some(reason)
        }
    };
    if let Err(reason) = still_room(&mail) {
        return try_later(account, &intake, reason);
    }
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
            finish(account, &intake, after(&mail))
        }
        Err(error) => {
            log_failure(&error, &envelope);
            try_later(account, &intake, Rejection::NoRoom)
        }
    }
}

/// What the MTA hears once the message is safe in the spool.
fn after(mail: &Mail) -> Ending {
    match mail.config.milter.after {
        After::Deliver => Ending::Accept,
        After::Discard if mail.envelope.others => Ending::Remove,
        After::Discard => Ending::Discard,
    }
}

/// Takes the message out and looks at it. Of one that is not all there it is only told whether it
/// holds a failure report.
async fn look(mail: &mut Mail) -> (Vec<u8>, Examined) {
    let raw = std::mem::take(&mut mail.raw);
    if mail.kept == Kept::Nothing {
        return (raw, Examined::unread());
    }
    if let Some((raw, seen)) = examine_aside(raw, &mail.config).await {
        let examined = match mail.kept {
            Kept::Whole => seen,
            _ => Examined {
                holds_failure: seen.holds_failure,
                ..Examined::unread()
            },
        };
        return (raw, examined);
    }
    // The program is ending, and has let go of the message.
    mail.kept = Kept::Nothing;
    (Vec::new(), Examined::unread())
}

fn try_later(mut account: Account<'_>, intake: &Intake, reason: Rejection) -> Ending {
    account.verdict = Verdict::TryLater;
    account.reason = Some(reason);
    let reply = match reason {
        Rejection::RateLimited | Rejection::ShuttingDown => Reply::to(reason),
        _ => reply::NOT_STORED,
    };
    finish(account, intake, Ending::Reply(reply))
}

fn finish(mut account: Account<'_>, intake: &Intake, ending: Ending) -> Ending {
    if let Ending::Reply(reply) = &ending {
        account.code = reply.number();
    }
    intake
        .instruments
        .stage(Stage::Eom, account.since.elapsed());
    account.give(intake);
    ending
}

/// Whether there is room at the end of a message: many may have been let in before the first of
/// them was there, and not every peer can be told at RCPT. A network's share of the parked space is
/// no reason to hold up mail that others wait for.
fn still_room(mail: &Mail) -> Result<(), Rejection> {
    match mail.intake.spool.state().room(&mail.network()) {
        Err(Rejection::ParkedQuota) if mail.envelope.others => Ok(()),
        room => room,
    }
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

fn epoch_secs() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
