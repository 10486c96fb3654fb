//! Elements of an aggregate report -> [`Report`] and [`Record`]s.
//!
//! A tokeniser says what starts, what ends and what text there is; this side knows which element
//! means what, by local name and place (RFC 7489 appendix C, RFC 9990 appendix A). What it does
//! not know it skips with everything below. It holds one record at a time.

use super::{
    DkimAuth, PolicyPublished, Reason, Record, Report, SpfAuth, Totals,
    aggregate::Hints,
    fields::{Field, Head as Fields, Place, child},
    notes::{Notes, Oddity},
    values,
};
use crate::{
    domain::Domain,
    limits::{MAX_PER_RECORD, MAX_RECORDS, MAX_TOKEN, MAX_XML_DEPTH},
    terms::Rejection,
};

/// Builds a report from tokens.
pub(super) struct Assembler<'s> {
    sink: &'s mut dyn FnMut(Record),
    head_only: bool,
    stack: Vec<Place>,
    /// Text of the open leaf, or bare text of a `reason`.
    text: String,
    /// Namespace prefix of the root, as the document writes it.
    prefix: String,
    root: Root,
    seen: Seen,
    head: Fields,
    draft: Draft,
    tally: Tally,
    pub(super) notes: Notes,
}

/// How far the root is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Root {
    Awaited,
    Open,
    Closed,
}

/// Which of the root's children have started.
#[derive(Default)]
struct Seen {
    metadata: bool,
    policy: bool,
    record: bool,
}

/// One record in the making.
#[derive(Default)]
struct Draft {
    source_ip: Option<String>,
    count: Option<String>,
    disposition: super::Stated<crate::terms::Disposition>,
    dkim: super::Stated<crate::terms::Aligned>,
    spf: super::Stated<crate::terms::Aligned>,
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

/// What was counted so far.
#[derive(Default)]
struct Tally {
    records: u64,
    skipped: u64,
    nulls: u64,
    messages: u64,
    totals: Totals,
    header_from: Shared,
}

/// The `header_from` of all records, as long as they agree.
#[derive(Default)]
enum Shared {
    #[default]
    Nothing,
    One(String),
    Several,
}

impl<'s> Assembler<'s> {
    pub(super) fn new(sink: &'s mut dyn FnMut(Record)) -> Self {
        Self {
            sink,
            head_only: false,
            stack: Vec::with_capacity(MAX_XML_DEPTH),
            text: String::new(),
            prefix: String::new(),
            root: Root::Awaited,
            seen: Seen::default(),
            head: Fields::default(),
            draft: Draft::default(),
            tally: Tally::default(),
            notes: Notes::default(),
        }
    }

    /// An assembler that is done as soon as the policy domain is known.
    pub(super) fn for_head(sink: &'s mut dyn FnMut(Record)) -> Self {
        Self {
            head_only: true,
            ..Self::new(sink)
        }
    }

    /// Whether the root has started.
    pub(super) fn is_open(&self) -> bool {
        self.root != Root::Awaited
    }

    /// Whether the rest of the input is of no interest: only the head was asked for, and it has
    /// told all it will, as the policy domain is known or records begin.
    pub(super) fn is_done(&self) -> bool {
        self.head_only && (self.root == Root::Closed || self.seen.record || self.domain().is_some())
    }

    /// The policy domain, once seen.
    pub(super) fn domain(&self) -> Option<Domain> {
        Domain::parse(self.head.domain.as_deref()?)
    }

    /// `report_id`, once seen.
    pub(super) fn report_id(&self) -> Option<String> {
        self.head.report_id.clone()
    }

    /// Whether a leaf is open: an element that holds text only.
    pub(super) fn in_leaf(&self) -> bool {
        matches!(self.stack.last(), Some(Place::Leaf(_)))
    }

    /// Whether that leaf belongs to the metadata.
    pub(super) fn in_metadata_leaf(&self) -> bool {
        let above = self.stack.len().checked_sub(2).map(|at| self.stack[at]);
        self.in_leaf() && matches!(above, Some(Place::Metadata | Place::DateRange))
    }

