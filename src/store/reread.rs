//! Which reports an upgrade has yet to read again, and which it cannot.

use rusqlite::params;

use super::{Reader, Store, StoreError};
use crate::{limits::MAX_ATTEMPTS, report::PARSER_VERSION};

impl Reader {
    /// Numbers of the reports behind number `after` that an older parser has read, ascending, the first
    /// `most`; not of those that this one could not read again.
    pub fn older(&self, after: i64, most: usize) -> Result<Vec<i64>, StoreError> {
        let sql = "WITH read AS (
                SELECT id, parser_version AS version FROM report WHERE id > ?1
                UNION ALL
                SELECT id, parser_version FROM tls_report WHERE id > ?1)
            SELECT id FROM read WHERE version < ?2 AND NOT EXISTS
                (SELECT 1 FROM reread WHERE report = id AND parser_version = ?2 AND tries >= ?3)
            ORDER BY id LIMIT ?4";
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                let values = params![after, PARSER_VERSION, MAX_ATTEMPTS, most];
                let ids = statement.query_map(values, |row| row.get(0))?;
                ids.collect()
            })
            .map_err(StoreError::sql("find reports of an older parser"))
    }
}

impl Store {
    /// Keeps that this parser tried to read a report again and could not; with [`MAX_ATTEMPTS`] `tries`
    /// it is left alone until the next one comes.
    pub fn not_reread(&mut self, id: i64, tries: u32) -> Result<(), StoreError> {
        let sql = "INSERT INTO reread VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET
            tries = excluded.tries + iif(parser_version = excluded.parser_version, tries, 0),
            parser_version = excluded.parser_version";
        self.transaction(|batch| {
            batch
                .connection
                .execute(sql, params![id, PARSER_VERSION, tries])
                .map(drop)
                .map_err(StoreError::sql("keep that a report was not read again"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixtures::{Place, arrival, plain};

    #[test]
    fn older_reports_are_found_in_order_until_they_are_given_up() {
        let mut place = Place::new();
        for n in 1..=4 {
            let version = u8::try_from(n).unwrap();
            place.add(&arrival(n), &plain(&n.to_string(), version));
        }
        let reader = Reader::open(&place.path()).unwrap();
        let older = |after| reader.older(after, 2).unwrap();
        assert!(older(0).is_empty());
        let age = "UPDATE report SET parser_version = 1 WHERE id <> 3";
        place.store.connection.execute(age, []).unwrap();
        assert_eq!((older(0), older(2)), (vec![1, 2], vec![4]));
        place.store.not_reread(1, MAX_ATTEMPTS).unwrap();
        place.store.not_reread(2, 1).unwrap();
        assert_eq!(older(0), [2, 4], "one more try");
        place.store.not_reread(2, 1).unwrap();
        assert_eq!(older(0), [4]);
        // Another parser comes.
        let before = "UPDATE reread SET parser_version = 1";
        place.store.connection.execute(before, []).unwrap();
        assert_eq!(older(0), [1, 2]);
        place.store.not_reread(2, 1).unwrap();
        assert_eq!(older(1), [2, 4], "whose tries are counted anew");
    }
}
