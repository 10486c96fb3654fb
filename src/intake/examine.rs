//! What a message is, told from the heads of its documents, while its sender waits. Pure.
//!
//! The cost is bounded by [`crate::limits::EXAMINE_INFLATED`] for each document. Whoever is
//! unsure says so: the pipeline reads the message to its end.

use crate::{
    config::domains::DomainList,
    limits,
    report::{self, Head},
    terms::{Kind, Rejection},
    unpack::{self, Bounds, Shape},
};

/// What we think of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opinion {
    /// It holds a report about a domain of ours.
    Ours,
    /// Every document in it is about a domain that is not on the list, nor below one that is.
    Foreign,
    /// It holds failure reports, about domains of ours that take none, and no other document about
    /// a domain of ours.
    FailureReportsOff,
    /// It may be a report.
    CannotTell,
    /// Nothing in it can be a report.
    NotAReport,
}

/// An opinion, and what it rests on.
#[derive(Clone, Debug)]
pub struct Examined {
    /// The opinion.
    pub opinion: Opinion,
    /// The head of the first document that told its domain, else of the first document.
    pub head: Option<Head>,
    /// Whether a failure report is in it, or what calls itself one.
    pub holds_failure: bool,
}

impl Examined {
    /// Of a message that was not looked at.
    pub fn unread() -> Self {
        Self {
            opinion: Opinion::CannotTell,
            head: None,
            holds_failure: false,
        }
    }
}

/// Looks at the heads of the documents in `raw`.
pub fn examine(raw: &[u8], domains: &DomainList) -> Examined {
    let found = unpack::documents(raw, &bounds());
    if found.documents.is_empty() {
        let opinion = if found.rejected.is_empty() {
            Opinion::NotAReport
        } else {
            Opinion::CannotTell
        };
        return Examined {
            opinion,
            head: None,
            holds_failure: found.holds_failure,
        };
    }
    let mut heads: Vec<Option<Head>> = found
        .documents
        .iter()
        .map(|document| report::recognise(document.open()))
        .collect();
    let standings: Vec<_> = heads
        .iter()
        .map(|head| standing(head.as_ref(), domains))
        .collect();
    let may_be_refused = found.rejected.is_empty() && !standings.contains(&Standing::Untold);
    let opinion = if standings.contains(&Standing::Ours) {
        Opinion::Ours
    } else if !may_be_refused {
        Opinion::CannotTell
    } else if standings.contains(&Standing::Off) {
        Opinion::FailureReportsOff
    } else {
        Opinion::Foreign
    };
    let told = standings.iter().position(|of| *of != Standing::Untold);
    Examined {
        opinion,
        head: heads.swap_remove(told.unwrap_or(0)),
        holds_failure: found.holds_failure,
    }
}

/// What is parked of a mail that holds a failure report: not the message that it is about; and where
/// failure reports are off, nothing of the report either.
pub fn kept(raw: &[u8], reason: Rejection, redact: bool) -> Vec<u8> {
    let found = unpack::documents(raw, &bounds());
    let reports = found
        .documents
        .iter()
        .filter(|document| reason != Rejection::FailureReportsOff && document.headers.is_some());
    let reports = reports.map(|of| (of.open(), of.shape == Shape::Notice));
    report::failure::kept(unpack::header(raw), reports, redact)
}

fn bounds() -> Bounds {
    Bounds {
        inflated: limits::EXAMINE_INFLATED,
        held: limits::EXAMINE_HELD,
        ..Bounds::default()
    }
}

/// What one document is to us.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Ours,
    Foreign,
    Off,
    Untold,
}

fn standing(head: Option<&Head>, domains: &DomainList) -> Standing {
    let Some(head) = head else {
        return Standing::Untold;
    };
    let is_failure = head.kind == Kind::Failure;
    match head.domain.as_ref().map(|domain| domains.covering(domain)) {
        // Whatever it is about.
        None if is_failure && !domains.take_failure_reports() => Standing::Off,
        None => Standing::Untold,
        Some(None) => Standing::Foreign,
        Some(Some(entry)) if is_failure && !entry.details.failure_reports => Standing::Off,
        Some(Some(_)) => Standing::Ours,
    }
}
