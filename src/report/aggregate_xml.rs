//! Elements of an aggregate report -> [`Report`] and [`Record`]s.
//!
//! A tokeniser says what starts, what ends and what text there is; this side knows which element
//! means what, by local name and place (RFC 7489 appendix C, RFC 9990 appendix A). What it does
//! not know it skips with everything below. It holds one record at a time.

use super::{
    Digest, Lang, Record, Report,
    aggregate::Hints,
    draft::{Draft, Shared, Tally},
    fields::{Field, Place, child, has_lang, lang},
    head::Head,
    notes::{Notes, Oddity},
    range, values,
};
use crate::{
    domain::Domain,
    limits::{MAX_LANG, MAX_MARKUP, MAX_MARKUP_PER_RECORD, MAX_TOKEN, MAX_XML_DEPTH},
    terms::Rejection,
};

/// Bytes that the names of elements mostly come to.
const USUAL_NAME: usize = 8;

/// Builds a report from tokens.
pub(super) struct Assembler<'s> {
    sink: &'s mut dyn FnMut(Record),
    head_only: bool,
    stack: Vec<Place>,
    /// Names of the open elements, as the document writes them, one behind the other, and where
    /// each begins.
    names: String,
    starts: Vec<usize>,
    /// Text of the open leaf, or bare text of a `reason`.
    text: String,
    /// Its language.
    lang: Lang,
    /// Namespace prefix of the root, as the document writes it.
    prefix: String,
    root: Root,
    tail: Tail,
    /// The text between two elements that is at hand was told, of which more pieces may come.
    astray: bool,
    seen: Seen,
    head: Head,
    draft: Draft,
    tally: Tally,
    markup: u64,
    pub(super) notes: Notes,
}

/// How far the root is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Root {
    Awaited,
    Open,
    Closed,
}

/// What the root's content ends with so far.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Tail {
    #[default]
    Other,
    /// A closed record, and perhaps blanks.
    Record,
    /// That, and a line end.
    Line,
}

/// Which of the root's children have started.
#[derive(Default)]
struct Seen {
    metadata: bool,
    policy: bool,
    record: bool,
}

impl<'s> Assembler<'s> {
    pub(super) fn new(sink: &'s mut dyn FnMut(Record), max_records: u64) -> Self {
        Self {
            sink,
            head_only: false,
            stack: Vec::with_capacity(MAX_XML_DEPTH),
            names: String::with_capacity(MAX_XML_DEPTH * USUAL_NAME),
            starts: Vec::with_capacity(MAX_XML_DEPTH),
            text: String::new(),
            lang: None,
            prefix: String::new(),
            root: Root::Awaited,
            tail: Tail::default(),
            astray: false,
            seen: Seen::default(),
            head: Head::default(),
            draft: Draft::default(),
            tally: Tally::new(max_records),
            markup: 0,
            notes: Notes::default(),
        }
    }

