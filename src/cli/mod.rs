//! One file per command.

pub mod drift;
