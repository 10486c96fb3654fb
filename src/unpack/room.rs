//! What one mail may take of memory besides its own bytes.

use std::{cell::Cell, rc::Rc};

use crate::terms::Rejection;

/// Room for what must be held whole. Clones share it; nothing is given back, as a mail is read in
/// one go.
#[derive(Clone, Debug)]
pub(super) struct Room(Rc<Cell<usize>>);

impl Room {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Rc::new(Cell::new(bytes)))
    }

    /// Bytes that are left.
    pub(super) fn left(&self) -> usize {
        self.0.get()
    }

    /// Takes room, before it is used.
    pub(super) fn take(&self, bytes: usize) -> Result<(), Rejection> {
        let left = self.left().checked_sub(bytes);
        self.0.set(left.ok_or(Rejection::TooLarge)?);
        Ok(())
    }
}
