//! What a user can see, through real sockets and real servers, in one binary.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod corpus;
mod inspect;
mod samples;
