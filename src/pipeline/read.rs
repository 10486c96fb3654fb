//! One entry of the spool -> what is in it. Touches nothing.

use std::panic::AssertUnwindSafe;

use crate::{
    config::Config,
    domain::Domain,
    report::{
        self, Broken, Record, Report,
        aggregate::{self, Hints, Reading},
    },
    spool::Entry,
    terms::{Kind, Rejection},
    unpack::{self, Bounds, Document},
};

/// What was found in one entry.
pub struct Parts<'a> {
    pub entry: &'a Entry,
    pub found: Vec<Found>,
    documents: Vec<Document>,
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
    pub report: Report,
    /// The configured domain it belongs to.
    pub covering: Domain,
    /// Its records, if they are few; else the document is read again.
    records: Option<Vec<Record>>,
    /// How it was read, and is to be read again.
    reading: Reading,
}

/// Reads an entry. Keeps records in memory while `rows_left`, which the batch shares, lasts.
pub fn read<'a>(entry: &'a Entry, config: &Config, rows_left: &mut usize) -> Parts<'a> {
    let read = AssertUnwindSafe(|| read_parts(entry, config, rows_left));
    // A panic in a reader is our fault; the mail is parked for a better version.
    std::panic::catch_unwind(read).unwrap_or_else(|_| Parts {
        entry,
        found: vec![Found::Rejected {
            part: String::new(),
            reason: Rejection::Crashed,
            offset: None,
        }],
        documents: Vec::new(),
    })
}

fn read_parts<'a>(entry: &'a Entry, config: &Config, rows_left: &mut usize) -> Parts<'a> {
    let unpacked = unpack::documents(&entry.raw, &Bounds::default());
    let mut found = Vec::with_capacity(unpacked.documents.len() + unpacked.rejected.len());
    for (index, document) in unpacked.documents.iter().enumerate() {
        found.push(read_document(index, document, config, rows_left));
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
        documents: unpacked.documents,
    }
}

fn read_document(
    index: usize,
    document: &Document,
    config: &Config,
    rows_left: &mut usize,
) -> Found {
    let part = document.part.clone();
    let reject = |part, reason, offset| Found::Rejected {
        part,
        reason,
        offset,
    };
    let whole = match report::read(|| document.open(), &hints(document), *rows_left) {
        Err(unread) => return reject(part, unread.broken.rejection, Some(unread.broken.offset)),
        Ok(report::Whole::Aggregate(whole)) => *whole,
        // Read, and not stored yet.
        Ok(report::Whole::Tls(_)) => return reject(part, Rejection::UnsupportedKind, None),
    };
    let Some(entry) = config.domains.covering(&whole.report.policy.domain) else {
        return reject(part, Rejection::ForeignDomain, None);
    };
    let aggregate::Whole {
        report,
        records,
        reading,
    } = whole;
    *rows_left -= records.as_ref().map_or(0, Vec::len);
    let covering = entry.name.clone();
    Found::Whole(Box::new(Whole {
        document: index,
        part,
        report,
        covering,
        records,
        reading,
    }))
}

/// What surrounds a document.
fn hints(document: &Document) -> Hints<'_> {
    Hints {
        file_name: document.file_name.as_deref(),
    }
}

impl Parts<'_> {
    /// Gives the records of `whole` to `sink`, from memory or by reading the document again.
    pub fn records(&self, whole: &Whole, sink: &mut dyn FnMut(&Record)) -> Result<(), Broken> {
        if let Some(records) = &whole.records {
            records.iter().for_each(sink);
            return Ok(());
        }
        let document = &self.documents[whole.document];
        let pass = |record: Record| sink(&record);
        aggregate::read(document.open(), whole.reading, &hints(document), &mut {
            pass
        })
        .map(drop)
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
        self.report.key().kind
    }
}
