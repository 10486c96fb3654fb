//! Mails and containers -> documents.

use std::{
    collections::HashSet,
    io::{Cursor, Read, Write},
};

use flate2::{
    Compression,
    read::{MultiGzDecoder, ZlibDecoder},
    write::{GzEncoder, ZlibEncoder},
};
use rua_milter::{
    config::domains::{Details, DomainList},
    domain::Domain,
    intake::examine::{Opinion, examine},
    limits,
    pipeline::hints,
    report::{self, Whole},
    terms::{Kind, Rejection},
    unpack::{self, Bounds, Document},
};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// So small that inputs of a fuzzer reach them.
const BOUNDS: Bounds = Bounds {
    inflated: 20_000,
    inflated_total: 30_000,
    documents: 4,
    parts: 16,
    mime_depth: 3,
    header: 512,
    field: 256,
    searched: 50_000,
    headers: 64,
    members: 4,
    container_depth: 2,
    held: 10_000,
};

/// How every document starts that a recipe packs.
const ROOT: &[u8] = b"<feedback>";

/// Any mail is taken apart within the bounds, and the answer at SMTP time is one that reading all
/// of it confirms. An input that starts with NUL is a recipe for a mail instead, and the report
/// that it packs must come out.
pub fn mail(input: &[u8]) {
    if let [0, shape, encoding, content @ ..] = input {
        packed_in_a_mail(*shape, *encoding, content);
    } else {
        within_bounds(input);
        answer_holds(input, true);
        answer_holds(input, false);
    }
}

/// The same of a bare file, with two to four containers around the document in a recipe.
pub fn inflate(input: &[u8]) {
    if let [0, layers, content @ ..] = input {
        packed_in_containers(*layers, content);
    } else {
        within_bounds(input);
        as_strict_readers(input);
    }
}

/// What reading to the end gives, and why that was not the end of the document.
type Content = (Vec<u8>, Option<Rejection>);

fn content(document: &Document<'_>) -> Content {
    let mut bytes = Vec::new();
    let end = document.open().read_to_end(&mut bytes);
    let reason = |error| Rejection::within(&error).expect("every error carries its reason");
    (bytes, end.err().map(reason))
}

