//! What is published, against what is expected -> findings. Pure.
//!
//! What is not known is never a finding: where an answer that matters is missing, the kinds of finding
//! that depend on it are *undecided*, which neither opens nor closes any. Values are compared as
//! receivers take them, with defaults filled in on both sides, so that what is inherited is no
//! difference.

use super::{advice, evidence, expected::Expected, lint, tls, wanted};
use crate::{
    dns::{
        Answer, Finding,
        external::Authorisation,
        psl::SuffixList,
        record::{self, ProblemKind, Record, Selection},
        uri::ReportUri,
        walk::{Applied, Known, Walk},
    },
    domain::Domain,
    limits::LONG_TTL,
    terms::{DnsOutcome, FindingKind, Psd, RecordTag, Severity},
};

/// What was asked about a domain, and what came back.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The domain.
    pub domain: Domain,
    /// The answer at `_dmarc`.
    pub answer: Answer,
    /// The walk that begins with it.
    pub walk: Walk,
    /// How it comes that there is no record at `_dmarc`, if there is none.
    pub absence: Known<Absence>,
    /// Hosts outside the organization to which reports go, and what they say.
    pub hosts: Vec<Host>,
    /// Whether it is not known of a host that it is one of them.
    pub has_unknown_host: bool,
    /// The answer at `_smtp._tls`.
    pub tls: Answer,
}

/// How it comes that there is no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absence {
    /// Nothing tells.
    Plain,
    /// There is an alias at `_dmarc` that leads to nothing.
    Dangling,
    /// The record is here, and should be at `_dmarc`.
    Misplaced(Domain),
}

/// A host of destinations outside the organization.
#[derive(Clone, Debug)]
pub struct Host {
    /// The host.
    pub name: Domain,
    /// Whether aggregate reports go there, or failure reports only.
    pub takes_aggregate: bool,
    /// Where it agrees to take them; `None`: that name cannot exist.
    pub place: Option<Domain>,
    /// The answer there.
    pub answer: Answer,
}

/// What is amiss, and what nobody can say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// What is amiss.
    pub findings: Vec<Finding>,
    /// Kinds of which it is not known whether there are more.
    pub undecided: Vec<FindingKind>,
}

impl Judgement {
    /// Adds a finding.
    pub fn add(&mut self, subject: &Domain, kind: FindingKind, severity: Severity, detail: String) {
        let finding = Finding::new(subject, kind, severity, detail);
        self.findings.push(finding);
    }

    /// Adds one finding with all these details, if there are any.
    pub fn add_joined(
        &mut self,
        subject: &Domain,
        kind: FindingKind,
        severity: Severity,
        details: &[String],
    ) {
        if !details.is_empty() {
            self.add(subject, kind, severity, details.join("; "));
        }
    }
}

/// Kinds of finding about a TLS-RPT record.
pub const TLS_KINDS: [FindingKind; 4] = [
    FindingKind::TlsRecordMissing,
    FindingKind::TlsRecordMultiple,
    FindingKind::TlsRecordInvalid,
    FindingKind::TlsRuaNotOurs,
];

/// What is amiss in what was seen. `list` shows how receivers of RFC 7489 see it.
pub fn judge(seen: &Seen, expected: &Expected<'_>, list: Option<&SuffixList>) -> Judgement {
    let mut found = Judgement::default();
    dmarc(seen, expected, list, &mut found);
    advice::add(seen, expected, &mut found.findings);
    tls::judge(seen, expected, &mut found);
    evidence::add(seen, expected, &mut found.findings);
    found.undecided.sort_unstable();
    found.undecided.dedup();
    found
}

fn dmarc(seen: &Seen, expected: &Expected<'_>, list: Option<&SuffixList>, found: &mut Judgement) {
    if seen.answer.outcome == DnsOutcome::Unknown {
        return undecided(found);
    }
    let domain = &seen.domain;
    match record::select(&seen.answer.texts) {
        Selection::None { meant } => absent(seen, expected, meant.is_some(), list, found),
        Selection::Several(number) => {
            let detail = format!("{number} DMARC records, of which receivers use none");
            found.add(domain, FindingKind::RecordMultiple, Severity::High, detail);
        }
        Selection::One(record) => {
            own(seen, expected, &record, found);
            organization(seen, expected, &record, list, found);
        }
    }
    external(seen, found);
}

/// Nothing is known about the record.
fn undecided(found: &mut Judgement) {
    let kinds = FindingKind::ALL.iter().copied();
    found
        .undecided
        .extend(kinds.filter(|kind| !TLS_KINDS.contains(kind)));
}

