//! rua-milter: takes DMARC reports out of the mail stream, keeps, parses and watches them.
//!
//! This is the map. Read it in the order in which a report flows.
//!
//! ```text
//! Postfix / Sendmail / Stalwart ──▶ intake::milter ─┐
//! Stalwart's MTA hook           ──▶ intake::hook   ─┤
//! operator: files, mbox, stdin  ──▶ intake::import ─┴▶ policy ─▶ examine ─▶ spool::put ─▶ Verdict
//!                                                                             │ durable
//!                                                                             ▼
//!               pipeline: unpack ─▶ report ─▶ archive ─▶ store ─▶ count ─▶ drop the entry | park it
//!                                                                             │
//!               drift::watch ── published records, findings ──▶ store ◀── cli
//!               telemetry: one set of instruments ──▶ OTLP and a Prometheus page
//! ```
//!
//! # Promises
//!
//! 1. No 2xx before the message is durable: its commit to the [`spool`] has returned with
//!    `synchronous=FULL`. A crash costs time, never mail: work is redone, and redoing it changes
//!    nothing.
//! 2. A report counts once, however often and by whichever door it arrives. Two different
//!    reports never hide each other, and a forged one never replaces a real one.
//! 3. What was accepted and cannot be used is parked with its reason and counted; a later version
//!    retries it. It is never dropped silently: the operator says when it goes, by a command or by
//!    `retention.parked_days`, and the log says what went.
//! 4. Mail for anybody else is untouched and hardly delayed: with no recipient of ours we are
//!    done before the body is sent. With mixed recipients ours are removed and the others get
//!    their mail, whatever happens to ours.
//! 5. Every buffer, loop, queue and wait has a bound, and every bound stands in [`limits`] with
//!    its reason. What is malformed costs what its first kilobytes cost; what is well-formed
//!    costs in proportion to its size, up to a cap.
//! 6. No metric label, file name, path, log format or HTML is made from text a stranger wrote.
//!    Mail is never answered with new mail; nothing named in a report is ever fetched.
//! 7. "Don't know" is never drift: SERVFAIL, timeout and REFUSED are *unknown*; so are fields
//!    that a report does not state, and times that our history does not cover.
//! 8. The report store, the archive, DNS or the telemetry collector being down never delays or
//!    refuses mail while the spool has room.
//!
//! # Modules
//!
//! Arrows point right only, and a test reads every `crate::` path to hold it so:
//! `main -> cli -> serve -> {intake, pipeline, drift, web} -> {spool, store, archive, data_dir,
//! sockets} -> telemetry -> config -> {unpack, report, dns} -> domain -> terms -> limits`.

pub mod archive;
pub mod cli;
pub mod config;
pub mod data_dir;
pub mod dns;
pub mod domain;
pub mod drift;
pub mod intake;
pub mod limits;
pub mod pipeline;
pub mod report;
pub mod serve;
pub mod sockets;
pub mod spool;
pub mod store;
pub mod telemetry;
pub mod terms;
pub mod unpack;
pub mod web;
