//! Failure reports: what one receiver saw of one message (RFC 6591, RFC 7489 section 7.3, RFC 9991),
//! and what Exim says instead of it in a text.
//!
//! A report tells of somebody's mail. Of that are kept the identities that were checked, the
//! results, and four fields of its header: `From`, which DMARC is about; `Subject`, `Date` and
//! `Message-ID`, by which whoever sent it finds it again. Not `To`, which names a third party and
//! says no more than `Original-Rcpt-To`; not the name beside the address in `From`, which is a
//! person's or a lie; and never the body. [`FailureReport::redacted`] takes the local parts out.
//!
//! `Identity-Alignment` is kept as it came: in RFC 7489 it names the mechanisms that produced an
//! aligned identity, in RFC 9991 those that failed to, and no report says which it follows.
//!
//! The digest, by which a report is known again, is that of the fields and of the message's header,
//! so that the report counts once to however many addresses it is sent. Where that header is missing
//! the `Message-ID` of the report's mail stands in, as two failures may look alike otherwise.

use std::io::{self, BufReader, Read};

use super::{
    Broken, Digest, Head, ReportKey, digest::FoldedHash, failure_arf, failure_notice,
    failure_redact as redact, notes::Oddity, range,
};
pub use super::{failure_arf::Said, failure_header::Selected, failure_kept::kept};
use crate::{
    domain::Domain,
    terms::{Kind, Rejection},
};

/// What stands beside the fields of a failure report.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// The header of the mail that brought it.
    pub mail: &'a [u8],
    /// The header of the message that it is about, as far as it is there.
    pub reported: &'a [u8],
    /// Whether it is a text for people.
    pub is_notice: bool,
}

/// One failure report. Texts are as they came, trimmed and bounded; absent ones are empty.
#[derive(Clone, Debug)]
pub struct FailureReport {
    /// What makes two arrivals the same.
    pub digest: Digest,
    /// The domain of the mail's `From`, else `Reporting-MTA`. `User-Agent` is no organisation.
    pub org_name: String,
    /// The address of the mail's `From`: the reporter's.
    pub email: String,
    /// The mail's `Message-ID`; the digest if it has none.
    pub report_id: String,
    /// `User-Agent`.
    pub generator: String,
    /// `Reported-Domain`.
    pub domain: Domain,
    /// `Arrival-Date` of the message, UTC epoch.
    pub arrival: i64,
    /// `Incidents`: messages that it stands for.
    pub incidents: u64,
    /// What was said of the message.
    pub said: Said,
    /// Of the message's header.
    pub header: Selected,
    /// Oddities, each once, bounded: constant texts with numbers, never a quotation.
    pub notes: Vec<String>,
}

impl FailureReport {
    /// The key of this report. There is no later version of an event: another document with the
    /// key of a known one is kept beside it and not counted, as of the other kinds.
    pub fn key(&self) -> ReportKey {
        ReportKey {
            kind: Kind::Failure,
            org_name: self.org_name.clone(),
            report_id: self.report_id.clone(),
            domain: self.domain.clone(),
            begin: self.arrival,
            end: self.arrival,
        }
    }

    /// Bytes that it takes in memory, as far as a reporter can move them.
    pub fn size(&self) -> usize {
        let own = [
            &self.org_name,
            &self.email,
            &self.report_id,
            &self.generator,
        ];
        let own: usize = own.iter().map(|text| text.len()).sum();
        size_of::<Self>() + own + self.said.texts_len() + self.header.len()
    }

    /// The same without the local part of any address that the message had.
    #[must_use]
    pub fn redacted(mut self) -> Self {
        self.said.each_text(&mut |text| *text = redact::text(text));
        for address in self.said.addresses() {
            *address = redact::address(address);
        }
        let header = &mut self.header;
        for text in [
            &mut header.from,
            &mut header.subject,
            &mut header.message_id,
        ] {
            *text = redact::text(text);
        }
        self
    }
}

/// Reads a failure report.
pub fn read(input: impl Read, around: &Around<'_>) -> Result<FailureReport, Broken> {
    let broken = |rejection| Broken {
        rejection,
        offset: 0,
    };
    report(input, around).map_err(broken)
}

fn report(input: impl Read, around: &Around<'_>) -> Result<FailureReport, Rejection> {
    let mut input = BufReader::new(Hashed {
        input,
        hash: FoldedHash::default(),
    });
    let (draft, copied) = if around.is_notice {
        failure_notice::read(&mut input).map_err(|error| reason(&error))?
    } else {
        (
            failure_arf::read(&mut input).map_err(|error| reason(&error))?,
            Vec::new(),
        )
    };
    io::copy(&mut input, &mut io::sink()).map_err(|error| reason(&error))?;
    if !draft.is_feedback {
        return Err(Rejection::NoFeedback);
    }
    let mail = Selected::of(around.mail);
    let header = Selected::of(if around.is_notice {
        &copied
    } else {
        around.reported
    });
    let mut notes = draft.notes;
    let domain = match &*draft.domain {
        "" => {
            let domain = header.domain().ok_or(Rejection::NoDomain)?;
            notes.add(Oddity::DomainFromHeader);
            domain
        }
        // What is stated and is none is no ground to guess another.
        stated => Domain::parse(stated).ok_or(Rejection::NoDomain)?,
    };
    let arrival = draft.arrival.or_else(|| {
        notes.add(Oddity::TimeFromMail);
        mail.time()
    });
    let arrival = arrival.ok_or(Rejection::BadDates)?;
    let (arrival, _) = range::possible(arrival, arrival)?;
    if header.len() == 0 {
        notes.add(Oddity::NoHeader);
    }

    let mut hash = input.into_inner().hash;
    hash.update(b"\0");
    if around.reported.is_empty() && !around.is_notice {
        hash.update(mail.message_id.as_bytes());
    } else {
        hash.update(around.reported);
    }
    let digest = hash.finish();
    Ok(FailureReport {
        digest,
        org_name: mail
            .domain()
            .map_or(draft.reporting_mta, |domain| domain.to_string()),
        report_id: match mail.message_id {
            id if id.is_empty() => digest.to_string(),
            id => id,
        },
        email: mail.from,
        generator: draft.generator,
        domain,
        arrival,
        incidents: draft.incidents,
        said: draft.said,
        header,
        notes: notes.into_texts(),
    })
}

fn reason(error: &io::Error) -> Rejection {
    Rejection::within(error).unwrap_or(Rejection::BadContainer)
}

/// What the start of a report tells, be it fields or a text. The domain is told only where it is
/// stated.
pub(super) fn head(start: &[u8]) -> Option<Head> {
    let fields = failure_arf::read(&mut &*start);
    let text = || failure_notice::read(&mut &*start).map(|(draft, _)| draft);
    let draft = fields.ok().filter(|draft| draft.is_feedback);
    let draft = draft.or_else(|| text().ok().filter(|draft| draft.is_feedback))?;
    Some(Head {
        kind: Kind::Failure,
        domain: Domain::parse(&draft.domain),
        report_id: None,
    })
}

/// Hashes what is read.
struct Hashed<R> {
    input: R,
    hash: FoldedHash,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(into)?;
        self.hash.update(&into[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests;
