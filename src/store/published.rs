//! What was seen published, period by period, and the findings about it.
//!
//! An unknown answer is counted and changes nothing else: it ends no period and closes no
//! finding. A period says that its answer was seen at its first and last second and in between
//! at least once in every `gap`; longer silence, whatever its cause, starts a new one.

mod heard;
mod reported;
mod unanswered;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

pub use heard::Heard;
use heard::heard;
use reported::{reported, revised};
pub use unanswered::{NoAnswer, Unanswered};
use unanswered::{no_answers, unanswered};

use super::{Reader, Store, StoreError, clock};
use crate::{
    dns::{Answer, Evidence, Finding, Period, Publish},
    domain::Domain,
    limits,
    report::Reported,
    terms::{DnsOutcome, DnsTrouble, FindingKind, FindingSource, Severity},
};

/// What [`Settling::set_findings`] changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Findings that are new.
    pub opened: Vec<OpenFinding>,
    /// Findings that are no more, as they last were.
    pub closed: Vec<OpenFinding>,
}

/// A finding that is open; times in UTC epoch seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFinding {
    /// What is amiss.
    pub finding: Finding,
    /// Who opened it.
    pub source: FindingSource,
    /// Since when.
    pub first_seen: i64,
    /// When it was last confirmed.
    pub last_seen: i64,
}

/// What one look at a domain comes to, recorded as a whole or not at all.
pub struct Settling<'a> {
    connection: Transaction<'a>,
}

impl Store {
    /// Runs `f`, and keeps what it recorded if it goes well. The commit has reached the disk when
    /// this returns.
    pub fn settle<T>(
        &mut self,
        f: impl FnOnce(&Settling<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let immediate = rusqlite::TransactionBehavior::Immediate;
        let connection = self.connection.transaction_with_behavior(immediate);
        let settling = Settling {
            connection: connection.map_err(StoreError::sql("begin to record a look"))?,
        };
        let value = f(&settling)?;
        let committed = settling.connection.commit();
        committed.map_err(StoreError::sql("record a look"))?;
        Ok(value)
    }
}

impl Settling<'_> {
    /// Records an answer about `domain`, given at `at` (UTC epoch seconds). The same answer goes
    /// on if it was last seen at most `gap` seconds ago.
    pub fn record_answer(
        &self,
        domain: &Domain,
        answer: &Answer,
        at: i64,
        gap: i64,
    ) -> Result<(), StoreError> {
        record_answer(&self.connection, domain, answer, at, gap)
            .map_err(StoreError::sql("record a DNS answer"))
    }

    /// Makes `findings` the open ones of `domain` and `source`: opens, confirms and closes; none is
    /// closed whose kind is `undecided`. At most [`limits::MAX_FINDINGS`] of a domain are open; more
    /// are left out.
    pub fn set_findings(
        &self,
        domain: &Domain,
        source: FindingSource,
        findings: &[Finding],
        undecided: &[FindingKind],
        at: i64,
    ) -> Result<Changes, StoreError> {
        set_findings(&self.connection, domain, source, findings, undecided, at)
            .map_err(StoreError::sql("record findings"))
    }
}

