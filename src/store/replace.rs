//! What an older parser wrote, replaced by what today's reads from the same mail.
//!
//! One transaction a report: its rows and its part of the rollups go, the new ones come, and
//! both are compared. Where nothing differs, all of it is undone.

use rusqlite::{Connection, OptionalExtension, Row, params, types::ValueRef};
use sha2::{Digest as _, Sha256};

use super::{
    Batch, Sink, Store, StoreError,
    sqlite::begin,
    values::{digest_of, integer, unsigned},
    write::{Document, SECONDS_OF_A_DAY},
};
use crate::{
    domain::Domain,
    limits,
    report::{Broken, Digest, PARSER_VERSION, Report, Results, Totals},
    terms::{Aligned, Disposition, Outcome},
};

/// A stored report that can be read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its number.
    pub id: i64,
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
    /// Whether a record differs.
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

/// The columns that a reading decides.
const HEAD: [&str; 27] = [
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
];

const TARGET: &str = "SELECT id, digest, first_seen, archive, parser_version
    FROM report JOIN document USING (id)";

impl Store {
    /// The report with this number.
    pub fn target(&self, id: i64) -> Result<Option<Target>, StoreError> {
        self.find_target("id = ?1", id)
    }

    /// The report with the next higher number.
    pub fn target_after(&self, id: i64) -> Result<Option<Target>, StoreError> {
        self.find_target("id > ?1 ORDER BY id LIMIT 1", id)
    }

