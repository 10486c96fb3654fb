//! What to do about a finding: a sentence, and the text to publish. Pure.

use super::{expected::Expected, published::Seen};
use crate::{
    dns::{
        Finding, Publish, external,
        record::{self, FailureOptions, Record, Selection},
        uri::ReportUri,
        walk::Known,
    },
    domain::Domain,
    terms::{Alignment, FindingKind, Policy, Psd},
};

/// Gives each finding about the record of the domain, or about a host of its destinations, the text
/// to publish.
pub fn add(seen: &Seen, expected: &Expected<'_>, findings: &mut [Finding]) {
    let name = Domain::parse(&format!("_dmarc.{}", seen.domain));
    let record = name
        .zip(of_record(seen, expected))
        .map(|(name, text)| Publish { name, text });
    for finding in findings {
        finding.publish = match finding.kind {
            FindingKind::ExtAuthMissing | FindingKind::ExtAuthOverrideForeign => {
                let mut hosts = seen.hosts.iter();
                let host = hosts.find(|host| host.name == finding.subject);
                host.and_then(|host| host.place.clone())
                    .map(|name| Publish {
                        name,
                        text: external::AGREED.to_owned(),
                    })
            }
            // What names below get is not for this record to say.
            FindingKind::SubdomainPolicyMismatch
                if expected.wanted.is_none() && !is_organizational(seen) =>
            {
                None
            }
            // There is nothing wrong with the text.
            FindingKind::TtlExtreme | FindingKind::DiscoveryDivergence => None,
            _ => record.clone(),
        };
    }
}

/// What to publish instead: the wanted record, or what is published with what is bad left out, with
/// what is demanded, and with our address in it. `None`: it is that already, or we cannot know.
pub fn of_record(seen: &Seen, expected: &Expected<'_>) -> Option<String> {
    let found = match record::select(&seen.answer.texts) {
        Selection::One(record) => Some(*record),
        Selection::None { meant } => meant.map(|meant| *meant),
        Selection::Several(_) => None,
    };
    let inherited = || match seen.walk.applied() {
        Known::Yes(Some(applied)) if !applied.is_own => Some(applied.record.clone()),
        _ => None,
    };
    let ours = expected.destinations();
    let none = || (!ours.is_empty()).then(Record::default);
    let mut record = match &expected.wanted {
        Some(wanted) => wanted.clone(),
        None => mended(found.or_else(inherited).or_else(none)?, seen, expected),
    };
    record.p = Some(record.policy().unwrap_or(Policy::None));
    if !record.rua.iter().any(|uri| expected.is_ours(uri)) {
        record.rua.extend(ours);
    }
    let text = record.to_string();
    (seen.answer.texts != [text.as_bytes()]).then_some(text)
}

/// A record with what RFC 9989 has no use for left out, and with what is demanded.
fn mended(mut record: Record, seen: &Seen, expected: &Expected<'_>) -> Record {
    let demands = expected.demands;
    record.p = Some(record.policy().unwrap_or(Policy::None)).max(demands.policy);
    if record.subdomain_policy() < demands.subdomains {
        record.sp = demands.subdomains;
    }
    if record.nonexistent_policy() < demands.subdomains {
        record.np = None;
    }
    if let Some(alignment) = demands.alignment {
        let stated = (alignment == Alignment::Strict).then_some(alignment);
        (record.adkim, record.aspf) = (stated, stated);
    }
    (record.rf, record.ri) = (None, None);
    // Whether all mail is to be treated so is for the operator to say.
    if expected.enforces() {
        record.t = None;
    }
    if expected.enforces() || record.percentage() == 100 || record.policy() == Some(Policy::None) {
        record.pct = None;
    }
    record.psd = record.psd.filter(|psd| *psd != Psd::Yes);
    if !is_organizational(seen) {
        (record.sp, record.np) = (None, None);
    }
    record.fo = if record.ruf.is_empty() {
        None
    } else {
        Some(record.fo.unwrap_or(FailureOptions::DEFAULT))
    };
    let without_limit = |uri: &ReportUri| ReportUri::parse(uri.bare().as_bytes());
    for uris in [&mut record.rua, &mut record.ruf] {
        *uris = uris.iter().filter_map(without_limit).collect();
    }
    record
}

