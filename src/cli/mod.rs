//! The commands, one file each: what they print is their contract.

pub mod escape;
pub mod summary;
