//! Files that stand in a text as uuencode writes them (POSIX.1-2024, `uuencode`), which is what
//! mails had before MIME and what some gateways still make of attachments. Whether the part is
//! labelled so makes no difference: the text tells.

use super::{mime::lines, room::Room};
use crate::terms::Rejection;

/// A file in a text.
pub(super) struct File {
    pub name: String,
    pub bytes: Result<Vec<u8>, Rejection>,
}

/// Every file of a text, in order.
pub(super) fn files<'a>(mut text: &'a [u8], room: &'a Room) -> impl Iterator<Item = File> + 'a {
    std::iter::from_fn(move || {
        let (name, body) = begin(text)?;
        let digits = lines(body).take_while(|line| is_encoded(line));
        let (body, rest) = body.split_at(digits.map(<[u8]>::len).sum());
        text = rest;
        Some(File {
            name: String::from_utf8_lossy(name).into_owned(),
            bytes: decode(body, room),
        })
    })
}

/// The name of the next file, and what follows its first line.
fn begin(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut offset = 0;
    for line in lines(text) {
        offset += line.len();
        let Some(rest) = line.strip_prefix(b"begin ") else {
            continue;
        };
        let digits = rest.iter().take_while(|byte| matches!(byte, b'0'..=b'7'));
        let (mode, name) = rest.split_at(digits.count());
        let body = &text[offset..];
        let is_followed = lines(body).next().is_some_and(is_encoded);
        if matches!(mode.len(), 3 | 4) && name.starts_with(b" ") && is_followed {
            return Some((name.trim_ascii(), body));
        }
    }
    None
}

/// Whether a line holds bytes: how many, and then their digits, of which blanks at the end get
/// lost on the way. The last line says that it holds none.
fn is_encoded(line: &[u8]) -> bool {
    let Some((&length, digits)) = line.trim_ascii_end().split_first() else {
        return false;
    };
    value(length) > 0
        && matches!(length, b' '..=b'`')
        && digits.iter().all(|byte| matches!(byte, b' '..=b'`'))
        && digits.len() <= usize::from(value(length)).div_ceil(3) * 4 + 1
}

fn decode(body: &[u8], room: &Room) -> Result<Vec<u8>, Rejection> {
    let most = body.len() / 4 * 3 + 3;
    room.take(most)?;
    let mut bytes = Vec::with_capacity(most);
    for line in lines(body) {
        let Some((&length, digits)) = line.trim_ascii_end().split_first() else {
            continue;
        };
        let length = usize::from(value(length));
        let digit = |at: usize| u32::from(digits.get(at).map_or(0, |&digit| value(digit)));
        for at in 0..length.div_ceil(3) {
            let word = (0..4).fold(0, |word, n| word << 6 | digit(4 * at + n));
            let some = length - 3 * at;
            bytes.extend_from_slice(&word.to_be_bytes()[1..][..some.min(3)]);
        }
    }
    Ok(bytes)
}

/// Zero is a blank or, where blanks got lost, a backquote.
fn value(digit: u8) -> u8 {
    digit.wrapping_sub(b' ') & 63
}
