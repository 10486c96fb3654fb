//! What holds for every input, whoever sent it: one function a fuzz target.
//!
//! The targets in `fuzz_targets/` call these for as long as `fuzz/run` is told to, and
//! `tests/it/fuzz.rs` calls them for every file of `corpus/` and every sample, as a test. Each
//! promises more than that nothing panics: bounds are kept, sums are the sums of what was given,
//! reading twice gives the same, and what was packed comes out again.

mod aggregate;
mod domains;
mod failure;
pub mod oracle;
mod record;
mod tls;
mod unpack;

pub use aggregate::aggregate;
pub use domains::domains;
pub use failure::failure;
pub use record::record;
pub use tls::tls;
pub use unpack::{inflate, mail};