    /// An assembler that is done as soon as the policy domain is known.
    pub(super) fn for_head(sink: &'s mut dyn FnMut(Record)) -> Self {
        Self {
            head_only: true,
            // It never gets as far as the end of a record.
            ..Self::new(sink, 0)
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

    /// The name of an open element, `outwards` steps from the innermost.
    pub(super) fn open(&self, outwards: usize) -> Option<&str> {
        let at = self.starts.len().checked_sub(outwards + 1)?;
        let end = self.starts.get(at + 1).copied();
        self.names
            .get(self.starts[at]..end.unwrap_or(self.names.len()))
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

    /// Anything but text and ends of elements is met: there is a bound on what says nothing.
    pub(super) fn count(&mut self) -> Result<(), Rejection> {
        self.markup += 1;
        let records = self.tally.records.saturating_mul(MAX_MARKUP_PER_RECORD);
        if self.markup.saturating_sub(records) > MAX_MARKUP {
            return Err(Rejection::TooLarge);
        }
        Ok(())
    }

    /// An element starts. `name` and `attributes` are as the document writes them.
    pub(super) fn start(&mut self, name: &str, attributes: &str) -> Result<(), Rejection> {
        let (prefix, local) = match name.bytes().position(|byte| byte == b':') {
            Some(at) => (&name[..at], &name[at + 1..]),
            None => ("", name),
        };
        let place = self.place(prefix, local)?;
        if !attributes.is_empty() {
            self.language(place, attributes);
        }
        self.push(place, name);
        Ok(())
    }

    /// A whole element without prefix or attributes that holds a text and nothing else, of at most
    /// [`MAX_TOKEN`] bytes.
    pub(super) fn element(&mut self, name: &str, text: &str) -> Result<(), Rejection> {
        let place = self.place("", name)?;
        if let Place::Leaf(field) = place {
            self.leaf(field, text);
            return Ok(());
        }
        self.push(place, name);
        self.text(text)?;
        self.end()
    }

    fn push(&mut self, place: Place, name: &str) {
        self.stack.push(place);
        self.starts.push(self.names.len());
        self.names.push_str(name);
    }

    /// Where an element that starts here leads.
    fn place(&mut self, prefix: &str, local: &str) -> Result<Place, Rejection> {
        self.count()?;
        self.astray = false;
        if self.stack.len() >= MAX_XML_DEPTH {
            return Err(Rejection::TooDeep);
        }
        // A second root, or anything else after the end of the first.
        if self.root == Root::Closed {
            return Err(Rejection::IllFormed);
        }
        let place = match self.stack.last() {
            None | Some(Place::Schema) => self.root(prefix, local)?,
            Some(&parent) => {
                if parent == Place::Feedback {
                    self.tail = Tail::Other;
                }
                let foreign = !prefix.is_empty() && prefix != self.prefix;
                if foreign {
                    Place::Skip
                } else {
                    child(parent, local)?
                }
            }
        };
        self.enter(place)?;
        Ok(place)
    }

    fn language(&mut self, place: Place, attributes: &str) {
        let Place::Leaf(field) = place else { return };
        if let Some(lang) = has_lang(field).then(|| lang(attributes)).flatten() {
            let end = lang.char_indices().nth(MAX_LANG);
            self.lang = Some(lang[..end.map_or(lang.len(), |(end, _)| end)].into());
        }
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
            // The one before took all of its draft with it.
            Place::Record => self.seen.record = true,
            Place::Reason | Place::Leaf(_) => self.text.clear(),
            _ => {}
        }
        Ok(())
    }

    /// Text, entities resolved.
    pub(super) fn text(&mut self, text: &str) -> Result<(), Rejection> {
        match self.stack.last().copied() {
            Some(Place::Leaf(_) | Place::Reason) => {
                if self.text.len() + text.len() > MAX_TOKEN {
                    return Err(Rejection::TokenTooLong);
                }
                self.text.push_str(text);
            }
            Some(Place::Skip | Place::Schema) => {}
            outside => {
                let blank = |c: char| c.is_whitespace() || c == '\u{feff}';
                // Indentation is most of the texts of many documents.
                if text.bytes().all(|byte| byte <= b' ') || text.chars().all(blank) {
                    if self.tail == Tail::Record && text.contains('\n') {
                        self.tail = Tail::Line;
                    }
                } else {
                    self.tail = Tail::Other;
                    self.count()?;
                    let times = u64::from(!std::mem::replace(&mut self.astray, true));
                    let oddity = match outside {
                        Some(_) => Oddity::StrayText,
                        None if self.root == Root::Closed => Oddity::TrailingText,
                        None => Oddity::LeadingText,
                    };
                    self.notes.add_many(oddity, times);
                }
            }
        }
        Ok(())
    }

    /// A reference: `&name;` or `&#number;`. What is not defined is taken literally.
    pub(super) fn entity(&mut self, name: &str) -> Result<(), Rejection> {
        self.count()?;
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
        self.astray = false;
        if let Some(start) = self.starts.pop() {
            self.names.truncate(start);
        }
        match self.stack.pop() {
            None => return Err(Rejection::IllFormed),
            Some(Place::Leaf(field)) => {
                let mut text = std::mem::take(&mut self.text);
                self.leaf(field, &text);
                // Text after a leaf within a `reason` is not its type.
                text.clear();
                self.text = text;
            }
            Some(Place::Reason) => self.draft.end_reason(&self.text, &mut self.notes),
            Some(Place::Dkim) => self.draft.end_dkim(&mut self.notes),
            Some(Place::Spf) => self.draft.end_spf(&mut self.notes),
            Some(Place::Record) => {
                self.tail = Tail::Record;
                let draft = std::mem::take(&mut self.draft);
                if let Some(record) = draft.finish(&mut self.tally, &mut self.notes)? {
                    (self.sink)(record);
                }
            }
            Some(Place::Feedback) => self.root = Root::Closed,
            Some(_) => {}
        }
        Ok(())
    }

    fn leaf(&mut self, field: Field, text: &str) {
        let trimmed = values::trimmed(text);
        let text = values::bounded(trimmed);
        if text.len() < trimmed.len() {
            self.notes.add(Oddity::LongText);
        }
        let taken = match self.draft.set(field, text, &mut self.lang) {
            Some(taken) => taken,
            None => self.head.set(field, text, &mut self.lang, &mut self.notes),
        };
        if !taken {
            self.notes.add(Oddity::Repeated);
        }
        self.lang = None;
    }

    /// Whether the input ends where AOL's generator did, which wrote the root with a prefix and
    /// forgot to close it: behind a line end that follows a closed record. A document that was cut
    /// elsewhere, or has no such root, stays cut.
    fn is_left_open(&self) -> bool {
        let is_in_root = self.stack[..] == [Place::Feedback];
        is_in_root && !self.prefix.is_empty() && self.tail == Tail::Line
    }

    /// The end of the input: the report, if it is whole.
    pub(super) fn finish(
        mut self,
        digest: Digest,
        notes: Notes,
        hints: &Hints<'_>,
    ) -> Result<Report, Rejection> {
        match self.root {
            Root::Awaited => return Err(Rejection::WrongRoot),
            Root::Open if self.is_left_open() => self.notes.add(Oddity::UnclosedRoot),
            Root::Open => return Err(Rejection::Truncated),
            Root::Closed => {}
        }
        let domain = self.domain();
        let (mut head, mut tally, mut all) = (self.head, self.tally, notes);
        all.merge(self.notes);
        let (begin, end) = range::stated(head.begin.as_deref(), head.end.as_deref())?;
        range::note(begin, end, &mut all);
        let domain = match (domain, head.domain.as_deref().unwrap_or_default()) {
            (Some(domain), _) => domain,
            // A name that cannot be one is not replaced by a guess.
            (None, stated) if !stated.is_empty() => return Err(Rejection::NoDomain),
            (None, _) => elsewhere(hints, &tally, &mut all).ok_or(Rejection::NoDomain)?,
        };
        head.name(&mut all);
        tally.settle(&mut all);
        let (metadata, policy) = head.into_parts(begin, end, domain);
        Ok(Report {
            digest,
            metadata,
            policy,
            records: tally.records,
            skipped_records: tally.skips.count,
            skipped: tally.skips.list,
            messages: tally.messages,
            totals: tally.totals,
            notes: all.into_texts(),
        })
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
