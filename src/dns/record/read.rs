//! The text of a record -> [`Record`]. Pure.

use super::{FailureOptions, Parsed, Problem, ProblemKind, Record};
use crate::{
    dns::uri::ReportUri,
    limits::{MAX_RECORD_ITEMS, MAX_TXT_LEN},
    terms::RecordTag,
};

/// Reads the text of one TXT record, its character-strings joined.
pub fn parse(text: &[u8]) -> Parsed {
    let Some(tags) = after_version(text) else {
        return Parsed::NotDmarc;
    };
    let mut reader = Reader::default();
    let read = &text[..text.len().min(MAX_TXT_LEN)];
    let mut position = tags;
    while position < read.len() {
        let part = &read[position..];
        let end = part.iter().position(|&b| b == b';').unwrap_or(part.len());
        // The last semicolon may be followed by nothing.
        let last = position + end >= read.len();
        reader.part(position, &part[..end], last);
        position += end + 1;
    }
    if text.len() >= MAX_TXT_LEN {
        reader.problem(MAX_TXT_LEN, ProblemKind::TooLong);
    }
    reader.judge();
    Parsed::Dmarc(Box::new(reader.record))
}

/// Where the tags start behind `v=DMARC1`. The version must be first and in capitals
/// (RFC 9989 section 4.7); its name is an ABNF literal and may be in any case.
fn after_version(text: &[u8]) -> Option<usize> {
    let blanks = |at: usize| at + count(&text[at..], is_blank);
    let name = text.first().is_some_and(|b| b.eq_ignore_ascii_case(&b'v'));
    let equals = blanks(usize::from(name));
    if !name || text.get(equals) != Some(&b'=') {
        return None;
    }
    let value = blanks(equals + 1);
    let end = blanks(value + text[value..].strip_prefix(b"DMARC1").map(|_| 6)?);
    match text.get(end) {
        None => Some(end),
        Some(b';') => Some(end + 1),
        Some(_) => None,
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn count(text: &[u8], matches: impl Fn(u8) -> bool) -> usize {
    text.iter().take_while(|&&b| matches(b)).count()
}

#[derive(Default)]
struct Reader {
    record: Record,
    seen: Vec<RecordTag>,
    full: bool,
}

impl Reader {
    fn problem(&mut self, position: usize, kind: ProblemKind) {
        let problems = &mut self.record.problems;
        if problems.len() < MAX_RECORD_ITEMS {
            problems.push(Problem { position, kind });
        } else if !self.full {
            self.full = true;
            problems.push(Problem {
                position,
                kind: ProblemKind::TooLong,
            });
        }
    }

    /// Takes what stands between two semicolons.
    fn part(&mut self, position: usize, part: &[u8], last: bool) {
        let lead = count(part, is_blank);
        let position = position + lead;
        let part = part[lead..].trim_ascii_end();
        if part.is_empty() {
            if !last {
                self.problem(position, ProblemKind::Empty);
            }
            return;
        }
        let equals = part.iter().position(|&b| b == b'=').unwrap_or(part.len());
        let name = part[..equals].trim_ascii_end();
        let value = part.get(equals + 1..).unwrap_or_default().trim_ascii();
        if name.is_empty() || !name.iter().all(u8::is_ascii_alphabetic) || value.is_empty() {
            return self.problem(position, ProblemKind::NotATag);
        }
        let Some(tag) = word(name) else {
            return self.problem(position, ProblemKind::UnknownTag);
        };
        if self.seen.contains(&tag) {
            return self.problem(position, ProblemKind::Duplicate(tag));
        }
        self.seen.push(tag);
        if matches!(tag, RecordTag::Pct | RecordTag::Rf | RecordTag::Ri) {
            self.problem(position, ProblemKind::Historic(tag));
        }
        if matches!(tag, RecordTag::Rua | RecordTag::Ruf) {
            self.uris(tag, position, value);
        } else if !self.value(tag, value) {
            self.problem(position, ProblemKind::BadValue(tag));
        }
    }

    /// Keeps the value of `tag`; false if it is none of its set.
    fn value(&mut self, tag: RecordTag, value: &[u8]) -> bool {
        fn keep<T>(place: &mut Option<T>, value: Option<T>) -> bool {
            *place = value;
            place.is_some()
        }
        let record = &mut self.record;
        match tag {
            RecordTag::P => keep(&mut record.p, word(value)),
            RecordTag::Sp => keep(&mut record.sp, word(value)),
            RecordTag::Np => keep(&mut record.np, word(value)),
            RecordTag::Adkim => keep(&mut record.adkim, word(value)),
            RecordTag::Aspf => keep(&mut record.aspf, word(value)),
            RecordTag::Fo => keep(&mut record.fo, FailureOptions::parse(value)),
            RecordTag::T => keep(&mut record.t, word(value)),
            RecordTag::Psd => keep(&mut record.psd, word(value)),
            RecordTag::Pct => keep(&mut record.pct, number(value).filter(|&pct| pct <= 100)),
            RecordTag::Rf => keep(&mut record.rf, format(value)),
            RecordTag::Ri => keep(&mut record.ri, number(value)),
            RecordTag::Rua | RecordTag::Ruf => false,
        }
    }

    fn uris(&mut self, tag: RecordTag, position: usize, value: &[u8]) {
        for item in value.split(|&b| b == b',') {
            let place = match tag {
                RecordTag::Ruf => &mut self.record.ruf,
                _ => &mut self.record.rua,
            };
            match ReportUri::parse(item) {
                Some(_) if place.len() >= MAX_RECORD_ITEMS => {
                    return self.problem(position, ProblemKind::TooLong);
                }
                Some(uri) => {
                    let limited = uri.has_size_limit();
                    place.push(uri);
                    if limited {
                        self.problem(position, ProblemKind::SizeLimit(tag));
                    }
                }
                None => self.problem(position, ProblemKind::BadUri(tag)),
            }
        }
    }

    /// Says what only the whole record shows.
    fn judge(&mut self) {
        if self.record.policy().is_none() {
            self.problem(0, ProblemKind::NotApplied);
        } else if !self.seen.contains(&RecordTag::P) {
            self.problem(0, ProblemKind::NoPolicy);
        }
    }
}

/// A word of a closed set, in any case.
fn word<T: std::str::FromStr>(value: &[u8]) -> Option<T> {
    std::str::from_utf8(value)
        .ok()?
        .to_ascii_lowercase()
        .parse()
        .ok()
}

/// Digits only: `u8::from_str` would take a plus sign.
fn number<T: std::str::FromStr>(value: &[u8]) -> Option<T> {
    let digits = value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()
        .filter(|_| digits)?
        .parse()
        .ok()
}

/// `rf`: names joined by colons (RFC 7489 section 6.4).
fn format(value: &[u8]) -> Option<Box<str>> {
    let fits = value
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || b"-:".contains(b));
    let text = std::str::from_utf8(value).ok().filter(|_| fits)?;
    Some(text.to_ascii_lowercase().into())
}
