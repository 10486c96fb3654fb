//! SMTP TLS reports (RFC 8460): one streaming pass over a JSON document.
//!
//! The policies are to a TLS report what records are to an aggregate one: they leave through a
//! callback as they close, and the head ([`TlsReport`]) comes at the end, so that memory does not
//! grow with them. A report is whole or it is [`Broken`]: its root has closed and nothing follows.
//! A single bad policy is left out and counted as skipped.
//!
//! Sessions are summed by policy type, and never across: policies overlap, and so do the result
//! types of failures (section 4.4), which need not add up to the failed sessions.

use std::{
    collections::BTreeMap,
    io::{BufReader, Read},
    net::IpAddr,
};

use super::{
    Broken, Digest, Head, ReportKey, Stated,
    aggregate::Hints,
    tls_draft::Draft,
    tls_json::{self, Guard},
};
use crate::{
    domain::Domain,
    terms::{Kind, TlsFailure, TlsPolicy},
};

/// One whole report, without its policies. Texts are as they came, trimmed and bounded; absent
/// ones are empty.
#[derive(Clone, Debug)]
pub struct TlsReport {
    /// The document's digest.
    pub digest: Digest,
    /// `organization-name`.
    pub org_name: String,
    /// `contact-info`.
    pub contact: String,
    /// `report-id`.
    pub report_id: String,
    /// First second of the range, UTC epoch.
    pub begin: i64,
    /// Last second of the range, UTC epoch.
    pub end: i64,
    /// What the policies are about, each once, as they came; at least one.
    pub domains: Vec<Domain>,
    /// Policies that count.
    pub policies: u64,
    /// Policies that were left out because they were bad; the report is incomplete then.
    pub skipped_policies: u64,
    /// Sessions of all policies; one session counts as often as policies cover it.
    pub sessions: u64,
    /// Sessions by what they were about.
    pub totals: Totals,
    /// Oddities, each once, bounded: constant texts with numbers, never a quotation.
    pub notes: Vec<String>,
}

impl TlsReport {
    /// What the report is about: the first domain that one of its policies names.
    pub fn domain(&self) -> &Domain {
        &self.domains[0]
    }

    /// The key of this report.
    pub fn key(&self) -> ReportKey {
        ReportKey {
            kind: Kind::Tls,
            org_name: self.org_name.clone(),
            report_id: self.report_id.clone(),
            domain: self.domain().clone(),
            begin: self.begin,
            end: self.end,
        }
    }
}

/// Sessions by policy domain and policy type; `None` is a type that is not stated or unknown.
pub type Totals = BTreeMap<(Domain, Option<TlsPolicy>), Sessions>;

/// Sums of sessions under one type of policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    /// `total-successful-session-count`.
    pub successful: u64,
    /// `total-failure-session-count`.
    pub failed: u64,
    /// `failed-session-count` by result type; `None` is one that is not stated or unknown.
    pub failures: BTreeMap<Option<TlsFailure>, u64>,
}

/// One entry of `policies`.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// `policy-type`.
    pub policy_type: Stated<TlsPolicy>,
    /// `policy-string`, line by line.
    pub policy_string: Vec<String>,
    /// `policy-domain`; `None`: not stated, the report's is meant.
    pub domain: Option<Domain>,
    /// `mx-host`.
    pub mx_host: Vec<String>,
    /// `total-successful-session-count`.
    pub successful: u64,
    /// `total-failure-session-count`.
    pub failed: u64,
    /// `failure-details`.
    pub failures: Vec<Failure>,
}

impl Policy {
    /// What it takes in memory, in texts and details.
    fn rows(&self) -> usize {
        1 + self.policy_string.len() + self.mx_host.len() + self.failures.len()
    }
}

/// One entry of `failure-details`.
#[derive(Clone, Debug, Default)]
pub struct Failure {
    /// `result-type`.
    pub result_type: Stated<TlsFailure>,
    /// `sending-mta-ip`.
    pub sending_mta_ip: Option<IpAddr>,
    /// `receiving-mx-hostname`.
    pub receiving_mx_hostname: String,
    /// `receiving-mx-helo`.
    pub receiving_mx_helo: String,
    /// `receiving-ip`.
    pub receiving_ip: Option<IpAddr>,
    /// `failed-session-count`; `None`: not stated, or no usable number.
    pub sessions: Option<u64>,
    /// `additional-information`.
    pub additional_information: String,
    /// `failure-reason-code`.
    pub reason_code: String,
}

/// A whole report, and what a second pass over it needs to know.
#[derive(Clone, Debug)]
pub struct Whole {
    /// The report.
    pub report: TlsReport,
    /// Its policies, unless they hold more rows than were asked for; then it is to be read again.
    pub policies: Option<Vec<Policy>>,
}

impl Whole {
    /// Rows that are kept.
    pub fn rows(&self) -> usize {
        let policies = self.policies.iter().flatten();
        policies.map(Policy::rows).sum()
    }
}

/// Reads a whole document, and keeps its policies if they, their texts and their failure details
/// are `keep` rows at most. `open` gives the document from its start, each time anew.
pub fn read_whole<R: Read>(
    open: impl Fn() -> R,
    hints: &Hints<'_>,
    keep: usize,
) -> Result<Whole, Broken> {
    let mut kept = Vec::new();
    let mut rows = 0_usize;
    let report = read(open(), hints, &mut |policy| {
        rows = rows.saturating_add(policy.rows());
        if rows <= keep {
            kept.push(policy);
        }
    })?;
    Ok(Whole {
        report,
        policies: (rows <= keep).then_some(kept),
    })
}

/// Reads a whole document in one pass. Policies go to `sink` as they close; they count only if
/// the whole comes out `Ok`.
pub fn read(
    input: impl Read,
    hints: &Hints<'_>,
    sink: &mut dyn FnMut(Policy),
) -> Result<TlsReport, Broken> {
    let mut draft = Draft::new(sink);
    let mut reader = BufReader::new(Guard::new(input));
    let walked = tls_json::walk(&mut reader, &mut draft);
    let ahead = reader.buffer().len() as u64;
    let guard = reader.into_inner();
    let broken = |rejection| Broken {
        rejection,
        offset: guard.position() - ahead,
    };
    walked.map_err(broken)?;
    let (digest, notes) = guard.finish();
    draft
        .finish(digest, notes, hints)
        .map_err(|rejection| Broken {
            rejection,
            offset: 0,
        })
}

/// Reads the start of a document. The domain is told if the document ends within it and is about
/// one domain only: who is refused for a foreign domain must be so for all of it.
pub fn head(start: &[u8]) -> Head {
    let mut ignored = |_| {};
    let mut draft = Draft::new(&mut ignored);
    let mut reader = BufReader::new(Guard::new(start));
    let ended = tls_json::walk(&mut reader, &mut draft).is_ok();
    Head {
        kind: Kind::Tls,
        domain: draft.only_domain().filter(|_| ended).cloned(),
        report_id: draft.report_id(),
    }
}

#[cfg(test)]
mod tests;
