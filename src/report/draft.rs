//! One record of an aggregate report in the making, and what the finished ones add up to.

use std::net::IpAddr;

use super::{
    DkimAuth, Lang, Reason, Record, SpfAuth, Stated, Totals,
    fields::Field,
    head::{fill, first, once},
    notes::{Notes, Oddity},
    skipped::Skips,
    values,
};
use crate::{
    limits::MAX_PER_RECORD,
    terms::{Aligned, Disposition, LeftOut, Rejection},
};

/// One record in the making.
#[derive(Default)]
pub(super) struct Draft {
    source_ip: Stated<IpAddr>,
    count: Stated<u64>,
    disposition: Stated<Disposition>,
    dkim: Stated<Aligned>,
    spf: Stated<Aligned>,
    reason: Reason,
    reasons: Vec<Reason>,
    header_from: Option<String>,
    envelope_from: Option<String>,
    envelope_to: Option<String>,
    dkim_entry: DkimAuth,
    dkim_auth: Vec<DkimAuth>,
    spf_entry: SpfAuth,
    spf_auth: Vec<SpfAuth>,
}

impl Draft {
    /// Sets one field; `false` if it came before, `None` if it is none of a record's.
    pub(super) fn set(&mut self, field: Field, text: &str, lang: &mut Lang) -> Option<bool> {
        Some(match field {
            Field::SourceIp => first(&mut self.source_ip, values::read(text, values::address)),
            Field::Count => first(&mut self.count, values::read(text, values::count)),
            Field::HeaderFrom => once(&mut self.header_from, text),
            Field::EnvelopeFrom => once(&mut self.envelope_from, text),
            Field::EnvelopeTo => once(&mut self.envelope_to, text),
            Field::Disposition => first(&mut self.disposition, values::stated(text)),
            Field::EvaluatedDkim => first(&mut self.dkim, values::stated(text)),
            Field::EvaluatedSpf => first(&mut self.spf, values::stated(text)),
            Field::ReasonType => first(&mut self.reason.kind, values::stated(text)),
            Field::Comment => self.reason.comment.fill(text, lang),
            Field::DkimDomain => fill(&mut self.dkim_entry.domain, text),
            Field::DkimSelector => fill(&mut self.dkim_entry.selector, text),
            Field::DkimResult => first(&mut self.dkim_entry.result, values::stated(text)),
            Field::DkimHuman => self.dkim_entry.human_result.fill(text, lang),
            Field::SpfDomain => fill(&mut self.spf_entry.domain, text),
            Field::SpfScope => first(&mut self.spf_entry.scope, values::stated(text)),
            Field::SpfResult => first(&mut self.spf_entry.result, values::spf_result(text)),
            Field::SpfHuman => self.spf_entry.human_result.fill(text, lang),
            _ => return None,
        })
    }

    /// A `reason` ends. KDDI and rspamd write its type as bare text.
    pub(super) fn end_reason(&mut self, bare: &str, notes: &mut Notes) {
        let mut reason = std::mem::take(&mut self.reason);
        if reason.kind == Stated::Not {
            reason.kind = values::stated(bare);
        }
        // KDDI also sends `<reason><type/><comment/></reason>`, which says nothing.
        if reason.kind != Stated::Not || !reason.comment.text.is_empty() {
            keep(&mut self.reasons, reason, notes);
        }
    }

    /// A `dkim` ends. Outlook and gosecure.net write one without domain for an unsigned message.
    pub(super) fn end_dkim(&mut self, notes: &mut Notes) {
        let entry = std::mem::take(&mut self.dkim_entry);
        if entry.domain.is_empty() && entry.selector.is_empty() {
            notes.add(Oddity::EmptyDkim);
        } else {
            keep(&mut self.dkim_auth, entry, notes);
        }
    }

    /// An `spf` ends.
    pub(super) fn end_spf(&mut self, notes: &mut Notes) {
        let entry = std::mem::take(&mut self.spf_entry);
        keep(&mut self.spf_auth, entry, notes);
    }

    /// The record ends: counts it, or leaves it out and counts that.
    pub(super) fn finish(
        self,
        tally: &mut Tally,
        notes: &mut Notes,
    ) -> Result<Option<Record>, Rejection> {
        if tally.seen >= tally.most {
            return Err(Rejection::TooLarge);
        }
        tally.seen += 1;
        let count = self.count.known();
        if self.source_ip == Stated::Not && count == Some(0) && tally.null.is_none() {
            tally.null = Some(tally.seen);
            return Ok(None);
        }
        let Some(source_ip) = self.source_ip.known() else {
            tally.skips.add(tally.seen, LeftOut::SourceIp, notes);
            return Ok(None);
        };
        let Some(count) = count else {
            tally.skips.add(tally.seen, LeftOut::Messages, notes);
            return Ok(None);
        };
        let record = Record {
            source_ip,
            count,
            disposition: self.disposition,
            dkim: self.dkim,
            spf: self.spf,
            reasons: self.reasons,
            header_from: values::lower_case(self.header_from.unwrap_or_default()),
            envelope_from: self.envelope_from,
            envelope_to: self.envelope_to,
            dkim_auth: self.dkim_auth,
            spf_auth: self.spf_auth,
        };
        tally.add(&record)?;
        Ok(Some(record))
    }
}

fn keep<T>(list: &mut Vec<T>, entry: T, notes: &mut Notes) {
    if list.len() < MAX_PER_RECORD {
        list.push(entry);
    } else {
        notes.add(Oddity::SurplusEntries);
    }
}

/// What was counted so far.
#[derive(Default)]
pub(super) struct Tally {
    /// Records that there may be, good or bad.
    most: u64,
    /// Records that ended, good or bad.
    pub seen: u64,
    pub records: u64,
    pub skips: Skips,
    /// The first record of nothing.
    pub null: Option<u64>,
    pub messages: u64,
    pub totals: Totals,
    pub header_from: Shared,
}

/// The `header_from` of all records, as long as they agree.
#[derive(Default)]
pub(super) enum Shared {
    #[default]
    Nothing,
    One(String),
    Several,
}

impl Tally {
    pub(super) fn new(most: u64) -> Self {
        Self {
            most,
            ..Self::default()
        }
    }

    /// Counts a record that is good.
    pub(super) fn add(&mut self, record: &Record) -> Result<(), Rejection> {
        self.records += 1;
        self.messages = self
            .messages
            .checked_add(record.count)
            .filter(|&messages| i64::try_from(messages).is_ok())
            .ok_or(Rejection::BadCount)?;
        *self.totals.entry(record.results()).or_default() += record.count;
        match &self.header_from {
            Shared::Nothing => self.header_from = Shared::One(record.header_from.clone()),
            Shared::One(name) if *name != record.header_from => self.header_from = Shared::Several,
            _ => {}
        }
        Ok(())
    }

    /// A single record of nothing is a sign of life (wp.pl); among others it is a bad record.
    pub(super) fn settle(&mut self, notes: &mut Notes) {
        match self.null {
            Some(_) if self.seen == 1 => notes.add(Oddity::NullReport),
            Some(number) => self.skips.add(number, LeftOut::SourceIp, notes),
            None if self.seen == 0 => notes.add(Oddity::NoRecords),
            None => {}
        }
    }
}
