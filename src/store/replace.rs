//! What an older parser wrote, replaced by what today's reads from the same mail.
//!
//! One transaction a report, of either kind: its rows and its part of the rollups go, the new
//! ones come, and both are compared. Where nothing differs, all of it is undone.

mod sums;

use rusqlite::{Connection, OptionalExtension, Row, params, types::ValueRef};
use sha2::{Digest as _, Sha256};

use super::{
    Batch, Ours, PolicySink, Sink, Store, StoreError,
    sqlite::begin,
    values::{digest_of, word},
    write::Document,
};
use crate::{
    domain::Domain,
    limits,
    report::{Broken, Digest, PARSER_VERSION, Report, ReportKey, tls::TlsReport},
    terms::{Kind, Outcome},
};

/// A stored report that can be read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its number.
    pub id: i64,
    /// What it is.
    pub kind: Kind,
    /// The document's digest.
    pub digest: Digest,
    /// The day of its mail in the archive, UTC epoch seconds.
    pub first_seen: i64,
    /// Digest of its mail in the archive, if it was archived.
    pub archive: Option<Digest>,
    /// Version of the parser that read it.
    pub parser_version: u32,
}

/// What a new reading came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// What differs in the head.
    pub changes: Vec<Change>,
    /// Whether a record, or a policy of a TLS report, differs.
    pub records_differ: bool,
    /// Whether an older parser had read it.
    pub was_older: bool,
}

/// A column of the head that reads otherwise now; `None` is not stated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its name in the store.
    pub column: &'static str,
    /// Before.
    pub before: Option<String>,
    /// Now.
    pub after: Option<String>,
}

impl Replaced {
    /// Whether the report says the same as before.
    pub fn is_same(&self) -> bool {
        self.changes.is_empty() && !self.records_differ
    }
}

/// Where a kind of report lies.
struct Tables {
    head: &'static str,
    /// Its columns that a reading decides.
    columns: &'static [&'static str],
    rows: &'static str,
    /// The same of its rows, which are in order of `seq`.
    row_columns: &'static str,
    /// Takes a current report out of the sums.
    take_out: fn(&Connection, i64) -> rusqlite::Result<()>,
}

const AGGREGATE: Tables = Tables {
    head: "report",
    columns: &[
        "current",
        "domain",
        "policy_domain",
        "range_begin",
        "range_end",
        "version",
        "org_name",
        "email",
        "extra_contact",
        "extra_contact_lang",
        "report_id",
        "generator",
        "errors",
        "p",
        "sp",
        "np",
        "adkim",
        "aspf",
        "pct",
        "fo",
        "testing",
        "discovery_method",
        "records",
        "skipped_records",
        "skipped",
        "messages",
        "notes",
    ],
    rows: "record",
    row_columns: "source_ip, count, disposition, dkim, spf, header_from, envelope_from,
        envelope_to, reasons, dkim_auth, spf_auth",
    take_out: sums::take_out,
};

const TLS: Tables = Tables {
    head: "tls_report",
    columns: &[
        "current",
        "domain",
        "policy_domain",
        "range_begin",
        "range_end",
        "org_name",
        "contact",
        "report_id",
        "policies",
        "skipped_policies",
        "skipped",
        "sessions",
        "notes",
    ],
    rows: "tls_policy",
    row_columns: "domain, policy_domain, policy_type, policy_string, mx_host, successful, failed,
        failures",
    take_out: sums::take_out_tls,
};

const TARGET: &str = "SELECT document.id, kind, digest, first_seen,
        coalesce(report.archive, tls_report.archive),
        coalesce(report.parser_version, tls_report.parser_version) AS parser
    FROM document LEFT JOIN report ON report.id = document.id
        LEFT JOIN tls_report ON tls_report.id = document.id
    WHERE parser IS NOT NULL AND document.id";

impl Store {
    /// The report with this number.
    pub fn target(&self, id: i64) -> Result<Option<Target>, StoreError> {
        self.find_target("= ?1", id)
    }

