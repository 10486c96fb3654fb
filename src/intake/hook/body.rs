//! A request as it comes: heard to its end, kept only as far as it is for us.
//!
//! Stalwart names the recipients before it tells the message. As soon as it shows that none of them is
//! ours the rest is let go, however long it is. Whatever is wrong, the answer waits for the end: many
//! clients hear nothing as long as they speak.

use std::{future::poll_fn, pin::Pin};

use axum::body::{Body, Bytes, HttpBody};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    super::{Intake, mail::hold},
    Addressed,
    request::{self, Nesting},
    response::Refusal,
};
use crate::limits;

/// What was heard.
pub(super) struct Heard {
    pub text: Text,
    /// Whom it is for, if that showed before its end.
    pub addressed: Option<Addressed>,
}

/// What is there of a request.
pub(super) enum Text {
    /// All of it, and the room that it takes.
    Whole(Vec<u8>, Option<OwnedSemaphorePermit>),
    /// Nothing: it is for others.
    NotOurs,
    /// Nothing: all that is on its way in takes too much.
    NoRoom,
    /// Nothing that is worth it.
    Refused(Refusal),
}

/// Hears a body to its end; the caller sets the time for it.
pub(super) async fn hear(body: &mut Body, heard: &mut Heard, intake: &Intake) {
    let mut nesting = Nesting::default();
    let mut looked = false;
    loop {
        let piece = match next(body).await {
            Some(Ok(piece)) => piece,
            Some(Err(_)) => {
                heard.text = Text::Refused(Refusal::Gone);
                return;
            }
            None => return,
        };
        let Text::Whole(bytes, held) = &mut heard.text else {
            continue;
        };
        bytes.extend_from_slice(&piece);
        let length = bytes.len();
        let has_room = hold(held, length, intake);
        if let Err(malformed) = nesting.pass(&piece) {
            heard.text = Text::Refused(Refusal::Malformed(malformed));
            continue;
        }
        if length > ceiling(intake) {
            heard.text = Text::Refused(Refusal::TooLarge);
            continue;
        }
        // Mail for others needs no room.
        if !has_room || !looked && length >= limits::HOOK_FRONT {
            looked = true;
            heard.look(intake);
        }
        if !has_room && matches!(heard.text, Text::Whole(..)) {
            heard.text = Text::NoRoom;
        }
    }
}

impl Heard {
    /// Looks at what is there for whom it is.
    fn look(&mut self, intake: &Intake) {
        if let Text::Whole(bytes, _) = &self.text
            && self.addressed.is_none()
        {
            self.addressed = Addressed::of(&request::so_far(bytes), intake);
            let addressed = self.addressed.as_ref();
            if addressed.is_some_and(|to| !to.mail.concerns_us()) {
                self.text = Text::NotOurs;
            }
        }
    }
}

/// The largest request with a message that we would take.
fn ceiling(intake: &Intake) -> usize {
    let message = intake.config.borrow().limits.max_message;
    message
        .saturating_mul(limits::HOOK_ESCAPES)
        .saturating_add(limits::HOOK_REST)
}

/// The next piece; `None` at the end.
async fn next(body: &mut Body) -> Option<Result<Bytes, axum::Error>> {
    loop {
        match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await? {
            Ok(frame) => {
                // Trailers say nothing to us.
                if let Ok(piece) = frame.into_data() {
                    return Some(Ok(piece));
                }
            }
            Err(error) => return Some(Err(error)),
        }
    }
}
