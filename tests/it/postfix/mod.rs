//! rua-milter behind a real Postfix: what the sender hears, what others receive, what is kept.

mod crash;
mod dates;
mod doctor;
mod doors;
mod down;
mod failure;
mod mixed;
mod session;
mod sockets;
mod tls;
mod verdicts;

use crate::lab::{daemon::Stored, mails::Report};

/// A report about example.com that counts 9 messages.
fn report() -> Report {
    Report::new("one", "example.com", &[4, 3, 2])
}

/// What the store holds once [`report`] is in it.
const ONE: Stored = Stored {
    reports: 1,
    messages: 9,
};

/// A report about a domain that is on no list.
fn foreign() -> Report {
    Report::new("foreign", "foreign.example", &[5])
}
