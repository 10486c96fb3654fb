//! The elements of an aggregate report: which may lie in which, and the fields of its head.

use super::{
    Stated,
    aggregate_xml::{fill, first, once},
    notes::{Notes, Oddity},
    values,
};
use crate::{
    limits::MAX_NOTES,
    terms::{Alignment, DiscoveryMethod, Policy, Rejection, YesNo},
};

/// Where in the document we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// An unclosed schema around the root.
    Schema,
    Feedback,
    Metadata,
    DateRange,
    Policy,
    Record,
    Row,
    Evaluated,
    Reason,
    Identifiers,
    AuthResults,
    Dkim,
    Spf,
    Leaf(Field),
    /// An element that we do not know, and everything below it.
    Skip,
}

/// An element that holds text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Version,
    OrgName,
    Email,
    Contact,
    ReportId,
    Error,
    Generator,
    Begin,
    End,
    Domain,
    P,
    Sp,
    Np,
    Adkim,
    Aspf,
    Pct,
    Fo,
    Testing,
    Discovery,
    SourceIp,
    Count,
    Disposition,
    EvaluatedDkim,
    EvaluatedSpf,
    ReasonType,
    Comment,
    HeaderFrom,
    EnvelopeFrom,
    EnvelopeTo,
    DkimDomain,
    DkimSelector,
    DkimResult,
    DkimHuman,
    SpfDomain,
    SpfScope,
    SpfResult,
    SpfHuman,
}

/// What an element is, by its local name and its parent. Order never matters (reporters break it
/// freely), and what is unknown is skipped, but a record in a wrong place is no mere extension:
/// skipping it would lose messages in silence.
pub(super) fn child(parent: Place, local: &str) -> Result<Place, Rejection> {
    let place = match (parent, local) {
        (Place::Feedback, "report_metadata") => Place::Metadata,
        (Place::Feedback, "policy_published") => Place::Policy,
        (Place::Feedback, "record") => Place::Record,
        (Place::Metadata, "date_range") => Place::DateRange,
        (Place::Record, "row") => Place::Row,
        // `identities` is junc.org's spelling.
        (Place::Record, "identifiers" | "identities") => Place::Identifiers,
        (Place::Record, "auth_results") => Place::AuthResults,
        (Place::Row, "policy_evaluated") => Place::Evaluated,
        (Place::Evaluated, "reason") => Place::Reason,
        (Place::AuthResults, "dkim") => Place::Dkim,
        (Place::AuthResults, "spf") => Place::Spf,
        (Place::Skip, _) => Place::Skip,
        (_, "record") => return Err(Rejection::IllFormed),
        _ => leaf(parent, local).map_or(Place::Skip, Place::Leaf),
    };
    Ok(place)
}

fn leaf(parent: Place, local: &str) -> Option<Field> {
    Some(match (parent, local) {
        (Place::Feedback, "version") => Field::Version,
        (Place::Metadata, "org_name") => Field::OrgName,
        (Place::Metadata, "email") => Field::Email,
        (Place::Metadata, "extra_contact_info") => Field::Contact,
        (Place::Metadata, "report_id") => Field::ReportId,
        (Place::Metadata, "error") => Field::Error,
        (Place::Metadata, "generator") => Field::Generator,
        (Place::DateRange, "begin") => Field::Begin,
        (Place::DateRange, "end") => Field::End,
        (Place::Policy, "domain") => Field::Domain,
        (Place::Policy, "p") => Field::P,
        (Place::Policy, "sp") => Field::Sp,
        (Place::Policy, "np") => Field::Np,
        (Place::Policy, "adkim") => Field::Adkim,
        (Place::Policy, "aspf") => Field::Aspf,
        (Place::Policy, "pct") => Field::Pct,
        (Place::Policy, "fo") => Field::Fo,
        (Place::Policy, "testing") => Field::Testing,
        (Place::Policy, "discovery_method") => Field::Discovery,
        (Place::Row, "source_ip") => Field::SourceIp,
        (Place::Row, "count") => Field::Count,
        (Place::Evaluated, "disposition") => Field::Disposition,
        (Place::Evaluated, "dkim") => Field::EvaluatedDkim,
        (Place::Evaluated, "spf") => Field::EvaluatedSpf,
        (Place::Reason, "type") => Field::ReasonType,
        (Place::Reason, "comment") => Field::Comment,
        (Place::Identifiers, "header_from") => Field::HeaderFrom,
        (Place::Identifiers, "envelope_from") => Field::EnvelopeFrom,
        (Place::Identifiers, "envelope_to") => Field::EnvelopeTo,
        (Place::Dkim, "domain") => Field::DkimDomain,
        (Place::Dkim, "selector") => Field::DkimSelector,
        (Place::Dkim, "result") => Field::DkimResult,
        (Place::Dkim, "human_result") => Field::DkimHuman,
        (Place::Spf, "domain") => Field::SpfDomain,
        (Place::Spf, "scope") => Field::SpfScope,
        (Place::Spf, "result") => Field::SpfResult,
        (Place::Spf, "human_result") => Field::SpfHuman,
        _ => return None,
    })
}

