//! One entry of the spool -> what is in it. Touches nothing.

use std::panic::AssertUnwindSafe;

use crate::{
    config::Config,
    domain::Domain,
    report::{
        self, Broken, Digest, Record, Words,
        aggregate::{self, Hints},
        failure::{Around, FailureReport},
        range,
        reporters::Reporters,
        tls,
    },
    spool::Entry,
    store::Ours,
    terms::{Kind, Rejection},
    unpack::{self, Document, Shape},
};

/// The limit on records of a second reading: the first one was held to the operator's.
const SECOND: u64 = u64::MAX;

/// What was found in one entry.
pub struct Parts<'a> {
    pub entry: &'a Entry,
    pub found: Vec<Found>,
    /// Whether a failure report is in it, or what calls itself one.
    pub holds_failure: bool,
    documents: Vec<Document<'a>>,
}

/// One part of a mail.
pub enum Found {
    /// A report that was read to its end.
    Whole(Box<Whole>),
    /// Something that cannot be used.
    Rejected {
        part: String,
        reason: Rejection,
        offset: Option<u64>,
    },
}

/// A whole report about a domain of ours.
pub struct Whole {
    /// Which of the documents.
    document: usize,
    pub part: String,
    /// The configured domain it belongs to.
    pub covering: Domain,
    /// What it says; of what is not kept of it the document is read again.
    pub body: Body,
}

/// A report of any kind.
pub enum Body {
    Aggregate(Box<aggregate::Whole>),
    Tls(Box<TlsBody>),
    Failure(Box<FailureReport>),
}

/// A TLS report, which may be about several domains.
pub struct TlsBody {
    pub read: tls::Whole,
    /// The first of its domains that belongs to a configured one.
    pub policy_domain: Domain,
    /// All of them.
    pub ours: Ours,
}

/// Reads an entry. Keeps records in memory while `memory`, which the batch shares, lasts; what
/// must be held is taken from it too.
pub fn read<'a>(entry: &'a Entry, config: &Config, memory: &mut usize) -> Parts<'a> {
    let read = AssertUnwindSafe(|| read_parts(entry, config, memory));
    // A panic in a reader is our fault; the mail is parked for a better version.
    std::panic::catch_unwind(read).unwrap_or_else(|_| Parts {
        entry,
        found: vec![Found::Rejected {
            part: String::new(),
            reason: Rejection::Crashed,
            offset: None,
        }],
        holds_failure: false,
        documents: Vec::new(),
    })
}

fn read_parts<'a>(entry: &'a Entry, config: &Config, memory: &mut usize) -> Parts<'a> {
    let unpacked = unpack::documents(&entry.raw, &config.limits.bounds());
    *memory = memory.saturating_sub(unpacked.held);
    let mut found = Vec::with_capacity(unpacked.documents.len() + unpacked.rejected.len());
    for (index, document) in unpacked.documents.iter().enumerate() {
        found.push(read_document(index, document, entry, config, memory));
    }
    found.extend(
        unpacked
            .rejected
            .into_iter()
            .map(|(part, reason)| Found::Rejected {
                part,
                reason,
                offset: None,
            }),
    );
    if found.is_empty() {
        let reason = Rejection::NotAReport;
        found.push(Found::Rejected {
            part: String::new(),
            reason,
            offset: None,
        });
    }
    Parts {
        entry,
        found,
        holds_failure: unpacked.holds_failure,
        documents: unpacked.documents,
    }
}

