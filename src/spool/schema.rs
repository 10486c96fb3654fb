//! The spool's file: its table, its settings, and what is done with a broken one.

use std::{
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::SpoolError;

/// `PRAGMA user_version` of this schema.
const VERSION: i64 = 3;

/// `state` is `new` or `parked`. The claim finds what waits by its attempts; the parked ones are
/// found by network, by which their space is shared out. `attempts` are tries that ended the program,
/// `parked_by` the version that parked it. A message lies apart from its entry: SQLite
/// rewrites a row whole, and each try of an entry would write and hold all of its message again.
const TABLES: &str = "
    CREATE TABLE spool (id TEXT NOT NULL, beat INTEGER NOT NULL);
    INSERT INTO spool VALUES (lower(hex(randomblob(8))), 0);
    CREATE TABLE entry (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        state TEXT NOT NULL CHECK (state IN ('new', 'parked')),
        arrived INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        reason TEXT,
        at_byte INTEGER,
        parked_by TEXT,
        network TEXT NOT NULL,
        size INTEGER NOT NULL,
        envelope TEXT NOT NULL
    );
    CREATE INDEX entry_waiting ON entry (attempts, id) WHERE state = 'new';
    CREATE INDEX entry_parked ON entry (network, size) WHERE state = 'parked';
    CREATE TABLE message (id INTEGER PRIMARY KEY, raw BLOB NOT NULL);
    PRAGMA user_version = 3;
";

/// From version 1, in which an entry held its message.
const FROM_1: &str = "
    CREATE TABLE message (id INTEGER PRIMARY KEY, raw BLOB NOT NULL);
    INSERT INTO message SELECT id, raw FROM entry;
    DROP INDEX IF EXISTS entry_new;
    ALTER TABLE entry DROP COLUMN raw;
    CREATE INDEX IF NOT EXISTS entry_waiting ON entry (attempts, id) WHERE state = 'new';
    PRAGMA user_version = 2;
";

/// From version 2, which counted every try.
const FROM_2: &str = "
    ALTER TABLE entry ADD COLUMN at_byte INTEGER;
    ALTER TABLE entry ADD COLUMN parked_by TEXT;
    UPDATE entry SET attempts = (reason IS 'crashed');
    PRAGMA user_version = 3;
";

/// Opens the file for writing and gives it with its own name. One that SQLite calls broken is
/// set aside under another name, loudly, and a fresh one begins; so nobody else may have it open.
pub fn open_or_set_aside(path: &Path) -> Result<(Connection, String), SpoolError> {
    match open_again_if_broken(path) {
        Err(SpoolError::Open { source, .. }) if is_broken(&source) => {
            let aside = set_aside(path)?;
            tracing::error!(
                spool = %path.display(),
                aside = %aside.display(),
                error = %source,
                "the spool is broken; it was set aside and a fresh one begins"
            );
            open(path)
        }
        opened => opened,
    }
}

/// What is broken once and not again was not read well, and holds mail that was acknowledged.
fn open_again_if_broken(path: &Path) -> Result<(Connection, String), SpoolError> {
    match open(path) {
        Err(SpoolError::Open { source, .. }) if is_broken(&source) => open(path),
        opened => opened,
    }
}

/// Opens the file for reading only.
pub fn open_read_only(path: &Path) -> Result<Connection, SpoolError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let wrong = |source| SpoolError::Open {
        path: path.to_owned(),
        source,
    };
    let conn = Connection::open_with_flags(path, flags).map_err(wrong)?;
    conn.busy_timeout(BUSY).map_err(wrong)?;
    let found = version(&conn).map_err(wrong)?;
    if found != VERSION {
        return Err(other_schema(path, found));
    }
    Ok(conn)
}

fn version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn other_schema(path: &Path, found: i64) -> SpoolError {
    SpoolError::Schema {
        path: path.to_owned(),
        found,
        known: VERSION,
    }
}

/// How long a connection waits for another process, such as an `import` beside the daemon.
const BUSY: Duration = Duration::from_secs(5);

/// Opens the file, and makes an empty one if there is none.
pub fn create(path: &Path) -> Result<Connection, SpoolError> {
    // SQLite would make the file with the permissions of the umask; it holds mail.
    let _ = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    Connection::open(path).map_err(|source| SpoolError::Open {
        path: path.to_owned(),
        source,
    })
}

