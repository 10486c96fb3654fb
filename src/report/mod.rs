//! Documents -> facts. Pure: no clock, no disk, no log; what a reader wants to say it returns.
//!
//! [`aggregate`] reads DMARC aggregate reports as a stream: records leave through a callback as
//! they close, the head ([`Report`]) comes at the end. [`tls`] does the same for TLS reports, whose
//! records are policies. [`failure`] reads failure reports, which have none. [`fn@read`] takes any.

pub mod aggregate;
mod aggregate_xml;
mod digest;
mod draft;
pub mod failure;
mod failure_arf;
mod failure_header;
mod failure_kept;
mod failure_notice;
mod failure_redact;
mod fields;
mod head;
mod notes;
pub mod range;
mod repair;
pub mod reporters;
mod skipped;
mod strict;
mod text;
pub mod tls;
mod tls_draft;
mod tls_json;
mod tls_values;
mod values;
mod window;

pub use notes::flags;
pub use skipped::Skipped;

use std::{collections::BTreeMap, io::Read, net::IpAddr};

use crate::{
    domain::Domain,
    limits::EXAMINE_INFLATED,
    terms::{
        Aligned, Alignment, AuthResult, DiscoveryMethod, Disposition, Kind, Override, Policy,
        Rejection, SpfScope, YesNo,
    },
};

/// Version of the readers, of what finds the documents in a mail too: rows that an older one wrote
/// are read again from the archive, and what it parked is tried again.
pub const PARSER_VERSION: u32 = 3;

/// What a reporter said where the standard has a closed set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stated<T> {
    /// Absent, or empty.
    #[default]
    Not,
    /// One of the words.
    Known(T),
    /// Something else, as it came (trimmed and bounded).
    Other(String),
}

impl<T: Copy> Stated<T> {
    /// The word, if it was one.
    pub fn known(&self) -> Option<T> {
        match self {
            Self::Known(word) => Some(*word),
            _ => None,
        }
    }

    /// The text outside the closed set, if there was one.
    pub fn other(&self) -> Option<&str> {
        match self {
            Self::Other(text) => Some(text),
            _ => None,
        }
    }

    /// Bytes of that text.
    fn len(&self) -> usize {
        self.other().map_or(0, str::len)
    }
}

/// SHA-256 of a whole inflated document with CRLF folded to LF: what makes two arrivals the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// What decides revisions: same key and another digest is another version of one report.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReportKey {
    /// The kind of report.
    pub kind: Kind,
    /// `org_name` as it came.
    pub org_name: String,
    /// `report_id` as it came.
    pub report_id: String,
    /// The policy domain.
    pub domain: Domain,
    /// First second of the range, UTC.
    pub begin: i64,
    /// Last second of the range, UTC.
    pub end: i64,
}

/// One whole report, without its records.
#[derive(Clone, Debug)]
pub struct Report {
    /// The document's digest.
    pub digest: Digest,
    /// Who reports, about what, and when.
    pub metadata: Metadata,
    /// The policy that the reporter found.
    pub policy: PolicyPublished,
    /// Records that count.
    pub records: u64,
    /// Records that were left out because they were bad; the report is incomplete then.
    pub skipped_records: u64,
    /// The first of those, at most [`crate::limits::MAX_SKIPPED`].
    pub skipped: Vec<Skipped>,
    /// Sum of `count` over the records that count.
    pub messages: u64,
    /// The same sum by result.
    pub totals: Totals,
    /// Repairs and oddities, each once, bounded: constant texts with numbers, never a quotation.
    pub notes: Vec<String>,
}

impl Report {
    /// The key of this report.
    pub fn key(&self) -> ReportKey {
        ReportKey {
            kind: Kind::Aggregate,
            org_name: self.metadata.org_name.clone(),
            report_id: self.metadata.report_id.clone(),
            domain: self.policy.domain.clone(),
            begin: self.metadata.begin,
            end: self.metadata.end,
        }
    }
}

/// `report_metadata` (RFC 7489 appendix C, RFC 9990 section 3.1.1.3). Texts are as they came,
/// trimmed and bounded; absent ones are empty.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    /// `version` of the document.
    pub version: String,
    /// The reporter's name.
    pub org_name: String,
    /// The reporter's address.
    pub email: String,
    /// Where to ask.
    pub extra_contact_info: Words,
    /// The reporter's name of this report.
    pub report_id: String,
    /// First second of the range, UTC epoch.
    pub begin: i64,
    /// Last second of the range, UTC epoch.
    pub end: i64,
    /// `error` elements.
    pub errors: Vec<Words>,
    /// Software that made the report (RFC 9990).
    pub generator: String,
}

