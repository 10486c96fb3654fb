//! What a user can see, through real sockets and real servers, in one binary.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod aggregate;
mod corpus;
mod drift;
mod house;
mod inspect;
mod lab;
mod otlp;
mod postfix;
mod samples;
mod telemetry;
mod tls;
