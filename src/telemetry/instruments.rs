//! What the rest of the program counts with: cheap, never waiting, closed words only.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opentelemetry::{
    KeyValue, Value,
    metrics::{AsyncInstrument, Counter, Histogram, Meter, MeterProvider, noop::NoopMeterProvider},
};

pub use super::spool::Gauges;
use super::{
    domains::{self, DomainStates},
    faults::{self, Faults},
    labels::{DomainLabel, DomainLabels},
    metrics::{self, Declaration},
    process, spool,
};
use crate::{
    report::{Totals, tls::Sessions},
    terms::{
        self, Aligned, AuthFailure, Disposition, DnsOutcome, Door, Export, FindingKind, Flag, Kind,
        Outcome, Posting, Rejection, SessionResult, Severity, Stage, TlsFailure, TlsPolicy,
        Verdict,
    },
};

/// One set of instruments, shared by every stage.
#[derive(Debug)]
pub struct Instruments {
    /// What the spool says of itself.
    pub gauges: Arc<Gauges>,
    /// What is observed of each domain.
    pub domains: Arc<DomainStates>,
    /// What is out of order.
    pub faults: Arc<Faults>,
    findings: Arc<Findings>,
    mails: Counter<u64>,
    mail_size: Counter<u64>,
    stage_duration: Histogram<f64>,
    parked: Counter<u64>,
    batch_size: Histogram<u64>,
    archived: Counter<u64>,
    archive_size: Counter<u64>,
    dns_duration: Histogram<f64>,
    reports: Counter<u64>,
    reporters: Counter<u64>,
    flagged: Counter<u64>,
    messages: Counter<u64>,
    auth_failures: Counter<u64>,
    sessions: Counter<u64>,
    failures: Counter<u64>,
    posts: Counter<u64>,
}

/// What became of exports by OTLP; the exporter counts, for itself among others.
#[derive(Debug, Default)]
pub struct Exports {
    delivered: AtomicU64,
    partial: AtomicU64,
    failed: AtomicU64,
    is_failing: AtomicBool,
    /// Points of the running export were rejected.
    is_rejected: AtomicBool,
}

impl Exports {
    /// Points of the running export were rejected. There is one at a time, on one thread.
    pub(super) fn reject(&self) {
        self.is_rejected.store(true, Relaxed);
    }

    /// It ended.
    pub(super) fn count(&self, delivered: bool) {
        let count = match (delivered, self.is_rejected.swap(false, Relaxed)) {
            (true, false) => &self.delivered,
            (true, true) => &self.partial,
            (false, _) => &self.failed,
        };
        count.fetch_add(1, Relaxed);
        self.is_failing.store(!delivered, Relaxed);
    }

    /// Whether the last one failed.
    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Relaxed)
    }
}

/// Open findings by kind and severity; not looked yet is not "none".
type Findings = Mutex<Option<[[u64; Severity::ALL.len()]; FindingKind::ALL.len()]>>;

impl Instruments {
    pub(super) fn new(
        meters: &impl MeterProvider,
        exports: &Arc<Exports>,
        labels: Arc<DomainLabels>,
    ) -> Self {
        let meter = meters.meter(env!("CARGO_PKG_NAME"));
        let batch_size = sizes(&meter, &metrics::BATCH_SIZE);
        let gauges = Arc::new(Gauges::new(batch_size.clone()));
        spool::observe(&meter, &gauges);
        let domains = Arc::new(DomainStates::new(labels));
        domains::observe(&meter, &domains);
        let faults = Arc::new(Faults::new(Arc::clone(exports)));
        faults::observe(&meter, &faults);
        process::observe(&meter);
        let findings = Arc::new(Findings::default());
        observe_findings(&meter, &findings);
        observe_exports(&meter, exports);
        let posts = counter(&meter, &metrics::POSTS);
        for became in Posting::ALL {
            // A series that begins with its first event shows Prometheus no increase by it, and
            // these are to be rare.
            posts.add(0, &[KeyValue::new("outcome", became.as_str())]);
        }
        Self {
            gauges,
            domains,
            faults,
            findings,
            mails: counter(&meter, &metrics::MAILS),
            mail_size: counter(&meter, &metrics::MAIL_SIZE),
            stage_duration: histogram(&meter, &metrics::STAGE_DURATION),
            parked: counter(&meter, &metrics::PARKED),
            batch_size,
            archived: counter(&meter, &metrics::ARCHIVED),
            archive_size: counter(&meter, &metrics::ARCHIVE_SIZE),
            dns_duration: histogram(&meter, &metrics::DNS_DURATION),
            reports: counter(&meter, &metrics::REPORTS),
            reporters: counter(&meter, &metrics::REPORTERS),
            flagged: counter(&meter, &metrics::FLAGGED),
            messages: counter(&meter, &metrics::MESSAGES),
            auth_failures: counter(&meter, &metrics::AUTH_FAILURES),
            sessions: counter(&meter, &metrics::SESSIONS),
            failures: counter(&meter, &metrics::FAILURES),
            posts,
        }
    }

