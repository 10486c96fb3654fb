//! Bytes of a document -> UTF-8 for a tokeniser, hashed on the way.
//!
//! Promises: the digest is that of the bytes as they came, with CRLF folded to LF; what comes out
//! is valid UTF-8 without control characters, whatever went in; and no token is longer than
//! [`MAX_TOKEN`], as quick-xml would hold all of it in memory.

use std::io::{self, BufRead, Read};

use encoding_rs::{CoderResult, Decoder, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use sha2::{Digest as _, Sha256};

use super::{
    Digest,
    notes::{Notes, Oddity},
};
use crate::{
    limits::{MAX_TOKEN, READ_CHUNK, XML_PROLOG},
    terms::Rejection,
};

/// A document's text as a stream.
pub(super) struct Text<R> {
    input: R,
    hash: FoldedHash,
    coding: Option<Coding>,
    raw: Vec<u8>,
    out: Vec<u8>,
    position: usize,
    budget: usize,
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
            hash: FoldedHash::default(),
            coding: None,
            raw: Vec::new(),
            out: Vec::new(),
            position: 0,
            budget: MAX_TOKEN,
            ended: false,
            notes: Notes::default(),
        }
    }

    /// The tokeniser is about to read another token.
    pub(super) fn next_token(&mut self) {
        self.budget = MAX_TOKEN;
    }

    /// The digest and what was odd, after the end was reached.
    pub(super) fn finish(self) -> (Digest, Notes) {
        (self.hash.finish(), self.notes)
    }

    /// Decodes the next bytes into `out`; at the end of the input `out` stays empty.
    fn fill(&mut self) -> io::Result<()> {
        self.out.clear();
        self.position = 0;
        while self.out.is_empty() && !self.ended {
            self.raw.clear();
            let wanted = if self.coding.is_none() {
                XML_PROLOG
            } else {
                READ_CHUNK
            };
            // `take` and `read_to_end` retry what was interrupted and never come up short.
            self.input
                .by_ref()
                .take(wanted as u64)
                .read_to_end(&mut self.raw)?;
            self.ended = self.raw.len() < wanted;
            self.hash.update(&self.raw);
            if self.coding.is_none() {
                self.coding = Some(self.choose());
            }
            self.decode();
            self.drop_controls();
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
        match declared(&self.raw) {
            // A declaration that can be read as bytes does not declare UTF-16, whatever it says.
            Some(encoding) if encoding.is_ascii_compatible() && encoding != UTF_8 => {
                self.notes.add(Oddity::DeclaredEncoding);
                Coding::Other(encoding.new_decoder_without_bom_handling())
            }
            _ => Coding::Utf8(Vec::new()),
        }
    }

    fn decode(&mut self) {
        match self.coding.as_mut() {
            Some(Coding::Utf8(carry)) => {
                let bad = utf8(&self.raw, carry, self.ended, &mut self.out);
                self.notes.add_many(Oddity::UndeclaredBytes, bad);
            }
            Some(Coding::Other(decoder)) => {
                let bad = other(decoder, &self.raw, self.ended, &mut self.out);
                self.notes.add_many(Oddity::UndecodableBytes, bad);
            }
            None => {}
        }
    }

    /// XML 1.0 section 2.2 has no C0 controls but tab and line ends; Yahoo sent a BEL.
    fn drop_controls(&mut self) {
        let control = |byte: &u8| *byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r');
        if self.out.iter().any(control) {
            let before = self.out.len();
            self.out.retain(|byte| !control(byte));
            let dropped = (before - self.out.len()) as u64;
            self.notes.add_many(Oddity::ControlCharacters, dropped);
        }
    }
}

impl<R: Read> BufRead for Text<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position == self.out.len() {
            self.fill()?;
        }
        let rest = &self.out[self.position..];
        if self.budget == 0 && !rest.is_empty() {
            return Err(Rejection::TokenTooLong.into());
        }
        Ok(&rest[..rest.len().min(self.budget)])
    }

    fn consume(&mut self, count: usize) {
        self.position += count;
        self.budget = self.budget.saturating_sub(count);
    }
}

