//! The strict tokeniser: reads a document as XML, or not at all.
//!
//! quick-xml decides what is XML. Nearly all of a report is tags that are a name and nothing else,
//! and texts without references, about which there is nothing to decide: those are taken directly,
//! and a text together with the tags around it, which saves most of the cost of reading a report.

use std::io::Read;

use quick_xml::{Error, Reader, errors::SyntaxError, events::Event};

use super::{Broken, aggregate_xml::Assembler, text::Text, window::Window};
use crate::{limits::MAX_TOKEN, terms::Rejection};

/// Feeds the assembler until it is done or the input ends; gives where that was.
pub(super) fn tokens<R: Read>(
    text: Text<R>,
    assembler: &mut Assembler<'_>,
) -> Result<(Text<R>, u64), Broken> {
    let mut window = Window::new(text);
    let mut is_last = false;
    while !is_last && !assembler.is_done() {
        let taken = window.more().and_then(|_| {
            is_last = window.is_last();
            let mut taken = 0;
            let fed = feed_window(window.rest(), is_last, assembler, &mut taken);
            window.skip(taken);
            fed
        });
        taken.map_err(|rejection| Broken {
            rejection,
            offset: window.offset(),
        })?;
    }
    let offset = window.offset();
    Ok((window.into_text(), offset))
}

/// Feeds the assembler from a window. Unless this is the last of the text, a token at its end may
/// be cut: it is left, to be read again with more behind it.
fn feed_window(
    window: &str,
    is_last: bool,
    assembler: &mut Assembler<'_>,
    taken: &mut usize,
) -> Result<(), Rejection> {
    while *taken < window.len() && !assembler.is_done() {
        let rest = &window[*taken..];
        if let Some(name) = plain_start(rest) {
            *taken += name.len() + 2;
            match only_text(&rest[name.len() + 2..], name) {
                Some(text) => {
                    *taken += text.len() + name.len() + 3;
                    assembler.element(name, text)?;
                }
                None => assembler.start(name, "")?,
            }
        } else if let Some(name) = plain_end(rest) {
            *taken += name.len() + 3;
            end(name, assembler)?;
        } else {
            let text = text(rest);
            let (length, event) = match text.len() {
                0 => markup(rest),
                length => (length, Ok(None)),
            };
            // What fails in the middle of a window fails again at the start of the next.
            let is_cut = length == rest.len() || event.is_err() && *taken > 0;
            if is_cut && !is_last && length <= MAX_TOKEN {
                return Ok(());
            }
            *taken += length;
            if length > MAX_TOKEN {
                return Err(Rejection::TokenTooLong);
            }
            match event {
                Ok(None) => assembler.text(text)?,
                Ok(Some(event)) => feed(&event, assembler)?,
                Err(error) => return Err(reason(&error)),
            }
        }
    }
    Ok(())
}

/// The name in a tag that starts an element and is nothing else.
fn plain_start(rest: &str) -> Option<&str> {
    plain_name(rest.strip_prefix('<')?)
}

/// The name in a tag that ends an element.
fn plain_end(rest: &str) -> Option<&str> {
    plain_name(rest.strip_prefix("</")?)
}

/// A name of letters, up to a `>`. All that could make a tag anything else, a prefix included,
/// stands in front of the letters.
fn plain_name(inner: &str) -> Option<&str> {
    let length = inner.bytes().position(|byte| byte < b'A')?;
    (length > 0 && inner.as_bytes()[length] == b'>').then(|| &inner[..length])
}

/// What is in an element of that name, if it is a text and nothing else. Where a text starts with
/// white space there is mostly another element behind it.
fn only_text<'t>(inner: &'t str, name: &str) -> Option<&'t str> {
    if inner.as_bytes().first().is_none_or(u8::is_ascii_whitespace) {
        return None;
    }
    let text = text(inner);
    let end = inner[text.len()..].strip_prefix("</")?;
    let is_end = end.strip_prefix(name)?.starts_with('>');
    (is_end && text.len() <= MAX_TOKEN).then_some(text)
}

/// The text up to the next markup or reference.
fn text(rest: &str) -> &str {
    let end = rest.bytes().position(|byte| matches!(byte, b'<' | b'&'));
    &rest[..end.unwrap_or(rest.len())]
}

/// The markup or reference that `rest` starts with, and its length.
fn markup(rest: &str) -> (usize, Result<Option<Event<'_>>, Error>) {
    let mut reader = Reader::from_str(rest);
    // Which elements are open the assembler knows.
    reader.config_mut().allow_unmatched_ends = true;
    let event = reader.read_event();
    let length = usize::try_from(reader.buffer_position());
    (length.unwrap_or(rest.len()), event.map(Some))
}

/// Ends the innermost element, which must be of that name.
fn end(name: &str, assembler: &mut Assembler<'_>) -> Result<(), Rejection> {
    if assembler.open(0) != Some(name) {
        return Err(Rejection::IllFormed);
    }
    assembler.end()
}

fn feed(event: &Event<'_>, assembler: &mut Assembler<'_>) -> Result<(), Rejection> {
    match event {
        Event::Start(tag) => assembler.start(tag.name().as_ref(), tag.attributes_raw()),
        Event::Empty(tag) => {
            assembler.start(tag.name().as_ref(), tag.attributes_raw())?;
            assembler.end()
        }
        Event::End(tag) => end(tag.name().as_ref(), assembler),
        Event::Text(text) => assembler.text(text),
        Event::CData(text) => assembler.text(text),
        Event::GeneralRef(entity) => assembler.entity(entity),
        // Entities are what it is for, and no report needs them (RFC 9990 section 8).
        Event::DocType(_) => Err(Rejection::Doctype),
        Event::Comment(_) | Event::PI(_) => assembler.count(),
        Event::Decl(_) | Event::Eof => Ok(()),
    }
}

fn reason(error: &Error) -> Rejection {
    match error {
        Error::Io(error) => Rejection::within(error).unwrap_or(Rejection::BadContainer),
        Error::Syntax(SyntaxError::UnclosedDoctype) => Rejection::Doctype,
        // These are found at the end of the input only.
        Error::Syntax(
            SyntaxError::UnclosedTag
            | SyntaxError::UnclosedSingleQuotedAttributeValue
            | SyntaxError::UnclosedDoubleQuotedAttributeValue
            | SyntaxError::UnclosedComment
            | SyntaxError::UnclosedCData
            | SyntaxError::UnclosedPI
            | SyntaxError::UnclosedXmlDecl,
        ) => Rejection::Truncated,
        _ => Rejection::IllFormed,
    }
}