    /// Instruments that count nothing, for commands and tests.
    pub fn disconnected() -> Self {
        let labels = Arc::new(DomainLabels::new(0, []));
        Self::new(&NoopMeterProvider::new(), &Arc::default(), labels)
    }

    /// A front door decided about a mail of `bytes` bytes. `listener` is its configured name,
    /// empty where the door has none.
    pub fn mail(
        &self,
        door: Door,
        listener: &str,
        verdict: Verdict,
        reason: Option<Rejection>,
        bytes: u64,
    ) {
        let listener = match listener {
            "" => Value::from(terms::NONE),
            name => Value::from(name.to_owned()),
        };
        let reason = reason.map_or(terms::NONE, Rejection::as_str);
        let attributes = [
            KeyValue::new("door", door.as_str()),
            KeyValue::new("listener", listener),
            KeyValue::new("verdict", verdict.as_str()),
            KeyValue::new("reason", reason),
        ];
        self.mails.add(1, &attributes);
        self.mail_size.add(bytes, &attributes[..3]);
    }

    /// A stage took `time`.
    pub fn stage(&self, stage: Stage, time: Duration) {
        let attributes = [KeyValue::new("stage", stage.as_str())];
        self.stage_duration.record(time.as_secs_f64(), &attributes);
    }

    /// A commit of this stage did so many mails.
    pub fn committed(&self, stage: Stage, mails: usize) {
        let attributes = [KeyValue::new("stage", stage.as_str())];
        self.batch_size.record(mails as u64, &attributes);
    }

    /// The archive has taken so many mails of so many bytes.
    pub fn archived(&self, mails: usize, bytes: u64) {
        self.archived.add(mails as u64, &[]);
        self.archive_size.add(bytes, &[]);
    }

    /// A whole document of `reporter` about `domain` was dealt with.
    pub fn report(
        &self,
        kind: Kind,
        outcome: Outcome,
        domain: &DomainLabel,
        reporter: &DomainLabel,
    ) {
        let with = |key: &'static str, label: &DomainLabel| {
            [
                KeyValue::new("kind", kind.as_str()),
                KeyValue::new("outcome", outcome.as_str()),
                KeyValue::new(key, label.shared()),
            ]
        };
        self.reports.add(1, &with("domain", domain));
        self.reporters.add(1, &with("reporter", reporter));
    }

    /// A report is worth a look.
    pub fn flagged(&self, kind: Kind, flag: Flag) {
        let attributes = [
            KeyValue::new("kind", kind.as_str()),
            KeyValue::new("flag", flag.as_str()),
        ];
        self.flagged.add(1, &attributes);
    }

    /// A stored report about `domain` counts `totals`.
    pub fn messages(&self, domain: &DomainLabel, totals: &Totals) {
        let aligned = |result: Option<Aligned>| result.map_or(terms::UNKNOWN, Aligned::as_str);
        for (results, &count) in totals {
            let disposition = results
                .disposition
                .map_or(terms::UNKNOWN, Disposition::as_str);
            let attributes = [
                KeyValue::new("domain", domain.shared()),
                KeyValue::new("disposition", disposition),
                KeyValue::new("dkim", aligned(results.dkim)),
                KeyValue::new("spf", aligned(results.spf)),
                KeyValue::new("dmarc", aligned(results.dmarc())),
            ];
            self.messages.add(count, &attributes);
        }
    }

    /// A stored failure report is about `messages` of `domain`.
    pub fn failures(&self, domain: &DomainLabel, of: Option<AuthFailure>, messages: u64) {
        let attributes = [
            KeyValue::new("domain", domain.shared()),
            KeyValue::new("auth_failure", of.map_or(terms::OTHER, AuthFailure::as_str)),
        ];
        self.auth_failures.add(messages, &attributes);
    }

    /// A stored TLS report counts sessions of `domain` under policies of one type.
    pub fn sessions(&self, domain: &DomainLabel, policy_type: Option<TlsPolicy>, sums: &Sessions) {
        let with = |key: &'static str, word: &'static str| {
            let policy_type = policy_type.map_or(terms::OTHER, TlsPolicy::as_str);
            [
                KeyValue::new("domain", domain.shared()),
                KeyValue::new("policy_type", policy_type),
                KeyValue::new(key, word),
            ]
        };
        for (result, sessions) in [
            (SessionResult::Successful, sums.successful),
            (SessionResult::Failed, sums.failed),
        ] {
            self.sessions
                .add(sessions, &with("result", result.as_str()));
        }
        for (result_type, sessions) in &sums.failures {
            let word = result_type.map_or(terms::OTHER, TlsFailure::as_str);
            self.failures.add(*sessions, &with("result_type", word));
        }
    }

    /// A document could not be used and was parked.
    pub fn rejected(&self, reason: Rejection) {
        self.parked
            .add(1, &[KeyValue::new("reason", reason.as_str())]);
    }

    /// A DNS query ended.
    pub fn dns(&self, outcome: DnsOutcome, time: Duration) {
        let attributes = [KeyValue::new("outcome", outcome.as_str())];
        self.dns_duration.record(time.as_secs_f64(), &attributes);
        self.faults.looked_up(outcome);
    }

    /// The webhook was told of a change, or was not.
    pub fn posted(&self, became: Posting) {
        self.posts
            .add(1, &[KeyValue::new("outcome", became.as_str())]);
    }

    /// The open findings; what is not named has none.
    pub fn set_findings(&self, open: Vec<(FindingKind, Severity, u64)>) {
        let mut counts = [[0_u64; Severity::ALL.len()]; FindingKind::ALL.len()];
        for (kind, severity, count) in open {
            let sum = &mut counts[kind as usize][severity as usize];
            *sum = sum.saturating_add(count);
        }
        *self.findings.lock().unwrap_or_else(PoisonError::into_inner) = Some(counts);
    }
}

