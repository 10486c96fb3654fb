//! Header fields (RFC 5322 section 2.2), one at a time, and the four of a message that are kept.

use std::io::{self, BufRead};

use mail_parser::{DateTime, HeaderName, MessageParser};

use super::values;
use crate::{domain::Domain, limits::MAX_FAILURE_FIELD};

/// What is kept of a header; empty where it is not there.
#[derive(Clone, Debug, Default)]
pub struct Selected {
    /// The addresses in `From`, without names.
    pub from: String,
    /// `Subject`, decoded.
    pub subject: String,
    /// `Date`, as it came.
    pub date: String,
    /// `Message-ID`, without brackets.
    pub message_id: String,
}

impl Selected {
    /// Selects from a header. Of a field that comes twice the first counts, as it does for
    /// receivers that tolerate it.
    pub(super) fn of(mut header: &[u8]) -> Self {
        let mut selected = Self::default();
        let (mut from, mut subject) = (String::new(), String::new());
        let read = fields(&mut header, &mut |name, value| {
            let slot = match name {
                "from" => &mut from,
                "subject" => &mut subject,
                "date" => &mut selected.date,
                "message-id" => &mut selected.message_id,
                _ => return,
            };
            if slot.is_empty() {
                value.clone_into(slot);
            }
        });
        // What lies in memory can be read.
        debug_assert!(read.is_ok());
        let id = selected.message_id.trim_matches(['<', '>', ' ']);
        let message_id = values::bounded(id).to_owned();
        let date = values::bounded(&selected.date).to_owned();
        let (from, subject) = decoded(&from, &subject);
        Self {
            from,
            subject,
            date,
            message_id,
        }
    }

    /// The domain of the first address.
    pub(super) fn domain(&self) -> Option<Domain> {
        let first = self.from.split(", ").next()?;
        Domain::parse(first.rsplit_once('@')?.1)
    }

    /// `Date` as a time.
    pub(super) fn time(&self) -> Option<i64> {
        time(&self.date)
    }

    /// Bytes of all of it.
    pub(super) fn len(&self) -> usize {
        self.from.len() + self.subject.len() + self.date.len() + self.message_id.len()
    }
}

/// Addresses without names, and a subject without encoded words (RFC 2047), which would hide from
/// redaction what is in them.
fn decoded(from: &str, subject: &str) -> (String, String) {
    let block = format!("From: {from}\r\nSubject: {subject}\r\n\r\n");
    let parser = MessageParser::new()
        .header_address(HeaderName::From)
        .header_text(HeaderName::Subject)
        .default_header_ignore();
    let Some(parsed) = parser.parse_headers(block.as_bytes()) else {
        return Default::default();
    };
    let addresses = parsed.from().into_iter().flat_map(|from| from.iter());
    let addresses: Vec<_> = addresses.filter_map(|from| from.address()).collect();
    let subject = parsed.subject().unwrap_or_default();
    (
        values::bounded(&addresses.join(", ")).to_owned(),
        values::bounded(subject.trim()).to_owned(),
    )
}

/// A time as RFC 5322 section 3.3 writes it, UTC epoch; day of the week and comments are ignored.
pub(super) fn time(text: &str) -> Option<i64> {
    let time = DateTime::parse_rfc822(text)?;
    time.is_valid().then(|| time.to_timestamp())
}

/// Gives each field up to the first empty line: name in lower case, value unfolded, trimmed and of
/// at most [`MAX_FAILURE_FIELD`] bytes. Lines that are none are skipped, and so are lines of blanks,
/// which are part of a field (RFC 5322 section 4.2) in what is known to be a header.
pub(super) fn fields(input: &mut dyn BufRead, on: &mut dyn FnMut(&str, &str)) -> io::Result<()> {
    let mut field = Vec::new();
    let mut line = Vec::new();
    while read_line(input, &mut line)? {
        let text = line.trim_ascii();
        if text.is_empty() {
            if field.is_empty() || matches!(line[0], b' ' | b'\t') {
                continue;
            }
            break;
        }
        let is_folded = matches!(line[0], b' ' | b'\t') && !field.is_empty();
        if is_folded {
            field.push(b' ');
        } else {
            give(&field, on);
            field.clear();
        }
        field.extend_from_slice(text);
        field.truncate(MAX_FAILURE_FIELD);
    }
    give(&field, on);
    Ok(())
}

fn give(field: &[u8], on: &mut dyn FnMut(&str, &str)) {
    let Some(colon) = field.iter().position(|&byte| byte == b':') else {
        return;
    };
    let name = field[..colon].trim_ascii_end();
    if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
        return;
    }
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    let value = String::from_utf8_lossy(&field[colon + 1..]);
    on(&name, value.trim());
}

/// Reads a line, of which at most [`MAX_FAILURE_FIELD`] bytes are kept; `false` at the end.
pub(super) fn read_line(input: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut is_any = false;
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(is_any);
        }
        is_any = true;
        let end = buffer.iter().position(|&byte| byte == b'\n');
        let length = end.map_or(buffer.len(), |end| end + 1);
        let room = MAX_FAILURE_FIELD.saturating_sub(line.len());
        line.extend_from_slice(&buffer[..length.min(room)]);
        input.consume(length);
        if end.is_some() {
            return Ok(true);
        }
    }
}
