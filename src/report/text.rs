//! Bytes of a document -> UTF-8 for a tokeniser.
//!
//! Promises: what comes out is valid UTF-8 without control characters, whatever went in; and of
//! the input no more than [`READ_CHUNK`] bytes are in memory at a time.

use std::io::{self, Read};

use encoding_rs::{CoderResult, Decoder, Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::notes::{Notes, Oddity};
use crate::limits::{READ_CHUNK, XML_PROLOG};

/// Bytes in which control characters are looked for at once.
const CONTROLS_BLOCK: usize = 64;

/// A document's text as a stream.
pub(super) struct Text<R> {
    input: R,
    coding: Option<Coding>,
    raw: Vec<u8>,
    ended: bool,
    notes: Notes,
}

/// How the bytes become UTF-8.
enum Coding {
    /// UTF-8; `0` holds the first bytes of a character whose rest is still to come.
    Utf8(Vec<u8>),
    Other(Decoder),
}

impl<R: Read> Text<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            coding: None,
            raw: Vec::with_capacity(READ_CHUNK),
            ended: false,
            notes: Notes::default(),
        }
    }

    /// Whether nothing comes any more.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// The input, and what was odd.
    pub(super) fn finish(self) -> (R, Notes) {
        (self.input, self.notes)
    }

    /// Appends more of the text to `out`, unless it has ended.
    pub(super) fn read_on(&mut self, out: &mut String) -> io::Result<()> {
        let before = out.len();
        while out.len() == before && !self.ended {
            self.raw.clear();
            // `take` and `read_to_end` retry what was interrupted and never come up short.
            self.input
                .by_ref()
                .take(READ_CHUNK as u64)
                .read_to_end(&mut self.raw)?;
            self.ended = self.raw.len() < READ_CHUNK;
            if self.coding.is_none() {
                self.coding = Some(self.choose());
            }
            self.decode(out);
            self.drop_controls(before, out);
        }
        Ok(())
    }

    /// Chooses the encoding from the first bytes: a byte order mark, zeros where UTF-16 has
    /// them, the declaration.
    fn choose(&mut self) -> Coding {
        let utf16 = match *self.raw {
            [0xff, 0xfe, ..] | [b'<', 0, ..] => Some(UTF_16LE),
            [0xfe, 0xff, ..] | [0, b'<', ..] => Some(UTF_16BE),
            _ => None,
        };
        if let Some(encoding) = utf16 {
            self.notes.add(Oddity::Utf16);
            return Coding::Other(encoding.new_decoder_with_bom_removal());
        }
        if self.raw.starts_with(b"\xef\xbb\xbf") {
            self.raw.drain(..3);
            return Coding::Utf8(Vec::new());
        }
        match declared(&self.raw[..self.raw.len().min(XML_PROLOG)]) {
            // A declaration that can be read as bytes does not declare UTF-16, whatever it says.
            Some(encoding) if encoding.is_ascii_compatible() && encoding != UTF_8 => {
                self.notes.add(Oddity::DeclaredEncoding);
                Coding::Other(encoding.new_decoder_without_bom_handling())
            }
            _ => Coding::Utf8(Vec::new()),
        }
    }

    fn decode(&mut self, out: &mut String) {
        match self.coding.as_mut() {
            Some(Coding::Utf8(carry)) => {
                let bad = utf8(&self.raw, carry, self.ended, out);
                self.notes.add_many(Oddity::UndeclaredBytes, bad);
            }
            Some(Coding::Other(decoder)) => {
                let bad = other(decoder, &self.raw, self.ended, out);
                self.notes.add_many(Oddity::UndecodableBytes, bad);
            }
            None => {}
        }
    }

    /// XML 1.0 section 2.2 has no C0 controls but tab and line ends; Yahoo sent a BEL.
    fn drop_controls(&mut self, from: usize, out: &mut String) {
        let control = |byte: u8| byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r');
        // A block at a time without a way out of it is what the compiler makes vectors of.
        let in_block = |block: &[u8]| block.iter().fold(false, |any, &byte| any | control(byte));
        if out.as_bytes()[from..].chunks(CONTROLS_BLOCK).any(in_block) {
            let before = out.len();
            let text = out.split_off(from);
            out.extend(
                text.chars()
                    .filter(|c| !u8::try_from(*c).is_ok_and(control)),
            );
            let dropped = (before - out.len()) as u64;
            self.notes.add_many(Oddity::ControlCharacters, dropped);
        }
    }
}

