//! Published and reported records -> findings. Pure.
//!
//! What is not known is never a finding: a field that a report does not state, a time that our
//! history does not cover. Values are compared as receivers take them, with defaults filled in on
//! both sides, so that what is inherited is no difference.

use std::collections::{BTreeMap, BTreeSet};

use super::history;
use crate::{
    config::address::Recipient,
    dns::{
        Finding, Period,
        record::{self, FailureOptions, Record, Selection},
        uri::ReportUri,
    },
    domain::Domain,
    report::{PolicyPublished, Reported},
    terms::{FindingKind, Policy, RecordTag, Severity},
};

/// Differences that the detail of one finding lists.
const LISTED: usize = 8;

/// The value of a tag as receivers take it, in one spelling.
pub fn effective(record: &Record, tag: RecordTag) -> String {
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
pub fn destinations(uris: &[ReportUri]) -> String {
    let text = |uri: &ReportUri| {
        let mailbox = uri.mailbox();
        let address = mailbox.and_then(|m| Recipient::parse(m.as_bytes()));
        address.map_or_else(|| uri.bare().to_owned(), |a| format!("mailto:{a}"))
    };
    let texts: BTreeSet<_> = uris.iter().map(text).collect();
    texts.into_iter().collect::<Vec<_>>().join(",")
}

/// What it means that `number` documents came with the keys of others lately: a reporter has
/// corrected himself, or somebody forges reports. The first of each is what counts.
pub fn revised(domain: &Domain, number: u64) -> Option<Finding> {
    let detail = format!("{number} came with the key of an earlier report, and are not counted");
    let finding = || Finding::new(domain, FindingKind::ReportRevised, Severity::Low, detail);
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
    vec![Finding::new(domain, kind, severity, detail)]
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
