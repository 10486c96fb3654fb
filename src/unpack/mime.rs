//! The structure of a mail: every leaf part at any depth, decoded.
//!
//! The structure is walked here and not by mail-parser, whose 0.11 nests without bound and
//! overflows the stack when such a message is dropped. It reads what it reads well, the fields of
//! one part at a time; so every bound holds before anything is allocated, and the recursion is as
//! deep as [`Bounds::mime_depth`].

use std::{borrow::Cow, io::BufRead};

use mail_parser::{ContentType, MessageParser, MimeHeaders};

use super::{
    Bounds,
    explore::clean_name,
    header::{header_lines, header_of, starts_with_field},
    inflate::Source,
    room::Room,
    transfer::{Encoding, base64_within, decode},
};
use crate::{limits::SNIFF, terms::Rejection};

/// What the fields that are looked at mostly come to, in bytes.
const USUAL_FIELDS: usize = 512;

/// A leaf part; or a message, or where a failure report begins and ends.
pub(super) struct Leaf<'a> {
    /// Its number as IMAP counts (RFC 3501 section 6.4.5): `1`, `2.1`; the mail itself has none.
    pub part: String,
    /// What it is to failure reports.
    pub role: Role,
    /// The name its fields give it.
    pub file_name: Option<String>,
    /// Not labelled as something for people to see: a text, a picture.
    pub attached: bool,
    /// The content.
    pub source: Source<'a>,
}

impl Leaf<'_> {
    fn into_owned<'b>(self) -> Leaf<'b> {
        Leaf {
            part: self.part,
            role: self.role,
            file_name: self.file_name,
            attached: self.attached,
            source: self.source.into_owned(),
        }
    }
}

/// What something in a mail is to failure reports (RFC 5965 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A leaf, whatever is in it.
    Content,
    /// A leaf that is labelled as the fields of a report.
    Feedback,
    /// A leaf that is labelled as the header of a message.
    Header,
    /// The mail itself, or a message in it; walked unless the callback says no.
    Message,
    /// Here begins a multipart that is labelled as a failure report.
    Begins,
    /// Here it ends.
    Ends,
}

impl Leaf<'_> {
    /// Something that is no leaf.
    fn mark(part: &str, role: Role) -> Self {
        Self {
            part: part.to_owned(),
            role,
            file_name: None,
            attached: false,
            source: Source::new(Encoding::Plain, Cow::Borrowed(&[])),
        }
    }
}

/// A walk through one mail, with what it has used of its bounds.
pub(super) struct Walk<'b> {
    bounds: &'b Bounds,
    parser: MessageParser,
    room: Room,
    parts: usize,
    headers: usize,
    /// Bytes in which boundaries were looked for.
    searched: usize,
    /// Parts that were not walked, and why.
    pub rejected: Vec<(String, Rejection)>,
}

/// What the fields of a part say.
#[derive(Default)]
struct Fields {
    major: String,
    minor: String,
    boundary: Option<String>,
    encoding: String,
    file_name: Option<String>,
    attachment: bool,
    is_failure_report: bool,
}

impl Fields {
    /// The header of a part that is a message: one labelled so, or a file by the name of one, as
    /// people attach mails to mails.
    fn header_if_message(&self, header: impl FnOnce() -> Vec<u8>) -> Option<Vec<u8>> {
        if self.major == "message" && matches!(&*self.minor, "rfc822" | "global" | "news") {
            return Some(header());
        }
        let name = self.file_name.as_deref()?;
        let end = name.get(name.len().checked_sub(4)?..)?;
        let is_named = [".eml", ".msg"]
            .iter()
            .any(|it| end.eq_ignore_ascii_case(it));
        // Outlook's own files have that name, too.
        is_named.then(header).filter(|it| starts_with_field(it))
    }
}

/// Its answer counts for a [`Role::Message`] only: whether to walk into it.
type OnLeaf<'f, 'a> = &'f mut dyn FnMut(Leaf<'a>) -> bool;

impl<'b> Walk<'b> {
    pub(super) fn new(bounds: &'b Bounds, room: Room) -> Self {
        Self {
            bounds,
            parser: MessageParser::new()
                .with_mime_headers()
                .default_header_ignore(),
            room,
            parts: 0,
            headers: 0,
            searched: 0,
            rejected: Vec::new(),
        }
    }

