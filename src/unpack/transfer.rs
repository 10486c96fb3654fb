//! Content-Transfer-Encoding (RFC 2045 section 6), read leniently: a broken line end or a stray
//! character costs itself, not the report.

use std::{
    borrow::Cow,
    io::{self, BufRead, Read},
};

use mail_parser::decoders::quoted_printable::quoted_printable_decode;

use super::{mime::lines, room::Room};
use crate::{limits::READ_CHUNK, terms::Rejection};

/// How the bytes of a part are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Base64,
}

/// Tells how a body is encoded, and takes off what is not read as a stream. What is not as
/// labelled stays as it is.
pub(super) fn decode<'a>(
    body: &'a [u8],
    encoding: &str,
    room: &Room,
) -> Result<(Encoding, Cow<'a, [u8]>), Rejection> {
    match encoding {
        "base64" => Ok((Encoding::Base64, Cow::Borrowed(body))),
        "quoted-printable" => {
            room.take(body.len())?;
            let decoded = quoted_printable_decode(body).map_or(Cow::Borrowed(body), Cow::Owned);
            Ok((Encoding::Plain, decoded))
        }
        _ => Ok((Encoding::Plain, Cow::Borrowed(body))),
    }
}

/// Whether all of it can be base64 (RFC 2045 section 6.8), which has no blanks within its lines, as
/// the words of a letter have.
pub(super) fn is_base64(head: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    lines(head).all(|line| line.trim_ascii().iter().all(is_digit))
}

/// All of a body in base64.
pub(super) fn base64(body: &[u8]) -> Vec<u8> {
    let mut base64 = Base64::new(&[]);
    base64.block.reserve_exact(decoded(body));
    base64.decode(body);
    base64.end();
    base64.block
}

/// The same of one that may be long.
pub(super) fn base64_within(body: &[u8], room: &Room) -> Result<Vec<u8>, Rejection> {
    room.take(decoded(body))?;
    Ok(base64(body))
}

/// The most bytes that a body in base64 decodes to.
fn decoded(body: &[u8]) -> usize {
    body.len() / 4 * 3 + 3
}

/// Base64 as RFC 2045 section 6.8 asks for it: what is not in the alphabet is skipped, and a
/// new quantum may follow the padding of another. Read as a stream, so that a large part is never
/// held beside the mail it came in.
pub(super) struct Base64<'a> {
    rest: &'a [u8],
    word: u32,
    digits: u32,
    block: Vec<u8>,
    at: usize,
}

impl<'a> Base64<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self {
            rest: body,
            word: 0,
            digits: 0,
            block: Vec::new(),
            at: 0,
        }
    }

    fn decode(&mut self, mut text: &[u8]) {
        loop {
            if self.digits == 0 {
                text = self.decode_quanta(text);
            }
            let Some((&byte, rest)) = text.split_first() else {
                return;
            };
            text = rest;
            let value = BASE64[usize::from(byte)];
            if value < 64 {
                self.word = self.word << 6 | u32::from(value);
                self.digits += 1;
            }
            if self.digits == 4 || byte == b'=' {
                flush(&mut self.block, self.word, self.digits);
                (self.word, self.digits) = (0, 0);
            }
        }
    }

    /// Takes the last quantum, which may be unfinished.
    fn end(&mut self) {
        flush(&mut self.block, self.word, self.digits);
    }

    /// Decodes two quanta at a time as long as nothing but digits comes, which is nearly to the end
    /// of the line; gives the rest.
    fn decode_quanta<'t>(&mut self, mut text: &'t [u8]) -> &'t [u8] {
        while let Some((digits, rest)) = text.split_first_chunk::<8>() {
            let (mut all, mut word) = (0, 0);
            for &digit in digits {
                let value = BASE64[usize::from(digit)];
                all |= value;
                word = word << 6 | u64::from(value);
            }
            if all > 63 {
                break;
            }
            self.block.extend_from_slice(&word.to_be_bytes()[2..]);
            text = rest;
        }
        text
    }
}

impl BufRead for Base64<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.block.len() {
            self.block.clear();
            self.at = 0;
            while self.block.is_empty() && !self.rest.is_empty() {
                let (text, rest) = self.rest.split_at(self.rest.len().min(READ_CHUNK));
                self.rest = rest;
                self.block.reserve(text.len() / 4 * 3 + 3);
                self.decode(text);
                if rest.is_empty() {
                    self.end();
                }
            }
        }
        Ok(&self.block[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

impl Read for Base64<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buf)?;
        self.consume(count);
        Ok(count)
    }
}

/// The bytes of a quantum, which may be unfinished.
fn flush(out: &mut Vec<u8>, word: u32, digits: u32) {
    match digits {
        2 => out.extend_from_slice(&(word << 12).to_be_bytes()[1..2]),
        3 => out.extend_from_slice(&(word << 6).to_be_bytes()[1..3]),
        4 => out.extend_from_slice(&word.to_be_bytes()[1..]),
        _ => {}
    }
}

/// The value of each digit, or 255.
const BASE64: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut table = [255; 256];
    let mut value = 0_u8;
    while value < 64 {
        table[alphabet[value as usize] as usize] = value;
        value += 1;
    }
    table
};
