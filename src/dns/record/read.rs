//! The text of a record -> [`Record`]. Pure.

use std::ops::Range;

use super::{FailureOptions, Parsed, Problem, ProblemKind, Record};
use crate::{
    dns::uri,
    limits::{MAX_RECORD_ITEMS, MAX_TXT_LEN},
    terms::{Policy, RecordTag},
};

/// Reads the text of one TXT record, its character-strings joined.
pub fn parse(text: &[u8]) -> Parsed {
    let Some(tags) = after_version(text) else {
        return Parsed::NotDmarc;
    };
    let read = &text[..text.len().min(MAX_TXT_LEN)];
    let mut reader = Reader {
        text: read,
        ..Reader::default()
    };
    for piece in pieces(read, tags) {
        reader.piece(piece);
    }
    if text.len() >= MAX_TXT_LEN {
        reader.problem(read.len()..read.len(), ProblemKind::TooLong, None);
    }
    reader.judge(tags.min(read.len()));
    Parsed::Dmarc(Box::new(reader.record))
}

/// What stands between two semicolons from `start` on, without the blanks around it. Behind the last
/// semicolon may stand nothing.
pub(in crate::dns) fn pieces(text: &[u8], start: usize) -> impl Iterator<Item = Range<usize>> {
    let mut next = start;
    std::iter::from_fn(move || {
        let part = text.get(next..).filter(|part| !part.is_empty())?;
        let end = part.iter().position(|&b| b == b';').unwrap_or(part.len());
        let piece = trimmed(text, next..next + end);
        next += end + 1;
        let is_last = next > text.len();
        (!piece.is_empty() || !is_last).then_some(piece)
    })
}

