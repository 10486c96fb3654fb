//! Opening the file: settings that are asserted, migrations, the writer and the reader.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{
    Connection, ErrorCode, MAIN_DB, OpenFlags, Transaction, TransactionBehavior, backup::Backup,
    config::DbConfig,
};

use super::{Batch, StoreError};
use crate::{limits, report::Digest, terms::Kind};

/// `ruaR` in the file's header: whose it is.
const APPLICATION_ID: i64 = i32::from_be_bytes(*b"ruaR") as i64;

/// Each is run once, in this order, in a transaction of its own; `user_version` counts them.
const MIGRATIONS: &[&str] = &[
    include_str!("schema/0001_reports.sql"),
    include_str!("schema/0002_published.sql"),
    include_str!("schema/0003_tls.sql"),
    include_str!("schema/0004_failure.sql"),
    include_str!("schema/0005_words.sql"),
    include_str!("schema/0006_listed.sql"),
    include_str!("schema/0007_retention.sql"),
    include_str!("schema/0008_publish.sql"),
    include_str!("schema/0009_unanswered.sql"),
    include_str!("schema/0010_evidence.sql"),
    include_str!("schema/0011_views.sql"),
];

/// The one writer.
#[derive(Debug)]
pub struct Store {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    /// Device and inode of the open file.
    pub(super) file: (u64, u64),
}

/// A connection that only reads; works beside a running writer.
#[derive(Debug)]
pub struct Reader {
    pub(super) connection: Connection,
}

impl Store {
    /// Opens the store for writing; creates it (mode 0600) or migrates it first.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        create(path)?;
        let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // Where a file does not open for writing, SQLite opens it for reading, and leaves it at that.
        let is_readonly = connection.is_readonly(MAIN_DB);
        if is_readonly.map_err(StoreError::sql("ask how it is open"))? {
            return Err(StoreError::ReadOnly(path.into()));
        }
        let version = version(&connection, path)?;
        if version == 0 {
            // Must come before the first table; gives freed pages back without rewriting the file.
            assert_setting(&connection, "auto_vacuum", "INCREMENTAL", "2")?;
        }
        assert_setting(&connection, "journal_mode", "WAL", "wal")?;
        assert_setting(&connection, "synchronous", "FULL", "2")?;
        assert_setting(&connection, "foreign_keys", "ON", "1")?;
        // A savepoint keeps the pages that it changes, a dozen for each report, as new ones need not
        // be undone. In a file, by default one in /var/tmp, they were two thirds of all writing.
        assert_setting(&connection, "temp_store", "MEMORY", "2")?;
        let limit = limits::STORE_WAL.to_string();
        assert_setting(&connection, "journal_size_limit", &limit, &limit)?;
        migrate(&mut connection, version)?;
        Ok(Self {
            connection,
            path: path.into(),
            file: identity(path)?,
        })
    }

    /// Runs `f` in one transaction and returns after its commit is on the disk. An error of
    /// `f`, or of the commit, undoes all of it.
    pub fn transaction<T>(
        &mut self,
        f: impl FnOnce(&mut Batch<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // Somebody who tidies up may remove the file beneath us, and nothing else would tell.
        if identity(&self.path).ok() != Some(self.file) {
            return Err(StoreError::Removed(self.path.clone()));
        }
        let transaction = begin(&mut self.connection)?;
        let value = f(&mut Batch::new(&transaction))?;
        // SQLite ends a transaction by itself on a full or failing disk.
        if transaction.is_autocommit() {
            return Err(StoreError::Lost);
        }
        transaction.commit().map_err(StoreError::sql("commit"))?;
        Ok(value)
    }
}

impl Store {
    /// Whether this very document was counted or kept before.
    pub fn knows(&self, kind: Kind, digest: &Digest) -> Result<bool, StoreError> {
        self.connection
            .prepare_cached("SELECT 1 FROM document WHERE digest = ?1 AND kind = ?2")
            .and_then(|mut statement| statement.exists((digest.0, kind.as_str())))
            .map_err(StoreError::sql("find a document"))
    }
}

impl Reader {
    /// Opens the store for reading.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        match fs::metadata(path) {
            Ok(meta) if meta.len() == 0 => return Err(StoreError::NotThere(path.into())),
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(StoreError::NotThere(path.into()));
            }
            Err(source) => return Err(file_error(path, source)),
        }
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let found = version(&connection, path)?;
        let known = known_version();
        if found == 0 {
            return Err(StoreError::NotThere(path.into()));
        }
        if found < known {
            return Err(StoreError::OlderSchema { found, known });
        }
        Ok(Self { connection })
    }
}

impl Reader {
    /// Copies the whole store, as it is at this moment, to a new file; whoever writes goes on.
    pub fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        create(path)?;
        let copy = || {
            // Held to the end, it keeps every commit from making the copy begin anew.
            let moment = self.connection.unchecked_transaction()?;
            number(&moment, "user_version")?;
            let mut to = Connection::open(path)?;
            let backup = Backup::new(&moment, &mut to)?;
            backup.run_to_completion(limits::COPIED_PAGES, Duration::ZERO, None)
        };
        copy().map_err(StoreError::sql("copy the file"))
    }
}

pub(super) fn begin(connection: &mut Connection) -> Result<Transaction<'_>, StoreError> {
    // Immediate: a transaction that first reads could not become a writing one beside another.
    connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(StoreError::sql("begin a transaction"))
}

/// Makes an empty file that only its owner can read; SQLite gives its companions the same mode.
fn create(path: &Path) -> Result<(), StoreError> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(file_error(path, e)),
        _ => Ok(()),
    }
}

fn identity(path: &Path) -> Result<(u64, u64), StoreError> {
    let file = fs::metadata(path).map_err(|source| file_error(path, source))?;
    Ok((file.dev(), file.ino()))
}