/// Whether a local name is one of a report's: then `<name` is markup, never text.
pub(super) fn is_known(local: &str) -> bool {
    const CONTAINERS: [Place; 11] = [
        Place::Feedback,
        Place::Metadata,
        Place::DateRange,
        Place::Policy,
        Place::Row,
        Place::Evaluated,
        Place::Reason,
        Place::Identifiers,
        Place::AuthResults,
        Place::Dkim,
        Place::Spf,
    ];
    matches!(
        local,
        "feedback"
            | "report_metadata"
            | "date_range"
            | "policy_published"
            | "record"
            | "row"
            | "policy_evaluated"
            | "reason"
            | "identifiers"
            | "identities"
            | "auth_results"
            | "extension"
            | "dkim"
            | "spf"
    ) || CONTAINERS
        .iter()
        .any(|&parent| leaf(parent, local).is_some())
}

/// The fields of the head, as far as they came.
#[derive(Default)]
pub(super) struct Head {
    pub version: String,
    pub org_name: String,
    pub email: String,
    pub contact: String,
    pub report_id: Option<String>,
    pub errors: Vec<String>,
    pub generator: String,
    pub begin: Option<String>,
    pub end: Option<String>,
    pub domain: Option<String>,
    pub p: Stated<Policy>,
    pub sp: Stated<Policy>,
    pub np: Stated<Policy>,
    pub adkim: Stated<Alignment>,
    pub aspf: Stated<Alignment>,
    pub pct: Option<u8>,
    pub fo: String,
    pub testing: Stated<YesNo>,
    pub discovery: Stated<DiscoveryMethod>,
}

impl Head {
    /// Sets one field; `false` if it came before.
    pub(super) fn set(&mut self, field: Field, text: &str, notes: &mut Notes) -> bool {
        match field {
            Field::Version => fill(&mut self.version, text),
            Field::OrgName => fill(&mut self.org_name, text),
            Field::Email => fill(&mut self.email, text),
            Field::Contact => fill(&mut self.contact, text),
            Field::ReportId => once(&mut self.report_id, text),
            Field::Generator => fill(&mut self.generator, text),
            Field::Begin => once(&mut self.begin, text),
            Field::End => once(&mut self.end, text),
            Field::Domain => once(&mut self.domain, text),
            Field::P => first(&mut self.p, values::stated(text)),
            Field::Sp => first(&mut self.sp, values::stated(text)),
            Field::Np => first(&mut self.np, values::stated(text)),
            Field::Adkim => first(&mut self.adkim, values::stated(text)),
            Field::Aspf => first(&mut self.aspf, values::stated(text)),
            Field::Fo => fill(&mut self.fo, text),
            Field::Testing => first(&mut self.testing, values::stated(text)),
            Field::Discovery => first(&mut self.discovery, values::stated(text)),
            Field::Pct => self.set_pct(text, notes),
            Field::Error => {
                self.add_error(text, notes);
                true
            }
            _ => true,
        }
    }

    fn set_pct(&mut self, text: &str, notes: &mut Notes) -> bool {
        if text.is_empty() {
            return true;
        }
        let pct = text.parse().ok().filter(|pct| *pct <= 100);
        if pct.is_none() {
            notes.add(Oddity::BadPct);
        }
        let free = self.pct.is_none();
        self.pct = self.pct.or(pct);
        free
    }

    fn add_error(&mut self, text: &str, notes: &mut Notes) {
        if self.errors.len() >= MAX_NOTES {
            notes.add(Oddity::SurplusErrors);
        } else if !text.is_empty() {
            self.errors.push(text.to_owned());
        }
    }
}