    /// Walks a whole mail.
    pub(super) fn message<'a>(&mut self, raw: &'a [u8], on: OnLeaf<'_, 'a>) {
        // The envelope line of an mbox, where a message was cut out with it.
        let envelope = raw.starts_with(b"From ") || raw.starts_with(b">From ");
        let end = raw.iter().position(|&byte| envelope && byte == b'\n');
        let raw = end.map_or(raw, |end| &raw[end + 1..]);
        if starts_with_field(raw) {
            let mut mail = Leaf::mark("", Role::Message);
            mail.source = Source::new(Encoding::Plain, Cow::Borrowed(raw));
            on(mail);
            self.entity(raw, "", 0, "", on);
        } else {
            self.headless(raw, on);
        }
    }

    /// A mail without its header, as `postcat -b` prints it: what the header would have said is
    /// told from the first bytes.
    fn headless<'a>(&mut self, body: &'a [u8], on: OnLeaf<'_, 'a>) {
        if let Some(boundary) = first_boundary(&body[..body.len().min(SNIFF)])
            && self.multipart(body, &boundary, "", 0, "", on)
        {
            return;
        }
        on(Leaf {
            part: "1".to_owned(),
            role: Role::Content,
            file_name: None,
            attached: false,
            source: Source::new(Encoding::Plain, body.into()),
        });
    }

    /// Walks a message or a part. `path` is the number of a part, or empty for a whole mail;
    /// a message within a part has the part's number in front of its own.
    fn entity<'a>(
        &mut self,
        raw: &'a [u8],
        path: &str,
        depth: usize,
        default: &str,
        on: OnLeaf<'_, 'a>,
    ) {
        let name = if path.is_empty() { "1" } else { path };
        if depth > self.bounds.mime_depth {
            return self.reject(name, Rejection::MimeTooComplex);
        }
        let Some((block, body)) = self.split(raw) else {
            return self.reject(name, Rejection::MimeTooComplex);
        };
        let mut fields = fields(&self.parser, &block);
        if fields.major.is_empty() && !default.is_empty() {
            default.clone_into(&mut fields.major);
            "rfc822".clone_into(&mut fields.minor);
        }
        if fields.major == "multipart" {
            let digest = if fields.minor == "digest" {
                "message"
            } else {
                ""
            };
            if fields.is_failure_report {
                on(Leaf::mark(path, Role::Begins));
            }
            let told = fields.boundary.as_deref();
            let mut walk = |by: &str| self.multipart(body, by, path, depth, digest, on);
            // Where the boundary is not told, or never comes, the body tells.
            let walked = told.is_some_and(&mut walk)
                || first_boundary(&body[..body.len().min(SNIFF)]).is_some_and(|by| walk(&by));
            if fields.is_failure_report {
                on(Leaf::mark(path, Role::Ends));
            }
            if walked {
                return;
            }
        }
        let (encoding, bytes) = match decode(body, &fields.encoding, &self.room) {
            Ok(decoded) => decoded,
            Err(rejection) => return self.reject(name, rejection),
        };
        // Of a message the header is enough to tell whether it is to be walked.
        let header = || header_of(&Source::new(encoding, Cow::Borrowed(&bytes)));
        if let Some(header) = fields.header_if_message(header) {
            let mut message = Leaf::mark(name, Role::Message);
            message.source = Source::new(Encoding::Plain, Cow::Owned(header));
            if on(message) {
                self.nested(encoding, bytes, path, depth, on);
            }
            return;
        }
        on(Leaf {
            part: name.to_owned(),
            role: match (&*fields.major, &*fields.minor) {
                ("message", "feedback-report") => Role::Feedback,
                // The second is that of RFC 6533.
                ("text", "rfc822-headers") | ("message", "global-headers") => Role::Header,
                _ => Role::Content,
            },
            attached: match &*fields.major {
                "" | "text" => fields.attachment,
                "image" => false,
                _ => true,
            },
            file_name: fields.file_name,
            source: Source::new(encoding, bytes),
        });
    }

    /// A message as a part: its own parts are counted below that part.
    fn nested<'a>(
        &mut self,
        encoding: Encoding,
        raw: Cow<'a, [u8]>,
        path: &str,
        depth: usize,
        on: OnLeaf<'_, 'a>,
    ) {
        let prefix = if path.is_empty() { "1" } else { path };
        let mut inner = Vec::new();
        // The inner message numbers its single part 1, as a whole mail does.
        let mut renumber = |mut leaf: Leaf<'a>| {
            leaf.part = match &*leaf.part {
                "" => prefix.to_owned(),
                part => format!("{prefix}.{part}"),
            };
            on(leaf)
        };
        std::mem::swap(&mut inner, &mut self.rejected);
        // RFC 2046 section 5.2.1 forbids to encode a message, and Exchange does not care.
        let raw = match encoding {
            Encoding::Base64 => base64_within(&raw, &self.room).map(Cow::Owned),
            Encoding::Plain => Ok(raw),
        };
        match raw {
            Err(rejection) => self.reject("1", rejection),
            Ok(Cow::Borrowed(raw)) => self.entity(raw, "", depth + 1, "", &mut renumber),
            // Its parts are copied out of what was decoded.
            Ok(Cow::Owned(raw)) => match self.room.take(raw.len()) {
                Err(rejection) => self.reject("1", rejection),
                Ok(()) => self.entity(&raw, "", depth + 1, "", &mut |leaf| {
                    renumber(leaf.into_owned())
                }),
            },
        }
        std::mem::swap(&mut inner, &mut self.rejected);
        self.rejected.extend(
            inner
                .into_iter()
                .map(|(part, rejection)| (format!("{prefix}.{part}"), rejection)),
        );
    }

    /// Walks the parts between the boundary lines; `false` if there is none, and the body is
    /// then a leaf, whatever it was called. A missing last boundary ends the last part.
    fn multipart<'a>(
        &mut self,
        body: &'a [u8],
        boundary: &str,
        path: &str,
        depth: usize,
        default: &str,
        on: OnLeaf<'_, 'a>,
    ) -> bool {
        let mut start = None;
        let mut number = 0;
        let mut offset = 0;
        // Multiparts within each other each look through all that is below them.
        self.searched += body.len();
        if self.searched > self.bounds.searched {
            let name = if path.is_empty() { "1" } else { path };
            self.reject(name, Rejection::MimeTooComplex);
            return true;
        }
        for line in lines(body) {
            let here = offset;
            offset += line.len();
            let Some(last) = boundary_line(line, boundary.as_bytes()) else {
                continue;
            };
            if let Some(start) = start {
                number += 1;
                let part = without_line_end(&body[start..here]);
                self.part(part, path, number, depth, default, on);
            }
            start = Some(offset);
            if last {
                return true;
            }
        }
        if let Some(start) = start {
            self.part(&body[start..], path, number + 1, depth, default, on);
        }
        start.is_some()
    }

    fn part<'a>(
        &mut self,
        raw: &'a [u8],
        path: &str,
        number: usize,
        depth: usize,
        default: &str,
        on: OnLeaf<'_, 'a>,
    ) {
        if self.parts >= self.bounds.parts {
            // Said once, at the mail itself: the parts that were walked stay.
            return self.reject("1", Rejection::MimeTooComplex);
        }
        self.parts += 1;
        let path = if path.is_empty() {
            number.to_string()
        } else {
            format!("{path}.{number}")
        };
        self.entity(raw, &path, depth + 1, default, on);
    }

    fn reject(&mut self, part: &str, rejection: Rejection) {
        let line = (part.to_owned(), rejection);
        if self.rejected.last() != Some(&line) {
            self.rejected.push(line);
        }
    }

    /// Splits an entity into the fields that matter here and its body; `None` if its header is
    /// beyond the bounds.
    fn split<'a>(&mut self, raw: &'a [u8]) -> Option<(Vec<u8>, &'a [u8])> {
        const WANTED: [&[u8]; 4] = [
            b"content-type:",
            b"content-transfer-encoding:",
            b"content-disposition:",
            // Trustwave's spelling.
            b"contenttype:",
        ];
        let mut block = Vec::with_capacity(USUAL_FIELDS);
        let mut seen = [false; 4];
        let mut keep = false;
        let mut length = 0;
        let mut offset = 0;
        for line in header_lines(raw) {
            offset += line.len();
            self.headers += 1;
            if matches!(line[0], b' ' | b'\t') {
                length += line.len();
            } else {
                length = line.len();
                // Of a field that comes twice the first counts, here as in the MTA's filters.
                keep = WANTED.iter().zip(&mut seen).any(|(name, seen)| {
                    let wanted = line
                        .get(..name.len())
                        .is_some_and(|start| start.eq_ignore_ascii_case(name));
                    wanted && !std::mem::replace(seen, true)
                });
            }
            let most = if keep {
                self.bounds.field
            } else {
                self.bounds.header
            };
            if length > most || self.headers > self.bounds.headers {
                return None;
            }
            if keep {
                block.extend_from_slice(line);
            }
        }
        if let Some(at) = seen[3].then(|| find_typo(&block)).flatten() {
            block.splice(at + 7..at + 7, *b"-");
        }
        let end = lines(&raw[offset..]).next().map_or(0, <[u8]>::len);
        Some((block, &raw[offset + end..]))
    }
}

