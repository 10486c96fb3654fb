//! From leaf parts to documents: opens containers as deep as the bound allows and looks inside.

use std::{borrow::Cow, io::Read};

use super::{
    Bounds, Document, Headers, Shape, Unpacked,
    failure::Pairing,
    header::header_of,
    inflate::{Account, Layer, Source},
    members,
    mime::{self, Leaf, Role},
    room::Room,
    sniff::{self, Look},
    transfer::{Encoding, base64, base64_within, is_base64},
    uuencode,
};
use crate::{
    limits::{MAX_FILE_NAME, READ_CHUNK, SNIFF},
    terms::Rejection,
};

/// Collects what one mail holds.
pub(super) struct Explorer<'a> {
    bounds: Bounds,
    account: Account,
    room: Room,
    found: Unpacked<'a>,
    pairing: Pairing<'a>,
}

/// A piece under examination.
struct Piece<'a> {
    part: String,
    file_name: Option<String>,
    source: Source<'a>,
    /// Containers that were opened on the way to it.
    depth: usize,
}

impl<'a> Piece<'a> {
    fn of(leaf: Leaf<'a>) -> Self {
        Self {
            part: leaf.part,
            file_name: leaf.file_name,
            source: leaf.source,
            depth: 0,
        }
    }
}

impl<'a> Explorer<'a> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            account: Account::new(bounds.inflated, bounds.inflated_total),
            room: Room::new(bounds.held),
            found: Unpacked::default(),
            pairing: Pairing::default(),
        }
    }

    pub(super) fn finish(self) -> Unpacked<'a> {
        Unpacked {
            held: self.bounds.held - self.room.left(),
            ..self.found
        }
    }

    pub(super) fn reject(&mut self, part: &str, rejection: Rejection) {
        // One line for each part and reason, however often it came up; each becomes a row of the
        // store, so a mail gets no more of them than reports.
        let line = (part.to_owned(), rejection);
        if self.found.rejected.len() <= self.bounds.documents
            && !self.found.rejected.contains(&line)
        {
            self.found.rejected.push(line);
        }
    }

    /// A file that is no mail: whatever it holds was meant as a report.
    pub(super) fn bare(&mut self, raw: &'a [u8]) {
        match sniff::look(raw) {
            Look::Html => self.reject("1", Rejection::NotAReport),
            Look::Unused | Look::Nothing => self.reject("1", Rejection::Empty),
            _ => self.explore(Piece {
                part: "1".to_owned(),
                file_name: None,
                source: Source::new(Encoding::Plain, raw.into()),
                depth: 0,
            }),
        }
    }

    /// Every leaf part of a mail.
    pub(super) fn mail(&mut self, raw: &'a [u8]) {
        let bounds = self.bounds;
        let mut walk = mime::Walk::new(&bounds, self.room.clone());
        walk.message(raw, &mut |leaf| self.meet(leaf));
        for (part, rejection) in walk.rejected {
            self.reject(&part, rejection);
        }
    }

    /// Takes what the walk came to; says whether a message is to be walked.
    fn meet(&mut self, leaf: Leaf<'a>) -> bool {
        match leaf.role {
            Role::Begins => {
                self.found.holds_failure = true;
                self.pairing.begin(&leaf.part);
            }
            Role::Ends if self.pairing.end(&leaf.part) => {}
            Role::Ends => self.reject(&leaf.part, Rejection::NoFeedback),
            Role::Feedback => self.document(Piece::of(leaf), Shape::Feedback),
            Role::Content => self.content(leaf),
            Role::Message | Role::Header => match self.pairing.reported(&leaf.part) {
                Some(waiting) => {
                    let document = waiting
                        .take()
                        .and_then(|at| self.found.documents.get_mut(at));
                    if let Some(headers) = document.and_then(|of| of.headers.as_mut()) {
                        headers.reported = header_of(&leaf.source);
                    }
                    return false;
                }
                None if leaf.role == Role::Header => self.content(leaf),
                None => self.pairing.enter(leaf),
            },
        }
        true
    }

    fn content(&mut self, leaf: Leaf<'a>) {
        let is_attached = leaf.attached;
        let mut piece = Piece::of(leaf);
        let mut look = peek(&mut piece.source).unwrap_or(Look::Nothing);
        if look == Look::Other
            && let Some((source, meant)) = labelled_wrongly(&piece.source)
        {
            (piece.source, look) = (source, meant);
        }
        match look {
            // What a mail says to people, and what it carries besides.
            Look::Html => {}
            // Gateways put a warning before texts.
            Look::Other if sniff::has_root(&head(&piece.source)) => {
                self.document(piece, Shape::Xml);
            }
            Look::Other => self.uuencoded(&piece),
            Look::Nothing | Look::Unused if !is_attached => {}
            Look::Nothing | Look::Unused => self.reject(&piece.part, Rejection::Empty),
            Look::Document(Shape::Xml) if !is_attached && !means_xml(&piece.source) => {}
            Look::Zlib if !sniff::inflates(piece.source.open()) => {}
            look => self.open(piece, look),
        }
    }

    /// Files within a text, counted as the members of a container are.
    fn uuencoded(&mut self, text: &Piece<'a>) {
        if !text.source.is_plain() {
            return;
        }
        let room = self.room.clone();
        for (at, file) in uuencode::files(&text.source.bytes, &room).enumerate() {
            let part = format!("{}/{}", text.part, at + 1);
            let bytes = match file.bytes {
                Ok(bytes) if at < self.bounds.members => bytes,
                Ok(_) => return self.reject(&part, Rejection::TooLarge),
                Err(rejection) => return self.reject(&part, rejection),
            };
            let source = Source::new(Encoding::Plain, bytes.into());
            self.member(Piece {
                part,
                file_name: clean_name(&file.name),
                source,
                depth: text.depth,
            });
        }
    }

    /// Looks into one of several files that came together.
    fn member(&mut self, mut inside: Piece<'a>) {
        match peek(&mut inside.source) {
            // Texts and pictures beside the report are nobody's fault.
            Ok(Look::Other | Look::Html) => {}
            Ok(look) => self.open(inside, look),
            Err(rejection) => self.reject(&inside.part, rejection),
        }
    }

    /// Looks into one piece and opens it.
    fn explore(&mut self, mut piece: Piece<'a>) {
        match peek(&mut piece.source) {
            Ok(look) => self.open(piece, look),
            Err(rejection) => self.reject(&piece.part, rejection),
        }
    }

    /// Opens one piece; the recursion is as deep as containers may be.
    fn open(&mut self, piece: Piece<'a>, look: Look) {
        match look {
            Look::Document(shape) => self.document(piece, shape),
            Look::Gzip => self.inner(piece, Layer::Gzip),
            Look::Zlib => self.inner(piece, Layer::Zlib),
            Look::Zip => self.zip(&piece),
            Look::Unused | Look::Nothing => self.reject(&piece.part, Rejection::Empty),
            Look::Html | Look::Other => self.reject(&piece.part, Rejection::NotAReport),
        }
    }

    fn document(&mut self, piece: Piece<'a>, shape: Shape) {
        let is_failure = matches!(shape, Shape::Feedback | Shape::Notice);
        let has_room = self.found.documents.len() < self.bounds.documents;
        if is_failure {
            self.found.holds_failure = true;
            if piece.depth == 0 {
                let document = has_room.then_some(self.found.documents.len());
                self.pairing.fields(&piece.part, document);
            }
        }
        if !has_room {
            return self.reject(&piece.part, Rejection::TooLarge);
        }
        self.found.documents.push(Document {
            headers: is_failure.then(|| Headers {
                mail: self.pairing.mail(&piece.part),
                reported: Vec::new(),
            }),
            part: piece.part,
            file_name: piece.file_name,
            shape,
            source: piece.source,
        });
    }

    fn inner(&mut self, piece: Piece<'a>, layer: Layer) {
        if piece.depth >= self.bounds.container_depth {
            return self.reject(&piece.part, Rejection::TooLarge);
        }
        self.explore(Piece {
            source: piece.source.within(layer, self.account.another()),
            depth: piece.depth + 1,
            ..piece
        });
    }

    fn zip(&mut self, piece: &Piece<'a>) {
        if piece.depth >= self.bounds.container_depth {
            return self.reject(&piece.part, Rejection::TooLarge);
        }
        let archive = match self.archive(piece) {
            Ok(archive) => archive,
            Err(rejection) => return self.reject(&piece.part, rejection),
        };
        let entries = match members::entries(&archive.bytes, self.bounds.members) {
            Ok(entries) => entries,
            Err(rejection) => return self.reject(&piece.part, rejection),
        };
        if entries.is_empty() {
            return self.reject(&piece.part, Rejection::Empty);
        }
        let before = self.found.documents.len() + self.found.rejected.len();
        for entry in entries {
            let part = format!("{}/{}", piece.part, entry.number);
            let member = match entry.member {
                Ok(member) => member,
                Err(rejection) => {
                    self.reject(&part, rejection);
                    continue;
                }
            };
            self.member(Piece {
                part,
                file_name: clean_name(&entry.name),
                source: archive.within(Layer::Member(member), self.account.another()),
                depth: piece.depth + 1,
            });
        }
        if before == self.found.documents.len() + self.found.rejected.len() {
            self.reject(&piece.part, Rejection::NotAReport);
        }
    }

    /// The bytes of a zip file, which is read from its end and so held whole: those of the part,
    /// or a copy without its encoding and other containers.
    fn archive(&mut self, piece: &Piece<'a>) -> Result<Source<'a>, Rejection> {
        if piece.source.is_plain() {
            return Ok(piece.source.clone());
        }
        if piece.source.layers.is_empty() {
            let bytes = base64_within(&piece.source.bytes, &self.room)?;
            return Ok(Source::new(Encoding::Plain, bytes.into()));
        }
        let most = self.room.left() as u64;
        let mut bytes = Vec::new();
        piece
            .source
            .open()
            .take(most + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| Rejection::within(&error).unwrap_or(Rejection::BadContainer))?;
        self.room.take(bytes.len())?;
        Ok(Source::new(Encoding::Plain, bytes.into()))
    }
}

