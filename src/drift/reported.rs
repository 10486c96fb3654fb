//! What reporters saw that was not published -> findings. Pure.
//!
//! Who wrote a report is what it says itself, and a reporter may be mistaken or keep an old answer.
//! So only reporters known by name are believed anything, and it takes two of different operators
//! that differ in the same field before it is drift. One alone is shown as what it is: stale, if he
//! reports what was published before, or else mistaken or forged.

use std::collections::{BTreeMap, BTreeSet};

use super::compare::{Compared, Comparison};
use crate::{
    dns::{Evidence, Finding, Statement},
    domain::Domain,
    limits,
    report::reporters::{Reporters, operator},
    terms::{FindingKind, RecordTag, Severity},
};

/// Operators of reporters that have to agree that a field differs.
const INDEPENDENT: usize = 2;

/// The kinds of finding that a comparison may bring.
pub const KINDS: [FindingKind; 3] = [
    FindingKind::ReportedDiffers,
    FindingKind::ReporterDiffers,
    FindingKind::ReporterStale,
];

/// What the reports show, the gravest first; at most [`limits::REPORTED_FINDINGS`].
pub fn findings(domain: &Domain, compared: &[Compared<'_>], known: &Reporters) -> Vec<Finding> {
    let mut by_tag: BTreeMap<RecordTag, BTreeMap<Domain, Statement>> = BTreeMap::new();
    for one in compared {
        let report = one.report;
        let Some(reporter) = known.name_of(&report.org_name, &report.email) else {
            continue;
        };
        for (tag, comparison) in &one.fields {
            let Comparison::Differs { said, published } = comparison else {
                continue;
            };
            let statement = Statement {
                reporter: reporter.clone(),
                field: *tag,
                said: said.clone(),
                published: published.clone(),
                begin: report.begin,
                end: report.end,
                published_until: one.former,
            };
            let newest = by_tag.entry(*tag).or_default().entry(reporter.clone());
            newest
                .and_modify(|newest| {
                    if newest.end <= statement.end {
                        newest.clone_from(&statement);
                    }
                })
                .or_insert(statement);
        }
    }

    let (mut agreed, mut alone) = (Vec::new(), BTreeMap::<Domain, Vec<Statement>>::new());
    for statements in by_tag.into_values() {
        let operators: BTreeSet<_> = statements.keys().map(operator).collect();
        if operators.len() >= INDEPENDENT {
            agreed.extend(statements.into_values());
        } else {
            for (reporter, statement) in statements {
                alone.entry(reporter).or_default().push(statement);
            }
        }
    }
    let mut findings = Vec::new();
    if !agreed.is_empty() {
        let kind = FindingKind::ReportedDiffers;
        findings.push(finding(domain, kind, Severity::High, agreed));
    }
    findings.extend(alone.into_iter().map(|(reporter, statements)| {
        let is_stale = statements.iter().all(|s| s.published_until.is_some());
        let (kind, severity) = if is_stale {
            (FindingKind::ReporterStale, Severity::Info)
        } else {
            (FindingKind::ReporterDiffers, Severity::Low)
        };
        finding(&reporter, kind, severity, statements)
    }));
    findings.truncate(limits::REPORTED_FINDINGS);
    findings
}

fn finding(
    subject: &Domain,
    kind: FindingKind,
    severity: Severity,
    mut statements: Vec<Statement>,
) -> Finding {
    statements.truncate(limits::STATEMENTS);
    // Who says the same of a field is named in one place.
    let mut said: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for s in &statements {
        let what = (s.field, &s.said, &s.published, s.published_until.is_some());
        said.entry(what).or_default().push(s.reporter.as_str());
    }
    let text = |((tag, said, published, is_former), who): (_, Vec<&str>)| {
        let former = if is_former { ", as it was before" } else { "" };
        let who = who.join(" and ");
        format!("{tag}: {who} reported {said}{former}, published was {published}")
    };
    let details: Vec<_> = said.into_iter().map(text).collect();
    let evidence = Evidence {
        reported: statements,
        ..Evidence::default()
    };
    Finding::new(subject, kind, severity, details.join("; ")).with(evidence)
}

/// What it means that `number` documents came with the keys of others lately: a reporter has
/// corrected himself, or somebody forges reports. The first of each is what counts.
pub fn revised(domain: &Domain, number: u64) -> Option<Finding> {
    let detail = format!("{number} came with the key of an earlier report, and are not counted");
    let finding = || Finding::new(domain, FindingKind::ReportRevised, Severity::Low, detail);
    (number > 0).then(finding)
}

#[cfg(test)]
mod tests;