    /// An element starts. `name` is as the document writes it, with its prefix.
    pub(super) fn start(&mut self, name: &str) -> Result<(), Rejection> {
        if self.stack.len() >= MAX_XML_DEPTH {
            return Err(Rejection::TooDeep);
        }
        // A second root, or anything else after the end of the first.
        if self.root == Root::Closed {
            return Err(Rejection::IllFormed);
        }
        let (prefix, local) = name.split_once(':').unwrap_or(("", name));
        let place = match self.stack.last() {
            None | Some(Place::Schema) => self.root(prefix, local)?,
            Some(&parent) => {
                let foreign = !prefix.is_empty() && prefix != self.prefix;
                if foreign {
                    Place::Skip
                } else {
                    child(parent, local)?
                }
            }
        };
        self.enter(place)?;
        self.stack.push(place);
        Ok(())
    }

    /// The root, or a schema element that some reporters open before it and never close (IKEA).
    fn root(&mut self, prefix: &str, local: &str) -> Result<Place, Rejection> {
        match local {
            "feedback" => {
                if !self.stack.is_empty() {
                    self.notes.add(Oddity::UnclosedSchema);
                }
                prefix.clone_into(&mut self.prefix);
                self.root = Root::Open;
                Ok(Place::Feedback)
            }
            "schema" => Ok(Place::Schema),
            _ if self.stack.is_empty() => Err(Rejection::WrongRoot),
            _ => Ok(Place::Schema),
        }
    }

    fn enter(&mut self, place: Place) -> Result<(), Rejection> {
        match place {
            // Two heads would let the answer at SMTP time and the stored report differ.
            Place::Metadata if std::mem::replace(&mut self.seen.metadata, true) => {
                return Err(Rejection::IllFormed);
            }
            Place::Policy if std::mem::replace(&mut self.seen.policy, true) => {
                return Err(Rejection::IllFormed);
            }
            Place::Record => {
                self.seen.record = true;
                self.draft = Draft::default();
            }
            Place::Reason => {
                self.draft.reason = Reason::default();
                self.text.clear();
            }
            Place::Dkim => self.draft.dkim_entry = DkimAuth::default(),
            Place::Spf => self.draft.spf_entry = SpfAuth::default(),
            Place::Leaf(_) => self.text.clear(),
            _ => {}
        }
        Ok(())
    }

    /// Text, entities resolved.
    pub(super) fn text(&mut self, text: &str) -> Result<(), Rejection> {
        match self.stack.last() {
            Some(Place::Leaf(_) | Place::Reason) => {
                if self.text.len() + text.len() > MAX_TOKEN {
                    return Err(Rejection::TokenTooLong);
                }
                self.text.push_str(text);
            }
            Some(Place::Skip | Place::Schema) => {}
            outside => {
                let blank = |c: char| c.is_whitespace() || c == '\u{feff}';
                if !text.chars().all(blank) {
                    self.notes.add(match outside {
                        Some(_) => Oddity::StrayText,
                        None if self.root == Root::Closed => Oddity::TrailingText,
                        None => Oddity::LeadingText,
                    });
                }
            }
        }
        Ok(())
    }

    /// A reference: `&name;` or `&#number;`. What is not defined is taken literally.
    pub(super) fn entity(&mut self, name: &str) -> Result<(), Rejection> {
        match values::reference(name) {
            Some(c) if c.is_control() && !c.is_whitespace() => {
                self.notes.add(Oddity::ControlCharacters);
                Ok(())
            }
            Some(c) => self.text(c.encode_utf8(&mut [0; 4])),
            None => {
                self.notes.add(Oddity::UnknownEntity);
                self.text("&")?;
                self.text(name)?;
                self.text(";")
            }
        }
    }

    /// The innermost element ends.
    pub(super) fn end(&mut self) -> Result<(), Rejection> {
        match self.stack.pop() {
            None => return Err(Rejection::IllFormed),
            Some(Place::Leaf(field)) => self.leaf(field),
            Some(Place::Reason) => self.reason(),
            Some(Place::Dkim) => self.dkim(),
            Some(Place::Spf) => {
                let entry = std::mem::take(&mut self.draft.spf_entry);
                keep(&mut self.draft.spf_auth, entry, &mut self.notes);
            }
            Some(Place::Record) => self.record()?,
            Some(Place::Feedback) => self.root = Root::Closed,
            Some(_) => {}
        }
        Ok(())
    }

