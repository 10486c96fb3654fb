//! Wanted, published and reported records -> findings. Pure.
//!
//! What is not known is never a finding: an unknown answer, a field that a report does not
//! state, a time that our history does not cover. Values are compared as receivers take them,
//! with defaults filled in on both sides, so that what is inherited is no difference.

use std::collections::{BTreeMap, BTreeSet};

use super::history;
use crate::{
    config::{
        address::Recipient,
        domains::{DomainEntry, DomainList, Standing},
    },
    dns::{
        Answer, Finding, Period,
        record::{self, FailureOptions, Record, Selection},
        uri::ReportUri,
    },
    domain::Domain,
    report::{PolicyPublished, Reported},
    terms::{DnsOutcome, FindingKind, Policy, RecordTag, Severity, YesNo},
};

/// Differences that the detail of one finding lists.
const LISTED: usize = 8;

/// What the operator expects of a domain.
#[derive(Clone, Debug, Default)]
pub struct Expected<'a> {
    /// The record that is wanted.
    pub wanted: Option<Record>,
    /// The list that knows our addresses, and the domain's entry in it.
    pub home: Option<(&'a DomainList, DomainEntry<'a>)>,
}

impl<'a> Expected<'a> {
    /// What the configuration says of a domain.
    pub fn of(list: &'a DomainList, entry: DomainEntry<'a>) -> Self {
        let wanted = entry.details.wanted.as_deref();
        Self {
            wanted: wanted.and_then(|text| record::parse(text.as_bytes()).into_record()),
            home: Some((list, entry)),
        }
    }

    /// Whether reports that go to `uri` come to us: the address is asked for as RCPT would.
    fn is_ours(&self, uri: &ReportUri) -> bool {
        self.home.is_some_and(|(list, _)| {
            uri.mailbox()
                .is_some_and(|address| list.standing(address.as_bytes()) == Standing::Ours)
        })
    }

    /// Our addresses for the domain as URIs; none if we do not know any.
    fn destinations(&self) -> Vec<ReportUri> {
        let addresses = self.home.map(|(list, entry)| list.addresses_of(entry));
        let uri = |address: &_| ReportUri::mailto(&format!("{address}"));
        addresses.iter().flatten().filter_map(uri).collect()
    }
}

/// What is amiss in what is published; `None`: nothing is known.
pub fn published(
    domain: &Domain,
    expected: &Expected<'_>,
    answer: &Answer,
) -> Option<Vec<Finding>> {
    let one = |kind, severity, detail: &str| vec![finding(domain, kind, severity, detail.into())];
    if answer.outcome == DnsOutcome::Unknown {
        return None;
    }
    Some(match record::select(&answer.texts) {
        Selection::None { meant } => {
            let detail = match answer.outcome {
                DnsOutcome::NxDomain => "the name _dmarc does not exist",
                DnsOutcome::NoData => "the name _dmarc has no TXT record",
                _ if meant.is_some() => {
                    "the record does not start with exactly v=DMARC1, which makes it none"
                }
                _ => "none of the TXT records is a DMARC record",
            };
            one(FindingKind::RecordMissing, Severity::High, detail)
        }
        Selection::Several(number) => {
            let detail = format!("{number} DMARC records, of which receivers use none");
            one(FindingKind::RecordMultiple, Severity::High, &detail)
        }
        Selection::One(record) => of_record(domain, expected, &record),
    })
}

