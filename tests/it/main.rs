//! What a user can see, through real sockets and real servers, in one binary.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod aggregate;
mod backup;
mod commands;
mod corpus;
mod crash_loop;
mod drift;
mod drift_kinds;
mod duplicates;
mod durable;
mod failure;
mod faults;
mod flood;
mod fuzz;
mod hostile;
mod house;
mod import;
mod inspect;
mod lab;
mod log;
mod mails;
mod many_domains;
mod metrics;
mod mta;
mod otlp;
mod parked;
mod postfix;
mod reports;
mod retention;
mod samples;
mod sweep;
mod tcp;
mod telemetry;
mod tls;
mod upgrade;
mod wire;
