//! What the DNS says about our domains: [`record`] reads DMARC records, [`lookup`] fetches them,
//! and [`cache`] keeps for some minutes what many domains have in common.
//!
//! The plain values here are shared by the watch, the store and the commands: an [`Answer`], the
//! [`Period`] during which the same answer was seen, and a [`Finding`] about it.

pub mod cache;
pub mod external;
pub mod lookup;
pub mod psl;
pub mod record;
pub mod tls_record;
pub mod uri;
pub mod walk;

use std::borrow::Cow;

use crate::{
    domain::Domain,
    limits,
    terms::{DnsOutcome, DnsTrouble, FindingKind, RecordTag, Severity},
};

/// What one lookup of TXT records came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The outcome; all else depends on it.
    pub outcome: DnsOutcome,
    /// The texts, each with its character-strings joined, in one order whatever the server's:
    /// those that begin like a DMARC record first. At most [`limits::MAX_TXT`], each cut at
    /// [`limits::MAX_TXT_LEN`] bytes. Empty unless found.
    pub texts: Vec<Vec<u8>>,
    /// Seconds for which the answer, positive or negative, may be kept; 0 if not said.
    pub ttl: u32,
    /// Why nothing is known.
    pub detail: Option<DnsTrouble>,
}

impl Answer {
    /// An answer with these texts, put in order and bounded.
    pub fn found(mut texts: Vec<Vec<u8>>, ttl: u32) -> Self {
        for text in &mut texts {
            text.truncate(limits::MAX_TXT_LEN);
        }
        // Servers rotate their records; the order must not make two answers of one.
        texts.sort_by(|a, b| (!record::is_meant(a), a).cmp(&(!record::is_meant(b), b)));
        texts.truncate(limits::MAX_TXT);
        Self {
            outcome: DnsOutcome::Found,
            texts,
            ttl,
            detail: None,
        }
    }

    /// An answer that there is no such record ([`DnsOutcome::NoData`]) or name
    /// ([`DnsOutcome::NxDomain`]).
    pub fn absent(outcome: DnsOutcome, ttl: u32) -> Self {
        Self {
            outcome,
            texts: Vec::new(),
            ttl,
            detail: None,
        }
    }

    /// No answer that says anything.
    pub fn unknown(why: DnsTrouble) -> Self {
        Self {
            outcome: DnsOutcome::Unknown,
            texts: Vec::new(),
            ttl: 0,
            detail: Some(why),
        }
    }
}

/// One known answer, and from when to when it was seen, UTC epoch seconds.
///
/// Periods of a domain do not overlap. Between two of them, and nowhere within one, may lie a
/// time of which nothing is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    /// The answer's outcome, never unknown.
    pub outcome: DnsOutcome,
    /// Its texts.
    pub texts: Vec<Vec<u8>>,
    /// When it was first seen.
    pub first_seen: i64,
    /// When it was last seen.
    pub last_seen: i64,
    /// The largest TTL seen with it, in seconds.
    pub ttl: u32,
}

/// Something amiss. A finding is the same one as long as its kind, severity and subject are;
/// its detail may change.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// What is amiss.
    pub kind: FindingKind,
    /// How much it matters.
    pub severity: Severity,
    /// The domain whose record it is about.
    pub subject: Domain,
    /// For people: our own words, values of closed sets and names, never a stranger's text.
    pub detail: String,
    /// What to publish, where that mends it.
    pub publish: Option<Publish>,
    /// What it rests on.
    pub evidence: Evidence,
}

impl Finding {
    /// A finding that no text to publish is known for.
    pub fn new(subject: &Domain, kind: FindingKind, severity: Severity, detail: String) -> Self {
        Self {
            kind,
            severity,
            subject: subject.clone(),
            detail,
            publish: None,
            evidence: Evidence::default(),
        }
    }

    /// Whether two findings are one; its detail may change.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.kind, self.severity, &self.subject) == (other.kind, other.severity, &other.subject)
    }

    /// The same, with what it rests on.
    #[must_use]
    pub fn with(self, evidence: Evidence) -> Self {
        Self { evidence, ..self }
    }
}

/// What a finding rests on, as far as it does; times in UTC epoch seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// What the operator wants: a record, or the keys that demand something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
    /// The TXT records that were seen, [`printable`]; empty if there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<Vec<String>>,
    /// Their TTL in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u32>,
    /// What reporters said; at most [`limits::STATEMENTS`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reported: Vec<Statement>,
    /// When the last report came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_report: Option<i64>,
}

/// A field in which a report differs from what was published.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Statement {
    /// Who reported, by the name that he is known by.
    pub reporter: Domain,
    /// The field.
    pub field: RecordTag,
    /// What the report says; a value of a closed set.
    pub said: String,
    /// What was published.
    pub published: String,
    /// The first second of the report's range.
    pub begin: i64,
    /// The last.
    pub end: i64,
    /// Until when a record was published that is as the report says, if one was.
    pub published_until: Option<i64>,
}

/// A TXT record to publish.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Publish {
    /// Its name.
    pub name: Domain,
    /// Its text.
    pub text: String,
}

/// A text of the DNS as it can be shown on a terminal: what is not printable ASCII is escaped.
pub fn printable(text: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(text) {
        Ok(plain) if text.iter().all(|b| matches!(b, b' '..=b'~')) => Cow::Borrowed(plain),
        _ => Cow::Owned(text.escape_ascii().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_server_makes_no_other_answer() {
        let texts = |t: &[&str]| t.iter().map(|t| t.as_bytes().to_vec()).collect::<Vec<_>>();
        let one = Answer::found(texts(&["a=1", "v=DMARC1; p=none", "v=spf1 -all"]), 60);
        let other = Answer::found(texts(&["v=spf1 -all", "a=1", "v=DMARC1; p=none"]), 60);
        assert_eq!(one, other);
        assert_eq!(one.texts[0], b"v=DMARC1; p=none");
    }

    #[test]
    fn what_is_not_printable_is_escaped() {
        assert_eq!(printable(b"v=DMARC1; p=none"), "v=DMARC1; p=none");
        assert_eq!(printable(b"\x1b[31m\xff"), "\\x1b[31m\\xff");
    }
}