fn read_document(
    index: usize,
    document: &Document<'_>,
    entry: &Entry,
    config: &Config,
    memory: &mut usize,
) -> Found {
    let part = document.part.clone();
    let reject = |part, reason, offset| Found::Rejected {
        part,
        reason,
        offset,
    };
    let whole = match report::read(
        || document.open(),
        &hints(document, config.limits.max_records),
        *memory,
    ) {
        Err(unread) => return reject(part, unread.broken.rejection, Some(unread.broken.offset)),
        Ok(whole) => whole,
    };
    let body = match whole {
        report::Whole::Aggregate(read) => {
            let covering = config.domains.covering(&read.report.policy.domain);
            covering.map(|entry| (entry.name.clone(), Body::Aggregate(read)))
        }
        report::Whole::Tls(read) => tls_body(*read, config),
        report::Whole::Failure(report) => match config.domains.covering(&report.domain) {
            Some(entry) if !entry.details.failure_reports => {
                return reject(part, Rejection::FailureReportsOff, None);
            }
            Some(entry) => Some((entry.name.clone(), failure_body(*report, config.redact))),
            None => None,
        },
    };
    let Some((covering, body)) = body else {
        return reject(part, Rejection::ForeignDomain, None);
    };
    let (begin, end) = body.range();
    if !range::is_believed(begin, end, entry.arrived, entry.envelope.door) {
        return reject(part, Rejection::BadDates, None);
    }
    *memory = memory.saturating_sub(body.size());
    Found::Whole(Box::new(Whole {
        document: index,
        part,
        covering,
        body,
    }))
}

fn failure_body(report: FailureReport, redact: bool) -> Body {
    let report = if redact { report.redacted() } else { report };
    Body::Failure(Box::new(report))
}

/// A TLS report that is about a domain of ours, with the configured one.
fn tls_body(read: tls::Whole, config: &Config) -> Option<(Domain, Body)> {
    let ours: Ours = read
        .report
        .domains
        .iter()
        .filter_map(|domain| {
            Some((
                domain.clone(),
                config.domains.covering(domain)?.name.clone(),
            ))
        })
        .collect();
    let first = |domain: &&Domain| ours.contains_key(*domain);
    let policy_domain = read.report.domains.iter().find(first)?.clone();
    let covering = ours.get(&policy_domain)?.clone();
    let body = TlsBody {
        read,
        policy_domain,
        ours,
    };
    Some((covering, Body::Tls(Box::new(body))))
}

/// What surrounds a document, and what it may hold.
pub fn hints<'d>(document: &'d Document<'_>, max_records: u64) -> Hints<'d> {
    Hints {
        file_name: document.file_name.as_deref(),
        is_json: document.shape == Shape::Json,
        max_records,
        failure: document.headers.as_ref().map(|headers| Around {
            mail: &headers.mail,
            reported: &headers.reported,
            is_notice: document.shape == Shape::Notice,
        }),
    }
}

impl Parts<'_> {
    /// Gives the records of `whole` to `sink`, from memory or by reading the document again.
    pub fn records(
        &self,
        whole: &Whole,
        read: &aggregate::Whole,
        sink: &mut dyn FnMut(&Record),
    ) -> Result<(), Broken> {
        if let Some(records) = &read.records {
            records.iter().for_each(sink);
            return Ok(());
        }
        let document = &self.documents[whole.document];
        let mut pass = |record: Record| sink(&record);
        aggregate::records(document.open(), read.reading, &mut pass)
    }

    /// The same of a TLS report's policies.
    pub fn policies(
        &self,
        whole: &Whole,
        read: &tls::Whole,
        sink: &mut dyn FnMut(&tls::Policy),
    ) -> Result<(), Broken> {
        if let Some(policies) = &read.policies {
            policies.iter().for_each(sink);
            return Ok(());
        }
        let document = &self.documents[whole.document];
        let mut pass = |policy: tls::Policy| sink(&policy);
        tls::read(document.open(), &hints(document, SECOND), &mut pass).map(drop)
    }

    /// What is kept of the mail if it is parked: of failure reports those that a later version may
    /// read, without the messages that they are about.
    pub fn kept(&self, redact: bool) -> Vec<u8> {
        let may_be_read = |document: &&Document<'_>| {
            self.found.iter().any(|found| match found {
                Found::Whole(_) => false,
                Found::Rejected { part, reason, .. } => {
                    *part == document.part && *reason != Rejection::FailureReportsOff
                }
            })
        };
        let reports = self.documents.iter().filter(may_be_read);
        let reports = reports.filter(|document| document.headers.is_some());
        let reports = reports.map(|of| (of.open(), of.shape == Shape::Notice));
        report::failure::kept(unpack::header(&self.entry.raw), reports, redact)
    }

    /// The whole reports.
    pub fn wholes(&self) -> impl Iterator<Item = &Whole> {
        self.found.iter().filter_map(|found| match found {
            Found::Whole(whole) => Some(whole.as_ref()),
            Found::Rejected { .. } => None,
        })
    }
}

