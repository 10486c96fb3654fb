//! What is amiss in a record by itself -> findings. Pure.

use std::collections::BTreeMap;

use super::expected::Expected;
use crate::{
    dns::{
        Finding,
        record::{Problem, ProblemKind, Record},
    },
    domain::Domain,
    terms::{FindingKind, Policy, Psd, RecordTag, Severity, YesNo},
};

/// Problems that the detail of one finding lists.
const LISTED: usize = 8;

/// Findings about the record of `domain`, one of a kind.
pub fn of_record(domain: &Domain, record: &Record, expected: &Expected<'_>) -> Vec<Finding> {
    let mut kinds = Kinds::default();
    for problem in &record.problems {
        if !is_told_otherwise(record, problem) {
            let (kind, severity) = kind_of(problem.kind);
            kinds.add(kind, severity, problem.to_string());
        }
    }
    policy(record, expected, &mut kinds);
    destinations(record, &mut kinds);
    let finding = |(kind, (severity, details)): (_, (_, Vec<String>))| {
        Finding::new(domain, kind, severity, details.join("; "))
    };
    kinds.0.into_iter().map(finding).collect()
}

/// The worst severity and the details of each kind.
#[derive(Default)]
struct Kinds(BTreeMap<FindingKind, (Severity, Vec<String>)>);

impl Kinds {
    fn add(&mut self, kind: FindingKind, severity: Severity, detail: impl Into<String>) {
        let (worst, details) = self.0.entry(kind).or_insert((severity, Vec::new()));
        *worst = severity.max(*worst);
        if details.len() < LISTED {
            details.push(detail.into());
        }
    }
}

/// What keeps the policy from what it seems to ask for.
fn policy(record: &Record, expected: &Expected<'_>, kinds: &mut Kinds) {
    let lost = if expected.enforces() {
        Severity::High
    } else {
        Severity::Medium
    };
    if enforces(record) && record.testing() == YesNo::Yes {
        let detail = "t=y: receivers apply the policy one level lower";
        kinds.add(FindingKind::TestingLeftOn, lost, detail);
    }
    if is_partial(record) {
        let (severity, pct) = match record.percentage() {
            0 => (Severity::Medium, 0),
            pct => (lost, pct),
        };
        let detail = format!("pct={pct}: older receivers apply the policy to that share of mail");
        kinds.add(FindingKind::PctPartial, severity, detail);
    }
    if record.psd == Some(Psd::Yes) {
        let detail = "psd=y makes the domain a public suffix, and every name below it its own";
        kinds.add(FindingKind::PsdUnexpected, Severity::High, detail);
    }
}

/// Where reports cannot go, or when.
fn destinations(record: &Record, kinds: &mut Kinds) {
    let others = record.rua.iter().filter(|uri| !uri.is_mailto()).count();
    if others > 0 {
        let severity = if others < record.rua.len() {
            Severity::Low
        } else {
            Severity::High
        };
        let detail = format!("rua: {others} without mailto:, which reporters ignore");
        kinds.add(FindingKind::RuaUnusable, severity, detail);
    }
    let has = |kind| record.problems.iter().any(|problem| problem.kind == kind);
    let has_ruf = !record.ruf.is_empty() || has(ProblemKind::BadUri(RecordTag::Ruf));
    let has_fo = record.fo.is_some() || has(ProblemKind::BadValue(RecordTag::Fo));
    if has_ruf && !has_fo {
        let detail = "ruf without fo: failure reports only where everything failed";
        kinds.add(FindingKind::RufWithoutFo, Severity::Low, detail);
    }
    if has_fo && !has_ruf {
        let detail = "fo without ruf says nothing";
        kinds.add(FindingKind::FoWithoutRuf, Severity::Low, detail);
    }
}

/// Whether the record asks for anything, before `t` and `pct`.
pub fn enforces(record: &Record) -> bool {
    let policies = [
        record.policy(),
        record.subdomain_policy(),
        record.nonexistent_policy(),
    ];
    policies.into_iter().max().flatten() > Some(Policy::None)
}

fn is_partial(record: &Record) -> bool {
    enforces(record) && record.percentage() < 100
}

/// Whether another finding says it better.
fn is_told_otherwise(record: &Record, problem: &Problem) -> bool {
    use RecordTag::{Np, P, Pct, Sp};
    match problem.kind {
        ProblemKind::Historic(Pct) => is_partial(record),
        ProblemKind::NotApplied => record
            .problems
            .iter()
            .any(|other| matches!(other.kind, ProblemKind::BadValue(P | Sp | Np))),
        _ => false,
    }
}

fn kind_of(problem: ProblemKind) -> (FindingKind, Severity) {
    use FindingKind as F;
    use ProblemKind as K;
    use RecordTag::{Fo, Np, P, Ruf, Sp};
    match problem {
        K::Empty => (F::RecordSyntax, Severity::Low),
        K::NotATag | K::NoPolicy => (F::RecordSyntax, Severity::Medium),
        K::NotApplied | K::NoDestination | K::TooLong => (F::RecordSyntax, Severity::High),
        K::UnknownTag => (F::TagUnknown, Severity::Low),
        K::Duplicate(_) => (F::TagDuplicate, Severity::High),
        K::BadValue(P | Sp | Np) => (F::ValueInvalid, Severity::High),
        K::BadValue(Fo) => (F::FoInvalid, Severity::Low),
        K::BadValue(_) => (F::ValueInvalid, Severity::Medium),
        K::BadUri(Ruf) => (F::RuaUnusable, Severity::Medium),
        K::BadUri(_) => (F::RuaUnusable, Severity::High),
        K::SizeLimit(_) => (F::RuaSizeLimit, Severity::Low),
        K::Historic(_) => (F::TagHistoric, Severity::Info),
        K::NotSecond => (F::PNotSecond, Severity::Info),
    }
}
