//! The repairing tokeniser: reads what quick-xml refuses, as far as the listed repairs go.
//!
//! It makes these and no others: a `<` or `&` in a text that is no markup of a report is taken
//! literally, and a leaf of the metadata that is not closed is closed where its parent ends or
//! its sibling begins. Elsewhere every end must match its start, so that no record is ever
//! guessed; a document cut short stays cut short.

use std::io::Read;

use super::{
    Broken, aggregate_xml::Assembler, fields::is_known, notes::Oddity, text::Text, window::Window,
};
use crate::{
    limits::{MAX_ENTITY, MAX_TOKEN},
    terms::Rejection,
};

/// Feeds the assembler until it is done or the input ends.
pub(super) fn tokens<R: Read>(
    text: Text<R>,
    assembler: &mut Assembler<'_>,
) -> Result<(Text<R>, u64), Broken> {
    let mut tokens = Tokens {
        window: Window::new(text),
        run: 0,
    };
    while !assembler.is_done() {
        match tokens.step(assembler) {
            Ok(true) => {}
            Ok(false) => break,
            Err(rejection) => {
                return Err(Broken {
                    rejection,
                    offset: tokens.window.offset(),
                });
            }
        }
    }
    let offset = tokens.window.offset();
    Ok((tokens.window.into_text(), offset))
}

struct Tokens<R> {
    window: Window<R>,
    /// Bytes of text since the last `<`.
    run: usize,
}

impl<R: Read> Tokens<R> {
    /// Takes one token; `false` at the end.
    fn step(&mut self, assembler: &mut Assembler<'_>) -> Result<bool, Rejection> {
        match self.window.reach(1)?.first() {
            None => return Ok(false),
            Some(b'<') => {
                self.run = 0;
                self.markup(assembler)?;
            }
            Some(b'&') => self.entity(assembler)?,
            Some(_) => {
                let text = self.window.text_run();
                let length = text.len();
                // Blanks cost nothing, and hide nothing.
                if !text.trim_ascii().is_empty() {
                    self.run += length;
                }
                if self.run > MAX_TOKEN {
                    return Err(Rejection::TokenTooLong);
                }
                assembler.text(text)?;
                self.window.skip(length);
            }
        }
        Ok(true)
    }

    fn markup(&mut self, assembler: &mut Assembler<'_>) -> Result<(), Rejection> {
        let ahead = self.window.reach(9)?;
        if ahead.starts_with(b"<!--") {
            assembler.count()?;
            self.window.skip_past(4, b"-->")
        } else if ahead.starts_with(b"<![CDATA[") {
            let end = self.window.find(9, b"]]>")?.ok_or(Rejection::Truncated)?;
            assembler.text(&self.window.rest()[9..end])?;
            self.window.skip(end + 3);
            Ok(())
        } else if ahead.starts_with(b"<?") {
            assembler.count()?;
            self.window.skip_past(2, b"?>")
        } else if ahead.len() == 9 && ahead.eq_ignore_ascii_case(b"<!doctype") {
            Err(Rejection::Doctype)
        } else {
            self.tag(assembler)
        }
    }

    fn tag(&mut self, assembler: &mut Assembler<'_>) -> Result<(), Rejection> {
        let Some(end) = self.window.tag_end()? else {
            return self.literal(assembler);
        };
        let inner = &self.window.rest()[1..end];
        let (closing, inner) = match inner.strip_prefix('/') {
            Some(inner) => (true, inner),
            None => (false, inner),
        };
        let empty = !closing && inner.ends_with('/');
        let name = inner
            .split(|c: char| c.is_whitespace() || c == '/')
            .next()
            .unwrap_or_default();
        if !is_name(name) {
            return self.literal(assembler);
        }
        let taken = if closing {
            close(name, assembler)?
        } else {
            start(name, &inner[name.len()..], empty, assembler)?
        };
        if !taken {
            return self.literal(assembler);
        }
        self.window.skip(end + 1);
        Ok(())
    }

    /// Takes one character as text.
    fn literal(&mut self, assembler: &mut Assembler<'_>) -> Result<(), Rejection> {
        if assembler.in_leaf() {
            assembler.notes.add(Oddity::RawMarkup);
        }
        assembler.text(&self.window.rest()[..1])?;
        self.window.skip(1);
        Ok(())
    }