impl Whole {
    /// What it is a report of.
    pub fn kind(&self) -> Kind {
        match &self.body {
            Body::Aggregate(_) => Kind::Aggregate,
            Body::Tls(_) => Kind::Tls,
            Body::Failure(_) => Kind::Failure,
        }
    }

    /// Who wrote it, if he is known by name.
    pub fn reporter(&self, known: &Reporters) -> Option<Domain> {
        let (org_name, email) = match &self.body {
            Body::Aggregate(read) => {
                let metadata = &read.report.metadata;
                (&metadata.org_name, &metadata.email)
            }
            Body::Tls(body) => (&body.read.report.org_name, &body.read.report.contact),
            Body::Failure(report) => (&report.org_name, &report.email),
        };
        known.name_of(org_name, email)
    }

    /// The document's digest.
    pub fn digest(&self) -> Digest {
        match &self.body {
            Body::Aggregate(read) => read.report.digest,
            Body::Tls(body) => body.read.report.digest,
            Body::Failure(report) => report.digest,
        }
    }
}

impl Body {
    /// First and last second of what it covers.
    fn range(&self) -> (i64, i64) {
        match self {
            Self::Aggregate(read) => (read.report.metadata.begin, read.report.metadata.end),
            Self::Tls(body) => (body.read.report.begin, body.read.report.end),
            Self::Failure(report) => (report.arrival, report.arrival),
        }
    }

    /// What it takes of the room for what is kept.
    fn size(&self) -> usize {
        match self {
            Self::Aggregate(read) => {
                let errors = read.report.metadata.errors.iter();
                read.size + errors.map(Words::len).sum::<usize>()
            }
            Self::Tls(body) => body.read.size,
            Self::Failure(report) => report.size(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        limits::{EARLIEST_BEGIN, MAX_AHEAD, MAX_RANGE},
        pipeline::tests::{config, entry},
        spool::Envelope,
        terms::Door,
    };

    const ARRIVED: i64 = 1_700_000_000;

    fn aggregate(begin: i64, end: i64) -> String {
        format!(
            "<feedback><report_metadata><date_range><begin>{begin}</begin><end>{end}</end>\
             </date_range></report_metadata><policy_published><domain>example.com</domain>\
             </policy_published></feedback>"
        )
    }

    fn tls(begin: i64, end: i64) -> String {
        let time = |second| jiff::Timestamp::from_second(second).unwrap();
        format!(
            "{{\"organization-name\":\"o\",\"report-id\":\"1\",\"date-range\":\
             {{\"start-datetime\":\"{}\",\"end-datetime\":\"{}\"}},\
             \"policies\":[{{\"policy\":{{\"policy-domain\":\"example.com\"}}}}]}}",
            time(begin),
            time(end)
        )
    }

    #[test]
    fn a_range_is_parked_beyond_each_limit_unless_an_operator_vouches_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let outcome = |door, document: String| {
            let mut entry = entry(1, document.into_bytes());
            entry.arrived = ARRIVED;
            entry.envelope = Envelope::of(door);
            match read(&entry, &config, &mut { usize::MAX }).found.pop() {
                Some(Found::Whole(_)) => None,
                Some(Found::Rejected { reason, .. }) => Some(reason),
                None => panic!("nothing found"),
            }
        };
        let parked = Some(Rejection::BadDates);
        let (first, now) = (EARLIEST_BEGIN, ARRIVED);
        for (begin, end, by_mail, imported) in [
            (now, now + MAX_AHEAD, None, None),
            (now, now + MAX_AHEAD + 1, parked, parked),
            (first, first + 86_399, None, None),
            (first - 1, first + 86_399, parked, None),
            (first, first + MAX_RANGE, None, None),
            (first, first + MAX_RANGE + 1, parked, None),
        ] {
            for document in [aggregate(begin, end), tls(begin, end)] {
                for door in [Door::Milter, Door::Hook] {
                    assert_eq!(outcome(door, document.clone()), by_mail, "{document}");
                }
                assert_eq!(
                    outcome(Door::Import, document.clone()),
                    imported,
                    "{document}"
                );
            }
        }
    }
}
