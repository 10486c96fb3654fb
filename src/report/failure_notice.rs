//! What Exim mails in place of a failure report (and with it Baruwa and antispamcloud): a text for
//! people, with a few labelled lines and below them the header of the message. parsedmarc #332.

use std::io::{self, BufRead};

use super::{
    Stated,
    failure_arf::{Draft, bounded},
    failure_header::{read_line, time},
    head::{fill, first},
    values,
};
use crate::{
    limits::MAX_HEADER,
    terms::{AuthFailure, DeliveryResult},
};

/// Reads a text; gives what it says and the header that it quotes.
pub(super) fn read(input: &mut dyn BufRead) -> io::Result<(Draft, Vec<u8>)> {
    let mut draft = Draft::default();
    // It is sent for one reason.
    draft.said.auth_failure = Stated::Known(AuthFailure::Dmarc);
    draft.count(None);
    let mut alignment = [const { String::new() }; 2];
    labels(input, &mut |label, value| {
        let value = bounded(value, &mut draft.notes);
        match label {
            "sender domain" => {
                draft.is_feedback |= fill(&mut draft.domain, value);
            }
            "sender ip address" => {
                draft.set_source(value);
            }
            "received date" => draft.arrival = draft.arrival.or_else(|| time(value)),
            "spf alignment" => alignment[0] = format!("spf alignment: {value}"),
            "dkim alignment" => alignment[1] = format!("dkim alignment: {value}"),
            // The policy, and what was done: `None, Accept`.
            "dmarc results" => {
                let result: Stated<DeliveryResult> = values::stated(value);
                first(&mut draft.said.delivery_result, result);
            }
            _ => {}
        }
    })?;
    draft.said.identity_alignment = alignment.join("; ");
    Ok((draft, quoted(input)?))
}

/// Gives each line with a label, which it gives in lower case, up to where the header begins. A label
/// is words: a line of anything else would make another document of what is kept of the text.
pub(super) fn labels(input: &mut dyn BufRead, on: &mut dyn FnMut(&str, &str)) -> io::Result<()> {
    let mut line = Vec::new();
    while read_line(input, &mut line)? {
        // `------ This is a copy of the headers that were received …`
        if line.starts_with(b"------") {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        let is_word = |byte: u8| byte.is_ascii_alphabetic() || byte == b' ';
        if let Some((label, value)) = text.split_once(':')
            && label.trim().bytes().all(is_word)
        {
            on(&label.trim().to_ascii_lowercase(), value.trim());
        }
    }
    Ok(())
}

/// The header, as far as the bound; blank lines before it are not part of it.
fn quoted(input: &mut dyn BufRead) -> io::Result<Vec<u8>> {
    let mut header = Vec::new();
    let mut line = Vec::new();
    while header.len() < MAX_HEADER && read_line(input, &mut line)? {
        if !line.trim_ascii().is_empty() {
            header.extend_from_slice(&line);
        } else if !header.is_empty() {
            break;
        }
    }
    Ok(header)
}
