//! Every instrument: name, unit, help, attributes and the words that these may have.
//!
//! Nobody else creates one, and nothing here is made from a stranger's text: attributes are
//! closed words, configured listener names and [`DomainLabels`](super::labels::DomainLabels).
//! Names follow OpenTelemetry (no unit in the name); the Prometheus page appends unit and
//! `_total`. Counters and histograms start at zero with the program; states are observed.

use crate::{
    limits,
    report::reporters,
    terms::{
        self, Aligned, AuthFailure, Disposition, DnsOutcome, Door, EntryState, Export, Fault,
        FindingKind, Flag, Kind, Outcome, Policy, Posting, Rejection, SessionResult, Severity,
        Stage, TlsFailure, TlsPolicy, Verdict, YesNo,
    },
};

/// One instrument.
#[derive(Clone, Copy, Debug)]
pub struct Declaration {
    /// The name in OTLP.
    pub name: &'static str,
    /// How it is measured.
    pub shape: Shape,
    /// The unit as UCUM writes it; `{…}` only says what is counted.
    pub unit: &'static str,
    /// What an operator reads.
    pub help: &'static str,
    /// Every attribute of every point.
    pub attributes: &'static [Attribute],
}

/// How an instrument is measured, and with it what a restart does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Grows; zero at start.
    Counter,
    /// A distribution over these bounds; empty at start. Explicit ones, as exponential
    /// histograms do not appear on the Prometheus page.
    Histogram(&'static [f64]),
    /// Observed at every export: survives a restart as what it is read from does.
    State(Source),
}

/// What a state is read from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Source {
    /// The spool: known from the start.
    Spool,
    /// The report store: the same after a restart, once the store is open.
    Store,
    /// A look at the DNS, which knows from the report store what went before.
    Look,
    /// The process: each begins anew.
    Process,
}

/// One attribute.
#[derive(Clone, Copy, Debug)]
pub struct Attribute {
    /// Its name.
    pub key: &'static str,
    /// What it may say.
    pub values: Values,
}

