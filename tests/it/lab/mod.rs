//! Real servers for tests.

pub mod nsd;
