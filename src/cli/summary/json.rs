//! The object that `--json` prints; its shape stands in the parent.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Serialize;

use super::{date, pass_rate, span, word};
use crate::{
    store::{
        failures::{FailureSource, FailureSummary},
        queries::{Counts, DomainSummary, Reporter, Source, Top},
        sessions::{PolicySums, TlsSummary},
    },
    terms::Disposition,
};

/// The whole.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    first_day: Option<String>,
    last_day: Option<String>,
    totals: ShownSums,
    domains: Vec<ShownDomain<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tls: Vec<ShownTls<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failures: Vec<ShownFailures<'a>>,
}

#[derive(Serialize)]
struct ShownFailures<'a> {
    domain: &'a str,
    reports: u64,
    revisions: u64,
    messages: u64,
    auth_failures: &'a BTreeMap<&'static str, u64>,
    sources: &'a [FailureSource],
    sources_in_all: u64,
    reporters: Vec<ShownReporter<'a>>,
    reporters_in_all: u64,
}

#[derive(Serialize)]
struct ShownTls<'a> {
    domain: &'a str,
    reports: u64,
    revisions: u64,
    policies: &'a BTreeMap<String, PolicySums>,
    reporters: Vec<ShownTlsReporter<'a>>,
    reporters_in_all: u64,
}

#[derive(Serialize)]
struct ShownTlsReporter<'a> {
    org_name: &'a str,
    reports: u64,
    sessions: u64,
}

#[derive(Serialize)]
struct ShownSums {
    reports: u64,
    revisions: u64,
    #[serde(flatten)]
    counts: Counts,
    pass_rate: Option<f64>,
    dispositions: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct ShownDomain<'a> {
    domain: &'a str,
    #[serde(flatten)]
    sums: ShownSums,
    sources: Vec<ShownSource>,
    sources_in_all: u64,
    reporters: Vec<ShownReporter<'a>>,
    reporters_in_all: u64,
    days: Vec<ShownDay>,
}

#[derive(Serialize)]
struct ShownSource {
    ip: IpAddr,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Serialize)]
struct ShownReporter<'a> {
    org_name: &'a str,
    reports: u64,
    messages: u64,
}

#[derive(Serialize)]
struct ShownDay {
    day: String,
    #[serde(flatten)]
    counts: Counts,
}

impl<'a> Shown<'a> {
    pub(super) fn of(
        domains: &'a [DomainSummary],
        tls: &'a [TlsSummary],
        failures: &'a [FailureSummary],
    ) -> Self {
        let span = span(domains);
        Self {
            first_day: span.map(|(first, _)| date(first)),
            last_day: span.map(|(_, last)| date(last)),
            totals: ShownSums::of(domains),
            domains: domains.iter().map(ShownDomain::of).collect(),
            tls: tls.iter().map(ShownTls::of).collect(),
            failures: failures.iter().map(ShownFailures::of).collect(),
        }
    }
}

impl<'a> ShownTls<'a> {
    fn of(domain: &'a TlsSummary) -> Self {
        let reporter = |reporter: &'a Reporter| ShownTlsReporter {
            org_name: &reporter.org_name,
            reports: reporter.reports,
            sessions: reporter.messages,
        };
        Self {
            domain: &domain.domain,
            reports: domain.reports,
            revisions: domain.revisions,
            policies: &domain.policies,
            reporters: domain.reporters.rows.iter().map(reporter).collect(),
            reporters_in_all: domain.reporters.of,
        }
    }
}

impl<'a> ShownFailures<'a> {
    fn of(domain: &'a FailureSummary) -> Self {
        Self {
            domain: &domain.domain,
            reports: domain.reports,
            revisions: domain.revisions,
            messages: domain.messages,
            auth_failures: &domain.auth_failures,
            sources: &domain.sources.rows,
            sources_in_all: domain.sources.of,
            reporters: shown_reporters(&domain.reporters),
            reporters_in_all: domain.reporters.of,
        }
    }
}

impl ShownSums {
    fn of(domains: &[DomainSummary]) -> Self {
        let mut sums = Self {
            reports: domains.iter().map(|domain| domain.reports).sum(),
            revisions: domains.iter().map(|domain| domain.revisions).sum(),
            counts: Counts::default(),
            pass_rate: None,
            dispositions: BTreeMap::from([(word(None), 0)]),
        };
        let known = Disposition::ALL.iter().map(|known| word(Some(*known)));
        sums.dispositions.extend(known.map(|known| (known, 0)));
        for domain in domains {
            sums.counts.add_all(domain.counts);
            for (disposition, messages) in &domain.dispositions {
                let sum = sums.dispositions.entry(word(*disposition)).or_default();
                *sum = sum.saturating_add(*messages);
            }
        }
        sums.pass_rate = pass_rate(sums.counts);
        sums
    }
}

impl<'a> ShownDomain<'a> {
    fn of(domain: &'a DomainSummary) -> Self {
        let source = |source: &Source| ShownSource {
            ip: source.ip,
            counts: source.counts,
        };
        Self {
            domain: &domain.domain,
            sums: ShownSums::of(std::slice::from_ref(domain)),
            sources: domain.sources.rows.iter().map(source).collect(),
            sources_in_all: domain.sources.of,
            reporters: shown_reporters(&domain.reporters),
            reporters_in_all: domain.reporters.of,
            days: shown_days(domain),
        }
    }
}

fn shown_reporters(reporters: &Top<Reporter>) -> Vec<ShownReporter<'_>> {
    let reporters = reporters.rows.iter();
    reporters
        .map(|reporter| ShownReporter {
            org_name: &reporter.org_name,
            reports: reporter.reports,
            messages: reporter.messages,
        })
        .collect()
}

fn shown_days(domain: &DomainSummary) -> Vec<ShownDay> {
    let days = domain.days.iter();
    days.map(|(day, counts)| ShownDay {
        day: date(*day),
        counts: *counts,
    })
    .collect()
}
