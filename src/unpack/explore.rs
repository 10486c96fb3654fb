//! From leaf parts to documents: opens containers as deep as the bound allows and looks inside.

use std::io::Read;

use super::{
    Bounds, Document, Shape, Unpacked,
    inflate::{Account, Layer, Source},
    members, mime,
    sniff::{self, Look},
};
use crate::{
    limits::{MAX_FILE_NAME, SNIFF},
    terms::Rejection,
};

/// Collects what one mail holds.
pub(super) struct Explorer {
    bounds: Bounds,
    account: Account,
    found: Unpacked,
}

/// A piece under examination.
struct Piece {
    part: String,
    file_name: Option<String>,
    source: Source,
    /// Containers that were opened on the way to it.
    depth: usize,
}

impl Explorer {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            account: Account::new(bounds.inflated, bounds.inflated_total),
            found: Unpacked::default(),
        }
    }

    pub(super) fn finish(self) -> Unpacked {
        self.found
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
    pub(super) fn bare(&mut self, raw: &[u8]) {
        let piece = piece("1".to_owned(), None, raw.to_vec());
        match sniff::look(&raw[..raw.len().min(SNIFF)]) {
            Look::Html => self.reject("1", Rejection::NotAReport),
            Look::Unused | Look::Nothing => self.reject("1", Rejection::Empty),
            _ => self.explore(piece),
        }
    }

    /// Every leaf part of a mail.
    pub(super) fn mail(&mut self, raw: &[u8]) {
        let bounds = self.bounds;
        let mut walk = mime::Walk::new(&bounds);
        walk.message(raw, &mut |leaf| {
            let head = &leaf.bytes[..leaf.bytes.len().min(SNIFF)];
            match sniff::look(head) {
                // What a mail says to people, and what it carries besides.
                Look::Html | Look::Other => {}
                Look::Nothing | Look::Unused if !leaf.attached => {}
                Look::Nothing | Look::Unused => self.reject(&leaf.part, Rejection::Empty),
                Look::Document(Shape::Xml) if !leaf.attached && !means_xml(head) => {}
                Look::Zlib if !sniff::inflates(&leaf.bytes) => {}
                _ => {
                    let piece = piece(leaf.part, leaf.file_name, leaf.bytes.into_owned());
                    self.explore(piece);
                }
            }
        });
        for (part, rejection) in walk.rejected {
            self.reject(&part, rejection);
        }
    }

    /// Opens one piece; the recursion is as deep as containers may be.
    fn explore(&mut self, piece: Piece) {
        let head = match peek(&piece) {
            Ok(head) => head,
            Err(rejection) => return self.reject(&piece.part, rejection),
        };
        match sniff::look(&head) {
            Look::Document(shape) => self.document(piece, shape),
            Look::Gzip => self.inner(piece, Layer::Gzip),
            Look::Zlib => self.inner(piece, Layer::Zlib),
            Look::Zip => self.zip(&piece),
            Look::Unused | Look::Nothing => self.reject(&piece.part, Rejection::Empty),
            Look::Html | Look::Other => self.reject(&piece.part, Rejection::NotAReport),
        }
    }

    fn document(&mut self, piece: Piece, shape: Shape) {
        if self.found.documents.len() >= self.bounds.documents {
            return self.reject(&piece.part, Rejection::TooLarge);
        }
        self.found.documents.push(Document {
            part: piece.part,
            file_name: piece.file_name,
            shape,
            source: piece.source,
        });
    }

    fn inner(&mut self, piece: Piece, layer: Layer) {
        if piece.depth >= self.bounds.container_depth {
            return self.reject(&piece.part, Rejection::TooLarge);
        }
        self.explore(Piece {
            source: piece.source.within(layer, self.account.another()),
            depth: piece.depth + 1,
            ..piece
        });
    }

    fn zip(&mut self, piece: &Piece) {
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
            let inside = Piece {
                part,
                file_name: clean_name(&entry.name),
                source: archive.within(Layer::Member(member), self.account.another()),
                depth: piece.depth + 1,
            };
            // Texts and pictures beside the report are nobody's fault.
            let look = peek(&inside).map(|head| sniff::look(&head));
            if !matches!(look, Ok(Look::Other | Look::Html)) {
                self.explore(inside);
            }
        }
        if before == self.found.documents.len() + self.found.rejected.len() {
            self.reject(&piece.part, Rejection::NotAReport);
        }
    }

    /// The bytes of a zip file: those of the part, or, within another container, inflated.
    fn archive(&mut self, piece: &Piece) -> Result<Source, Rejection> {
        if piece.source.layers.is_empty() {
            return Ok(piece.source.clone());
        }
        let most = (self.bounds.inner_zips - self.found.inner_zips) as u64;
        let mut bytes = Vec::new();
        piece
            .source
            .open()
            .take(most + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| Rejection::within(&error).unwrap_or(Rejection::BadContainer))?;
        if bytes.len() as u64 > most {
            return Err(Rejection::TooLarge);
        }
        self.found.inner_zips += bytes.len();
        Ok(Source::plain(bytes))
    }
}

/// A leaf part, or a bare file.
fn piece(part: String, file_name: Option<String>, bytes: Vec<u8>) -> Piece {
    Piece {
        part,
        file_name,
        source: Source::plain(bytes),
        depth: 0,
    }
}

/// The first bytes of a piece.
fn peek(piece: &Piece) -> Result<Vec<u8>, Rejection> {
    let mut head = Vec::new();
    piece
        .source
        .open()
        .take(SNIFF as u64)
        .read_to_end(&mut head)
        .map_err(|error| Rejection::within(&error).unwrap_or(Rejection::BadContainer))?;
    Ok(head)
}

/// Whether a part that looks like XML and is labelled as a text or a picture is a report all the
/// same.
fn means_xml(head: &[u8]) -> bool {
    let utf16 = head
        .iter()
        .take(2)
        .any(|byte| !byte.is_ascii() || *byte == 0);
    utf16 || sniff::has_root(head)
}

/// A file name without folders, control characters and excess; nothing is ever stored under it.
pub(super) fn clean_name(name: &str) -> Option<String> {
    let base = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = base
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_FILE_NAME)
        .collect();
    (!clean.trim().is_empty()).then(|| clean.trim().to_owned())
}