/// What an attribute may say.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// One of these words.
    Closed(fn() -> Vec<&'static str>),
    /// As `Closed`, and it follows from the other attributes of the point, so it makes no series.
    Implied(fn() -> Vec<&'static str>),
    /// A configured domain or `other`.
    Domains,
    /// A configured listener or `none`.
    Listeners,
    /// A reporter that is known by name, or `other`.
    Reporters,
    /// Our version.
    Version,
}

impl Declaration {
    /// The upper bounds of its buckets, if it has any.
    pub fn bounds(&self) -> Vec<f64> {
        match self.shape {
            Shape::Histogram(bounds) => bounds.to_vec(),
            Shape::Counter | Shape::State(_) => Vec::new(),
        }
    }

    /// Its name on the Prometheus page: the unit behind it, and `_total` behind a counter.
    pub fn page_name(&self) -> String {
        let unit = match self.unit {
            "s" => "_seconds",
            "By" => "_bytes",
            _ => "",
        };
        let total = if self.shape == Shape::Counter {
            "_total"
        } else {
            ""
        };
        format!("{}{unit}{total}", self.name.replace('.', "_"))
    }

    /// How many series there can be. The SDK's own limit is set to it, so that it never folds
    /// points together behind our back.
    pub fn series(&self, max_domains: usize) -> usize {
        let ways = |attribute: &Attribute| match attribute.values {
            Values::Closed(words) => words().len(),
            Values::Implied(_) | Values::Version => 1,
            Values::Domains => max_domains.saturating_add(1),
            Values::Listeners => limits::METRIC_LISTENERS + 1,
            Values::Reporters => reporters::LARGEST + limits::METRIC_REPORTERS + 1,
        };
        self.attributes
            .iter()
            .map(ways)
            .fold(1, usize::saturating_mul)
    }
}

macro_rules! words {
    ($set:ident $(, $extra:path)?) => {
        || $set::ALL.iter().map(|word| word.as_str())$(.chain([$extra]))?.collect()
    };
}

const fn closed(key: &'static str, words: fn() -> Vec<&'static str>) -> Attribute {
    Attribute {
        key,
        values: Values::Closed(words),
    }
}

const DOMAIN: Attribute = Attribute {
    key: "domain",
    values: Values::Domains,
};
const LISTENER: Attribute = Attribute {
    key: "listener",
    values: Values::Listeners,
};
const STATE: Attribute = closed("state", words!(EntryState));

/// Seconds: from a commit on a fast disk to the longest wait that an MTA bears.
const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Mails of one commit, up to the most that the pipeline or the spool takes at once.
const MAILS_AT_ONCE: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

pub(super) const MAILS: Declaration = Declaration {
    name: "rua.mails",
    shape: Shape::Counter,
    unit: "{mail}",
    help: "Mails by door, listener, verdict and its reason.",
    attributes: &[
        closed("door", words!(Door)),
        LISTENER,
        closed("verdict", words!(Verdict)),
        closed("reason", words!(Rejection, terms::NONE)),
    ],
};

pub(super) const MAIL_SIZE: Declaration = Declaration {
    name: "rua.mail.size",
    shape: Shape::Counter,
    unit: "By",
    help: "Bytes of mails by door, listener and verdict.",
    attributes: &[
        closed("door", words!(Door)),
        LISTENER,
        closed("verdict", words!(Verdict)),
    ],
};

pub(super) const STAGE_DURATION: Declaration = Declaration {
    name: "rua.stage.duration",
    shape: Shape::Histogram(SECONDS),
    unit: "s",
    help: "Time that a stage took.",
    attributes: &[closed("stage", words!(Stage))],
};

pub(super) const PARKED: Declaration = Declaration {
    name: "rua.parked",
    shape: Shape::Counter,
    unit: "{document}",
    help: "Documents that could not be used and were parked, by reason.",
    attributes: &[closed("reason", words!(Rejection))],
};

pub(super) const BATCH_SIZE: Declaration = Declaration {
    name: "rua.commit.batch",
    shape: Shape::Histogram(MAILS_AT_ONCE),
    unit: "{mail}",
    help: "Mails that one commit dealt with: spool_commit, store_commit.",
    attributes: &[closed("stage", || {
        vec![Stage::SpoolCommit.as_str(), Stage::StoreCommit.as_str()]
    })],
};

pub(super) const ARCHIVED: Declaration = Declaration {
    name: "rua.archive.mails",
    shape: Shape::Counter,
    unit: "{mail}",
    help: "Mails that the archive took.",
    attributes: &[],
};

pub(super) const ARCHIVE_SIZE: Declaration = Declaration {
    name: "rua.archive.size",
    shape: Shape::Counter,
    unit: "By",
    help: "Bytes of these before they were compressed.",
    attributes: &[],
};

pub(super) const DEGRADED: Declaration = Declaration {
    name: "rua.degraded",
    shape: Shape::State(Source::Process),
    unit: "{fault}",
    help: "1 for what is out of order while mail is taken as ever, else 0.",
    attributes: &[closed("part", words!(Fault))],
};

pub(super) const DNS_DURATION: Declaration = Declaration {
    name: "rua.dns.duration",
    shape: Shape::Histogram(SECONDS),
    unit: "s",
    help: "Time that a DNS query took, by what it came to.",
    attributes: &[closed("outcome", words!(DnsOutcome))],
};

pub(super) const SPOOL_ENTRIES: Declaration = Declaration {
    name: "rua.spool.entries",
    shape: Shape::State(Source::Spool),
    unit: "{mail}",
    help: "Mails in the spool.",
    attributes: &[STATE],
};

pub(super) const SPOOL_SIZE: Declaration = Declaration {
    name: "rua.spool.size",
    shape: Shape::State(Source::Spool),
    unit: "By",
    help: "Bytes of mails in the spool.",
    attributes: &[STATE],
};

pub(super) const SPOOL_OLDEST_AGE: Declaration = Declaration {
    name: "rua.spool.oldest.age",
    shape: Shape::State(Source::Spool),
    unit: "s",
    help: "Time since the oldest mail in the spool arrived, of those that wait and of those that are parked; 0 when there is none.",
    attributes: &[STATE],
};

pub(super) const REPORTS: Declaration = Declaration {
    name: "dmarc.reports",
    shape: Shape::Counter,
    unit: "{report}",
    help: "Reports by configured domain, kind and what became of them.",
    attributes: &[
        closed("kind", words!(Kind)),
        closed("outcome", words!(Outcome)),
        DOMAIN,
    ],
};

pub(super) const REPORTERS: Declaration = Declaration {
    name: "dmarc.reporter.reports",
    shape: Shape::Counter,
    unit: "{report}",
    help: "The same by who sent them, as the report says: one of the large reporters or of reporters.known.",
    attributes: &[
        closed("kind", words!(Kind)),
        closed("outcome", words!(Outcome)),
        Attribute {
            key: "reporter",
            values: Values::Reporters,
        },
    ],
};

pub(super) const REPORTS_AGE: Declaration = Declaration {
    name: "dmarc.reports.last.age",
    shape: Shape::State(Source::Store),
    unit: "s",
    help: "Time since the last report about a configured domain came; absent where none ever did, and of domains that metrics do not name.",
    attributes: &[
        DOMAIN,
        closed("kind", || {
            vec![Kind::Aggregate.as_str(), Kind::Tls.as_str()]
        }),
    ],
};

pub(super) const POLICY: Declaration = Declaration {
    name: "dmarc.policy.info",
    shape: Shape::State(Source::Store),
    unit: "{policy}",
    help: "1 for the DMARC policy that a configured domain publishes itself, as it was last seen; absent where it has no record, or several.",
    attributes: &[
        DOMAIN,
        closed("policy", words!(Policy)),
        closed("subdomains", words!(Policy)),
        closed("testing", words!(YesNo)),
    ],
};

pub(super) const UNKNOWN_AGE: Declaration = Declaration {
    name: "dmarc.policy.unknown.age",
    shape: Shape::State(Source::Look),
    unit: "s",
    help: "For how long the DNS has said nothing about the record of a configured domain (SERVFAIL, REFUSED, no answer); absent while it says something, where records are not watched, and of domains that metrics do not name.",
    attributes: &[DOMAIN],
};

pub(super) const MEMORY: Declaration = Declaration {
    name: "process.resident_memory",
    shape: Shape::State(Source::Process),
    unit: "By",
    help: "Resident memory of the program.",
    attributes: &[],
};

pub(super) const DESCRIPTORS: Declaration = Declaration {
    name: "process.open_fds",
    shape: Shape::State(Source::Process),
    unit: "{file_descriptor}",
    help: "Open file descriptors of the program.",
    attributes: &[],
};

pub(super) const BUILD: Declaration = Declaration {
    name: "rua.build.info",
    shape: Shape::State(Source::Process),
    unit: "{build}",
    help: "1 for the version that runs.",
    attributes: &[Attribute {
        key: "version",
        values: Values::Version,
    }],
};

pub(super) const FLAGGED: Declaration = Declaration {
    name: "dmarc.reports.flagged",
    shape: Shape::Counter,
    unit: "{report}",
    help: "Reports by kind and what makes them worth a look; one report may count under several flags.",
    attributes: &[closed("kind", words!(Kind)), closed("flag", words!(Flag))],
};

pub(super) const MESSAGES: Declaration = Declaration {
    name: "dmarc.messages",
    shape: Shape::Counter,
    unit: "{message}",
    help: "Messages that stored reports count, by configured domain and result.",
    attributes: &[
        DOMAIN,
        closed("disposition", words!(Disposition, terms::UNKNOWN)),
        closed("dkim", words!(Aligned, terms::UNKNOWN)),
        closed("spf", words!(Aligned, terms::UNKNOWN)),
        Attribute {
            key: "dmarc",
            values: Values::Implied(words!(Aligned, terms::UNKNOWN)),
        },
    ],
};

pub(super) const AUTH_FAILURES: Declaration = Declaration {
    name: "dmarc.failures",
    shape: Shape::Counter,
    unit: "{message}",
    help: "Messages that stored failure reports are about, by configured domain and type of failure.",
    attributes: &[
        DOMAIN,
        closed("auth_failure", words!(AuthFailure, terms::OTHER)),
    ],
};

const POLICY_TYPE: Attribute = closed("policy_type", words!(TlsPolicy, terms::OTHER));

pub(super) const SESSIONS: Declaration = Declaration {
    name: "tlsrpt.sessions",
    shape: Shape::Counter,
    unit: "{session}",
    help: "Sessions that stored TLS reports count, by configured domain, policy type and result; a session counts under each policy that covers it.",
    attributes: &[DOMAIN, POLICY_TYPE, closed("result", words!(SessionResult))],
};

pub(super) const FAILURES: Declaration = Declaration {
    name: "tlsrpt.failures",
    shape: Shape::Counter,
    unit: "{session}",
    help: "Failed sessions that stored TLS reports explain, by configured domain, policy type and result type; these overlap and need not add up to the failed sessions.",
    attributes: &[
        DOMAIN,
        POLICY_TYPE,
        closed("result_type", words!(TlsFailure, terms::OTHER)),
    ],
};

pub(super) const FINDINGS: Declaration = Declaration {
    name: "dmarc.findings",
    shape: Shape::State(Source::Store),
    unit: "{finding}",
    help: "Open findings by kind and severity; absent until they were counted.",
    attributes: &[
        closed("kind", words!(FindingKind)),
        closed("severity", words!(Severity)),
    ],
};

pub(super) const POSTS: Declaration = Declaration {
    name: "rua.webhook",
    shape: Shape::Counter,
    unit: "{change}",
    help: "Changes of findings by what became of telling the webhook.",
    attributes: &[closed("outcome", words!(Posting))],
};

pub(super) const EXPORTS: Declaration = Declaration {
    name: "rua.otlp.exports",
    shape: Shape::Counter,
    unit: "{export}",
    help: "Exports by OTLP and what became of them; a failed one was dropped, of a partial one some.",
    attributes: &[closed("outcome", words!(Export))],
};

/// All of them.
pub const ALL: &[Declaration] = &[
    MAILS,
    MAIL_SIZE,
    STAGE_DURATION,
    PARKED,
    BATCH_SIZE,
    ARCHIVED,
    ARCHIVE_SIZE,
    DNS_DURATION,
    SPOOL_ENTRIES,
    SPOOL_SIZE,
    SPOOL_OLDEST_AGE,
    REPORTS,
    REPORTERS,
    REPORTS_AGE,
    FLAGGED,
    MESSAGES,
    AUTH_FAILURES,
    SESSIONS,
    FAILURES,
    FINDINGS,
    POLICY,
    UNKNOWN_AGE,
    POSTS,
    EXPORTS,
    DEGRADED,
    MEMORY,
    DESCRIPTORS,
    BUILD,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_the_product_of_what_attributes_may_say() {
        assert_eq!(SPOOL_OLDEST_AGE.series(1_000), 2);
        assert_eq!(STAGE_DURATION.series(1_000), Stage::ALL.len());
        assert_eq!(MESSAGES.series(1_000), 1_001 * 5 * 3 * 3);
    }

    #[test]
    fn names_are_distinct_and_hold_no_unit() {
        for (at, one) in ALL.iter().enumerate() {
            assert!(ALL[at + 1..].iter().all(|other| other.name != one.name));
            assert!(!one.name.contains("bytes") && !one.name.contains("seconds"));
            assert!(one.help.ends_with('.'), "{}", one.name);
        }
    }
}