fn of_record(domain: &Domain, expected: &Expected<'_>, record: &Record) -> Vec<Finding> {
    let mut findings: Vec<_> = syntax(domain, record).into_iter().collect();
    let ours = expected.destinations();
    let lost = !ours.is_empty() && !record.rua.iter().any(|uri| expected.is_ours(uri));
    if lost {
        let detail = match record.rua.as_slice() {
            [] => "no rua: nobody sends reports",
            _ => "no rua address is ours: reports go elsewhere",
        };
        let kind = FindingKind::RuaNotOurs;
        findings.push(finding(domain, kind, Severity::High, detail.into()));
    }
    if let Some(wanted) = &expected.wanted {
        let mut tags = RecordTag::ALL.to_vec();
        tags.retain(|&tag| !(lost && tag == RecordTag::Rua) && is_different(wanted, record, tag));
        let (weaker, other): (Vec<_>, Vec<_>) = tags
            .into_iter()
            .partition(|&tag| is_weaker(wanted, record, tag));
        findings.extend(difference(domain, wanted, record, &weaker, true));
        findings.extend(difference(domain, wanted, record, &other, false));
    }
    findings
}

fn syntax(domain: &Domain, record: &Record) -> Option<Finding> {
    let amiss = || {
        record
            .problems
            .iter()
            .filter(|p| p.kind.severity().is_some())
    };
    let severity = amiss().filter_map(|p| p.kind.severity()).max()?;
    let detail = amiss().take(LISTED).map(ToString::to_string);
    let detail = detail.collect::<Vec<_>>().join("; ");
    Some(finding(domain, FindingKind::RecordSyntax, severity, detail))
}

fn finding(subject: &Domain, kind: FindingKind, severity: Severity, detail: String) -> Finding {
    Finding {
        kind,
        severity,
        subject: subject.clone(),
        detail,
    }
}

/// The value of a tag as receivers take it, in one spelling.
fn effective(record: &Record, tag: RecordTag) -> String {
    let policy = |policy: Option<Policy>| policy.map_or("not applied", Policy::as_str).to_owned();
    match tag {
        RecordTag::P => policy(record.policy()),
        RecordTag::Sp => policy(record.subdomain_policy()),
        RecordTag::Np => policy(record.nonexistent_policy()),
        RecordTag::Adkim => record.dkim_alignment().to_string(),
        RecordTag::Aspf => record.spf_alignment().to_string(),
        RecordTag::Rua => destinations(&record.rua),
        RecordTag::Ruf => destinations(&record.ruf),
        RecordTag::Fo => record.failure_options().to_string(),
        RecordTag::T => record.testing().to_string(),
        RecordTag::Psd => record.public_suffix().to_string(),
        RecordTag::Pct => record.percentage().to_string(),
        RecordTag::Rf => record.rf.as_deref().unwrap_or("afrf").to_owned(),
        RecordTag::Ri => record.ri.unwrap_or(86_400).to_string(),
    }
}

/// Destinations in one order and spelling: mailboxes as they compare, no size limits.
fn destinations(uris: &[ReportUri]) -> String {
    let text = |uri: &ReportUri| {
        let mailbox = uri.mailbox();
        let address = mailbox.and_then(|m| Recipient::parse(m.as_bytes()));
        address.map_or_else(|| uri.bare().to_owned(), |a| format!("mailto:{a}"))
    };
    let texts: BTreeSet<_> = uris.iter().map(text).collect();
    texts.into_iter().collect::<Vec<_>>().join(",")
}

fn is_different(wanted: &Record, record: &Record, tag: RecordTag) -> bool {
    let either = |tag| wanted.states(tag) || record.states(tag);
    let matters = match tag {
        // Both follow from another tag, which is compared itself.
        RecordTag::Sp | RecordTag::Np => either(tag),
        // Ignored without ruf (RFC 9989 section 4.7).
        RecordTag::Fo => either(RecordTag::Ruf),
        _ => true,
    };
    matters && effective(wanted, tag) != effective(record, tag)
}

/// Whether a tag that differs makes the record ask for less than is wanted.
fn is_weaker(wanted: &Record, record: &Record, tag: RecordTag) -> bool {
    let enforces = |record: &Record| record.policy() > Some(Policy::None);
    match tag {
        RecordTag::P => record.policy() < wanted.policy(),
        RecordTag::Sp => record.subdomain_policy() < wanted.subdomain_policy(),
        RecordTag::Np => record.nonexistent_policy() < wanted.nonexistent_policy(),
        RecordTag::T => record.testing() == YesNo::Yes && enforces(wanted),
        RecordTag::Pct => record.percentage() < wanted.percentage() && enforces(wanted),
        _ => false,
    }
}

