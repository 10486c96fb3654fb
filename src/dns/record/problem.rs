//! What can be amiss in the text of a record, where, and what should stand there. Pure.

use std::{fmt, ops::Range};

use crate::terms::RecordTag;

/// Something amiss in the text of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The bytes of the text that it is about; empty where something is missing.
    pub at: Range<usize>,
    /// What it is.
    pub kind: ProblemKind,
    /// What should stand there; empty: nothing, not even the separator. `None`: nobody can know.
    pub better: Option<String>,
}

/// What can be amiss in the text of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// Nothing between two semicolons.
    Empty,
    /// Not of the form `tag=value`.
    NotATag,
    /// A tag that RFC 9989 does not know: ignored.
    UnknownTag,
    /// A tag that was there before: the first one is kept here, receivers differ.
    Duplicate(RecordTag),
    /// A value outside the tag's set: discarded.
    BadValue(RecordTag),
    /// A destination that is no valid URI: discarded.
    BadUri(RecordTag),
    /// A size limit, obsolete since RFC 9989: ignored.
    SizeLimit(RecordTag),
    /// A tag that receivers ignore since RFC 9989, and older ones honour.
    Historic(RecordTag),
    /// `p` is not the first tag, where RFC 7489 wants it.
    NotSecond,
    /// No `p`: taken as `p=none` by some receivers, as no record by others.
    NoPolicy,
    /// No valid policy and no usable `rua`: receivers do not apply DMARC
    /// (RFC 9989 section 4.10.1).
    NotApplied,
    /// No valid destination in a TLS-RPT record: nobody sends reports (RFC 8460 section 3).
    NoDestination,
    /// Longer, or with more destinations or problems, than we read.
    TooLong,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.start;
        match self.kind {
            ProblemKind::Empty => write!(f, "nothing between two semicolons at byte {at}"),
            ProblemKind::NotATag => write!(f, "no tag=value at byte {at}"),
            ProblemKind::UnknownTag => write!(f, "an unknown tag at byte {at}"),
            ProblemKind::Duplicate(tag) => write!(f, "{tag} is repeated at byte {at}"),
            ProblemKind::BadValue(tag) => write!(f, "{tag} has no valid value at byte {at}"),
            ProblemKind::BadUri(tag) => write!(f, "{tag} has no valid URI at byte {at}"),
            ProblemKind::SizeLimit(tag) => {
                write!(f, "{tag} has an obsolete size limit at byte {at}")
            }
            ProblemKind::Historic(tag) => write!(f, "{tag} is historic, at byte {at}"),
            ProblemKind::NotSecond => write!(f, "p stands late, at byte {at}"),
            ProblemKind::NoPolicy => f.write_str("p is missing"),
            ProblemKind::NotApplied => {
                f.write_str("neither a valid p nor a valid rua: DMARC is not applied")
            }
            ProblemKind::NoDestination => f.write_str("no valid rua: nobody sends reports"),
            ProblemKind::TooLong => f.write_str("the record is too long to be read"),
        }
    }
}

/// The text with what is `better` in place of what a problem is about.
pub fn mended(text: &[u8], problem: &Problem) -> Option<Vec<u8>> {
    let better = problem.better.as_deref()?;
    let (mut before, mut after) = (text.get(..problem.at.start)?, text.get(problem.at.end..)?);
    if better.is_empty() {
        // One separator goes with it: the one before, or in a list's first place the one behind.
        let trimmed = before.trim_ascii_end();
        after = after.trim_ascii_start();
        match trimmed.last() {
            Some(b';' | b',') => before = &trimmed[..trimmed.len() - 1],
            _ => after = after.strip_prefix(b",").unwrap_or(after).trim_ascii_start(),
        }
    }
    Some([before, better.as_bytes(), after].concat())
}