/// What is before a boundary line without the line end that belongs to the boundary (RFC 2046 section
/// 5.1.1): the same document has the same digest with and without an encoding.
fn without_line_end(part: &[u8]) -> &[u8] {
    let part = part.strip_suffix(b"\n").unwrap_or(part);
    part.strip_suffix(b"\r").unwrap_or(part)
}

/// The lines, with their ends, found by words and not by bytes.
pub(super) fn lines(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let here = rest;
        // In memory there is nothing to fail.
        let length = rest.skip_until(b'\n').unwrap_or(0);
        (length > 0).then(|| &here[..length])
    })
}

/// The boundary of a body whose header is not there: of the first line that looks like one and
/// is followed by a field of a part.
fn first_boundary(body: &[u8]) -> Option<String> {
    let mut lines = body.split(|&byte| byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let next = lines.peek().copied().unwrap_or_default();
        let is_part = next
            .get(..8)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"content-"));
        if let Some(boundary) = line.strip_prefix(b"--").filter(|_| is_part) {
            return std::str::from_utf8(boundary.trim_ascii_end())
                .ok()
                .map(str::to_owned);
        }
    }
    None
}

/// Where `ContentType:` starts a line.
fn find_typo(block: &[u8]) -> Option<usize> {
    (0..block.len()).find(|&at| {
        (at == 0 || block[at - 1] == b'\n')
            && block
                .get(at..at + 12)
                .is_some_and(|start| start.eq_ignore_ascii_case(b"contenttype:"))
    })
}

