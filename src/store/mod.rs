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

impl Store {
    /// Opens the store for writing.
    pub fn open(path: &std::path::Path) -> Result<Self, StoreError> {
        let open = || {
            let connection = Connection::open(path)?;
            connection.execute_batch(include_str!("schema/0002_published.sql"))?;
            connection.execute_batch(
                "CREATE TABLE report (current, domain, policy_domain, range_begin, range_end,
                 org_name, p, sp, np, adkim, aspf, pct, fo, testing, discovery_method)",
            )?;
            Ok(Self { connection })
        };
        open().map_err(Self::failed)
    }

    fn failed(source: rusqlite::Error) -> StoreError {
        StoreError::sql("open the file")(source)
    }
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