    /// The report with the next higher number.
    pub fn target_after(&self, id: i64) -> Result<Option<Target>, StoreError> {
        self.find_target("> ?1 ORDER BY document.id LIMIT 1", id)
    }

    fn find_target(&self, which: &str, id: i64) -> Result<Option<Target>, StoreError> {
        self.connection
            .prepare_cached(&format!("{TARGET} {which}"))
            .and_then(|mut statement| {
                let target = |row: &Row<'_>| {
                    Ok(Target {
                        id: row.get(0)?,
                        kind: word(row, 1)?,
                        digest: Digest(row.get(2)?),
                        first_seen: row.get(3)?,
                        archive: row.get::<_, Option<[u8; 32]>>(4)?.map(Digest),
                        parser_version: row.get(5)?,
                    })
                };
                statement.query_row([id], target).optional()
            })
            .map_err(StoreError::sql("find a report"))
    }

    /// Replaces a report by a new reading of the same document if they differ or an older parser
    /// had read it; with `dry_run` only says what would change. `rows` as in [`Batch::add`].
    ///
    /// A reading may change the report's key. The first report of a key is the one that counts,
    /// so whoever replaces several goes by ascending numbers.
    pub fn replace(
        &mut self,
        target: &Target,
        covering: &Domain,
        report: &Report,
        dry_run: bool,
        rows: impl FnOnce(&mut Sink<'_>) -> Result<(), Broken>,
    ) -> Result<Replaced, StoreError> {
        if report.messages > limits::MAX_MESSAGES {
            return Err(StoreError::Count(report.messages));
        }
        self.swap(
            target,
            &AGGREGATE,
            &report.key(),
            dry_run,
            |batch, document| {
                batch.report(document, target.archive, covering, report)?;
                batch.records(document.id, report, rows)?;
                if document.is_current() {
                    batch.roll_up(covering, report)?;
                }
                Ok(())
            },
        )
    }

    /// The same of a TLS report; `policy_domain` and `ours` as in [`Batch::add_tls`].
    pub fn replace_tls(
        &mut self,
        target: &Target,
        (policy_domain, ours): (&Domain, &Ours),
        report: &TlsReport,
        dry_run: bool,
        rows: impl FnOnce(&mut PolicySink<'_>) -> Result<(), Broken>,
    ) -> Result<Replaced, StoreError> {
        self.swap(target, &TLS, &report.key(), dry_run, |batch, document| {
            batch.tls_report(document, target.archive, (policy_domain, ours), report)?;
            batch.tls_policies(document.id, ours, report, rows)?;
            if document.is_current() {
                batch.roll_up_tls(ours, report)?;
            }
            Ok(())
        })
    }

    fn swap(
        &mut self,
        target: &Target,
        tables: &Tables,
        key: &ReportKey,
        dry_run: bool,
        write: impl FnOnce(&Batch<'_>, &Document) -> Result<(), StoreError>,
    ) -> Result<Replaced, StoreError> {
        let failed = || StoreError::sql("replace a report");
        let transaction = begin(&mut self.connection)?;
        let before = Snapshot::of(&transaction, tables, target.id).map_err(failed())?;
        let document = remove(&transaction, tables, target, key).map_err(failed())?;
        write(&Batch::new(&transaction), &document)?;
        let after = Snapshot::of(&transaction, tables, target.id).map_err(failed())?;
        if transaction.is_autocommit() {
            return Err(StoreError::Lost);
        }
        let was_older = target.parser_version < PARSER_VERSION;
        let replaced = before.compare(after, tables, was_older);
        // Dropped, a transaction is undone.
        if !dry_run && (was_older || !replaced.is_same()) {
            transaction.commit().map_err(StoreError::sql("commit"))?;
        }
        Ok(replaced)
    }
}

/// Takes the rows out and the key in; what the report is to its key now.
fn remove(
    connection: &Connection,
    tables: &Tables,
    target: &Target,
    key: &ReportKey,
) -> rusqlite::Result<Document> {
    let Tables { head, rows, .. } = tables;
    let id = target.id;
    let sql = format!("SELECT current FROM {head} WHERE id = ?1");
    if connection
        .prepare_cached(&sql)?
        .query_row([id], |row| row.get(0))?
    {
        (tables.take_out)(connection, id)?;
    }
    for sql in [
        format!("DELETE FROM {rows} WHERE report = ?1"),
        format!("DELETE FROM {head} WHERE id = ?1"),
    ] {
        connection.prepare_cached(&sql)?.execute([id])?;
    }
    let key = digest_of(key);
    let sql = "UPDATE document SET key = ?2 WHERE id = ?1";
    connection.execute(sql, params![id, key])?;
    let sql = "SELECT 1 FROM document WHERE key = ?2 AND id < ?1";
    let revises = connection.prepare_cached(sql)?.exists((id, key))?;
    let outcome = if revises {
        Outcome::Revision
    } else {
        Outcome::Stored
    };
    Ok(Document { id, outcome })
}

/// A report as it stands.
struct Snapshot {
    head: Vec<Option<String>>,
    /// Digest over its records.
    rows: [u8; 32],
}

impl Snapshot {
    fn of(connection: &Connection, tables: &Tables, id: i64) -> rusqlite::Result<Self> {
        let Tables { head, columns, .. } = tables;
        let sql = format!("SELECT {} FROM {head} WHERE id = ?1", columns.join(", "));
        let head = connection.prepare_cached(&sql)?.query_row([id], |row| {
            let shown = |column| {
                Ok(match row.get_ref(column)? {
                    ValueRef::Null => None,
                    ValueRef::Integer(number) => Some(number.to_string()),
                    text => Some(text.as_str()?.to_owned()),
                })
            };
            (0..columns.len()).map(shown).collect()
        })?;
        let rows = digest_of_rows(connection, tables, id)?;
        Ok(Self { head, rows })
    }

    fn compare(self, after: Self, tables: &Tables, was_older: bool) -> Replaced {
        let values = self.head.into_iter().zip(after.head);
        let changes = tables.columns.iter().zip(values);
        Replaced {
            changes: changes
                .filter(|(_, (before, after))| before != after)
                .map(|(column, (before, after))| Change {
                    column,
                    before,
                    after,
                })
                .collect(),
            records_differ: self.rows != after.rows,
            was_older,
        }
    }
}

fn digest_of_rows(connection: &Connection, tables: &Tables, id: i64) -> rusqlite::Result<[u8; 32]> {
    let Tables {
        rows, row_columns, ..
    } = tables;
    let sql = format!("SELECT {row_columns} FROM {rows} WHERE report = ?1 ORDER BY seq");
    let mut statement = connection.prepare_cached(&sql)?;
    let columns = statement.column_count();
    let mut digest = Sha256::new();
    let mut rows = statement.query([id])?;
    while let Some(row) = rows.next()? {
        for column in 0..columns {
            add(&mut digest, row.get_ref(column)?);
        }
    }
    Ok(digest.finalize().into())
}

/// A value under its type and length, so that no two rows look alike.
fn add(digest: &mut Sha256, value: ValueRef<'_>) {
    let number;
    let (tag, bytes): (u8, &[u8]) = match value {
        ValueRef::Null => (0, &[]),
        ValueRef::Integer(integer) => {
            number = integer.to_be_bytes();
            (1, &number)
        }
        ValueRef::Real(real) => {
            number = real.to_be_bytes();
            (2, &number)
        }
        ValueRef::Text(text) => (3, text),
        ValueRef::Blob(blob) => (4, blob),
    };
    digest.update([tag]);
    digest.update((bytes.len() as u64).to_be_bytes());
    digest.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        report::{Record, Stated},
        store::fixtures::{Place, arrival, example, kept, plain, record, report},
        terms::Aligned,
    };

    fn replace(place: &mut Place, id: i64, new: &(Report, Vec<Record>), dry: bool) -> Replaced {
        let target = place.store.target(id).unwrap().unwrap();
        let (report, rows) = new;
        let replaced = place
            .store
            .replace(&target, &example(), report, dry, kept(rows));
        replaced.unwrap()
    }

    fn sums(place: &Place) -> (i64, i64) {
        let of_rows = "SELECT total(count) FROM record JOIN report ON id = report WHERE current";
        (
            place.number("SELECT sum(messages) FROM rollup"),
            place.number(&format!("SELECT cast(({of_rows}) AS INTEGER)")),
        )
    }

    #[test]
    fn the_same_reading_changes_nothing() {
        let mut place = Place::new();
        place.add(&arrival(1), &plain("r", 1));
        let replaced = replace(&mut place, 1, &plain("r", 1), false);
        assert!(replaced.is_same() && !replaced.was_older);
        assert_eq!(sums(&place), (15, 15));
        assert_eq!(place.number("SELECT count(*) FROM arrival"), 1);
    }

    #[test]
    fn another_reading_takes_the_place_of_the_first_and_its_sums() {
        let mut place = Place::new();
        place.add(&arrival(1), &plain("r", 1));
        place.add(&arrival(2), &plain("other", 2));
        let rows = vec![
            record(1, 5, Stated::Known(Aligned::Pass)),
            record(9, 100, Stated::Known(Aligned::Fail)),
        ];
        let new = report("r", 1, rows);
        let dry = replace(&mut place, 1, &new, true);
        assert_eq!(sums(&place), (30, 30), "only asked");
        let replaced = replace(&mut place, 1, &new, false);
        assert_eq!(dry, replaced);
        let columns: Vec<_> = replaced.changes.iter().map(|c| c.column).collect();
        assert_eq!(columns, ["records", "messages"]);
        assert!(replaced.records_differ);
        assert_eq!(sums(&place), (120, 120));
        let failing = "SELECT sum(messages) FROM rollup WHERE dmarc = 'fail'";
        assert_eq!(place.number(failing), 100 + 7 + 1);
        assert!(replace(&mut place, 1, &new, false).is_same());
    }

    #[test]
    fn an_older_reading_is_written_anew_though_it_says_the_same() {
        let mut place = Place::new();
        place.add(&arrival(1), &plain("r", 1));
        let age = "UPDATE report SET parser_version = 0";
        place.store.connection.execute(age, []).unwrap();
        let replaced = replace(&mut place, 1, &plain("r", 1), false);
        assert!(replaced.is_same() && replaced.was_older);
        let version = place.number("SELECT parser_version FROM report");
        assert_eq!(version, i64::from(PARSER_VERSION));
    }

    #[test]
    fn two_reports_that_turn_out_to_have_one_key_count_once() {
        let mut place = Place::new();
        place.add(&arrival(1), &plain("r", 1));
        place.add(&arrival(2), &plain(" r", 2));
        assert_eq!(sums(&place), (30, 30));
        replace(&mut place, 1, &plain("r", 1), false);
        let replaced = replace(&mut place, 2, &plain("r", 2), false);
        let columns: Vec<_> = replaced.changes.iter().map(|c| c.column).collect();
        assert_eq!(columns, ["current", "report_id"]);
        assert_eq!(sums(&place), (15, 15));
    }

    #[test]
    fn a_reading_that_breaks_leaves_all_as_it_was() {
        let mut place = Place::new();
        place.add(&arrival(1), &plain("r", 1));
        let target = place.store.target(1).unwrap().unwrap();
        let (report, rows) = plain("r", 1);
        let short = kept(&rows[..1]);
        let error = place
            .store
            .replace(&target, &example(), &report, false, short);
        assert!(matches!(error, Err(StoreError::Inconsistent { .. })));
        assert_eq!(sums(&place), (15, 15));
        assert_eq!(place.store.target_after(1).unwrap(), None);
    }
}
