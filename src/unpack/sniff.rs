//! What bytes look like from their start. Content decides; labels only ever break ties.

use std::io::Read;

use flate2::read::ZlibDecoder;

use super::{Shape, header::header_lines, mime::lines};
use crate::limits::SNIFF;

/// What the head of some bytes looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// A gzip stream (RFC 1952).
    Gzip,
    /// A zip file.
    Zip,
    /// Perhaps a zlib stream (RFC 1950): its two bytes of header are a weak sign.
    Zlib,
    /// A document.
    Document(Shape),
    /// HTML: what mails say to people.
    Html,
    /// The word that Yahoo and AOL sent in place of a report in 2023.
    Unused,
    /// Nothing, or white space only.
    Nothing,
    /// Anything else.
    Other,
}

/// Looks at the first [`SNIFF`] bytes.
pub(super) fn look(bytes: &[u8]) -> Look {
    let head = &bytes[..bytes.len().min(SNIFF)];
    if let Some(look) = first_look(head) {
        return look;
    }
    if is_feedback(head) {
        Look::Document(Shape::Feedback)
    } else if is_notice(head) {
        Look::Document(Shape::Notice)
    } else {
        Look::Other
    }
}

/// A text without the white space before it and the byte order mark, of which programs that join
/// files put a second one, or blanks, before the first.
fn unmarked(head: &[u8]) -> &[u8] {
    let mut text = head.trim_ascii_start();
    while let Some(rest) = text.strip_prefix(b"\xef\xbb\xbf") {
        text = rest.trim_ascii_start();
    }
    text
}

/// What the very first bytes tell.
fn first_look(head: &[u8]) -> Option<Look> {
    match head {
        [0x1f, 0x8b, ..] => return Some(Look::Gzip),
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] | [b'P', b'K', 7, 8, ..] => {
            return Some(Look::Zip);
        }
        // RFC 1950 section 2.2: deflate, and the two bytes are a multiple of 31.
        [first, second, ..]
            if first & 0x0f == 8
                && first >> 4 <= 7
                && u16::from_be_bytes([*first, *second]) % 31 == 0 =>
        {
            return Some(Look::Zlib);
        }
        // UTF-16 with or without byte order mark.
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'<', 0, ..] | [0, b'<', ..] => {
            return Some(Look::Document(Shape::Xml));
        }
        _ => {}
    }
    let text = unmarked(head);
    match text.first() {
        None => Some(Look::Nothing),
        Some(b'<') if is_html(text) => Some(Look::Html),
        Some(b'<') => Some(Look::Document(Shape::Xml)),
        Some(b'{') => Some(Look::Document(Shape::Json)),
        Some(_) if text.trim_ascii_end().eq_ignore_ascii_case(b"unused") => Some(Look::Unused),
        Some(_) => None,
    }
}

/// Whether the bytes are a file of their own rather than a mail.
pub(super) fn is_bare(raw: &[u8]) -> bool {
    match first_look(&raw[..raw.len().min(SNIFF)]) {
        // A failure report without a mail is found in the first part of one as well as alone.
        None => false,
        Some(Look::Zlib) => inflates(raw),
        Some(_) => true,
    }
}

/// Whether the bytes really are a zlib stream: two letters of a text may look like its header.
pub(super) fn inflates(raw: impl Read) -> bool {
    let mut first = [0; 64];
    matches!(ZlibDecoder::new(raw).read(&mut first), Ok(1..))
}

/// HTML, and not a report.
fn is_html(text: &[u8]) -> bool {
    const TAGS: [&[u8]; 6] = [b"html", b"!doctype html", b"body", b"div", b"p", b"table"];
    let is_tag = |after: &[u8]| {
        TAGS.iter().any(|tag| {
            let name = after.get(..tag.len());
            // `<policy_published>` is no paragraph.
            name.is_some_and(|name| name.eq_ignore_ascii_case(tag))
                && after.get(tag.len()).is_none_or(|&byte| !is_in_name(byte))
        })
    };
    !has_root(text) && tags(text).any(is_tag)
}

/// Whether the root of an aggregate report starts in the bytes, with or without a prefix. The
/// word alone says nothing: Microsoft's letters beside its reports ask for "feedback".
pub(super) fn has_root(head: &[u8]) -> bool {
    tags(head).any(|tag| {
        let name = tag.split(|&byte| !is_in_name(byte) && byte != b':').next();
        let local = name.and_then(|name| name.rsplit(|&byte| byte == b':').next());
        local.is_some_and(|local| local.eq_ignore_ascii_case(b"feedback"))
    })
}

/// What stands behind each `<`.
fn tags(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'<').skip(1)
}

fn is_in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// The fields of RFC 5965 section 3.1, of which `Feedback-Type` is the one that must be there.
fn is_feedback(head: &[u8]) -> bool {
    header_lines(unmarked(head)).any(|line| {
        line.get(..14)
            .is_some_and(|name| name.eq_ignore_ascii_case(b"feedback-type:"))
    })
}

/// What Exim says instead of it, in a text for people (`tests/data/failure`).
fn is_notice(text: &[u8]) -> bool {
    const LABELS: [&[u8]; 3] = [b"sender domain:", b"sender ip address:", b"received date:"];
    let starts = |line: &[u8], label: &[u8]| {
        let start = line.trim_ascii_start().get(..label.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(label))
    };
    LABELS
        .iter()
        .all(|label| lines(text).any(|line| starts(line, label)))
}
