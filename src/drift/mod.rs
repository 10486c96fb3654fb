//! The watch over what is published, and its comparison with what is wanted and reported.
//!
//! [`compare`] finds what is amiss, [`history`] says which answers a report may have seen,
//! [`watch`] is the task that asks, records, compares and tells.

pub mod compare;
pub mod history;
pub mod watch;
