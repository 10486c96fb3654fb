//! DMARC aggregate reports (RFC 7489 section 7.2, RFC 9990): one streaming pass over a document.
//!
//! quick-xml reads. What it refuses may be read once more by the repairing tokeniser, which makes
//! the listed repairs and notes them; [`Reading`] says which of the two is meant, so that a second
//! pass over the same document takes the same way. Memory does not grow with the records.
//!
//! A report is whole or it is [`Broken`]: the root's end was seen (or, of one careless generator,
//! is known to be missing), and every record closed at its own depth. A single bad record is left out, and listed as skipped.

use std::io::Read;

use super::{
    Broken, Head, Record, Report, aggregate_xml::Assembler, digest::Hashed, failure, repair,
    strict, text::Text,
};
use crate::{
    limits::{EXAMINE_INFLATED, MAX_RECORDS},
    terms::{Kind, Rejection},
};

/// What surrounds a document: it may stand in for a missing policy domain, or save a detour; and
/// how much it may hold.
#[derive(Clone, Copy, Debug)]
pub struct Hints<'a> {
    /// File name of the part or zip member.
    pub file_name: Option<&'a str>,
    /// The document starts as a JSON object: it is not tried as XML first.
    pub is_json: bool,
    /// Records, or policies of a TLS report, beyond which it is refused.
    pub max_records: u64,
    /// The document is a failure report, and this is around it.
    pub failure: Option<failure::Around<'a>>,
}

impl Default for Hints<'_> {
    fn default() -> Self {
        Self {
            file_name: None,
            is_json: false,
            max_records: MAX_RECORDS,
            failure: None,
        }
    }
}

/// How a document is taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// As XML.
    Strict,
    /// As what a careless reporter makes of it.
    Repairing,
}

/// A whole report, and what a second pass over it needs to know.
#[derive(Clone, Debug)]
pub struct Whole {
    /// The report.
    pub report: Report,
    /// Its records, unless they take more memory than was allowed; then it is to be read again.
    pub records: Option<Vec<Record>>,
    /// Bytes that the kept records take.
    pub size: usize,
    /// How it was read.
    pub reading: Reading,
}

/// Reads a whole document, by repair if it must be, and keeps its records if they take `keep`
/// bytes at most. `open` gives the document from its start, each time anew.
pub fn read_whole<R: Read>(
    open: impl Fn() -> R,
    hints: &Hints<'_>,
    keep: usize,
) -> Result<Whole, Broken> {
    let pass = |reading| -> Result<Whole, Broken> {
        let (mut records, mut size) = (Some(Vec::new()), 0);
        let report = read(open(), reading, hints, &mut |record| {
            size += record.size();
            match &mut records {
                Some(kept) if size <= keep => kept.push(record),
                _ => records = None,
            }
        })?;
        Ok(Whole {
            report,
            size: records.as_ref().map_or(0, |_| size),
            records,
            reading,
        })
    };
    match pass(Reading::Strict) {
        Err(broken) if may_mend(broken.rejection) => pass(Reading::Repairing),
        result => result,
    }
}

/// Reads a whole document in one pass. Records go to `sink` as they close; they count only if
/// the whole comes out `Ok`.
pub fn read(
    input: impl Read,
    reading: Reading,
    hints: &Hints<'_>,
    sink: &mut dyn FnMut(Record),
) -> Result<Report, Broken> {
    let mut assembler = Assembler::new(sink, hints.max_records);
    let (text, offset) = pass(Hashed::new(input), reading, &mut assembler)?;
    let (hashed, notes) = text.finish();
    assembler
        .finish(hashed.finish(), notes, hints)
        .map_err(|rejection| Broken { rejection, offset })
}

/// Gives the records of a document that was read whole before, in the same way. They are the
/// same, so there is no other digest to take.
pub fn records(
    input: impl Read,
    reading: Reading,
    sink: &mut dyn FnMut(Record),
) -> Result<(), Broken> {
    // How many there may be was asked the first time.
    pass(input, reading, &mut Assembler::new(sink, u64::MAX)).map(drop)
}

/// Reads no further than until the policy domain is known or records begin, and at most
/// [`EXAMINE_INFLATED`] bytes. `None` if there is no root of a report.
pub fn head(input: impl Read) -> Option<Head> {
    let mut start = Vec::new();
    // What came before an error may tell enough.
    let _ = input.take(EXAMINE_INFLATED).read_to_end(&mut start);
    let mut found = None;
    for reading in [Reading::Strict, Reading::Repairing] {
        let mut ignored = |_| {};
        let mut assembler = Assembler::for_head(&mut ignored);
        let ended = pass(&start[..], reading, &mut assembler);
        if assembler.is_open() {
            found = Some(Head {
                kind: Kind::Aggregate,
                domain: assembler.domain(),
                report_id: assembler.report_id(),
            });
        }
        if !ended.is_err_and(|broken| may_mend(broken.rejection)) {
            break;
        }
    }
    found
}

/// Feeds the assembler until it is done or the input ends; gives where that was.
fn pass<R: Read>(
    input: R,
    reading: Reading,
    assembler: &mut Assembler<'_>,
) -> Result<(Text<R>, u64), Broken> {
    let text = Text::new(input);
    match reading {
        Reading::Strict => strict::tokens(text, assembler),
        Reading::Repairing => repair::tokens(text, assembler),
    }
}

/// Whether the repairing tokeniser may read what the strict one refused for this reason.
fn may_mend(rejection: Rejection) -> bool {
    matches!(
        rejection,
        Rejection::IllFormed | Rejection::Truncated | Rejection::TokenTooLong
    )
}