impl<R: Read> Read for Text<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buf)?;
        self.consume(count);
        Ok(count)
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
fn utf8(raw: &[u8], carry: &mut Vec<u8>, end: bool, out: &mut Vec<u8>) -> u64 {
    let joined;
    let mut rest = raw;
    if !carry.is_empty() {
        carry.extend_from_slice(raw);
        joined = std::mem::take(carry);
        rest = &joined;
    }
    let mut bad = 0;
    loop {
        let Err(error) = std::str::from_utf8(rest) else {
            out.extend_from_slice(rest);
            return bad;
        };
        let (valid, after) = rest.split_at(error.valid_up_to());
        out.extend_from_slice(valid);
        if error.error_len().is_none() && !end {
            carry.extend_from_slice(after);
            return bad;
        }
        let (wrong, after) = after.split_at(error.error_len().unwrap_or(after.len()));
        for &byte in wrong {
            bad += 1;
            let mut utf8 = [0; 4];
            out.extend_from_slice(windows_1252(byte).encode_utf8(&mut utf8).as_bytes());
        }
        rest = after;
    }
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
fn other(decoder: &mut Decoder, raw: &[u8], end: bool, out: &mut Vec<u8>) -> u64 {
    let mut piece = String::with_capacity(raw.len() + 16);
    let mut rest = raw;
    let mut bad = 0;
    loop {
        let (result, read, replaced) = decoder.decode_to_string(rest, &mut piece, end);
        bad += u64::from(replaced);
        out.extend_from_slice(piece.as_bytes());
        piece.clear();
        rest = &rest[read..];
        if result == CoderResult::InputEmpty {
            return bad;
        }
    }
}

/// SHA-256 over bytes whose CRLF are folded to LF, so that a relay's line ends change nothing.
#[derive(Default)]
pub(super) struct FoldedHash {
    hash: Sha256,
    folded: Vec<u8>,
    /// The last byte was CR, and is not hashed yet.
    pending: bool,
}

impl FoldedHash {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        if !self.pending && !bytes.contains(&b'\r') {
            return self.hash.update(bytes);
        }
        self.folded.clear();
        for &byte in bytes {
            if self.pending && byte != b'\n' {
                self.folded.push(b'\r');
            }
            self.pending = byte == b'\r';
            if !self.pending {
                self.folded.push(byte);
            }
        }
        self.hash.update(&self.folded);
    }

    pub(super) fn finish(mut self) -> Digest {
        if self.pending {
            self.hash.update(b"\r");
        }
        Digest(self.hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> (String, Digest, Vec<String>) {
        let mut text = Text::new(bytes);
        let mut out = Vec::new();
        loop {
            text.next_token();
            let chunk = text.fill_buf().unwrap().to_vec();
            if chunk.is_empty() {
                break;
            }
            text.consume(chunk.len());
            out.extend(chunk);
        }
        let (digest, notes) = text.finish();
        (String::from_utf8(out).unwrap(), digest, notes.into_texts())
    }

    #[test]
    fn line_ends_do_not_change_the_digest() {
        let lf = "a\nb\n".repeat(20_000);
        let crlf = lf.replace('\n', "\r\n");
        assert_eq!(read(lf.as_bytes()).1, read(crlf.as_bytes()).1);
        assert_ne!(read(b"a\rb").1, read(b"ab").1);
        assert_ne!(read(b"a\r").1, read(b"a").1);
    }

    #[test]
    fn every_encoding_becomes_utf8() {
        let utf16: Vec<u8> = "\u{feff}<a>é</a>"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(read(&utf16).0, "<a>é</a>");
        assert_eq!(read(b"\xef\xbb\xbf<a/>").0, "<a/>");
        assert_eq!(
            read(b"<?xml version='1.0' encoding='iso-8859-1'?>\xe9").0,
            "<?xml version='1.0' encoding='iso-8859-1'?>é"
        );
        let (text, _, notes) = read(b"a\x91b\xc3");
        assert_eq!(text, "a‘bÃ");
        assert_eq!(notes.len(), 1);
    }

    #[test]
    fn a_character_may_lie_across_chunks() {
        for pad in XML_PROLOG - 3..=XML_PROLOG {
            let text = format!("{}é€𝄞x", "a".repeat(pad));
            assert_eq!(read(text.as_bytes()).0, text);
        }
    }

    #[test]
    fn a_token_is_bounded() {
        let long = vec![b'a'; MAX_TOKEN + 1];
        let mut text = Text::new(&long[..]);
        let error = io::copy(&mut text, &mut io::sink()).unwrap_err();
        assert_eq!(Rejection::within(&error), Some(Rejection::TokenTooLong));
    }
}
