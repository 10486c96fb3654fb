//! The elements of an aggregate report, and which may lie in which.

use crate::terms::Rejection;

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

/// Whether a field may say in which language it is (RFC 9990 appendix A, `langAttrString`).
pub(super) fn has_lang(field: Field) -> bool {
    matches!(
        field,
        Field::Contact | Field::Error | Field::Comment | Field::DkimHuman | Field::SpfHuman
    )
}

/// The value of `lang`, of attributes as they stand in a tag.
pub(super) fn lang(mut attributes: &str) -> Option<&str> {
    loop {
        let (name, rest) = attributes.split_once('=')?;
        let rest = rest.trim_start();
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, rest) = rest[1..].split_once(quote)?;
        if matches!(name.trim(), "lang" | "xml:lang") {
            return Some(value.trim()).filter(|value| !value.is_empty());
        }
        attributes = rest;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_found_among_attributes() {
        for (attributes, expected) in [
            (" lang=\"de\"", Some("de")),
            (" a='lang=\"x\"' xml:lang = ' fr-CA '/", Some("fr-CA")),
            (" lang=''", None),
            (" lang=de", None),
            (" lang=\"de", None),
            (" language='de'", None),
            ("", None),
        ] {
            assert_eq!(lang(attributes), expected, "{attributes}");
        }
    }
}
