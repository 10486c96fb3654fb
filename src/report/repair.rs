//! The repairing tokeniser: reads what quick-xml refuses, as far as the listed repairs go.
//!
//! It makes these and no others: a `<` or `&` in a text that is no markup of a report is taken
//! literally, and a leaf of the metadata that is not closed is closed where its parent ends or
//! its sibling begins. Elsewhere every end must match its start, so that no record is ever
//! guessed; a document cut short stays cut short.

use std::io::{BufRead, Read};

use super::{Broken, aggregate_xml::Assembler, fields::is_known, notes::Oddity, text::Text};
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
        open: Vec::new(),
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
    Ok((tokens.window.text, offset))
}

struct Tokens<R> {
    window: Window<R>,
    /// Names of the open elements, as the document writes them.
    open: Vec<String>,
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
                if text == 0 {
                    return Err(Rejection::IllFormed);
                }
                let run = self.window.str(text)?;
                // Blanks cost nothing, and hide nothing.
                if !run.trim_ascii().is_empty() {
                    self.run += text;
                }
                if self.run > MAX_TOKEN {
                    return Err(Rejection::TokenTooLong);
                }
                assembler.text(run)?;
                self.window.skip(text);
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
            assembler.text(&self.window.str(end)?[9..])?;
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
        let inner = &self.window.str(end)?[1..];
        let (closing, inner) = match inner.strip_prefix('/') {
            Some(inner) => (true, inner),
            None => (false, inner),
        };
        let empty = !closing && inner.ends_with('/');
        let name = inner
            .split(|c: char| c.is_whitespace() || c == '/')
            .next()
            .unwrap_or_default()
            .to_owned();
        if !is_name(&name) {
            return self.literal(assembler);
        }
        let taken = if closing {
            self.close(&name, assembler)?
        } else {
            let attributes = inner[name.len()..].to_owned();
            self.start(name, &attributes, empty, assembler)?
        };
        if !taken {
            return self.literal(assembler);
        }
        self.window.skip(end + 1);
        Ok(())
    }

    /// Starts an element; `false` if it is text in a leaf.
    fn start(
        &mut self,
        name: String,
        attributes: &str,
        empty: bool,
        assembler: &mut Assembler<'_>,
    ) -> Result<bool, Rejection> {
        if assembler.in_leaf() {
            if !is_known(local(&name)) {
                return Ok(false);
            }
            self.close_leaf(assembler)?;
        }
        assembler.start(&name, attributes)?;
        if empty {
            assembler.end()?;
        } else {
            self.open.push(name);
        }
        Ok(true)
    }

    /// Ends an element; `false` if it is text in a leaf.
    fn close(&mut self, name: &str, assembler: &mut Assembler<'_>) -> Result<bool, Rejection> {
        if self.open.last().is_none_or(|open| open != name) {
            if assembler.in_leaf() && !is_known(local(name)) {
                return Ok(false);
            }
            let parent = self.open.len().checked_sub(2).map(|at| &self.open[at]);
            if parent.is_none_or(|parent| parent != name) {
                return Err(Rejection::IllFormed);
            }
            self.close_leaf(assembler)?;
        }
        self.open.pop();
        assembler.end()?;
        Ok(true)
    }

    /// Closes a leaf that the reporter left open, in the metadata only.
    fn close_leaf(&mut self, assembler: &mut Assembler<'_>) -> Result<(), Rejection> {
        if !assembler.in_metadata_leaf() {
            return Err(Rejection::IllFormed);
        }
        assembler.notes.add(Oddity::UnclosedLeaf);
        self.open.pop();
        assembler.end()
    }

    /// Takes one character as text.
    fn literal(&mut self, assembler: &mut Assembler<'_>) -> Result<(), Rejection> {
        if assembler.in_leaf() {
            assembler.notes.add(Oddity::RawMarkup);
        }
        assembler.text(self.window.str(1)?)?;
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
        assembler.entity(&self.window.str(end)?[1..])?;
        self.window.skip(end + 1);
        Ok(())
    }
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

/// The part of the text that is being looked at; never more than a token and a chunk.
struct Window<R> {
    text: Text<R>,
    bytes: Vec<u8>,
    at: usize,
    /// Bytes in front of the window.
    before: u64,
}

impl<R: Read> Window<R> {
    fn new(text: Text<R>) -> Self {
        Self {
            text,
            bytes: Vec::new(),
            at: 0,
            before: 0,
        }
    }

    fn offset(&self) -> u64 {
        self.before + self.at as u64
    }

    /// The bytes from here on that are in memory.
    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// At least `count` bytes from here on, unless the input ends before.
    fn reach(&mut self, count: usize) -> Result<&[u8], Rejection> {
        while self.rest().len() < count && self.more()? {}
        Ok(self.rest())
    }

    /// Reads on; `false` at the end of the input.
    fn more(&mut self) -> Result<bool, Rejection> {
        self.before += self.at as u64;
        self.bytes.drain(..self.at);
        self.at = 0;
        self.text.next_token();
        let chunk = self
            .text
            .fill_buf()
            .map_err(|error| Rejection::within(&error).unwrap_or(Rejection::BadContainer))?;
        let count = chunk.len();
        self.bytes.extend_from_slice(chunk);
        self.text.consume(count);
        Ok(count > 0)
    }

    fn skip(&mut self, count: usize) {
        self.at += count;
    }

    /// The next `count` bytes, which end where a character does.
    fn str(&self, count: usize) -> Result<&str, Rejection> {
        std::str::from_utf8(&self.rest()[..count]).map_err(|_| Rejection::IllFormed)
    }

    /// Length of the text in memory before the next `<` or `&`, in whole characters.
    fn text_run(&self) -> usize {
        let rest = self.rest();
        let markup = rest.iter().position(|byte| matches!(byte, b'<' | b'&'));
        let run = &rest[..markup.unwrap_or(rest.len())];
        match std::str::from_utf8(run) {
            Ok(_) => run.len(),
            Err(error) => error.valid_up_to(),
        }
    }

    /// Where `needle` begins, at or after `from`.
    fn find(&mut self, from: usize, needle: &[u8]) -> Result<Option<usize>, Rejection> {
        let mut from = from;
        loop {
            let rest = self.rest();
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
            for (at, &byte) in self.rest().iter().enumerate().skip(from) {
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
