//! What a message is, told from the heads of its documents, while its sender waits. Pure.
//!
//! The cost is bounded by [`crate::limits::EXAMINE_INFLATED`] for each document. Whoever is
//! unsure says so: the pipeline reads the message to its end.

use crate::{
    config::domains::DomainList,
    limits,
    report::{self, Head},
    unpack::{self, Bounds},
};

/// What we think of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opinion {
    /// It holds a report about a domain of ours.
    Ours,
    /// Every document in it is about a domain that is not on the list, nor below one that is.
    Foreign,
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
}

impl Examined {
    /// Of a message that was not looked at.
    pub fn unread() -> Self {
        Self {
            opinion: Opinion::CannotTell,
            head: None,
        }
    }
}

/// Looks at the heads of the documents in `raw`.
pub fn examine(raw: &[u8], domains: &DomainList) -> Examined {
    let bounds = Bounds {
        inflated: limits::EXAMINE_INFLATED,
        held: limits::EXAMINE_HELD,
        ..Bounds::default()
    };
    let found = unpack::documents(raw, &bounds);
    if found.documents.is_empty() {
        let opinion = if found.rejected.is_empty() {
            Opinion::NotAReport
        } else {
            Opinion::CannotTell
        };
        return Examined {
            opinion,
            head: None,
        };
    }
    let mut heads: Vec<Option<Head>> = found
        .documents
        .iter()
        .map(|document| report::recognise(document.open()))
        .collect();
    let is_ours = |head: &Option<Head>| {
        head.as_ref()
            .and_then(|head| head.domain.as_ref())
            .map(|d| domains.covering(d).is_some())
    };
    let opinions: Vec<Option<bool>> = heads.iter().map(is_ours).collect();
    let opinion = if opinions.contains(&Some(true)) {
        Opinion::Ours
    } else if found.rejected.is_empty() && opinions.iter().all(|ours| *ours == Some(false)) {
        Opinion::Foreign
    } else {
        Opinion::CannotTell
    };
    let told = opinions.iter().position(Option::is_some).unwrap_or(0);
    Examined {
        opinion,
        head: heads.swap_remove(told),
    }
}