/// The same questions, asked beside the writer, by it, and within its look.
macro_rules! questions {
    ($($asked:tt)+) => {
        questions_of!(Reader: $($asked)+);
        questions_of!(Store: $($asked)+);
        questions_of!(Settling<'_>: $($asked)+);
    };
}

macro_rules! questions_of {
    ($who:ty: $($(#[$about:meta])* $name:ident($($arg:ident: $type:ty),*) -> $out:ty, $doing:literal;)+) => {
        impl $who {$(
            $(#[$about])*
            pub fn $name(&self, $($arg: $type),*) -> Result<$out, StoreError> {
                $name(&self.connection, $($arg),*).map_err(StoreError::sql($doing))
            }
        )+}
    };
}

questions! {
    /// Every period of a domain, the oldest first; at most [`limits::MAX_HISTORY`].
    history(domain: &Domain) -> Vec<Period>, "read the history of a domain";
    /// Its lookups that said nothing, if there were any.
    unanswered(domain: &Domain) -> Option<Unanswered>, "read the failed lookups of a domain";
    /// Every run of them, the oldest first; at most [`limits::MAX_HISTORY`].
    no_answers(domain: &Domain) -> Vec<NoAnswer>, "read the failed lookups of a domain";
    /// The open findings of a domain, the oldest first.
    open_findings(domain: &Domain) -> Vec<OpenFinding>, "read the findings of a domain";
    /// How many findings are open, by kind and severity.
    open_counts() -> Vec<(FindingKind, Severity, u64)>, "count findings";
    /// Every domain that has open findings of a source.
    domains_with_findings(source: FindingSource) -> Vec<Domain>, "list domains with findings";
    /// What the newest current reports about `domain` itself, whose range ends at or after
    /// `since`, say was published; at most [`limits::COMPARED_REPORTS`].
    reported(domain: &Domain, since: i64) -> Vec<Reported>, "read reported policies";
    /// Who reported about a domain at or after `since`, in order of time; at most
    /// [`limits::HEARD_REPORTS`], the newest.
    heard(domain: &Domain, since: i64) -> Vec<Heard>, "read who reported";
    /// How many documents about a domain first came at or after `since` with the key of another.
    revised(domain: &Domain, since: i64) -> u64, "count revised reports";
}

fn record_answer(
    connection: &Connection,
    domain: &Domain,
    answer: &Answer,
    at: i64,
    gap: i64,
) -> rusqlite::Result<()> {
    let domain = domain.as_str();
    if answer.outcome == DnsOutcome::Unknown {
        let trouble = answer.detail.unwrap_or(DnsTrouble::Unclear);
        return unanswered::record(connection, domain, trouble, at, gap);
    }
    unanswered::end(connection, domain)?;

    let (outcome, texts) = (answer.outcome.as_str(), to_json(&answer.texts));
    let mut latest: Option<(i64, bool, i64)> = connection
        .prepare_cached(
            "SELECT id, outcome = ?2 AND texts = ?3, last_seen FROM published
             WHERE domain = ?1 ORDER BY id DESC LIMIT 1",
        )?
        .query_row(params![domain, outcome, texts], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    if let Some((_, _, last_seen)) = &mut latest
        && *last_seen > at.saturating_add(limits::CLOCK_SLACK)
        && clock::is_believed(connection, at)?
    {
        pull_back(connection, domain, at)?;
        *last_seen = at;
    }
    if let Some((id, true, last_seen)) = latest
        && at.saturating_sub(last_seen) <= gap
    {
        let sql = "UPDATE published SET last_seen = max(last_seen, ?2), ttl = max(ttl, ?3)
            WHERE id = ?1";
        return run(connection, sql, params![id, at, answer.ttl]);
    }
    // A clock that was set back must not make periods overlap.
    let at = latest.map_or(at, |(_, _, last_seen)| at.max(last_seen));
    let insert = "INSERT INTO published (domain, outcome, texts, ttl, first_seen, last_seen)
        VALUES (?1, ?2, ?3, ?4, ?5, ?5)";
    run(
        connection,
        insert,
        params![domain, outcome, texts, answer.ttl, at],
    )?;
    let trim = "DELETE FROM published WHERE domain = ?1 AND id <= (
        SELECT id FROM published WHERE domain = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)";
    run(connection, trim, params![domain, rows(limits::MAX_HISTORY)])
}

/// A clock that was far ahead has left times at which nobody looked, and which would hide all that comes
/// until then: none of them is after `at` any more.
fn pull_back(connection: &Connection, domain: &str, at: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE published SET first_seen = min(first_seen, ?2), last_seen = ?2
        WHERE domain = ?1 AND last_seen > ?2";
    run(connection, sql, params![domain, at])
}

fn set_findings(
    connection: &Connection,
    domain: &Domain,
    source: FindingSource,
    findings: &[Finding],
    undecided: &[FindingKind],
    at: i64,
) -> rusqlite::Result<Changes> {
    let open = open_rows(connection, domain)?;
    let mut room = limits::MAX_FINDINGS.saturating_sub(open.len());
    let mut changes = Changes::default();
    let known = |finding| {
        let mut own = open.iter().filter(|(_, known)| known.source == source);
        own.find(|(_, known)| known.finding.is_same(finding))
    };
    for (id, gone) in open.iter().filter(|(_, gone)| gone.source == source) {
        let is_confirmed = findings
            .iter()
            .any(|finding| finding.is_same(&gone.finding));
        if !is_confirmed && !undecided.contains(&gone.finding.kind) {
            let sql = "UPDATE finding SET closed_at = ?2 WHERE id = ?1";
            run(connection, sql, params![id, at])?;
            changes.closed.push(gone.clone());
            room += 1;
        }
    }
    for finding in findings {
        if let Some((id, _)) = known(finding) {
            let sql = "UPDATE finding SET last_seen = max(last_seen, ?2), detail = ?3,
                publish_name = ?4, publish_text = ?5, evidence = ?6 WHERE id = ?1";
            let (name, text) = publish(finding);
            let evidence = json(&finding.evidence);
            run(
                connection,
                sql,
                params![id, at, finding.detail, name, text, evidence],
            )?;
        } else if room > 0
            && !changes
                .opened
                .iter()
                .any(|new| new.finding.is_same(finding))
        {
            room -= 1;
            insert_finding(connection, domain, source, finding, at)?;
            changes.opened.push(OpenFinding {
                finding: finding.clone(),
                source,
                first_seen: at,
                last_seen: at,
            });
        }
    }
    if !changes.closed.is_empty() {
        let trim = "DELETE FROM finding WHERE domain = ?1 AND closed_at IS NOT NULL AND id <= (
            SELECT id FROM finding WHERE domain = ?1 AND closed_at IS NOT NULL
            ORDER BY id DESC LIMIT 1 OFFSET ?2)";
        let domain = domain.as_str();
        run(connection, trim, params![domain, rows(limits::MAX_HISTORY)])?;
    }
    Ok(changes)
}

fn insert_finding(
    connection: &Connection,
    domain: &Domain,
    source: FindingSource,
    finding: &Finding,
    at: i64,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO finding
        (domain, source, kind, severity, subject, detail, first_seen, last_seen,
         publish_name, publish_text, evidence)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8, ?9, ?10)";
    let (name, text) = publish(finding);
    run(
        connection,
        sql,
        params![
            domain.as_str(),
            source.as_str(),
            finding.kind.as_str(),
            finding.severity.as_str(),
            finding.subject.as_str(),
            finding.detail,
            at,
            name,
            text,
            json(&finding.evidence),
        ],
    )
}

/// The columns of what is to be published.
fn publish(finding: &Finding) -> (Option<&str>, Option<&str>) {
    let publish = finding.publish.as_ref();
    publish
        .map(|it| (it.name.as_str(), it.text.as_str()))
        .unzip()
}

/// A plain value of ours always becomes JSON.
fn json(evidence: &Evidence) -> Option<String> {
    serde_json::to_string(evidence).ok()
}

/// What another version wrote and we cannot read is left out: the finding is what matters.
fn evidence(json: Option<&str>) -> Evidence {
    json.and_then(|json| serde_json::from_str(json).ok())
        .unwrap_or_default()
}

fn run(connection: &Connection, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute(params).map(|_| ())
}

fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn history(connection: &Connection, domain: &Domain) -> rusqlite::Result<Vec<Period>> {
    connection
        .prepare_cached(
            "SELECT outcome, texts, ttl, first_seen, last_seen FROM published
             WHERE domain = ?1 ORDER BY id",
        )?
        .query_map([domain.as_str()], |row| {
            Ok(Period {
                outcome: word(row, 0)?,
                texts: from_json(&row.get::<_, String>(1)?),
                ttl: row.get(2)?,
                first_seen: row.get(3)?,
                last_seen: row.get(4)?,
            })
        })?
        .collect()
}

fn open_findings(connection: &Connection, domain: &Domain) -> rusqlite::Result<Vec<OpenFinding>> {
    let rows = open_rows(connection, domain)?;
    Ok(rows.into_iter().map(|(_, open)| open).collect())
}

fn open_rows(
    connection: &Connection,
    domain: &Domain,
) -> rusqlite::Result<Vec<(i64, OpenFinding)>> {
    connection
        .prepare_cached(
            "SELECT id, source, kind, severity, subject, detail, first_seen, last_seen,
                    publish_name, publish_text, evidence
             FROM finding WHERE domain = ?1 AND closed_at IS NULL ORDER BY id",
        )?
        .query_map([domain.as_str()], |row| {
            let text: Option<String> = row.get(9)?;
            let publish = match text {
                Some(text) => Some(Publish {
                    name: name(row, 8)?,
                    text,
                }),
                None => None,
            };
            let finding = Finding {
                kind: word(row, 2)?,
                severity: word(row, 3)?,
                subject: name(row, 4)?,
                detail: row.get(5)?,
                publish,
                evidence: evidence(row.get::<_, Option<String>>(10)?.as_deref()),
            };
            let open = OpenFinding {
                finding,
                source: word(row, 1)?,
                first_seen: row.get(6)?,
                last_seen: row.get(7)?,
            };
            Ok((row.get(0)?, open))
        })?
        .collect()
}

fn open_counts(connection: &Connection) -> rusqlite::Result<Vec<(FindingKind, Severity, u64)>> {
    connection
        .prepare_cached(
            "SELECT kind, severity, count(*) FROM finding WHERE closed_at IS NULL
             GROUP BY kind, severity ORDER BY kind, severity",
        )?
        .query_map([], |row| {
            Ok((
                word(row, 0)?,
                word(row, 1)?,
                u64::from(row.get::<_, u32>(2)?),
            ))
        })?
        .collect()
}

fn domains_with_findings(
    connection: &Connection,
    source: FindingSource,
) -> rusqlite::Result<Vec<Domain>> {
    connection
        .prepare_cached(
            "SELECT DISTINCT domain FROM finding WHERE closed_at IS NULL AND source = ?1",
        )?
        .query_map([source.as_str()], |row| name(row, 0))?
        .collect()
}

fn word<T>(row: &Row<'_>, at: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr<Err = crate::terms::UnknownWord>,
{
    row.get_ref(at)?.as_str()?.parse().map_err(|unknown| {
        let text = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(at, text, Box::new(unknown))
    })
}

fn name(row: &Row<'_>, at: usize) -> rusqlite::Result<Domain> {
    Domain::parse(row.get_ref(at)?.as_str()?).ok_or_else(|| {
        rusqlite::Error::InvalidColumnType(at, "domain".into(), rusqlite::types::Type::Text)
    })
}

fn to_json(texts: &[Vec<u8>]) -> String {
    let latin1 = |text: &Vec<u8>| text.iter().map(|&b| char::from(b)).collect::<String>();
    serde_json::Value::Array(texts.iter().map(|text| latin1(text).into()).collect()).to_string()
}

pub(super) fn from_json(json: &str) -> Vec<Vec<u8>> {
    let texts: Vec<String> = serde_json::from_str(json).unwrap_or_default();
    let bytes = |text: String| text.chars().filter_map(|c| u8::try_from(c).ok()).collect();
    texts.into_iter().map(bytes).collect()
}

#[cfg(test)]
mod tests;