fn counter(meter: &Meter, what: &Declaration) -> Counter<u64> {
    meter
        .u64_counter(what.name)
        .with_unit(what.unit)
        .with_description(what.help)
        .build()
}

fn histogram(meter: &Meter, what: &Declaration) -> Histogram<f64> {
    meter
        .f64_histogram(what.name)
        .with_unit(what.unit)
        .with_description(what.help)
        .with_boundaries(what.bounds())
        .build()
}

fn sizes(meter: &Meter, what: &Declaration) -> Histogram<u64> {
    meter
        .u64_histogram(what.name)
        .with_unit(what.unit)
        .with_description(what.help)
        .with_boundaries(what.bounds())
        .build()
}

/// Registers a state. The SDK keeps the callback; it runs within every export, so it reads
/// atomics and nothing else.
pub(super) fn state(
    meter: &Meter,
    what: &Declaration,
    observe: impl Fn(&dyn AsyncInstrument<u64>) + Send + Sync + 'static,
) {
    meter
        .u64_observable_gauge(what.name)
        .with_unit(what.unit)
        .with_description(what.help)
        .with_callback(observe)
        .build();
}

fn observe_findings(meter: &Meter, findings: &Arc<Findings>) {
    let findings = Arc::clone(findings);
    state(meter, &metrics::FINDINGS, move |out| {
        let counts = *findings.lock().unwrap_or_else(PoisonError::into_inner);
        for (kind, row) in FindingKind::ALL.iter().zip(counts.iter().flatten()) {
            for (severity, open) in Severity::ALL.iter().zip(row) {
                let attributes = [
                    KeyValue::new("kind", kind.as_str()),
                    KeyValue::new("severity", severity.as_str()),
                ];
                out.observe(*open, &attributes);
            }
        }
    });
}

/// Counted by the exporter, which is made before there are instruments.
fn observe_exports(meter: &Meter, exports: &Arc<Exports>) {
    let exports = Arc::clone(exports);
    let what = &metrics::EXPORTS;
    meter
        .u64_observable_counter(what.name)
        .with_unit(what.unit)
        .with_description(what.help)
        .with_callback(move |out| {
            for (outcome, count) in [
                (Export::Delivered, &exports.delivered),
                (Export::Partial, &exports.partial),
                (Export::Failed, &exports.failed),
            ] {
                let attributes = [KeyValue::new("outcome", outcome.as_str())];
                out.observe(count.load(Relaxed), &attributes);
            }
        })
        .build();
}

/// Seconds from `arrival` (0: none) to `now`; a clock that was set back makes no negative age.
pub(super) fn age(arrival: i64, now: SystemTime) -> u64 {
    match u64::try_from(arrival) {
        Ok(arrival) if arrival > 0 => now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| now.as_secs().saturating_sub(arrival)),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_never_negative() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        assert_eq!(age(400, now), 600);
        assert_eq!(age(2_000, now), 0);
        assert_eq!(age(0, now), 0);
        assert_eq!(age(-5, now), 0);
    }

    #[test]
    fn a_row_of_findings_is_the_place_of_its_word() {
        for (at, kind) in FindingKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, at);
        }
        for (at, severity) in Severity::ALL.iter().enumerate() {
            assert_eq!(*severity as usize, at);
        }
    }

    #[test]
    fn disconnected_instruments_take_everything() {
        let none = Instruments::disconnected();
        none.mail(Door::Milter, "smtp", Verdict::Accepted, None, 1);
        none.set_findings(vec![
            (FindingKind::RecordSyntax, Severity::High, u64::MAX);
            2
        ]);
        none.gauges.entries_new.store(1, Relaxed);
    }
}