/// `policy_published`.
#[derive(Clone, Debug)]
pub struct PolicyPublished {
    /// Where the record was found.
    pub domain: Domain,
    /// `p`.
    pub p: Stated<Policy>,
    /// `sp`.
    pub sp: Stated<Policy>,
    /// `np` (RFC 9990).
    pub np: Stated<Policy>,
    /// `adkim`.
    pub adkim: Stated<Alignment>,
    /// `aspf`.
    pub aspf: Stated<Alignment>,
    /// `pct` (RFC 7489), 0 to 100.
    pub pct: Option<u8>,
    /// `fo`, as it came.
    pub fo: String,
    /// `testing` (RFC 9990).
    pub testing: Stated<YesNo>,
    /// `discovery_method` (RFC 9990).
    pub discovery_method: Stated<DiscoveryMethod>,
}

/// What one report says was published, by whom and for when.
#[derive(Clone, Debug)]
pub struct Reported {
    /// `org_name` as it came.
    pub org_name: String,
    /// `email` as it came.
    pub email: String,
    /// First second of the range, UTC epoch.
    pub begin: i64,
    /// Last second of the range, UTC epoch.
    pub end: i64,
    /// What it says.
    pub policy: PolicyPublished,
}

/// One `record`.
#[derive(Clone, Debug)]
pub struct Record {
    /// `source_ip`; an IPv4 address mapped into IPv6 is the IPv4 address.
    pub source_ip: IpAddr,
    /// Messages.
    pub count: u64,
    /// What the receiver did.
    pub disposition: Stated<Disposition>,
    /// Aligned DKIM result.
    pub dkim: Stated<Aligned>,
    /// Aligned SPF result.
    pub spf: Stated<Aligned>,
    /// Why the receiver did something else than the policy asks.
    pub reasons: Vec<Reason>,
    /// `header_from`, as it came, lower case.
    pub header_from: String,
    /// `envelope_from`; `Some("")` is a stated null sender.
    pub envelope_from: Option<String>,
    /// `envelope_to`.
    pub envelope_to: Option<String>,
    /// DKIM signatures.
    pub dkim_auth: Vec<DkimAuth>,
    /// SPF checks.
    pub spf_auth: Vec<SpfAuth>,
}

/// A text for people, with its language if that is stated (RFC 9990: the attribute `lang`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// The text.
    pub text: String,
    /// Its language.
    pub lang: Lang,
}

/// A language tag as it came, bounded. Most reporters state none, and then it takes no memory.
pub type Lang = Option<Box<str>>;

impl Words {
    /// Bytes of both.
    pub(crate) fn len(&self) -> usize {
        self.text.len() + self.lang.as_ref().map_or(0, |lang| lang.len())
    }
}

/// One `reason`.
#[derive(Clone, Debug, Default)]
pub struct Reason {
    /// `type`.
    pub kind: Stated<Override>,
    /// `comment`.
    pub comment: Words,
}

/// One `auth_results/dkim`.
#[derive(Clone, Debug, Default)]
pub struct DkimAuth {
    /// `d=`.
    pub domain: String,
    /// `s=`.
    pub selector: String,
    /// The result.
    pub result: Stated<AuthResult>,
    /// The verifier's words.
    pub human_result: Words,
}

/// One `auth_results/spf`.
#[derive(Clone, Debug, Default)]
pub struct SpfAuth {
    /// The checked domain.
    pub domain: String,
    /// Which identity it was.
    pub scope: Stated<SpfScope>,
    /// The result.
    pub result: Stated<AuthResult>,
    /// The verifier's words.
    pub human_result: Words,
}

/// One row of results: what rollups and metrics are by. `None` is unknown or not stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Results {
    /// Disposition.
    pub disposition: Option<Disposition>,
    /// Aligned DKIM.
    pub dkim: Option<Aligned>,
    /// Aligned SPF.
    pub spf: Option<Aligned>,
}

impl Results {
    /// The DMARC result: pass if either aligned result is (RFC 9989 section 4.4), fail if
    /// neither is and both or either were stated, unknown if the report states neither.
    pub fn dmarc(self) -> Option<Aligned> {
        match (self.dkim, self.spf) {
            (Some(Aligned::Pass), _) | (_, Some(Aligned::Pass)) => Some(Aligned::Pass),
            (None, None) => None,
            _ => Some(Aligned::Fail),
        }
    }
}

