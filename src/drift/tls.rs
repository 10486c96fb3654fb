//! The TLS-RPT record of a domain -> findings (RFC 8460 section 3). Pure.
//!
//! That there is none, or that reports go elsewhere, is amiss only where the domain has addresses for
//! TLS reports.

use super::{
    expected::Expected,
    published::{Judgement, Seen, TLS_KINDS},
};
use crate::{
    dns::{
        Publish,
        record::{Problem, ProblemKind},
        tls_record::{self, TlsRecord, TlsSelection},
    },
    domain::Domain,
    terms::{DnsOutcome, FindingKind, Severity},
};

/// Problems that the detail of one finding lists.
const LISTED: usize = 8;

/// Where the record of a domain is; `None`: the name would be too long.
pub fn place(domain: &Domain) -> Option<Domain> {
    Domain::parse(&format!("_smtp._tls.{domain}"))
}

/// Adds what is amiss.
pub fn judge(seen: &Seen, expected: &Expected<'_>, found: &mut Judgement) {
    if seen.tls.outcome == DnsOutcome::Unknown {
        return found.undecided.extend(TLS_KINDS);
    }
    let ours = expected.tls_destinations();
    // Without addresses nothing is lost.
    let severity = if ours.is_empty() {
        Severity::Medium
    } else {
        Severity::High
    };
    let selection = tls_record::select(&seen.tls.texts);
    let mut kinds = Vec::new();
    match &selection {
        TlsSelection::None { meant: true } => {
            let detail = "the record does not start with exactly v=TLSRPTv1;, which makes it none";
            kinds.push((FindingKind::TlsRecordInvalid, severity, detail.to_owned()));
        }
        TlsSelection::None { meant: false } if ours.is_empty() => {}
        TlsSelection::None { meant: false } => {
            let detail = "no TLS-RPT record: nobody sends TLS reports";
            kinds.push((FindingKind::TlsRecordMissing, severity, detail.to_owned()));
        }
        TlsSelection::Several(number) => {
            let detail = format!("{number} TLS-RPT records, of which nobody uses any");
            kinds.push((FindingKind::TlsRecordMultiple, severity, detail));
        }
        TlsSelection::One(record) => {
            let is_unusable = |problem: &Problem| {
                matches!(
                    problem.kind,
                    ProblemKind::NoDestination | ProblemKind::TooLong
                )
            };
            if !record.problems.is_empty() {
                let severity = if record.problems.iter().any(is_unusable) {
                    severity
                } else {
                    Severity::Low
                };
                let details = record.problems.iter().take(LISTED).map(Problem::to_string);
                let detail = details.collect::<Vec<_>>().join("; ");
                kinds.push((FindingKind::TlsRecordInvalid, severity, detail));
            }
            let is_lost = !record.rua.iter().any(|uri| expected.is_ours(uri));
            if !ours.is_empty() && !record.rua.is_empty() && is_lost {
                let detail = "no rua address is ours: TLS reports go elsewhere";
                kinds.push((FindingKind::TlsRuaNotOurs, severity, detail.to_owned()));
            }
        }
    }
    let publish = advice(seen, expected, selection);
    for (kind, severity, detail) in kinds {
        found.add(&seen.domain, kind, severity, detail);
        if let Some(finding) = found.findings.last_mut() {
            finding.publish.clone_from(&publish);
        }
    }
}

/// What is published without what is bad, and with our addresses.
fn advice(seen: &Seen, expected: &Expected<'_>, selection: TlsSelection) -> Option<Publish> {
    let mut record = match selection {
        TlsSelection::One(record) => record,
        TlsSelection::None { .. } | TlsSelection::Several(_) => TlsRecord::default(),
    };
    if !record.rua.iter().any(|uri| expected.is_ours(uri)) {
        record.rua.extend(expected.tls_destinations());
    }
    let text = (!record.rua.is_empty()).then(|| record.to_string())?;
    let name = place(&seen.domain)?;
    Some(Publish { name, text })
}