fn contents(documents: &[Document<'_>]) -> Vec<Content> {
    documents.iter().map(content).collect()
}

fn within_bounds(raw: &[u8]) {
    let found = unpack::documents(raw, &BOUNDS);
    assert!(found.documents.len() <= BOUNDS.documents);
    assert!(found.rejected.len() <= BOUNDS.documents + 1);
    assert!(found.held <= BOUNDS.held);
    let first = contents(&found.documents);
    // What is in no container is as long as it came.
    let came = raw.len() as u64;
    let lengths: Vec<_> = first.iter().map(|(bytes, _)| bytes.len() as u64).collect();
    assert!(
        lengths
            .iter()
            .all(|length| *length <= came.max(BOUNDS.inflated))
    );
    assert!(lengths.iter().sum::<u64>() <= came + BOUNDS.inflated_total);
    assert_eq!(first, contents(&found.documents), "read a second time");
}

/// `examine` looks at the heads only, and what it says for certain must hold for the whole.
fn answer_holds(raw: &[u8], failure_reports: bool) {
    let details = Details {
        failure_reports,
        ..Details::default()
    };
    let name = Domain::parse("d.example").expect("a name");
    let entries = [(name, details)].into_iter().collect();
    let domains = DomainList::new(entries, HashSet::new(), None, String::new());
    let opinion = examine(raw, &domains).opinion;
    let found = unpack::documents(raw, &Bounds::default());
    match opinion {
        Opinion::NotAReport => assert!(found.documents.is_empty() && found.rejected.is_empty()),
        Opinion::Foreign | Opinion::FailureReportsOff => {
            let mut about = found.documents.iter().flat_map(about);
            let is_ours = |(kind, domain): (Kind, Domain)| {
                (failure_reports || kind != Kind::Failure) && domains.covering(&domain).is_some()
            };
            assert!(!about.any(is_ours), "refused as {opinion:?}");
        }
        Opinion::Ours | Opinion::CannotTell => {}
    }
}

/// What a document is and what it is about, read to its end.
fn about(document: &Document<'_>) -> Vec<(Kind, Domain)> {
    let hints = hints(document, limits::MAX_RECORDS);
    match report::read(|| document.open(), &hints, 0) {
        Ok(Whole::Aggregate(read)) => vec![(Kind::Aggregate, read.report.policy.domain)],
        Ok(Whole::Tls(read)) => {
            let domains = read.report.domains.into_iter();
            domains.map(|domain| (Kind::Tls, domain)).collect()
        }
        Ok(Whole::Failure(report)) => vec![(Kind::Failure, report.domain)],
        Err(_) => Vec::new(),
    }
}

/// A strict reader of gzip or zlib that is content with a document gives the same bytes.
fn as_strict_readers(raw: &[u8]) {
    let mut strict = Vec::new();
    let most = BOUNDS.inflated;
    let read = match raw {
        [0x1f, 0x8b, ..] => MultiGzDecoder::new(raw).take(most).read_to_end(&mut strict),
        [0x78, ..] => ZlibDecoder::new(raw).take(most).read_to_end(&mut strict),
        _ => return,
    };
    if read.is_err() || strict.len() as u64 == most || !strict.starts_with(ROOT) {
        return;
    }
    let found = unpack::documents(raw, &BOUNDS);
    assert_eq!(contents(&found.documents), [(strict, None)]);
}

/// Two bits of `layers` for each container, the innermost first.
fn packed_in_containers(layers: u8, content: &[u8]) {
    let document = [ROOT, content].concat();
    let mut packed = document.clone();
    for layer in [layers & 3, layers >> 2 & 3] {
        packed = match layer {
            0 => zipped(&packed, CompressionMethod::Stored),
            1 => zipped(&packed, CompressionMethod::Deflated),
            2 => {
                let mut out = GzEncoder::new(Vec::new(), Compression::fast());
                out.write_all(&packed).expect("memory");
                out.finish().expect("memory")
            }
            _ => {
                let mut out = ZlibEncoder::new(Vec::new(), Compression::fast());
                out.write_all(&packed).expect("memory");
                out.finish().expect("memory")
            }
        };
    }
    comes_out(&packed, &document);
}

fn zipped(bytes: &[u8], method: CompressionMethod) -> Vec<u8> {
    let mut out = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    out.start_file("a.xml", options).expect("memory");
    out.write_all(bytes).expect("memory");
    out.finish().expect("memory").into_inner()
}

/// Two bits of `shape` for each structure around the attachment, the innermost first.
fn packed_in_a_mail(shape: u8, encoding: u8, content: &[u8]) {
    let document = [ROOT, content].concat();
    let (label, body) = match encoding % 3 {
        0 => ("base64", base64(&document)),
        1 => ("quoted-printable", quoted_printable(&document)),
        // A line of the content may be the line of a boundary.
        _ if document.windows(3).any(|here| here == b"\n--") => return,
        _ => ("8bit", document.clone()),
    };
    let header = format!("Content-Type: text/xml\r\nContent-Transfer-Encoding: {label}\r\n\r\n");
    let mut entity = [header.as_bytes(), &body].concat();
    for level in 0..4 {
        entity = match shape >> (2 * level) & 3 {
            0 => continue,
            1 => [b"Content-Type: message/rfc822\r\n\r\n", &*entity].concat(),
            // The boundary of an outer part is the start of those within it.
            kind => within_multipart(&entity, &"b".repeat(4 - level), kind == 3),
        };
    }
    comes_out(&[b"Subject: x\r\n", &*entity].concat(), &document);
}

fn within_multipart(entity: &[u8], boundary: &str, alone: bool) -> Vec<u8> {
    let text = format!("--{boundary}\r\n\r\nhello\r\n");
    let text = if alone { "" } else { &text };
    let head =
        format!("Content-Type: multipart/mixed; boundary={boundary}\r\n\r\n{text}--{boundary}\r\n");
    let tail = format!("\r\n{text}--{boundary}--\r\n");
    [head.as_bytes(), entity, tail.as_bytes()].concat()
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::new();
    for (at, group) in bytes.chunks(3).enumerate() {
        let mut word = [0; 4];
        word[1..=group.len()].copy_from_slice(group);
        let word = u32::from_be_bytes(word);
        for digit in 0..4 {
            let value = (word >> (18 - 6 * digit)) & 63;
            let is_digit = digit <= group.len();
            out.push(if is_digit {
                DIGITS[value as usize]
            } else {
                b'='
            });
        }
        if at % 19 == 18 {
            out.extend_from_slice(b"\r\n");
        }
    }
    out
}

fn quoted_printable(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, byte) in bytes.iter().enumerate() {
        write!(out, "={byte:02X}").expect("memory");
        if at % 25 == 24 {
            out.extend_from_slice(b"=\r\n");
        }
    }
    out
}

/// There is one document, whole; a line end before a boundary may have stayed with it.
fn comes_out(packed: &[u8], document: &[u8]) {
    let found = unpack::documents(packed, &Bounds::default());
    assert!(found.rejected.is_empty(), "{:?}", found.rejected);
    let [(bytes, None)] = &contents(&found.documents)[..] else {
        panic!("{:?}", contents(&found.documents));
    };
    let rest = bytes.strip_prefix(document).expect("the document");
    assert!(rest.trim_ascii().is_empty());
}