    fn leaf(&mut self, field: Field) {
        let trimmed = self.text.trim();
        let text = values::bounded(trimmed);
        if text.len() < trimmed.len() {
            self.notes.add(Oddity::LongText);
        }
        let draft = &mut self.draft;
        let taken = match field {
            Field::SourceIp => once(&mut draft.source_ip, text),
            Field::Count => once(&mut draft.count, text),
            Field::HeaderFrom => once(&mut draft.header_from, text),
            Field::EnvelopeFrom => once(&mut draft.envelope_from, text),
            Field::EnvelopeTo => once(&mut draft.envelope_to, text),
            Field::Disposition => first(&mut draft.disposition, values::stated(text)),
            Field::EvaluatedDkim => first(&mut draft.dkim, values::stated(text)),
            Field::EvaluatedSpf => first(&mut draft.spf, values::stated(text)),
            Field::ReasonType => first(&mut draft.reason.kind, values::stated(text)),
            Field::Comment => fill(&mut draft.reason.comment, text),
            Field::DkimDomain => fill(&mut draft.dkim_entry.domain, text),
            Field::DkimSelector => fill(&mut draft.dkim_entry.selector, text),
            Field::DkimResult => first(&mut draft.dkim_entry.result, values::stated(text)),
            Field::DkimHuman => fill(&mut draft.dkim_entry.human_result, text),
            Field::SpfDomain => fill(&mut draft.spf_entry.domain, text),
            Field::SpfScope => first(&mut draft.spf_entry.scope, values::stated(text)),
            Field::SpfResult => first(&mut draft.spf_entry.result, values::spf_result(text)),
            Field::SpfHuman => fill(&mut draft.spf_entry.human_result, text),
            _ => self.head.set(field, text, &mut self.notes),
        };
        if !taken {
            self.notes.add(Oddity::Repeated);
        }
        // Text after a leaf within a `reason` is not its type.
        self.text.clear();
    }

    /// KDDI and rspamd write the type as bare text of the `reason`.
    fn reason(&mut self) {
        let mut reason = std::mem::take(&mut self.draft.reason);
        if reason.kind == super::Stated::Not {
            reason.kind = values::stated(&self.text);
        }
        self.text.clear();
        // KDDI also sends `<reason><type/><comment/></reason>`, which says nothing.
        if reason.kind != super::Stated::Not || !reason.comment.is_empty() {
            keep(&mut self.draft.reasons, reason, &mut self.notes);
        }
    }

    /// Outlook and gosecure.net write an entry without domain for an unsigned message.
    fn dkim(&mut self) {
        let entry = std::mem::take(&mut self.draft.dkim_entry);
        if entry.domain.is_empty() && entry.selector.is_empty() {
            self.notes.add(Oddity::EmptyDkim);
        } else {
            keep(&mut self.draft.dkim_auth, entry, &mut self.notes);
        }
    }

    fn record(&mut self) -> Result<(), Rejection> {
        let draft = std::mem::take(&mut self.draft);
        let tally = &mut self.tally;
        if tally.records + tally.skipped + tally.nulls >= MAX_RECORDS {
            return Err(Rejection::TooManyRecords);
        }
        let count = draft.count.as_deref().and_then(values::count);
        let stated_ip = draft.source_ip.as_deref().unwrap_or_default();
        if stated_ip.is_empty() && count == Some(0) {
            tally.nulls += 1;
            return Ok(());
        }
        let Some(source_ip) = values::address(stated_ip) else {
            tally.skipped += 1;
            self.notes.add(Oddity::BadAddress);
            return Ok(());
        };
        let Some(count) = count else {
            tally.skipped += 1;
            self.notes.add(Oddity::BadCount);
            return Ok(());
        };
        let record = Record {
            source_ip,
            count,
            disposition: draft.disposition,
            dkim: draft.dkim,
            spf: draft.spf,
            reasons: draft.reasons,
            header_from: draft.header_from.unwrap_or_default().to_lowercase(),
            envelope_from: draft.envelope_from,
            envelope_to: draft.envelope_to,
            dkim_auth: draft.dkim_auth,
            spf_auth: draft.spf_auth,
        };
        tally.add(&record)?;
        (self.sink)(record);
        Ok(())
    }