/// Opens the file for writing and gives it with its own name.
pub fn open(path: &Path) -> Result<(Connection, String), SpoolError> {
    let wrong = |source| SpoolError::Open {
        path: path.to_owned(),
        source,
    };
    let mut conn = create(path)?;
    conn.busy_timeout(BUSY).map_err(wrong)?;
    // Must come before the first table; gives freed pages back without rewriting the file.
    conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")
        .map_err(wrong)?;
    let mode: String = conn
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .map_err(wrong)?;
    if mode != "wal" {
        return Err(SpoolError::Setting("journal_mode=WAL"));
    }
    conn.pragma_update(None, "synchronous", "FULL")
        .map_err(wrong)?;
    let level: i64 = conn
        .query_row("PRAGMA synchronous", [], |row| row.get(0))
        .map_err(wrong)?;
    if level != 2 {
        return Err(SpoolError::Setting("synchronous=FULL"));
    }
    conn.pragma_update(None, "trusted_schema", false)
        .map_err(wrong)?;
    conn.pragma_update(None, "cell_size_check", true)
        .map_err(wrong)?;
    conn.pragma_update(None, "journal_size_limit", 64 << 20)
        .map_err(wrong)?;

    let begin = rusqlite::TransactionBehavior::Immediate;
    let transaction = conn.transaction_with_behavior(begin).map_err(wrong)?;
    match version(&transaction).map_err(wrong)? {
        0 => transaction.execute_batch(TABLES).map_err(wrong)?,
        1 => transaction
            .execute_batch(FROM_1)
            .and_then(|()| transaction.execute_batch(FROM_2))
            .map_err(wrong)?,
        2 => transaction.execute_batch(FROM_2).map_err(wrong)?,
        _ => {}
    }
    transaction.commit().map_err(wrong)?;
    let found = version(&conn).map_err(wrong)?;
    if found != VERSION {
        return Err(other_schema(path, found));
    }
    // A page may be broken behind a header that is not; it must not show only when it is needed.
    let verdict: String = conn
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(wrong)?;
    if verdict != "ok" {
        let corrupt = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        return Err(wrong(rusqlite::Error::SqliteFailure(
            corrupt,
            Some(verdict),
        )));
    }
    let id = conn
        .query_row("SELECT id FROM spool", [], |row| row.get(0))
        .map_err(wrong)?;
    Ok((conn, id))
}

fn is_broken(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

fn set_aside(path: &Path) -> Result<PathBuf, SpoolError> {
    let with = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    let aside = (1..=u16::MAX)
        .map(|n| with(&format!(".broken-{n}")))
        .find(|aside| !aside.exists())
        .unwrap_or_else(|| with(".broken"));
    let wrong = |source| SpoolError::SetAside {
        path: path.to_owned(),
        source,
    };
    std::fs::rename(path, &aside).map_err(wrong)?;
    for log in ["-wal", "-shm"] {
        if with(log).exists() {
            std::fs::rename(with(log), format!("{}{log}", aside.display())).map_err(wrong)?;
        }
    }
    Ok(aside)
}

/// Leaves out the next `count` numbers of entries.
pub fn skip(database: &Connection, count: u32) -> Result<(), SpoolError> {
    // SQLite keeps the last number in this table, once there was one.
    database.execute(
        "INSERT INTO sqlite_sequence (name, seq)
         SELECT 'entry', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'entry')",
        [],
    )?;
    database.execute(
        "UPDATE sqlite_sequence SET seq = seq + ?1 WHERE name = 'entry'",
        [count],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_file_is_set_aside_and_a_fresh_one_begins() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("spool.sqlite");
        std::fs::write(
            &path,
            b"this is no database, and long enough to tell".repeat(100),
        )
        .expect("written");
        let (_, first) = open_or_set_aside(&path).expect("a fresh spool");
        assert!(dir.path().join("spool.sqlite.broken-1").exists());
        let (_, second) = open_or_set_aside(&path).expect("the same spool");
        assert_eq!(first, second);
    }

    #[test]
    fn a_page_that_is_broken_behind_a_good_header_is_found_at_the_start() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("spool.sqlite");
        let (conn, first) = open_or_set_aside(&path).expect("a spool");
        for _ in 0..100 {
            conn.execute("INSERT INTO message (raw) VALUES (randomblob(1000))", [])
                .expect("put");
        }
        drop(conn);
        let mut bytes = std::fs::read(&path).expect("read");
        let last = bytes.len() - 4_096;
        bytes[last..].fill(0xa5);
        std::fs::write(&path, bytes).expect("written");
        let (_, second) = open_or_set_aside(&path).expect("a fresh spool");
        assert_ne!(first, second);
        assert!(dir.path().join("spool.sqlite.broken-1").exists());
    }

    #[test]
    fn another_schema_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("spool.sqlite");
        let (conn, _) = open_or_set_aside(&path).expect("a spool");
        conn.pragma_update(None, "user_version", 99).expect("set");
        drop(conn);
        let error = open_or_set_aside(&path).expect_err("an error");
        assert!(
            matches!(error, SpoolError::Schema { found: 99, .. }),
            "{error}"
        );
    }
}