/// No DMARC record at `_dmarc`; `meant`: a text that was to be one.
fn absent(
    seen: &Seen,
    expected: &Expected<'_>,
    meant: bool,
    list: Option<&SuffixList>,
    found: &mut Judgement,
) {
    let (kind, detail) = match &seen.absence {
        _ if meant => {
            let detail = "the record does not start with exactly v=DMARC1;, which makes it none";
            (FindingKind::RecordNotDmarc, detail.to_owned())
        }
        Known::No => return undecided(found),
        Known::Yes(Absence::Dangling) => {
            let detail = "the name _dmarc is an alias of a name that has no TXT record";
            (FindingKind::CnameDangling, detail.to_owned())
        }
        Known::Yes(Absence::Misplaced(place)) => {
            let detail = format!("a DMARC record is at {place}, where receivers do not look");
            (FindingKind::RecordMisplaced, detail)
        }
        Known::Yes(Absence::Plain) => return missing(seen, expected, list, found),
    };
    found.add(&seen.domain, kind, Severity::High, detail);
}

/// No record, and nothing like one: that of a domain above applies, or none.
fn missing(seen: &Seen, expected: &Expected<'_>, list: Option<&SuffixList>, found: &mut Judgement) {
    match seen.walk.applied() {
        Known::No => undecided(found),
        Known::Yes(None) => {
            let detail = match seen.answer.outcome {
                DnsOutcome::NxDomain => "the name _dmarc does not exist",
                DnsOutcome::NoData => "the name _dmarc has no TXT record",
                _ => "none of the TXT records is a DMARC record",
            };
            let (kind, severity) = (FindingKind::RecordMissing, Severity::High);
            found.add(&seen.domain, kind, severity, detail.to_owned());
        }
        Known::Yes(Some(applied)) => {
            inherited(seen, expected, &applied, found);
            divergence(seen, list, found);
        }
    }
}

/// The record of a domain above applies.
fn inherited(seen: &Seen, expected: &Expected<'_>, applied: &Applied<'_>, found: &mut Judgement) {
    let domain = &seen.domain;
    if expected.wanted.is_some() {
        let detail = format!("receivers use the record of {}", applied.domain);
        let kind = FindingKind::RecordInherited;
        return found.add(domain, kind, Severity::Medium, detail);
    }
    destinations(domain, expected, applied.record, found);
    wanted::demanded(seen, expected, applied, found);
}

/// The domain's own record: by itself, and against what is wanted.
fn own(seen: &Seen, expected: &Expected<'_>, record: &Record, found: &mut Judgement) {
    let domain = &seen.domain;
    // What the wanted record does as well is meant.
    let wanted = expected.wanted.as_ref();
    let meant = wanted.map(|wanted| lint::of_record(domain, wanted, expected));
    let meant: Vec<_> = meant.iter().flatten().map(|meant| meant.kind).collect();
    let mut own = lint::of_record(domain, record, expected);
    own.retain(|own| !meant.contains(&own.kind));
    found.findings.extend(own);
    let is_lost = destinations(domain, expected, record, found);
    if let Some(wanted) = &expected.wanted {
        wanted::differences(domain, expected, wanted, record, is_lost, found);
    } else {
        let applied = Applied {
            domain,
            record,
            is_own: true,
        };
        wanted::demanded(seen, expected, &applied, found);
    }
    // A short one says nothing: caches hand out what is left of it.
    if seen.answer.ttl > LONG_TTL {
        let detail = format!("resolvers may keep the record for {} s", seen.answer.ttl);
        found.add(domain, FindingKind::TtlExtreme, Severity::Info, detail);
    }
}

/// Whether aggregate reports come to us; true: they do not, and it was said.
fn destinations(
    domain: &Domain,
    expected: &Expected<'_>,
    record: &Record,
    found: &mut Judgement,
) -> bool {
    let is_ours = |uri: &ReportUri| expected.is_ours(uri);
    if expected.destinations().is_empty() || record.rua.iter().any(is_ours) {
        return false;
    }
    let mut mistaken = record
        .problems
        .iter()
        .filter(|problem| problem.kind == ProblemKind::BadUri(RecordTag::Rua));
    let is_meant = mistaken.clone().any(|problem| {
        let better = problem.better.as_deref().unwrap_or_default();
        ReportUri::parse(better.as_bytes()).is_some_and(|uri| is_ours(&uri))
    });
    if is_meant {
        // It is told as a destination that cannot be used.
        return true;
    }
    let (kind, detail) = match record.rua.first() {
        None if mistaken.next().is_none() => {
            (FindingKind::RuaMissing, "no rua: nobody sends reports")
        }
        _ => (
            FindingKind::RuaNotOurs,
            "no rua address is ours: reports go elsewhere",
        ),
    };
    found.add(domain, kind, Severity::High, detail.to_owned());
    true
}

