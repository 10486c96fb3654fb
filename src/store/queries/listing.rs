//! Long lists, page by page.
//!
//! A statement that stays open keeps the store's log from ever beginning anew, and who reads the
//! output may be a pager whose reader is away. So each page is read to its end before any of it is
//! given, and the next one begins behind its last row.

use rusqlite::{Connection, Params, Row};

use super::StoreError;

/// Rows in the order of two whole numbers, which no other row has together.
pub(super) struct Listing {
    /// What an error says was tried.
    pub doing: &'static str,
    /// What is read of each row.
    pub columns: String,
    /// From `FROM` on; it ends in a condition.
    pub rows: String,
    /// The columns that order them.
    pub keys: [&'static str; 2],
    /// The largest first.
    pub newest_first: bool,
    /// Rows that are in memory at once.
    pub page: u32,
}

impl Listing {
    /// Gives the first `most` rows, one by one; an error of `give` ends it.
    pub fn give<T, E: From<StoreError>, P: Params>(
        &self,
        connection: &Connection,
        values: impl Fn() -> P,
        mut most: u32,
        value: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
        mut give: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut last = None;
        loop {
            let wanted = most.min(self.page);
            let (page, end) = self
                .page(connection, last, wanted, values(), &value)
                .map_err(StoreError::sql(self.doing))?;
            let length = u32::try_from(page.len()).unwrap_or(u32::MAX);
            page.into_iter().try_for_each(&mut give)?;
            most -= length.min(most);
            if length < wanted || most == 0 {
                return Ok(());
            }
            last = end;
        }
    }

    /// The rows behind `last`, and the keys of the last one of them.
    fn page<T>(
        &self,
        connection: &Connection,
        last: Option<[i64; 2]>,
        rows: u32,
        values: impl Params,
        value: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<(Vec<T>, Option<[i64; 2]>)> {
        let mut statement = connection.prepare(&self.sql(last, rows))?;
        let keys = statement.column_count() - 2;
        let (mut page, mut end) = (Vec::new(), None);
        let mut found = statement.query(values)?;
        while let Some(row) = found.next()? {
            page.push(value(row)?);
            end = Some([row.get(keys)?, row.get(keys + 1)?]);
        }
        Ok((page, end))
    }

    /// One page's query.
    pub fn sql(&self, last: Option<[i64; 2]>, rows: u32) -> String {
        let [first, second] = self.keys;
        let (follows, order) = if self.newest_first {
            ("<", "DESC")
        } else {
            (">", "ASC")
        };
        // The first comparison is one that an index serves.
        let behind = last.map_or_else(String::new, |[a, b]| {
            format!(
                " AND {first} {follows}= {a}
                  AND ({first} {follows} {a} OR {second} {follows} {b})"
            )
        });
        format!(
            "SELECT {}, {first}, {second} {}{behind}
             ORDER BY {first} {order}, {second} {order} LIMIT {rows}",
            self.columns, self.rows
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(newest_first: bool, page: u32, most: u32) -> Vec<i64> {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE t (a INTEGER, b INTEGER, v INTEGER);
                 INSERT INTO t VALUES (1, 1, 1), (1, 2, 2), (1, 3, 3), (2, 1, 4), (3, 1, 5), (3, 2, 6)",
            )
            .unwrap();
        let listing = Listing {
            doing: "test",
            columns: "v".to_owned(),
            rows: "FROM t WHERE v <> ?1".to_owned(),
            keys: ["a", "b"],
            newest_first,
            page,
        };
        let mut given = Vec::new();
        let give = |value| {
            given.push(value);
            // Nothing is open meanwhile.
            connection
                .execute_batch("BEGIN EXCLUSIVE; COMMIT")
                .map_err(StoreError::sql("test"))
        };
        listing
            .give(&connection, || [4], most, |row| row.get(0), give)
            .unwrap();
        given
    }

    #[test]
    fn pages_of_any_size_come_to_the_same() {
        let all = [1, 2, 3, 5, 6];
        for page in 1..7 {
            assert_eq!(given(false, page, u32::MAX), all, "{page}");
            let newest: Vec<_> = all.into_iter().rev().collect();
            assert_eq!(given(true, page, u32::MAX), newest, "{page}");
            assert_eq!(given(true, page, 3), newest[..3], "{page}");
        }
    }
}