/// `range` without the blanks at its ends.
fn trimmed(text: &[u8], range: Range<usize>) -> Range<usize> {
    let part = &text[range.clone()];
    let start = range.end - part.trim_ascii_start().len();
    start..start + part.trim_ascii().len()
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

/// Whether a text is a DMARC record or was meant to be one: `V=dmarc1`, blanks or quotes in front, a
/// separator other than the semicolon, or a version that is not first.
pub fn is_meant(text: &[u8]) -> bool {
    let mut pieces = text.split(|&b| b == b';');
    pieces.any(is_version)
}

fn is_version(piece: &[u8]) -> bool {
    let mut plain = piece
        .iter()
        .filter(|b| !b.is_ascii_whitespace() && **b != b'"')
        .map(u8::to_ascii_lowercase);
    b"v=dmarc".iter().all(|&b| plain.next() == Some(b))
}

/// The record that a text [is meant](is_meant) to be.
pub fn meant(text: &[u8]) -> Option<Record> {
    let text = &text[..text.len().min(MAX_TXT_LEN)];
    // What zone files and panels leave in a text that was quoted twice.
    let plain: Vec<u8> = text
        .iter()
        .copied()
        .filter(|b| !b"\"\\".contains(b))
        .collect();
    let mut pieces: Vec<_> = plain
        .split(|&b| b == b';')
        .map(<[u8]>::trim_ascii)
        .collect();
    let version = pieces.iter().position(|piece| is_version(piece))?;
    let version = pieces.remove(version);
    let value = version.iter().position(|&b| b == b'=')? + 1;
    let value = version[value..].trim_ascii_start();
    let behind = &value[count(value, |b| b.is_ascii_alphanumeric())..];
    let separator = |b: u8| b.is_ascii_whitespace() || b",:".contains(&b);
    pieces.insert(0, &behind[count(behind, separator)..]);
    pieces.retain(|piece| !piece.is_empty());
    pieces.insert(0, b"v=DMARC1");
    parse(&pieces.join(b"; ".as_slice())).into_record()
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn count(text: &[u8], matches: impl Fn(u8) -> bool) -> usize {
    text.iter().take_while(|&&b| matches(b)).count()
}

#[derive(Default)]
struct Reader<'a> {
    text: &'a [u8],
    record: Record,
    seen: Vec<(RecordTag, Range<usize>)>,
    /// The first piece, whatever it is.
    first: Option<Range<usize>>,
    full: bool,
}

impl Reader<'_> {
    fn problem(&mut self, at: Range<usize>, kind: ProblemKind, better: Option<String>) {
        let problems = &mut self.record.problems;
        if problems.len() < MAX_RECORD_ITEMS {
            problems.push(Problem { at, kind, better });
        } else if !self.full {
            self.full = true;
            problems.push(Problem {
                at,
                kind: ProblemKind::TooLong,
                better: None,
            });
        }
    }

    /// Takes what stands between two semicolons.
    fn piece(&mut self, at: Range<usize>) {
        let piece = &self.text[at.clone()];
        let nothing = Some(String::new());
        if piece.is_empty() {
            return self.problem(at, ProblemKind::Empty, nothing);
        }
        self.first.get_or_insert_with(|| at.clone());
        let equals = piece.iter().position(|&b| b == b'=').unwrap_or(piece.len());
        let name = piece[..equals].trim_ascii_end();
        let value_at = trimmed(self.text, (at.start + equals + 1).min(at.end)..at.end);
        let value = &self.text[value_at.clone()];
        if name.is_empty() || !name.iter().all(u8::is_ascii_alphabetic) || value.is_empty() {
            return self.problem(at, ProblemKind::NotATag, Some(as_tag(piece)));
        }
        let Some(tag) = word(name) else {
            return self.problem(at, ProblemKind::UnknownTag, nothing);
        };
        if self.seen.iter().any(|(seen, _)| *seen == tag) {
            return self.problem(at, ProblemKind::Duplicate(tag), nothing);
        }
        self.seen.push((tag, at.clone()));
        if matches!(tag, RecordTag::Pct | RecordTag::Rf | RecordTag::Ri) {
            self.problem(at.clone(), ProblemKind::Historic(tag), nothing);
        }
        if matches!(tag, RecordTag::Rua | RecordTag::Ruf) {
            self.uris(tag, value_at);
        } else if !self.value(tag, value) {
            let better = nearest(tag, value).map_or_else(String::new, |it| format!("{tag}={it}"));
            self.problem(at, ProblemKind::BadValue(tag), Some(better));
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

    fn uris(&mut self, tag: RecordTag, list: Range<usize>) {
        for (at, uri) in uri::list(self.text, list) {
            let place = match tag {
                RecordTag::Ruf => &mut self.record.ruf,
                _ => &mut self.record.rua,
            };
            match uri {
                Some(_) if place.len() >= MAX_RECORD_ITEMS => {
                    return self.problem(at, ProblemKind::TooLong, None);
                }
                Some(uri) => {
                    let bare = uri.has_size_limit().then(|| uri.bare().to_owned());
                    place.push(uri);
                    if bare.is_some() {
                        self.problem(at, ProblemKind::SizeLimit(tag), bare);
                    }
                }
                None => {
                    let better = uri::nearest(&self.text[at.clone()]);
                    self.problem(at, ProblemKind::BadUri(tag), Some(better));
                }
            }
        }
    }

    /// Says what only the whole record shows; `tags` is where they start.
    fn judge(&mut self, tags: usize) {
        let policy = self.seen.iter().find(|(tag, _)| *tag == RecordTag::P);
        let policy = policy.map(|(_, at)| at.clone());
        // Behind the version and its semicolon, if it has one.
        let inserted = match self.text.get(..tags).and_then(<[u8]>::last) {
            Some(b';') => " p=none;",
            _ => "; p=none",
        };
        let inserted = policy.is_none().then(|| inserted.to_owned());
        if self.record.policy().is_none() {
            // A bad sp or np would go on to undo it.
            let inserted = inserted.filter(|_| !self.record.has_bad_policy());
            self.problem(tags..tags, ProblemKind::NotApplied, inserted);
        } else if policy.is_none() {
            self.problem(tags..tags, ProblemKind::NoPolicy, inserted);
        }
        // RFC 9989 lets tags stand in any order; RFC 7489 section 6.3 wants p first.
        if let (Some(first), Some(p)) = (self.first.clone(), policy)
            && first != p
        {
            let before = self.text[first.start..p.start].trim_ascii_end();
            let before = before.strip_suffix(b";").unwrap_or(before);
            let better = [&self.text[p.clone()], b"; ", before].concat();
            let better = String::from_utf8(better).ok();
            self.problem(first.start..p.end, ProblemKind::NotSecond, better);
        }
    }
}

/// `p: reject` and `p reject` as they should be; empty for what is no tag at all.
fn as_tag(piece: &[u8]) -> String {
    let (name, value) = piece.split_at(count(piece, |b| b.is_ascii_alphabetic()));
    let value = value[count(value, |b| is_blank(b) || b == b':')..].trim_ascii();
    let tag: Option<RecordTag> = word(name);
    match (tag, std::str::from_utf8(value)) {
        (Some(tag), Ok(value)) if !value.is_empty() && !value.contains('=') => {
            format!("{tag}={value}")
        }
        _ => String::new(),
    }
}

/// The value that was probably meant: the words of a tag have different first letters.
fn nearest(tag: RecordTag, value: &[u8]) -> Option<&'static str> {
    let words: &[&str] = match tag {
        RecordTag::P | RecordTag::Sp | RecordTag::Np => &["none", "quarantine", "reject"],
        RecordTag::Adkim | RecordTag::Aspf => &["r", "s"],
        RecordTag::T => &["y", "n"],
        RecordTag::Psd => &["y", "n", "u"],
        _ => &[],
    };
    let first = value.first()?.to_ascii_lowercase();
    let found = words.iter().find(|word| word.as_bytes()[0] == first);
    // Without p the record would be none for many.
    found
        .copied()
        .or((tag == RecordTag::P).then_some(Policy::None.as_str()))
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