fn difference(
    domain: &Domain,
    wanted: &Record,
    record: &Record,
    tags: &[RecordTag],
    weaker: bool,
) -> Option<Finding> {
    use RecordTag::{Fo, Pct, Psd, Rf, Ri};
    if tags.is_empty() {
        return None;
    }
    let minor = |tag: &RecordTag| matches!(tag, Fo | Pct | Psd | Rf | Ri);
    let (kind, severity) = match weaker {
        true if is_unprotected(wanted, record) => (FindingKind::PolicyWeaker, Severity::High),
        true => (FindingKind::PolicyWeaker, Severity::Medium),
        false if tags.iter().all(minor) => (FindingKind::RecordDiffers, Severity::Low),
        false => (FindingKind::RecordDiffers, Severity::Medium),
    };
    let said = |&tag: &RecordTag| match tag {
        RecordTag::Rua | RecordTag::Ruf => format!("{tag}: other destinations than wanted"),
        tag => format!(
            "{tag}: wanted {}, published {}",
            effective(wanted, tag),
            effective(record, tag)
        ),
    };
    let detail = tags.iter().map(said).collect::<Vec<_>>().join("; ");
    Some(finding(domain, kind, severity, detail))
}

/// Whether enforcement is wanted somewhere where none is left.
fn is_unprotected(wanted: &Record, record: &Record) -> bool {
    let pairs = [
        (wanted.policy(), record.policy()),
        (wanted.subdomain_policy(), record.subdomain_policy()),
        (wanted.nonexistent_policy(), record.nonexistent_policy()),
    ];
    let none = |of: &Record, policy: Option<Policy>| {
        policy.is_none_or(|policy| of.enforced(policy) == Policy::None)
    };
    pairs
        .into_iter()
        .any(|(want, have)| !none(wanted, want) && none(record, have))
}

/// What to publish instead of `answer`: the wanted record, or what is published with what is
/// bad left out, and our address in it. `None`: it is that already, or we cannot know.
pub fn advice(expected: &Expected<'_>, answer: &Answer) -> Option<String> {
    let found = match record::select(&answer.texts) {
        Selection::One(record) => Some(*record),
        Selection::None { .. } | Selection::Several(_) => None,
    };
    let ours = expected.destinations();
    let none = || (!ours.is_empty()).then(Record::default);
    let mut record = expected.wanted.clone().or(found).or_else(none)?;
    record.p = Some(record.policy().unwrap_or(Policy::None));
    if !record.rua.iter().any(|uri| expected.is_ours(uri)) {
        record.rua.extend(ours);
    }
    let text = record.to_string();
    (answer.texts != [text.as_bytes()]).then_some(text)
}

/// What it means that `number` documents came with the keys of others lately: a reporter has
/// corrected himself, or somebody forges reports. The first of each is what counts.
pub fn revised(domain: &Domain, number: u64) -> Option<Finding> {
    let detail = format!("{number} came with the key of an earlier report, and are not counted");
    let finding = || finding(domain, FindingKind::ReportRevised, Severity::Low, detail);
    (number > 0).then(finding)
}