    /// The end of the input: the report, if it is whole.
    pub(super) fn finish(
        self,
        digest: super::Digest,
        notes: Notes,
        hints: &Hints<'_>,
    ) -> Result<Report, Rejection> {
        match self.root {
            Root::Awaited => return Err(Rejection::WrongRoot),
            Root::Open => return Err(Rejection::Truncated),
            Root::Closed => {}
        }
        let domain = self.domain();
        let (head, mut tally, mut all) = (self.head, self.tally, notes);
        all.merge(self.notes);
        let (begin, end) = values::range(head.begin.as_deref(), head.end.as_deref())?;
        if begin < values::EARLIEST_LIKELY {
            all.add(Oddity::EarlyRange);
        }
        if end - begin > 2 * 86_400 {
            let days = u64::try_from((end - begin) / 86_400).unwrap_or_default();
            all.add_many(Oddity::LongRange, days);
        }
        let domain = match (domain, head.domain.as_deref().unwrap_or_default()) {
            (Some(domain), _) => domain,
            // A name that cannot be one is not replaced by a guess.
            (None, stated) if !stated.is_empty() => return Err(Rejection::NoDomain),
            (None, _) => elsewhere(hints, &tally, &mut all).ok_or(Rejection::NoDomain)?,
        };
        tally.settle(&mut all);
        let (metadata, policy) = head.into_parts(begin, end, domain);
        Ok(Report {
            digest,
            metadata,
            policy,
            records: tally.records,
            skipped_records: tally.skipped,
            messages: tally.messages,
            totals: tally.totals,
            notes: all.into_texts(),
        })
    }
}

impl Tally {
    fn add(&mut self, record: &Record) -> Result<(), Rejection> {
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
    fn settle(&mut self, notes: &mut Notes) {
        if self.nulls == 1 && self.records == 0 && self.skipped == 0 {
            return notes.add(Oddity::NullReport);
        }
        self.skipped += self.nulls;
        notes.add_many(Oddity::BadAddress, self.nulls);
        if self.records == 0 && self.skipped == 0 {
            notes.add(Oddity::NoRecords);
        }
    }
}

/// The policy domain of a report that does not state it.
fn elsewhere(hints: &Hints<'_>, tally: &Tally, notes: &mut Notes) -> Option<Domain> {
    let named = hints.file_name.and_then(values::domain_in_name);
    if let Some(domain) = named.and_then(Domain::parse) {
        notes.add(Oddity::DomainFromFileName);
        return Some(domain);
    }
    let Shared::One(name) = &tally.header_from else {
        return None;
    };
    notes.add(Oddity::DomainFromRecords);
    Domain::parse(name)
}

/// Sets what is not set yet; `false` if it was.
pub(super) fn once(slot: &mut Option<String>, text: &str) -> bool {
    let free = slot.as_deref().unwrap_or_default().is_empty();
    if free {
        *slot = Some(text.to_owned());
    }
    free || text.is_empty()
}

/// Sets what is not stated yet; `false` if it was.
pub(super) fn first<T: PartialEq>(slot: &mut super::Stated<T>, value: super::Stated<T>) -> bool {
    let free = *slot == super::Stated::Not;
    if free {
        *slot = value;
        return true;
    }
    value == super::Stated::Not
}

/// Sets an empty text; `false` if it was not empty.
pub(super) fn fill(slot: &mut String, text: &str) -> bool {
    let free = slot.is_empty();
    if free {
        text.clone_into(slot);
    }
    free || text.is_empty()
}

fn keep<T>(list: &mut Vec<T>, entry: T, notes: &mut Notes) {
    if list.len() < MAX_PER_RECORD {
        list.push(entry);
    } else {
        notes.add(Oddity::SurplusEntries);
    }
}

impl Fields {
    /// The two parts of a report's head.
    fn into_parts(
        self,
        begin: i64,
        end: i64,
        domain: Domain,
    ) -> (super::Metadata, PolicyPublished) {
        let metadata = super::Metadata {
            version: self.version,
            org_name: self.org_name,
            email: self.email,
            extra_contact_info: self.contact,
            report_id: self.report_id.unwrap_or_default(),
            begin,
            end,
            errors: self.errors,
            generator: self.generator,
        };
        let policy = PolicyPublished {
            domain,
            p: self.p,
            sp: self.sp,
            np: self.np,
            adkim: self.adkim,
            aspf: self.aspf,
            pct: self.pct,
            fo: self.fo,
            testing: self.testing,
            discovery_method: self.discovery,
        };
        (metadata, policy)
    }
}