/// Looks at the start of what lies there. What is short is read to its end, and then stands for what
/// it was read from: most reports are decoded and inflated once, and not each time they are opened.
fn peek(source: &mut Source<'_>) -> Result<Look, Rejection> {
    if source.is_plain() {
        return Ok(sniff::look(&source.bytes));
    }
    let is_packed = !source.layers.is_empty();
    if !is_packed && source.bytes.len() <= 2 * SNIFF {
        let bytes = base64(&source.bytes);
        let look = sniff::look(&bytes);
        // What is nothing without the encoding may not be in it, whatever its label.
        if look != Look::Other {
            *source = Source::new(Encoding::Plain, bytes.into());
        }
        return Ok(look);
    }
    let most = if is_packed { READ_CHUNK } else { SNIFF };
    let mut start = Vec::with_capacity(SNIFF);
    let read = source.open().take(most as u64).read_to_end(&mut start);
    let look = sniff::look(&start);
    match read {
        Ok(length) if is_packed && length < most => {
            *source = Source::new(Encoding::Plain, start.into());
        }
        // What fails later fails again when the document is read, which tells where.
        Err(error) if start.len() < SNIFF => {
            return Err(Rejection::within(&error).unwrap_or(Rejection::BadContainer));
        }
        _ => {}
    }
    Ok(look)
}

