//! Aggregate reports.

use std::io::Read;

use super::{Broken, Head, Record, Report};

/// Reads a whole document.
pub fn read(
    _input: impl Read,
    _hints: &Hints<'_>,
    _sink: &mut dyn FnMut(Record),
) -> Result<Report, Broken> {
    Err(Broken {
        rejection: crate::terms::Rejection::WrongRoot,
        offset: 0,
    })
}

/// Reads no further than needed.
pub fn head(_input: impl Read) -> Option<Head> {
    None
}

/// What surrounds a document and may stand in for a missing policy domain.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints<'a> {
    /// File name of the part or zip member.
    pub file_name: Option<&'a str>,
}
