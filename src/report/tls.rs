//! SMTP TLS reports (RFC 8460): one streaming pass over a JSON document.
//!
//! The policies are to a TLS report what records are to an aggregate one: they leave through a
//! callback as they close, and the head ([`TlsReport`]) comes at the end, so that memory does not
//! grow with them. A report is whole or it is [`Broken`]: its root has closed and nothing follows.
//! A single bad policy is left out, and listed as skipped.
//!
//! Sessions are summed by policy type, and never across: policies overlap, and so do the result
//! types of failures (section 4.4), which need not add up to the failed sessions.

use std::{
    collections::BTreeMap,
    io::{BufReader, Read},
    net::IpAddr,
};

use super::{
    Broken, Digest, Head, ReportKey, Skipped, Stated,
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
    /// The first of those, at most [`crate::limits::MAX_SKIPPED`].
    pub skipped: Vec<Skipped>,
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
    /// Bytes that it takes in memory, as far as a reporter can move them.
    fn size(&self) -> usize {
        let texts = |lines: &Vec<String>| -> usize {
            lines
                .iter()
                .map(|line| size_of_val(line) + line.len())
                .sum()
        };
        let other = self.policy_type.other().map_or(0, str::len);
        let failures: usize = self.failures.iter().map(Failure::size).sum();
        size_of::<Self>() + other + texts(&self.policy_string) + texts(&self.mx_host) + failures
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

impl Failure {
    fn size(&self) -> usize {
        size_of::<Self>()
            + self.result_type.other().map_or(0, str::len)
            + self.receiving_mx_hostname.len()
            + self.receiving_mx_helo.len()
            + self.additional_information.len()
            + self.reason_code.len()
    }
}

/// A whole report, and its policies if they are small.
#[derive(Clone, Debug)]
pub struct Whole {
    /// The report.
    pub report: TlsReport,
    /// Its policies, unless they take more than there is room for; then it is to be read again.
    pub policies: Option<Vec<Policy>>,
    /// Bytes that those which are kept take.
    pub size: usize,
}

/// Reads a whole document, and keeps its policies if they take `keep` bytes at most. `open` gives
/// the document from its start, each time anew.
pub fn read_whole<R: Read>(
    open: impl Fn() -> R,
    hints: &Hints<'_>,
    keep: usize,
) -> Result<Whole, Broken> {
    let mut kept = Some(Vec::new());
    let mut size = 0_usize;
    let report = read(open(), hints, &mut |policy| {
        size = size.saturating_add(policy.size());
        if size > keep {
            kept = None;
        }
        if let Some(kept) = &mut kept {
            kept.push(policy);
        }
    })?;
    Ok(Whole {
        report,
        size: if kept.is_some() { size } else { 0 },
        policies: kept,
    })
}

/// Reads a whole document in one pass. Policies go to `sink` as they close; they count only if
/// the whole comes out `Ok`.
pub fn read(
    input: impl Read,
    hints: &Hints<'_>,
    sink: &mut dyn FnMut(Policy),
) -> Result<TlsReport, Broken> {
    let mut draft = Draft::new(sink, hints.max_records);
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
    let mut draft = Draft::new(&mut ignored, u64::MAX);
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