    fn entity(&mut self, assembler: &mut Assembler<'_>) -> Result<(), Rejection> {
        let ahead = self.window.reach(MAX_ENTITY + 2)?;
        // No further: the window holds a whole chunk, in which each byte may be a `&`.
        let end = ahead.iter().take(MAX_ENTITY + 2).position(|&b| b == b';');
        let Some(end) = end.filter(|&end| {
            end > 1
                && ahead[1..end]
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'#')
        }) else {
            return self.literal(assembler);
        };
        assembler.entity(&self.window.rest()[1..end])?;
        self.window.skip(end + 1);
        Ok(())
    }
}

/// Starts an element; `false` if it is text in a leaf.
fn start(
    name: &str,
    attributes: &str,
    empty: bool,
    assembler: &mut Assembler<'_>,
) -> Result<bool, Rejection> {
    if assembler.in_leaf() {
        if !is_known(local(name)) {
            return Ok(false);
        }
        close_leaf(assembler)?;
    }
    assembler.start(name, attributes)?;
    if empty {
        assembler.end()?;
    }
    Ok(true)
}

/// Ends an element; `false` if it is text in a leaf.
fn close(name: &str, assembler: &mut Assembler<'_>) -> Result<bool, Rejection> {
    if assembler.open(0) != Some(name) {
        if assembler.in_leaf() && !is_known(local(name)) {
            return Ok(false);
        }
        if assembler.open(1) != Some(name) {
            return Err(Rejection::IllFormed);
        }
        close_leaf(assembler)?;
    }
    assembler.end()?;
    Ok(true)
}

/// Closes a leaf that the reporter left open, in the metadata only.
fn close_leaf(assembler: &mut Assembler<'_>) -> Result<(), Rejection> {
    if !assembler.in_metadata_leaf() {
        return Err(Rejection::IllFormed);
    }
    assembler.notes.add(Oddity::UnclosedLeaf);
    assembler.end()
}

/// A name of an element as reporters use them.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && name
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'))
}

fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

impl<R: Read> Window<R> {
    /// The text in memory before the next `<` or `&`.
    fn text_run(&self) -> &str {
        let rest = self.rest();
        let markup = rest.find(['<', '&']);
        &rest[..markup.unwrap_or(rest.len())]
    }

    /// Where `needle` begins, at or after `from`.
    fn find(&mut self, from: usize, needle: &[u8]) -> Result<Option<usize>, Rejection> {
        let mut from = from;
        loop {
            let rest = self.rest().as_bytes();
            let found = rest
                .get(from..)
                .and_then(|rest| rest.windows(needle.len()).position(|here| here == needle));
            if let Some(found) = found {
                return Ok(Some(from + found));
            }
            if rest.len() > MAX_TOKEN {
                return Err(Rejection::TokenTooLong);
            }
            from = from.max(rest.len().saturating_sub(needle.len() - 1));
            if !self.more()? {
                return Ok(None);
            }
        }
    }

    fn skip_past(&mut self, from: usize, needle: &[u8]) -> Result<(), Rejection> {
        let end = self.find(from, needle)?.ok_or(Rejection::Truncated)?;
        self.skip(end + needle.len());
        Ok(())
    }

    /// Where the `>` of a tag is; `None` if another `<` or the end comes first, quoted or not
    /// (XML 1.0 section 2.3 has no `<` in attributes).
    fn tag_end(&mut self) -> Result<Option<usize>, Rejection> {
        let mut from = 1;
        let mut quote = None;
        loop {
            for (at, byte) in self.rest().bytes().enumerate().skip(from) {
                match (byte, quote) {
                    (b'<', _) => return Ok(None),
                    (b'>', None) => return Ok(Some(at)),
                    (b'"' | b'\'', None) => quote = Some(byte),
                    (_, Some(open)) if open == byte => quote = None,
                    _ => {}
                }
            }
            from = self.rest().len();
            if from > MAX_TOKEN {
                return Err(Rejection::TokenTooLong);
            }
            if !self.more()? {
                return Ok(None);
            }
        }
    }
}