/// Whether it is, as far as is known.
fn is_organizational(seen: &Seen) -> bool {
    match seen.walk.organizational() {
        Known::Yes(organizational) => organizational == seen.domain,
        Known::No => true,
    }
}

/// The next step in one sentence.
pub fn next_step(kind: FindingKind) -> &'static str {
    use FindingKind as F;
    match kind {
        F::RecordMissing => "Publish a record.",
        F::RecordInherited => "Publish the wanted record, or want none of this domain.",
        F::RecordMultiple => "Leave one record at the name, and delete the others.",
        F::RecordNotDmarc => "Make the record start with exactly v=DMARC1; in capitals.",
        F::RecordMisplaced => "Move the record to the name _dmarc below the domain.",
        F::CnameDangling => "Publish a record at the target of the alias, or in its place.",
        F::RecordSyntax | F::ValueInvalid | F::FoInvalid => "Correct what is wrong in the text.",
        F::TagDuplicate => "Leave each tag once: receivers differ in which one they take.",
        F::TagUnknown => "Leave the tag out, or correct its name.",
        F::TagHistoric => "Leave the tag out when you change the record next.",
        F::PNotSecond => "Let p follow the version when you change the record next.",
        F::PolicyWeaker => {
            "Find out who changed the record, and publish the policy that is wanted."
        }
        F::PolicyStronger => "Find out who changed the record before good mail is lost.",
        F::SubdomainPolicyMismatch => "Publish the policy for subdomains that is wanted.",
        F::SpNpIneffective => "Move sp and np to the record of the organizational domain.",
        F::TestingLeftOn => "Leave t out once the test is over.",
        F::PctPartial => "Leave pct out: newer receivers ignore it already.",
        F::AlignmentChanged => "Publish the alignment that is wanted.",
        F::RecordDiffers => "Publish the wanted record, or want the one that is published.",
        F::RuaMissing => "Name our address as rua.",
        F::RuaNotOurs => "Add our address to rua.",
        F::RuaExtra => "Find out who gets the reports, and take the address out.",
        F::RuaUnusable => "Write each destination as mailto: with an address.",
        F::RuaSizeLimit => "Leave the size limit out.",
        F::ExtAuthMissing => "Publish this record at the host, or ask whoever runs it to.",
        F::ExtAuthOverrideForeign => "Take rua out of the record at the host.",
        F::RufWithoutFo => "State with fo when failure reports are wanted.",
        F::FoWithoutRuf => "Leave fo out, or add ruf.",
        F::PsdUnexpected => "Take psd out unless the domain is meant to stand for itself.",
        F::DiscoveryDivergence => {
            "Publish a record at the organizational domain, so that all receivers find the same."
        }
        F::TtlExtreme => "Lower the TTL to an hour or so.",
        F::TlsRecordMissing => "Publish a TLS-RPT record.",
        F::TlsRecordMultiple => "Leave one TLS-RPT record, and delete the others.",
        F::TlsRecordInvalid => "Correct what is wrong in the TLS-RPT record.",
        F::TlsRuaNotOurs => "Add our address to the TLS-RPT record.",
        F::ReportedDiffers => "Ask all servers of the zone, inside and outside, what they publish.",
        F::ReporterDiffers => {
            "Nothing, unless another reporter joins: it may be mistaken, or forged."
        }
        F::ReporterStale => "Nothing: the reporter keeps an old answer for longer than it should.",
        F::ReportRevised => "Look at both reports: one of them may be forged.",
        F::ReportsStopped | F::ReporterSilent => {
            "Look whether the MTA still takes mail for the address, and what it has refused."
        }
        F::ReportsNone => {
            "Nothing, if the domain sends no mail; else send to the address yourself."
        }
    }
}
