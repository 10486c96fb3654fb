//! What a finding about the DNS rests on: what is wanted, and what was seen. Pure.

use super::{
    expected::Expected,
    published::{Seen, TLS_KINDS},
};
use crate::{
    dns::{Answer, Evidence, Finding, printable, uri::ReportUri},
    terms::{Alignment, FindingKind, Policy},
};

/// Gives each finding the answer that it is about, and what the operator wants there.
pub fn add(seen: &Seen, expected: &Expected<'_>, findings: &mut [Finding]) {
    for finding in findings {
        let (answer, wanted) = match finding.kind {
            FindingKind::ExtAuthMissing | FindingKind::ExtAuthOverrideForeign => {
                let mut hosts = seen.hosts.iter();
                let host = hosts.find(|host| host.name == finding.subject);
                (host.map_or(&seen.answer, |host| &host.answer), None)
            }
            kind if TLS_KINDS.contains(&kind) => (&seen.tls, rua(&expected.tls_destinations())),
            _ => (&seen.answer, wanted(expected)),
        };
        finding.evidence = of(answer, wanted);
    }
}

fn of(answer: &Answer, wanted: Option<String>) -> Evidence {
    let texts = answer.texts.iter().map(|text| printable(text).into());
    Evidence {
        wanted,
        published: Some(texts.collect()),
        ttl: Some(answer.ttl),
        ..Evidence::default()
    }
}

/// The wanted record, or what is demanded, as the keys of the configuration are.
fn wanted(expected: &Expected<'_>) -> Option<String> {
    if let Some(record) = &expected.wanted {
        return Some(record.to_string());
    }
    let demands = expected.demands;
    let key = |name: &str, word: Option<&str>| word.map(|word| format!("{name} = {word}"));
    let parts: Vec<_> = [
        key("policy", demands.policy.map(Policy::as_str)),
        key("subdomains", demands.subdomains.map(Policy::as_str)),
        key("alignment", demands.alignment.map(Alignment::as_str)),
        rua(&expected.destinations()),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn rua(destinations: &[ReportUri]) -> Option<String> {
    let texts: Vec<_> = destinations.iter().map(ToString::to_string).collect();
    (!texts.is_empty()).then(|| format!("rua = {}", texts.join(",")))
}
