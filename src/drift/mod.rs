//! The watch over what is published, and its comparison with what is wanted and reported.
//!
//! [`look`] asks; [`published`] judges what came back, by [`lint`] of the record itself, against what
//! is [`expected`] ([`wanted`]), and the TLS-RPT record beside it ([`tls`]); [`advice`] says what to do, and
//! `evidence` what it rests on.
//! [`compare`] holds reports against what was published, of which [`history`] says what a report may
//! have seen, [`reported`] says what follows from that, and [`silence`] says who has stopped reporting.
//! [`watch`] is the task that asks, records, judges and tells, [`schedule`] says when, and [`webhook`] tells
//! others.

pub mod advice;
pub mod compare;
mod evidence;
pub mod expected;
pub mod history;
pub mod lint;
pub mod look;
pub mod published;
mod quiet;
pub mod reported;
pub mod schedule;
pub mod silence;
pub mod tls;
pub mod wanted;
pub mod watch;
pub mod webhook;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