fn file_error(path: &Path, source: std::io::Error) -> StoreError {
    StoreError::File {
        path: path.into(),
        source,
    }
}

/// Opens without creating, and with the settings that readers and the writer share.
fn connect(path: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(StoreError::sql("open the file"))?;
    connection
        .busy_timeout(Duration::from_secs(limits::STORE_BUSY_SECS))
        .map_err(StoreError::sql("set busy_timeout"))?;
    connection.set_prepared_statement_cache_capacity(limits::STORE_STATEMENTS);
    // The file may have been tampered with: no function of ours runs from its schema, pages are
    // checked as they are read, and SQL cannot write to the file's inner tables.
    assert_setting(&connection, "trusted_schema", "OFF", "0")?;
    assert_setting(&connection, "cell_size_check", "ON", "1")?;
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)
        .map_err(StoreError::sql("set the defensive mode"))?;
    Ok(connection)
}

/// Sets a pragma and refuses to go on unless it reads back as expected.
fn assert_setting(
    connection: &Connection,
    setting: &'static str,
    value: &str,
    expected: &str,
) -> Result<(), StoreError> {
    let text = |row: &rusqlite::Row<'_>| {
        Ok(match row.get_ref(0)? {
            rusqlite::types::ValueRef::Integer(number) => number.to_string(),
            other => other.as_str().unwrap_or_default().to_owned(),
        })
    };
    connection
        .pragma_update(None, setting, value)
        .map_err(StoreError::sql(setting))?;
    let found = connection
        .pragma_query_value(None, setting, text)
        .map_err(StoreError::sql(setting))?;
    if found == expected {
        Ok(())
    } else {
        Err(StoreError::Setting { setting, found })
    }
}

fn known_version() -> i64 {
    i64::try_from(MIGRATIONS.len()).expect("the migrations are few")
}

fn number(connection: &Connection, pragma: &'static str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}

/// The version of the file's schema, 0 when it is empty; an error if it is not ours to touch.
fn version(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let read = || {
        let objects = "SELECT count(*) FROM sqlite_schema";
        Ok((
            number(connection, "application_id")?,
            number(connection, "user_version")?,
            connection.query_row(objects, [], |row| row.get::<_, i64>(0))?,
        ))
    };
    let (id, found, objects) = read().map_err(|source: rusqlite::Error| {
        if source.sqlite_error_code() == Some(ErrorCode::NotADatabase) {
            StoreError::NotAStore(path.into())
        } else {
            StoreError::sql("read the schema version")(source)
        }
    })?;
    let empty = id == 0 && found == 0 && objects == 0;
    if id != APPLICATION_ID && !empty {
        return Err(StoreError::NotAStore(path.into()));
    }
    let known = known_version();
    if found > known {
        return Err(StoreError::NewerSchema { found, known });
    }
    Ok(found)
}

fn migrate(connection: &mut Connection, from: i64) -> Result<(), StoreError> {
    for (version, sql) in (1..).zip(MIGRATIONS).skip_while(|(v, _)| *v <= from) {
        let transaction = begin(connection)?;
        transaction
            .execute_batch(sql)
            .and_then(|()| transaction.pragma_update(None, "application_id", APPLICATION_ID))
            .and_then(|()| transaction.pragma_update(None, "user_version", version))
            .and_then(|()| transaction.commit())
            .map_err(StoreError::sql("migrate the schema"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn an_empty_place_becomes_a_private_store_and_opens_again() {
        let dir = directory();
        let path = dir.path().join("reports.sqlite");
        drop(Store::open(&path).unwrap());
        let store = Store::open(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            number(&store.connection, "user_version").unwrap(),
            known_version()
        );
        assert_eq!(number(&store.connection, "synchronous").unwrap(), 2);
    }

    #[test]
    fn a_newer_schema_is_refused_by_writer_and_reader() {
        let dir = directory();
        let path = dir.path().join("reports.sqlite");
        let store = Store::open(&path).unwrap();
        store
            .connection
            .pragma_update(None, "user_version", 99)
            .unwrap();
        drop(store);
        let newer = |e| matches!(e, StoreError::NewerSchema { found: 99, .. });
        assert!(newer(Store::open(&path).unwrap_err()));
        assert!(newer(Reader::open(&path).unwrap_err()));
    }

    #[test]
    fn what_is_no_store_of_ours_is_left_alone() {
        let dir = directory();
        let path = dir.path().join("other.sqlite");
        fs::write(&path, b"hello, this is certainly no database of anybody's").unwrap();
        assert!(matches!(
            Store::open(&path).unwrap_err(),
            StoreError::NotAStore(_)
        ));
        fs::remove_file(&path).unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("CREATE TABLE theirs (x)").unwrap();
        drop(other);
        assert!(matches!(
            Store::open(&path).unwrap_err(),
            StoreError::NotAStore(_)
        ));
    }

    #[test]
    fn nothing_is_written_into_a_file_that_was_removed() {
        let dir = directory();
        let path = dir.path().join("reports.sqlite");
        let mut store = Store::open(&path).unwrap();
        let aside = dir.path().join("aside.sqlite");
        fs::rename(&path, &aside).unwrap();
        let mut write = || store.transaction(|_| Ok(()));
        assert!(matches!(write().unwrap_err(), StoreError::Removed(_)));
        fs::rename(&aside, &path).unwrap();
        write().unwrap();
    }

    #[test]
    fn a_reader_says_that_there_is_no_store_and_makes_none() {
        let dir = directory();
        let path = dir.path().join("reports.sqlite");
        assert!(matches!(
            Reader::open(&path).unwrap_err(),
            StoreError::NotThere(_)
        ));
        assert!(!path.exists());
    }
}
