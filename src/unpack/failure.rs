//! Failure reports (RFC 5965, RFC 6591): which parts of a mail belong together.
//!
//! Beside the fields of a report lies the message that it is about. Its header goes with the report;
//! its body is somebody's mail, and what is attached to it is no report: nobody looks into it.
//! RFC 5965 section 2 fixes the order, fields first, so one walk is enough.

use super::{header::header_of, inflate::Source, mime::Leaf};

/// What the walk through a mail has come by.
#[derive(Default)]
pub(super) struct Pairing<'a> {
    /// The messages that it is within, the mail itself first, each under its part.
    mails: Vec<(String, Source<'a>)>,
    reports: Vec<Report>,
}

/// A multipart that is a failure report, by its label or by a part of it.
struct Report {
    part: String,
    has_fields: bool,
    /// The document that still waits for the header of its message.
    waiting: Option<usize>,
}

impl<'a> Pairing<'a> {
    /// A message begins.
    pub(super) fn enter(&mut self, message: Leaf<'a>) {
        let part = message.part;
        self.mails.retain(|(outer, _)| is_within(&part, outer));
        self.mails.push((part, message.source));
    }

    /// The header of the innermost message around a part. Few mails are failure reports, so none
    /// is read before it is asked for.
    pub(super) fn mail(&self, part: &str) -> Vec<u8> {
        let mut mails = self.mails.iter().rev();
        let around = mails.find(|(outer, _)| is_within(part, outer));
        around.map_or_else(Vec::new, |(_, message)| header_of(message))
    }

    /// A multipart begins that is labelled as a failure report.
    pub(super) fn begin(&mut self, part: &str) {
        self.report(part);
    }

    /// It ends; says whether there were fields in it.
    pub(super) fn end(&mut self, part: &str) -> bool {
        self.report(part).has_fields
    }

    /// The fields of a report are document number `document`, or none if there is no room for it.
    pub(super) fn fields(&mut self, part: &str, document: Option<usize>) {
        let report = self.report(parent(part));
        report.has_fields = true;
        report.waiting = document;
    }

    /// Whether a message is one that a report is about; if so, the document that may wait for it.
    pub(super) fn reported(&mut self, part: &str) -> Option<&mut Option<usize>> {
        let mut reports = self.reports.iter_mut();
        let report = reports.find(|report| report.part == parent(part))?;
        Some(&mut report.waiting)
    }

    fn report(&mut self, part: &str) -> &mut Report {
        let known = self.reports.iter().position(|report| report.part == part);
        let at = known.unwrap_or_else(|| {
            self.reports.push(Report {
                part: part.to_owned(),
                has_fields: false,
                waiting: None,
            });
            self.reports.len() - 1
        });
        &mut self.reports[at]
    }
}

/// The part that a part lies in; of the mail's own parts, the mail.
fn parent(part: &str) -> &str {
    part.rsplit_once('.').map_or("", |(parent, _)| parent)
}

/// Whether a part lies in another one, or in the mail, whose number is empty.
fn is_within(part: &str, outer: &str) -> bool {
    let rest = part.strip_prefix(outer);
    rest.is_some_and(|rest| outer.is_empty() && !part.is_empty() || rest.starts_with('.'))
}
