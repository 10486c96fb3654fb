//! Front doors.

pub mod import;
