//! The header that a message or a part begins with.

use std::io::Read;

use super::{inflate::Source, mime::lines};
use crate::limits::MAX_HEADER;

/// The lines of the header that `raw` begins with; the line that ends it is not among them.
///
/// An empty line ends it. A line of blanks is part of a field (RFC 5322 section 4.2), unless what is
/// behind it belongs to no header: then it was meant to be empty.
pub(super) fn header_lines(mut raw: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let line = lines(raw).next()?;
        raw = &raw[line.len()..];
        (!line.trim_ascii().is_empty() || is_fold(line, raw)).then_some(line)
    })
}

/// Whether the header goes on with a line of blanks and with what is behind it: a field, another fold,
/// or its end.
fn is_fold(line: &[u8], behind: &[u8]) -> bool {
    let goes_on = match behind {
        [b' ' | b'\t' | b'\n', ..] | [b'\r', b'\n', ..] => true,
        // A boundary or JSON may look like a field, and no field has such a name.
        [first, ..] => first.is_ascii_alphanumeric() && starts_with_field(behind),
        [] => false,
    };
    matches!(line[0], b' ' | b'\t') && goes_on
}

/// The header of a message, in whole lines.
pub(super) fn header(raw: &[u8]) -> &[u8] {
    let raw = raw.trim_ascii_start();
    let whole = &raw[..raw.len().min(MAX_HEADER)];
    let end: usize = header_lines(whole).map(<[u8]>::len).sum();
    if end == whole.len() && end < raw.len() {
        // Cut in the middle of a line.
        let last = whole.iter().rposition(|&byte| byte == b'\n');
        return &whole[..last.map_or(0, |last| last + 1)];
    }
    &whole[..end]
}

/// The same of a part, as far as it can be read.
pub(super) fn header_of(source: &Source<'_>) -> Vec<u8> {
    let mut start = Vec::new();
    // One byte more tells that it was cut.
    let most = MAX_HEADER as u64 + 1;
    let _ = source.open().take(most).read_to_end(&mut start);
    let length = header(&start).len();
    let blank = start.len() - start.trim_ascii_start().len();
    start.drain(..blank);
    start.truncate(length);
    start
}

/// Whether the bytes start with a header field (RFC 5322 section 2.2).
pub(super) fn starts_with_field(raw: &[u8]) -> bool {
    let name = raw
        .iter()
        .take_while(|byte| byte.is_ascii_graphic() && **byte != b':');
    let end = name.count();
    let rest = raw[end..].trim_ascii_start();
    end > 0 && rest.starts_with(b":")
}