    fn find_target(&self, which: &str, id: i64) -> Result<Option<Target>, StoreError> {
        self.connection
            .prepare_cached(&format!("{TARGET} WHERE {which}"))
            .and_then(|mut statement| {
                let target = |row: &Row<'_>| {
                    Ok(Target {
                        id: row.get(0)?,
                        digest: Digest(row.get(1)?),
                        first_seen: row.get(2)?,
                        archive: row.get::<_, Option<[u8; 32]>>(3)?.map(Digest),
                        parser_version: row.get(4)?,
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
        let transaction = begin(&mut self.connection)?;
        let replaced = Batch::new(&transaction).swap(target, covering, report, rows)?;
        if transaction.is_autocommit() {
            return Err(StoreError::Lost);
        }
        // Dropped, a transaction is undone.
        if !dry_run && (replaced.was_older || !replaced.is_same()) {
            transaction.commit().map_err(StoreError::sql("commit"))?;
        }
        Ok(replaced)
    }
}

impl Batch<'_> {
    fn swap(
        &self,
        target: &Target,
        covering: &Domain,
        report: &Report,
        rows: impl FnOnce(&mut Sink<'_>) -> Result<(), Broken>,
    ) -> Result<Replaced, StoreError> {
        let failed = || StoreError::sql("replace a report");
        let before = Snapshot::of(self.connection, target.id).map_err(failed())?;
        let outcome = self.remove(target, &before, report).map_err(failed())?;
        let document = Document {
            id: target.id,
            outcome,
        };
        self.report(&document, target.archive, covering, report)?;
        self.records(target.id, report, rows)?;
        if outcome == Outcome::Stored {
            self.roll_up(covering, report)?;
        }
        let after = Snapshot::of(self.connection, target.id).map_err(failed())?;
        let columns = HEAD.iter().zip(before.head.into_iter().zip(after.head));
        let changes = columns.filter(|(_, (before, after))| before != after);
        Ok(Replaced {
            changes: changes
                .map(|(column, (before, after))| Change {
                    column,
                    before,
                    after,
                })
                .collect(),
            records_differ: before.rows != after.rows,
            was_older: target.parser_version < PARSER_VERSION,
        })
    }

    /// Takes the rows out and the key in; what the report is to its key now.
    fn remove(
        &self,
        target: &Target,
        before: &Snapshot,
        report: &Report,
    ) -> rusqlite::Result<Outcome> {
        if before.current {
            before.take_out_of_rollups(self.connection)?;
        }
        let key = digest_of(&report.key());
        let run = |sql: &str| self.connection.prepare_cached(sql)?.execute([target.id]);
        run("DELETE FROM record WHERE report = ?1")?;
        run("DELETE FROM report WHERE id = ?1")?;
        self.connection.execute(
            "UPDATE document SET key = ?2 WHERE id = ?1",
            params![target.id, key],
        )?;
        let sql = "SELECT 1 FROM document WHERE key = ?2 AND id < ?1";
        let revises = self
            .connection
            .prepare_cached(sql)?
            .exists((target.id, key))?;
        Ok(if revises {
            Outcome::Revision
        } else {
            Outcome::Stored
        })
    }
}

/// A report as it stands.
struct Snapshot {
    current: bool,
    head: Vec<Option<String>>,
    /// Digest over its records.
    rows: [u8; 32],
    /// What the records add to rollups, and to which.
    totals: Totals,
    day: i64,
    domain: String,
    policy_domain: String,
}

impl Snapshot {
    fn of(connection: &Connection, id: i64) -> rusqlite::Result<Self> {
        let (rows, totals) = records(connection, id)?;
        let sql = format!("SELECT {} FROM report WHERE id = ?1", HEAD.join(", "));
        connection.prepare_cached(&sql)?.query_row([id], |row| {
            let shown = |column| {
                Ok(match row.get_ref(column)? {
                    ValueRef::Null => None,
                    ValueRef::Integer(number) => Some(number.to_string()),
                    text => Some(text.as_str()?.to_owned()),
                })
            };
            Ok(Self {
                head: (0..HEAD.len())
                    .map(shown)
                    .collect::<rusqlite::Result<_>>()?,
                current: row.get("current")?,
                rows,
                totals,
                day: row
                    .get::<_, i64>("range_begin")?
                    .div_euclid(SECONDS_OF_A_DAY),
                domain: row.get("domain")?,
                policy_domain: row.get("policy_domain")?,
            })
        })
    }

    /// Sums that reach zero go, as if the report had never come.
    fn take_out_of_rollups(&self, connection: &Connection) -> rusqlite::Result<()> {
        const KEY: &str = "day = ?1 AND domain = ?2 AND policy_domain = ?3 AND disposition = ?4
            AND dkim = ?5 AND spf = ?6";
        let none = format!("DELETE FROM rollup WHERE {KEY} AND messages <= ?7");
        let less = format!("UPDATE rollup SET messages = messages - ?7 WHERE {KEY}");
        let aligned = |result: Option<Aligned>| result.map_or("", Aligned::as_str);
        for (results, messages) in &self.totals {
            let values = params![
                self.day,
                self.domain,
                self.policy_domain,
                results.disposition.map_or("", Disposition::as_str),
                aligned(results.dkim),
                aligned(results.spf),
                integer(*messages),
            ];
            connection.prepare_cached(&none)?.execute(values)?;
            connection.prepare_cached(&less)?.execute(values)?;
        }
        Ok(())
    }
}

/// Reads all records once: their digest, and their sums.
fn records(connection: &Connection, id: i64) -> rusqlite::Result<([u8; 32], Totals)> {
    let mut digest = Sha256::new();
    let mut totals = Totals::new();
    let sql = "SELECT disposition, dkim, spf, count, source_ip, header_from, envelope_from,
            envelope_to, reasons, dkim_auth, spf_auth
        FROM record WHERE report = ?1 ORDER BY seq";
    let mut statement = connection.prepare_cached(sql)?;
    let columns = statement.column_count();
    let mut rows = statement.query([id])?;
    while let Some(row) = rows.next()? {
        let results = Results {
            disposition: known(row, 0)?,
            dkim: known(row, 1)?,
            spf: known(row, 2)?,
        };
        let sum = totals.entry(results).or_default();
        *sum = sum.saturating_add(unsigned(row, 3)?);
        for column in 0..columns {
            add(&mut digest, row.get_ref(column)?);
        }
    }
    Ok((digest.finalize().into(), totals))
}

fn known<T: std::str::FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>> {
    let text = row.get_ref(column)?.as_str_or_null()?;
    Ok(text.and_then(|text| text.parse().ok()))
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
