//! Content-Transfer-Encoding (RFC 2045 section 6), read leniently: a broken line end or a stray
//! character costs itself, not the report.

use std::borrow::Cow;

use mail_parser::decoders::quoted_printable::quoted_printable_decode;

/// Removes the transfer encoding (RFC 2045 section 6); what is not as labelled stays as it is.
pub(super) fn decode<'a>(body: &'a [u8], encoding: &str) -> Cow<'a, [u8]> {
    match encoding {
        "base64" => Cow::Owned(base64(body)),
        "quoted-printable" => quoted_printable_decode(body).map_or(Cow::Borrowed(body), Cow::Owned),
        _ => Cow::Borrowed(body),
    }
}

/// Base64 as RFC 2045 section 6.8 asks for it: what is not in the alphabet is skipped, and a
/// new quantum may follow the padding of another.
pub(super) fn base64(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() / 4 * 3);
    let (mut word, mut digits) = (0_u32, 0);
    for &byte in body {
        let value = BASE64[usize::from(byte)];
        if value < 64 {
            word = word << 6 | u32::from(value);
            digits += 1;
            if digits == 4 {
                out.extend_from_slice(&word.to_be_bytes()[1..]);
                (word, digits) = (0, 0);
            }
        } else if byte == b'=' {
            flush(&mut out, word, digits);
            (word, digits) = (0, 0);
        }
    }
    flush(&mut out, word, digits);
    out
}

/// The bytes of an unfinished quantum.
fn flush(out: &mut Vec<u8>, word: u32, digits: u32) {
    match digits {
        2 => out.extend_from_slice(&(word << 12).to_be_bytes()[1..2]),
        3 => out.extend_from_slice(&(word << 6).to_be_bytes()[1..3]),
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
