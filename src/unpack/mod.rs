//! Message bytes -> documents. Pure: bytes and bounds in, documents and rejections out.
//!
//! [`documents`] finds everything in a mail (or in a bare file) that can be a report: every leaf
//! part at any depth, every member of every zip, chosen by content alone; media types and names
//! are only hints. A [`Document`] keeps its bytes as they came, still compressed, and is read as
//! a stream as often as wanted, under the [`Bounds`] of its mail. A bad part never hides a good
//! one: it is listed beside the documents with its reason. The message that a failure report is
//! about is not looked into.

mod explore;
mod failure;
mod header;
mod inflate;
mod members;
mod mime;
mod room;
mod sniff;
mod transfer;
mod uuencode;

use std::io::Read;

use crate::{limits, terms::Rejection};
use inflate::Source;

/// What one mail may cost. A size that the mail declares about itself is never believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of one inflated document.
    pub inflated: u64,
    /// Bytes of all inflated documents of the mail, each counted once however often it is read.
    pub inflated_total: u64,
    /// Documents of the mail.
    pub documents: usize,
    /// MIME parts of the mail.
    pub parts: usize,
    /// Depth of multiparts and messages within each other.
    pub mime_depth: usize,
    /// Bytes of one header field with its continuations.
    pub header: usize,
    /// The same of a field that tells what a part is.
    pub field: usize,
    /// Bytes in which boundaries are looked for, if they are more than the mail has several times.
    pub searched: usize,
    /// Header lines of the mail, those of its parts included.
    pub headers: usize,
    /// Members of one zip file.
    pub members: usize,
    /// Containers within containers.
    pub container_depth: usize,
    /// Bytes that may be held in memory besides the mail: zip files without the encoding and the
    /// containers around them, messages and parts in rarer encodings.
    pub held: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            inflated: limits::MAX_INFLATED,
            inflated_total: limits::MAX_INFLATED,
            documents: limits::MAX_DOCUMENTS,
            parts: limits::MAX_PARTS,
            mime_depth: limits::MAX_MIME_DEPTH,
            header: limits::MAX_HEADER,
            field: limits::MAX_MIME_FIELD,
            searched: limits::MAX_SEARCHED,
            headers: limits::MAX_HEADERS,
            members: limits::MAX_MEMBERS,
            container_depth: limits::MAX_CONTAINER_DEPTH,
            held: limits::MAX_MESSAGE,
        }
    }
}

/// What the first bytes of a document look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// XML, in whatever encoding.
    Xml,
    /// A JSON object.
    Json,
    /// The fields of a message/feedback-report part (RFC 5965).
    Feedback,
    /// A failure report as a text for people.
    Notice,
}

/// Everything found in one mail or file.
#[derive(Debug, Default)]
pub struct Unpacked<'a> {
    /// What can be a report, in the order of the mail.
    pub documents: Vec<Document<'a>>,
    /// Parts that look like a report's container and cannot be used: which part, and why.
    pub rejected: Vec<(String, Rejection)>,
    /// Bytes that are held in memory for the documents, besides the mail.
    pub held: usize,
    /// Whether there is a failure report, or what calls itself one: it may hold a whole message of
    /// somebody's, of which nothing but the header is to be kept.
    pub holds_failure: bool,
}

/// One document, with its bytes as they came.
#[derive(Debug)]
pub struct Document<'a> {
    /// Where it lay: part numbers as IMAP counts them (`1.2`), then member numbers (`2/3`).
    pub part: String,
    /// The name that part or member had, without folders and control characters; a hint only.
    pub file_name: Option<String>,
    /// What its first bytes look like.
    pub shape: Shape,
    /// Of a failure report what stands beside it; nothing else has any.
    pub headers: Option<Headers>,
    source: Source<'a>,
}

/// The headers that belong to a failure report, raw, each of at most [`limits::MAX_HEADER`] bytes.
#[derive(Clone, Debug)]
pub struct Headers {
    /// Of the mail that brought it.
    pub mail: Vec<u8>,
    /// Of the message that it is about, as far as the report has it.
    pub reported: Vec<u8>,
}

impl Document<'_> {
    /// Reads the document from its start, inflating as it goes.
    ///
    /// Whatever ends the reading early comes as an [`std::io::Error`] from which
    /// [`Rejection::within`] tells the reason: too much output, a container cut short.
    pub fn open(&self) -> impl Read + '_ {
        self.source.open()
    }
}

/// The header of a mail, at most [`limits::MAX_HEADER`] bytes of it.
pub fn header(raw: &[u8]) -> &[u8] {
    header::header(raw)
}

/// What a mail of some length may inflate to. Deflate comes to a thousand times its input and,
/// within another container, to a million times; records that differ in nothing but a number
/// come to 230 times at most.
fn inflatable(length: usize, most: u64) -> u64 {
    if length >= limits::SHORT_MAIL {
        return most;
    }
    let swollen = length as u64 * limits::SHORT_RATIO;
    most.min(swollen.max(limits::SHORT_INFLATED))
}

/// Finds the documents of `raw`: a whole mail, or a bare `.xml`, `.json`, gzip, zip or zlib file.
pub fn documents<'a>(raw: &'a [u8], bounds: &Bounds) -> Unpacked<'a> {
    let searched = bounds
        .searched
        .max(raw.len().saturating_mul(limits::MAX_SEARCHES));
    let mut explorer = explore::Explorer::new(Bounds {
        searched,
        inflated_total: inflatable(raw.len(), bounds.inflated_total),
        ..*bounds
    });
    if raw.is_empty() {
        explorer.reject("1", Rejection::Empty);
    } else if sniff::is_bare(raw) {
        explorer.bare(raw);
    } else {
        explorer.mail(raw);
    }
    explorer.finish()
}

#[cfg(test)]
mod tests;