impl Record {
    /// Bytes that it takes in memory, as far as a reporter can move them.
    pub(super) fn size(&self) -> usize {
        let reasons = self
            .reasons
            .iter()
            .map(|it| it.kind.len() + it.comment.len());
        let dkim = self.dkim_auth.iter().map(|it| {
            it.domain.len() + it.selector.len() + it.result.len() + it.human_result.len()
        });
        let spf = self
            .spf_auth
            .iter()
            .map(|it| it.domain.len() + it.scope.len() + it.result.len() + it.human_result.len());
        let texts: usize = reasons.chain(dkim).chain(spf).sum();
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        size_of::<Self>()
            + size_of_val(&*self.reasons)
            + size_of_val(&*self.dkim_auth)
            + size_of_val(&*self.spf_auth)
            + self.disposition.len()
            + self.dkim.len()
            + self.spf.len()
            + self.header_from.len()
            + optional(&self.envelope_from)
            + optional(&self.envelope_to)
            + texts
    }

    /// The row of results that this record counts under.
    pub fn results(&self) -> Results {
        Results {
            disposition: self.disposition.known(),
            dkim: self.dkim.known(),
            spf: self.spf.known(),
        }
    }
}

/// Messages by results; at most 45 entries, as the sets are closed.
pub type Totals = BTreeMap<Results, u64>;

/// A document that cannot be used, and where that showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Why.
    pub rejection: Rejection,
    /// Byte offset in the inflated document, as far as known.
    pub offset: u64,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at byte {}", self.rejection, self.offset)
    }
}

/// What the head of a document tells, for the answer at SMTP time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// What it is.
    pub kind: Kind,
    /// The policy domain, once it was seen.
    pub domain: Option<Domain>,
    /// `report_id`, bounded, once it was seen.
    pub report_id: Option<String>,
}

/// A document that could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread {
    /// What it is, if its head tells.
    pub kind: Option<Kind>,
    /// Why it cannot be used.
    pub broken: Broken,
}

/// A document that was read to its end.
#[derive(Clone, Debug)]
pub enum Whole {
    /// A DMARC aggregate report.
    Aggregate(Box<aggregate::Whole>),
    /// A TLS report.
    Tls(Box<tls::Whole>),
    /// A failure report.
    Failure(Box<failure::FailureReport>),
}

/// Reads a document of any kind; `open` gives it from its start, each time anew. Of an aggregate
/// report the records, of a TLS report the policies are kept if they take `keep` bytes at most.
pub fn read<R: Read>(
    open: impl Fn() -> R,
    hints: &aggregate::Hints<'_>,
    keep: usize,
) -> Result<Whole, Unread> {
    if let Some(around) = &hints.failure {
        return match failure::read(open(), around) {
            Ok(report) => Ok(Whole::Failure(Box::new(report))),
            Err(broken) => Err(Unread {
                kind: Some(Kind::Failure),
                broken,
            }),
        };
    }
    let kind = || recognise(open()).map(|head| head.kind);
    let read_tls = || match tls::read_whole(&open, hints, keep) {
        Ok(whole) => Ok(Whole::Tls(Box::new(whole))),
        Err(broken) => Err(Unread {
            kind: Some(Kind::Tls),
            broken,
        }),
    };
    if hints.is_json && kind() == Some(Kind::Tls) {
        return read_tls();
    }
    let broken = match aggregate::read_whole(&open, hints, keep) {
        Ok(whole) => return Ok(Whole::Aggregate(Box::new(whole))),
        Err(broken) => broken,
    };
    match kind() {
        Some(Kind::Tls) => read_tls(),
        kind => Err(Unread { kind, broken }),
    }
}

/// Tells what a document is from its first [`EXAMINE_INFLATED`] bytes, whatever its kind.
pub fn recognise(input: impl Read) -> Option<Head> {
    let mut start = Vec::new();
    // What came before an error may tell enough.
    let _ = input.take(EXAMINE_INFLATED).read_to_end(&mut start);
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&start);
    let text = text.trim_ascii_start();
    match text.first()? {
        b'{' if is_tls(text) => Some(tls::head(text)),
        b'{' => None,
        _ => aggregate::head(&start[..]).or_else(|| failure::head(text)),
    }
}

/// The members that RFC 8460 section 4.4 asks for; two of them are no accident.
fn is_tls(json: &[u8]) -> bool {
    [
        &b"\"organization-name\""[..],
        b"\"date-range\"",
        b"\"report-id\"",
        b"\"policies\"",
    ]
    .iter()
    .filter(|name| json.windows(name.len()).any(|here| here == **name))
    .count()
        >= 2
}

#[cfg(test)]
mod tests;