/// Where the domain stands in its organization.
fn organization(
    seen: &Seen,
    expected: &Expected<'_>,
    record: &Record,
    list: Option<&SuffixList>,
    found: &mut Judgement,
) {
    let domain = &seen.domain;
    let Known::Yes(organizational) = seen.walk.organizational() else {
        let kinds = [
            FindingKind::SpNpIneffective,
            FindingKind::PsdUnexpected,
            FindingKind::DiscoveryDivergence,
        ];
        return found.undecided.extend(kinds);
    };
    if organizational != *domain && (record.sp.is_some() || record.np.is_some()) {
        let detail =
            format!("sp and np have no effect here: the organizational domain is {organizational}");
        found.add(domain, FindingKind::SpNpIneffective, Severity::Low, detail);
    }
    let registrable = list.and_then(|list| list.registrable(domain));
    if record.psd != Some(Psd::No) || registrable.is_none_or(|it| it == *domain) {
        return divergence(seen, list, found);
    }
    let wanted = expected.wanted.as_ref().and_then(|wanted| wanted.psd);
    if wanted != record.psd {
        let detail = "psd=n makes the domain an organization of its own".to_owned();
        found.add(domain, FindingKind::PsdUnexpected, Severity::High, detail);
    }
}

/// Whether receivers of RFC 7489 come to another organizational domain, or another record.
fn divergence(seen: &Seen, list: Option<&SuffixList>, found: &mut Judgement) {
    let kind = FindingKind::DiscoveryDivergence;
    let Some(list) = list else {
        return;
    };
    let (Known::Yes(organizational), Known::Yes(applied), Known::Yes(listed)) = (
        seen.walk.organizational(),
        seen.walk.applied(),
        seen.walk.applied_by_list(list),
    ) else {
        return found.undecided.push(kind);
    };
    let Some(registrable) = list.registrable(&seen.domain) else {
        return;
    };
    let place = |applied: Option<Applied<'_>>| applied.map(|it| it.domain.clone());
    let (walked, listed) = (place(applied), place(listed));
    let name = |place: &Option<Domain>| place.as_ref().map_or("none".into(), Domain::to_string);
    let detail = if walked != listed {
        format!(
            "receivers that walk the DNS tree use the record of {}, those with the Public Suffix \
             List that of {}",
            name(&walked),
            name(&listed)
        )
    } else if walked.is_some() && organizational != registrable {
        format!(
            "receivers that walk the DNS tree take {organizational} for the organizational domain, \
             those with the Public Suffix List {registrable}"
        )
    } else {
        return;
    };
    found.add(&seen.domain, kind, Severity::Medium, detail);
}

/// Whether the hosts outside the organization agree to take the reports.
fn external(seen: &Seen, found: &mut Judgement) {
    let kinds = [
        FindingKind::ExtAuthMissing,
        FindingKind::ExtAuthOverrideForeign,
    ];
    if seen.has_unknown_host {
        found.undecided.extend(kinds);
    }
    for host in &seen.hosts {
        let severity = if host.takes_aggregate {
            Severity::High
        } else {
            Severity::Medium
        };
        match host.authorisation() {
            Authorisation::Given => {}
            Authorisation::Unknown => found.undecided.extend(kinds),
            Authorisation::Missing => {
                let detail = match host.answer.outcome {
                    DnsOutcome::NxDomain => "the host does not say that it takes the reports",
                    // RFC 4592 section 2.2.2: names below it keep the wildcard from it.
                    DnsOutcome::NoData => {
                        "the host does not say that it takes the reports: the name exists without \
                         such a record, so that no wildcard covers it"
                    }
                    _ => "what the host says is no record that starts with v=DMARC1",
                };
                found.add(
                    &host.name,
                    FindingKind::ExtAuthMissing,
                    severity,
                    detail.to_owned(),
                );
            }
            Authorisation::Foreign => {
                let detail = "the host sends reports on to another host, which nobody follows";
                let kind = FindingKind::ExtAuthOverrideForeign;
                found.add(&host.name, kind, severity, detail.to_owned());
            }
        }
    }
}

impl Host {
    fn authorisation(&self) -> Authorisation {
        match self.place {
            Some(_) => crate::dns::external::authorisation(&self.name, &self.answer),
            None => Authorisation::Missing,
        }
    }
}

#[cfg(test)]
mod tests;
