//! What a reader repaired or found odd: constant texts with numbers, never a stranger's words.

use std::collections::BTreeMap;

use crate::terms::Flag;

/// One kind of oddity. Repairs first: without them the document would not have been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Oddity {
    LeadingText,
    TrailingText,
    StrayText,
    ControlCharacters,
    UndeclaredBytes,
    UndecodableBytes,
    RawMarkup,
    UnknownEntity,
    UnclosedSchema,
    UnclosedLeaf,
    UnclosedRoot,
    Utf16,
    DeclaredEncoding,
    LongText,
    Repeated,
    BadAddress,
    BadCount,
    NullReport,
    NoRecords,
    SurplusEntries,
    SurplusErrors,
    EmptyDkim,
    BadPct,
    DomainFromFileName,
    DomainFromRecords,
    NameFromEmail,
    LongRange,
    EarlyRange,
    OverlongRange,
    DomainFromReportId,
    DomainFromMxHost,
    TimeWithoutZone,
    NoPolicies,
    NoPolicyDomain,
    BadPolicyDomain,
    NoSessions,
    BadSessions,
    BadFailedCount,
    BadFailureAddress,
    SurplusFailures,
    SurplusLines,
    OtherFeedback,
    BadSource,
    BadIncidents,
    TimeFromMail,
    DomainFromHeader,
    NoHeader,
    SurplusValues,
}

impl Oddity {
    const fn text(self) -> &'static str {
        match self {
            Self::LeadingText => "text before the root was skipped",
            Self::TrailingText => "text after the root was skipped",
            Self::StrayText => "text between elements was skipped",
            Self::ControlCharacters => "control characters were dropped",
            Self::UndeclaredBytes => "bytes that are no UTF-8 were read as windows-1252",
            Self::UndecodableBytes => "bytes outside the declared encoding were replaced",
            Self::RawMarkup => "a raw < or & in a text was taken literally",
            Self::UnknownEntity => "an undefined entity was taken literally",
            Self::UnclosedSchema => "an unclosed schema element around the root was skipped",
            Self::UnclosedLeaf => "an unclosed element of the metadata was closed",
            Self::UnclosedRoot => "the root was not closed",
            Self::Utf16 => "read as UTF-16",
            Self::DeclaredEncoding => "read in the declared encoding, not UTF-8",
            Self::LongText => "a text was cut at the bound",
            Self::Repeated => "an element came twice and the first was taken",
            Self::BadAddress => "records without a usable source_ip were left out",
            Self::BadCount => "records without a usable count were left out",
            Self::NullReport => "a null report: no messages were seen",
            Self::NoRecords => "no records",
            Self::SurplusEntries => "entries of a record beyond the bound were left out",
            Self::SurplusErrors => "error elements beyond the bound were left out",
            Self::EmptyDkim => "DKIM entries without domain and selector were left out",
            Self::BadPct => "pct is not a number from 0 to 100",
            Self::DomainFromFileName => "no policy domain: taken from the file name",
            Self::DomainFromRecords => "no policy domain: taken from header_from",
            Self::NameFromEmail => "no org_name: taken from email",
            Self::EarlyRange => "a range before 2010: believed from import only",
            Self::OverlongRange => "a range of more than 366 days: believed from import only",
            Self::LongRange => "days covered by one report",
            Self::DomainFromReportId => "no policy domain: taken from the report id",
            Self::DomainFromMxHost => "no policy domain: taken from the name of a mail host",
            Self::TimeWithoutZone => "a time without zone was taken as UTC",
            Self::NoPolicies => "no policies",
            Self::NoPolicyDomain => "policies without a domain were taken for the report's",
            Self::BadPolicyDomain => "policies about what is no domain were left out",
            Self::NoSessions => "session counts that are absent were taken as 0",
            Self::BadSessions => "policies without usable session counts were left out",
            Self::BadFailedCount => "failure details have no usable session count",
            Self::BadFailureAddress => "addresses of failure details that are none were left out",
            Self::SurplusFailures => "failure details beyond the bound were summed up",
            Self::SurplusLines => "policy strings and hosts beyond the bound were left out",
            Self::OtherFeedback => "feedback about something else than authentication",
            Self::BadSource => "the source is no address",
            Self::BadIncidents => "no usable number of incidents: one was counted",
            Self::TimeFromMail => "no time of arrival: that of the report was taken",
            Self::DomainFromHeader => "no reported domain: taken from the message's From",
            Self::NoHeader => "nothing of the message's header",
            Self::SurplusValues => "values of a field beyond the bound were left out",
        }
    }
}

/// The repairs; what was read in spite of anything else is merely odd.
const REPAIRS: &[Oddity] = &[
    Oddity::LeadingText,
    Oddity::TrailingText,
    Oddity::StrayText,
    Oddity::ControlCharacters,
    Oddity::UndeclaredBytes,
    Oddity::UndecodableBytes,
    Oddity::RawMarkup,
    Oddity::UnknownEntity,
    Oddity::UnclosedSchema,
    Oddity::UnclosedLeaf,
    Oddity::UnclosedRoot,
];

/// What makes a report worth a look, of what its reading told.
pub fn flags(skipped: u64, notes: &[String]) -> Vec<Flag> {
    let tells = |oddity: &Oddity| {
        let is_of = |note: &String| {
            let rest = note.strip_prefix(oddity.text());
            rest.is_some_and(|times| times.is_empty() || times.starts_with(" ("))
        };
        notes.iter().any(is_of)
    };
    let is_repaired = REPAIRS.iter().any(tells);
    let flags = [
        // A document that does not end may have been meant to go on.
        (
            skipped > 0 || tells(&Oddity::UnclosedRoot),
            Flag::Incomplete,
        ),
        (is_repaired, Flag::Repaired),
        (!notes.is_empty() && !is_repaired, Flag::Notes),
    ];
    let told = flags.into_iter().filter(|(is_so, _)| *is_so);
    told.map(|(_, flag)| flag).collect()
}

/// Oddities with how often each was met.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes(BTreeMap<Oddity, u64>);

impl Notes {
    pub(super) fn add(&mut self, oddity: Oddity) {
        self.add_many(oddity, 1);
    }

    pub(super) fn add_many(&mut self, oddity: Oddity, times: u64) {
        if times > 0 {
            *self.0.entry(oddity).or_default() += times;
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (oddity, times) in other.0 {
            self.add_many(oddity, times);
        }
    }

    pub(super) fn into_texts(self) -> Vec<String> {
        self.0
            .into_iter()
            .map(|(oddity, times)| match times {
                1 => oddity.text().to_owned(),
                _ => format!("{} ({times})", oddity.text()),
            })
            .collect()
    }
}