/// What reports about `domain` say was published, and never was. `history` is all that is known
/// of the domain, and covers a time if it was looked at once in every `gap` seconds.
///
/// A report that a reporter made by the record of a domain above names that domain and is left
/// out here; so is one from a time when the domain had no single record, as such a report can
/// only be about an inherited policy.
pub fn reported(
    domain: &Domain,
    reports: &[Reported],
    history: &[Period],
    gap: i64,
) -> Vec<Finding> {
    let mut differences: BTreeMap<Mismatch, u64> = BTreeMap::new();
    let mut reporters = BTreeSet::new();
    let mut number = 0_u64;
    let records: Vec<_> = history.iter().map(|p| record::select(&p.texts)).collect();
    for report in reports.iter().filter(|r| r.policy.domain == *domain) {
        let Some(used) = history::covering(history, report.begin, report.end, gap) else {
            continue;
        };
        let mismatches = nearest(&report.policy, records.get(used).unwrap_or_default());
        if !mismatches.is_empty() {
            reporters.insert(&report.reporter);
            number += 1;
        }
        for mismatch in mismatches {
            *differences.entry(mismatch).or_default() += 1;
        }
    }
    if number == 0 {
        return Vec::new();
    }
    let said = |((tag, said, published), times): (&Mismatch, &u64)| {
        format!("{tag}: reported {said}, published {published} ({times})")
    };
    let listed: Vec<_> = differences.iter().take(LISTED).map(said).collect();
    let detail = format!(
        "{}; reports: {number}, reporters: {}",
        listed.join("; "),
        reporters.len()
    );
    // One reporter may be mistaken or forged.
    let severity = match reporters.len() {
        1 => Severity::Low,
        _ => Severity::Medium,
    };
    let kind = FindingKind::ReportedDiffers;
    vec![finding(domain, kind, severity, detail)]
}

/// A field, what the report says, and what was published.
type Mismatch = (RecordTag, String, String);

/// In what the report differs from the record that it is nearest to; nothing if one is the same,
/// or if there was a time when no single record was published.
fn nearest(policy: &PolicyPublished, records: &[Selection]) -> Vec<Mismatch> {
    let mut nearest: Option<Vec<Mismatch>> = None;
    for selection in records {
        let Selection::One(record) = selection else {
            return Vec::new();
        };
        let mismatches = mismatches(policy, record);
        if nearest.as_ref().is_none_or(|n| mismatches.len() < n.len()) {
            nearest = Some(mismatches);
        }
    }
    nearest.unwrap_or_default()
}

fn mismatches(policy: &PolicyPublished, record: &Record) -> Vec<Mismatch> {
    let field = |&tag: &RecordTag| {
        let said = stated(policy, record, tag)?;
        let published = effective(record, tag);
        (said != published).then_some((tag, said, published))
    };
    RecordTag::ALL.iter().filter_map(field).collect()
}

/// What a report states of a tag; `None`: nothing that can be compared.
fn stated(policy: &PolicyPublished, record: &Record, tag: RecordTag) -> Option<String> {
    match tag {
        RecordTag::P => policy.p.known().map(|p| p.to_string()),
        RecordTag::Sp => policy.sp.known().map(|sp| sp.to_string()),
        RecordTag::Np => policy.np.known().map(|np| np.to_string()),
        RecordTag::Adkim => policy.adkim.known().map(|mode| mode.to_string()),
        RecordTag::Aspf => policy.aspf.known().map(|mode| mode.to_string()),
        RecordTag::T => policy.testing.known().map(|t| t.to_string()),
        // RFC 9990 has no pct, and who follows it and states it nevertheless means nothing.
        RecordTag::Pct => policy
            .pct
            .filter(|_| !follows_rfc9990(policy))
            .map(|pct| pct.to_string()),
        // Ignored without ruf, where reporters state anything.
        RecordTag::Fo if record.states(RecordTag::Ruf) => {
            FailureOptions::parse(policy.fo.as_bytes()).map(|fo| fo.to_string())
        }
        RecordTag::Fo
        | RecordTag::Rua
        | RecordTag::Ruf
        | RecordTag::Psd
        | RecordTag::Rf
        | RecordTag::Ri => None,
    }
}

fn follows_rfc9990(policy: &PolicyPublished) -> bool {
    policy.testing.known().is_some() || policy.discovery_method.known().is_some()
}

#[cfg(test)]
mod tests;
