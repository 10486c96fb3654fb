//! The part of a text that a tokeniser looks at, in memory as one piece.

use std::io::Read;

use super::text::Text;
use crate::terms::Rejection;

/// A window that moves over the text: a token, and at most a chunk behind it.
pub(super) struct Window<R> {
    text: Text<R>,
    /// What is in memory, in whole characters.
    held: String,
    at: usize,
    /// Bytes in front of the window.
    before: u64,
}

impl<R: Read> Window<R> {
    pub(super) fn new(text: Text<R>) -> Self {
        Self {
            text,
            held: String::new(),
            at: 0,
            before: 0,
        }
    }

    /// The text, when nothing is looked for any more.
    pub(super) fn into_text(self) -> Text<R> {
        self.text
    }

    /// How far into the text it is.
    pub(super) fn offset(&self) -> u64 {
        self.before + self.at as u64
    }

    /// What is in memory from here on.
    pub(super) fn rest(&self) -> &str {
        &self.held[self.at..]
    }

    /// Whether no more comes behind that.
    pub(super) fn is_last(&self) -> bool {
        self.text.has_ended()
    }

    /// At least `count` bytes from here on, unless the input ends before.
    pub(super) fn reach(&mut self, count: usize) -> Result<&[u8], Rejection> {
        while self.rest().len() < count && self.more()? {}
        Ok(self.rest().as_bytes())
    }

    /// Reads on; `false` at the end of the input.
    pub(super) fn more(&mut self) -> Result<bool, Rejection> {
        self.before += self.at as u64;
        self.held.drain(..self.at);
        self.at = 0;
        let before = self.held.len();
        self.text
            .read_on(&mut self.held)
            .map_err(|error| Rejection::within(&error).unwrap_or(Rejection::BadContainer))?;
        Ok(self.held.len() > before)
    }

    /// Moves on, to where a character begins.
    pub(super) fn skip(&mut self, count: usize) {
        self.at += count;
    }
}