/// A part as it may have been meant: in base64 without its label, or with the label and not in it.
fn labelled_wrongly<'a>(source: &Source<'a>) -> Option<(Source<'a>, Look)> {
    let encoding = match source.encoding {
        Encoding::Base64 => Encoding::Plain,
        // What decodes by leaving half of it out was never encoded: the first letters of a
        // picture or of a letter may come to a `<` that way.
        Encoding::Plain if is_base64(&head(source)) => Encoding::Base64,
        Encoding::Plain => return None,
    };
    let mut other = Source {
        encoding,
        ..source.clone()
    };
    let look = peek(&mut other).ok()?;
    let tells = !matches!(look, Look::Other | Look::Nothing);
    tells.then_some((other, look))
}

/// Whether a part that looks like XML and is labelled as a text or a picture is a report all the
/// same.
fn means_xml(source: &Source<'_>) -> bool {
    let head = head(source);
    let utf16 = head
        .iter()
        .take(2)
        .any(|byte| !byte.is_ascii() || *byte == 0);
    utf16 || sniff::has_root(&head)
}

/// As much of the start as tells what it is.
fn head<'s>(source: &'s Source<'_>) -> Cow<'s, [u8]> {
    if source.is_plain() {
        return Cow::Borrowed(&source.bytes[..source.bytes.len().min(SNIFF)]);
    }
    let mut head = Vec::with_capacity(SNIFF);
    // What came before an error may tell enough.
    let _ = source.open().take(SNIFF as u64).read_to_end(&mut head);
    Cow::Owned(head)
}

/// A file name without folders, control characters and excess; nothing is ever stored under it.
pub(super) fn clean_name(name: &str) -> Option<String> {
    let base = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut clean = String::with_capacity(base.len().min(MAX_FILE_NAME));
    clean.extend(base.chars().filter(|c| !c.is_control()).take(MAX_FILE_NAME));
    (!clean.trim().is_empty()).then(|| clean.trim().to_owned())
}
