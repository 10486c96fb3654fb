//! What metrics show of each domain: when a report last came, and which policy is published.
//!
//! Asked again and again beside the writer, so each question is about what is new since the last.

use rusqlite::Connection;

use super::{Reader, StoreError, published::from_json};
use crate::{domain::Domain, terms::Kind};

/// How far somebody has read; the beginning by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    documents: i64,
    published: i64,
}

/// Something that was not there before.
#[derive(Debug, PartialEq, Eq)]
pub enum New {
    /// When the newest report of a kind about a domain first came, UTC epoch seconds.
    Report(Domain, Kind, i64),
    /// The TXT records that are published at a name now; none is an empty list.
    Published(Domain, Vec<Vec<u8>>),
}

impl Reader {
    /// Tells what came since `place`, which moves on. One thing at a time: at first that is all.
    pub fn news(&self, place: &mut Place, hear: impl FnMut(New)) -> Result<(), StoreError> {
        news(&self.connection, place, hear).map_err(StoreError::sql("read what is new"))
    }
}

fn news(
    connection: &Connection,
    place: &mut Place,
    mut hear: impl FnMut(New),
) -> rusqlite::Result<()> {
    let moment = connection.unchecked_transaction()?;
    let end = |table: &str, at: i64| {
        let newest = format!("SELECT coalesce(max(id), ?1) FROM {table}");
        moment.query_row(&newest, [at], |row| row.get::<_, i64>(0))
    };
    let now = Place {
        documents: end("document", place.documents)?,
        published: end("published", place.published)?,
    };
    for (kind, table) in [(Kind::Aggregate, "report"), (Kind::Tls, "tls_report")] {
        let mut newest = moment.prepare_cached(&format!(
            "SELECT domain, max(first_seen) FROM {table} JOIN document USING (id)
             WHERE id > ?1 GROUP BY domain"
        ))?;
        let mut rows = newest.query([place.documents])?;
        while let Some(row) = rows.next()? {
            if let Some(domain) = Domain::parse(row.get_ref(0)?.as_str()?) {
                hear(New::Report(domain, kind, row.get(1)?));
            }
        }
    }
    let mut latest = moment.prepare_cached(LATEST)?;
    let mut rows = latest.query([place.published])?;
    while let Some(row) = rows.next()? {
        if let Some(domain) = Domain::parse(row.get_ref(0)?.as_str()?) {
            hear(New::Published(domain, from_json(row.get_ref(1)?.as_str()?)));
        }
    }
    *place = now;
    Ok(())
}

/// What was published last where anything changed. By a plain column SQLite would group in the
/// order of its index, through all that ever was.
const LATEST: &str = "SELECT domain, texts FROM published
    WHERE id IN (SELECT max(id) FROM published WHERE id > ?1 GROUP BY +domain)";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dns::Answer,
        store::fixtures::{self, arrival, example, plain},
    };

    #[test]
    fn what_is_not_new_is_not_read() {
        let place = fixtures::Place::new();
        let plan = format!("EXPLAIN QUERY PLAN {LATEST}");
        let mut statement = place.store.connection.prepare(&plan).unwrap();
        let steps = statement.query_map([0], |row| row.get::<_, String>(3));
        let steps: Vec<_> = steps.unwrap().map(Result::unwrap).collect();
        assert!(
            !steps.iter().any(|step| step.starts_with("SCAN published")),
            "{steps:?}"
        );
    }

    #[test]
    fn news_are_told_once() {
        let mut store = fixtures::Place::new();
        let add = |store: &mut fixtures::Place, id: i64| {
            let (report, rows) = plain(&format!("r{id}"), u8::try_from(id).unwrap());
            let mut arrival = arrival(id);
            arrival.arrived = 1_700_000_000 + id;
            let kept = fixtures::kept(&rows);
            let added = store
                .store
                .transaction(|batch| batch.add(&arrival, &example(), &report, kept));
            added.unwrap();
        };
        let mut place = Place::default();
        let mut news = |store: &fixtures::Place| {
            let mut heard = Vec::new();
            news(&store.store.connection, &mut place, |new| heard.push(new)).unwrap();
            heard
        };
        assert_eq!(news(&store), []);
        add(&mut store, 1);
        add(&mut store, 2);
        let record = b"v=DMARC1; p=none".to_vec();
        for (texts, at) in [(vec![], 1), (vec![record.clone()], 2)] {
            let answer = Answer::found(texts, 60);
            store
                .store
                .record_answer(&example(), &answer, at, 60)
                .unwrap();
        }
        let expected = [
            New::Report(example(), Kind::Aggregate, 1_700_000_002),
            New::Published(example(), vec![record]),
        ];
        assert_eq!(news(&store), expected);
        assert_eq!(news(&store), []);
        add(&mut store, 3);
        let came = New::Report(example(), Kind::Aggregate, 1_700_000_003);
        assert_eq!(news(&store), [came]);
    }
}