/// The encoding that an XML declaration names, if it names a known one.
fn declared(head: &[u8]) -> Option<&'static Encoding> {
    let from = head.windows(5).position(|window| window == b"<?xml")?;
    let declaration = head[from..].split(|&byte| byte == b'>').next()?;
    let at = declaration
        .windows(8)
        .position(|window| window == b"encoding")?;
    let value = declaration[at + 8..].trim_ascii_start();
    let value = value.strip_prefix(b"=")?.trim_ascii_start();
    let quote = *value
        .first()
        .filter(|&&byte| matches!(byte, b'"' | b'\''))?;
    Encoding::for_label(value[1..].split(|&byte| byte == quote).next()?)
}

/// Passes UTF-8 on and reads each byte that is none as windows-1252. Returns how many those were.
fn utf8(raw: &[u8], carry: &mut Vec<u8>, end: bool, out: &mut String) -> u64 {
    let joined;
    let mut rest = raw;
    if !carry.is_empty() {
        carry.extend_from_slice(raw);
        joined = std::mem::take(carry);
        rest = &joined;
    }
    if let Ok(text) = std::str::from_utf8(rest) {
        out.push_str(text);
        return 0;
    }
    let (mut bad, mut left) = (0, rest.len());
    for chunk in rest.utf8_chunks() {
        let wrong = chunk.invalid();
        left -= chunk.valid().len() + wrong.len();
        out.push_str(chunk.valid());
        let is_start = |error: std::str::Utf8Error| error.error_len().is_none();
        if left == 0 && !end && std::str::from_utf8(wrong).is_err_and(is_start) {
            carry.extend_from_slice(wrong);
        } else {
            bad += wrong.len() as u64;
            out.extend(wrong.iter().map(|&byte| windows_1252(byte)));
        }
    }
    bad
}

/// One byte as windows-1252; where that has no character, ISO 8859-1 is taken, as browsers do.
fn windows_1252(byte: u8) -> char {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž',
        '\u{8f}', '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}',
        'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => HIGH[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

/// Decodes through `encoding_rs`. Returns how many characters had to be replaced.
fn other(decoder: &mut Decoder, raw: &[u8], end: bool, out: &mut String) -> u64 {
    let mut rest = raw;
    let mut bad = 0;
    loop {
        // No more is written than there is room for.
        out.reserve(rest.len() + 16);
        let (result, read, replaced) = decoder.decode_to_string(rest, out, end);
        bad += u64::from(replaced);
        rest = &rest[read..];
        if result == CoderResult::InputEmpty {
            return bad;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> (String, Vec<String>) {
        let mut text = Text::new(bytes);
        let mut out = String::new();
        while !text.has_ended() {
            text.read_on(&mut out).unwrap();
        }
        (out, text.finish().1.into_texts())
    }

    #[test]
    fn every_encoding_becomes_utf8() {
        let utf16: Vec<u8> = "\u{feff}<a>é</a>"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(read(&utf16).0, "<a>é</a>");
        let swapped: Vec<u8> = utf16.chunks(2).flat_map(|two| [two[1], two[0]]).collect();
        assert_eq!(read(&swapped).0, "<a>é</a>");
        assert_eq!(read(b"\xef\xbb\xbf<a/>").0, "<a/>");
        assert_eq!(
            read(b"<?xml version='1.0' encoding='iso-8859-1'?>\xe9").0,
            "<?xml version='1.0' encoding='iso-8859-1'?>é"
        );
        let (text, notes) = read(b"a\x91b\xc3");
        assert_eq!(text, "a‘bÃ");
        assert_eq!(notes.len(), 1);
    }

    #[test]
    fn a_character_may_lie_across_chunks() {
        for pad in READ_CHUNK - 3..=READ_CHUNK {
            let text = format!("{}é€𝄞x", "a".repeat(pad));
            assert_eq!(read(text.as_bytes()).0, text);
        }
    }
}
