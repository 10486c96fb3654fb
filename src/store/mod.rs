//! The report store.
//!
//! Stands in for the store until the branches meet; only [`published`] is meant to stay.

pub mod published;

use rusqlite::Connection;

/// The one writer.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
}

/// A connection that only reads.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
}

/// What the store cannot do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed.
    #[error("cannot {doing} in the report store")]
    Sql {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// For `map_err` on what SQLite answers.
    pub(crate) fn sql(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Sql { doing, source }
    }
}