/// Reads the fields of one part. The block holds at most four, each bounded.
fn fields(parser: &MessageParser, block: &[u8]) -> Fields {
    if block.is_empty() {
        return Fields::default();
    }
    let whole = [block, b"\r\n\r\n"].concat();
    let Some(parsed) = parser.parse_headers(&whole).filter(|m| !m.parts.is_empty()) else {
        return Fields::default();
    };
    let kind = parsed.content_type();
    let disposition = parsed.content_disposition();
    Fields {
        major: kind.map_or(String::new(), |kind| kind.ctype().to_ascii_lowercase()),
        minor: kind
            .and_then(|kind| kind.subtype())
            .map_or(String::new(), str::to_ascii_lowercase),
        boundary: kind
            .and_then(|kind| kind.attribute("boundary"))
            .map(|boundary| boundary.trim_end().to_owned())
            .filter(|boundary| !boundary.is_empty()),
        encoding: parsed
            .content_transfer_encoding()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase(),
        file_name: parsed.attachment_name().and_then(clean_name),
        is_failure_report: kind
            .filter(|kind| {
                kind.subtype()
                    .is_some_and(|minor| minor.eq_ignore_ascii_case("report"))
            })
            .and_then(|kind| kind.attribute("report-type"))
            .is_some_and(|of| of.eq_ignore_ascii_case("feedback-report")),
        attachment: disposition.is_some_and(ContentType::is_attachment)
            || parsed.attachment_name().is_some(),
    }
}

/// Whether a line is the boundary, and if so, whether it is the last one (RFC 2046 section 5.1.1).
fn boundary_line(line: &[u8], boundary: &[u8]) -> Option<bool> {
    let rest = line.strip_prefix(b"--")?.strip_prefix(boundary)?;
    match rest.trim_ascii() {
        b"" => Some(false),
        b"--" => Some(true),
        _ => None,
    }
}
