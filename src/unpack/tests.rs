use std::{
    fmt::Write as _,
    io::{Cursor, Write},
};

use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use proptest::prelude::*;
use zip::{ZipWriter, write::SimpleFileOptions};

use super::*;

const XML: &[u8] = b"<?xml version=\"1.0\"?><feedback></feedback>";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::best());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        if name.ends_with('/') {
            out.add_directory(*name, SimpleFileOptions::default())
                .unwrap();
        } else {
            out.start_file(*name, SimpleFileOptions::default()).unwrap();
            out.write_all(bytes).unwrap();
        }
    }
    out.finish().unwrap().into_inner()
}

fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for (at, group) in bytes.chunks(3).enumerate() {
        let mut word = [0; 4];
        word[1..=group.len()].copy_from_slice(group);
        let word = u32::from_be_bytes(word);
        for digit in 0..4 {
            let value = (word >> (18 - 6 * digit)) & 63;
            let digit = if digit > group.len() {
                b'='
            } else {
                DIGITS[value as usize]
            };
            out.push(char::from(digit));
        }
        if at % 19 == 18 {
            out.push_str("\r\n");
        }
    }
    out
}

/// A part with its content in base64.
fn attachment(kind: &str, bytes: &[u8]) -> String {
    format!(
        "Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n",
        encode(bytes)
    )
}

fn multipart(parts: &[String]) -> String {
    let mut mail =
        "Subject: x\r\nContent-Type: multipart/mixed;\r\n boundary=\"=_b\"\r\n\r\nhello\r\n"
            .to_owned();
    for part in parts {
        write!(mail, "--=_b\r\n{part}\r\n").unwrap();
    }
    mail + "--=_b--\r\n"
}

fn found(raw: &[u8]) -> Unpacked<'_> {
    documents(raw, &Bounds::default())
}

fn content(document: &Document<'_>) -> Result<Vec<u8>, Rejection> {
    let mut out = Vec::new();
    match document.open().read_to_end(&mut out) {
        Ok(_) => Ok(out),
        Err(error) => Err(Rejection::within(&error).expect("every error carries its reason")),
    }
}

type Parts<T> = Vec<(String, T)>;

/// Parts with their contents, and what was rejected.
fn all(raw: &[u8]) -> (Parts<Vec<u8>>, Parts<Rejection>) {
    let unpacked = found(raw);
    let documents = unpacked
        .documents
        .iter()
        .map(|document| (document.part.clone(), content(document).unwrap()))
        .collect();
    (documents, unpacked.rejected)
}

fn one(raw: &[u8]) -> Vec<u8> {
    let (mut documents, rejected) = all(raw);
    assert_eq!((documents.len(), &rejected[..]), (1, &[][..]));
    documents.remove(0).1
}

fn rejected(raw: &[u8]) -> Vec<Rejection> {
    let (documents, rejected) = all(raw);
    assert!(documents.is_empty());
    rejected
        .into_iter()
        .map(|(_, rejection)| rejection)
        .collect()
}

#[test]
fn a_bare_file_is_known_by_its_first_bytes() {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(XML).unwrap();
    for raw in [
        XML.to_vec(),
        gzip(XML),
        gzip(&gzip(XML)),
        gzip(&zip(&[("a.xml", XML)])),
        zip(&[("a.xml.gz", &gzip(XML))]),
        zlib.finish().unwrap(),
        [&gzip(XML)[..], b"\r\n"].concat(),
        [&gzip(XML)[..], b"\x1f rubbish"].concat(),
        [gzip(&XML[..10]), gzip(&XML[10..])].concat(),
    ] {
        assert_eq!(one(&raw), XML);
    }
    let padded = [&b"\xef\xbb\xbf \n"[..], XML].concat();
    assert_eq!(one(&padded), padded);
}

#[test]
fn containers_are_opened_as_deep_as_the_bound_allows() {
    let deep = gzip(&gzip(&gzip(XML)));
    assert_eq!(rejected(&deep), [Rejection::TooLarge]);
    let zips = zip(&[("a.zip", &zip(&[("b.zip", &zip(&[("c.xml", XML)]))]))]);
    assert_eq!(rejected(&zips), [Rejection::TooLarge]);
}

#[test]
fn every_report_of_a_zip_is_found_and_litter_is_not() {
    let raw = zip(&[
        ("d/", b""),
        ("d/one.xml", XML),
        ("__MACOSX/d/one.xml", XML),
        ("d/.hidden.xml", XML),
        ("read.txt", b"read me"),
        ("..\\../two\u{7}.json", b"{}"),
    ]);
    let unpacked = found(&raw);
    let parts: Vec<_> = unpacked
        .documents
        .iter()
        .map(|document| {
            (
                &*document.part,
                document.file_name.as_deref(),
                document.shape,
            )
        })
        .collect();
    assert_eq!(
        parts,
        [
            ("1/2", Some("one.xml"), Shape::Xml),
            ("1/6", Some("two.json"), Shape::Json),
        ]
    );
    assert_eq!(unpacked.rejected, []);
    assert_eq!(rejected(&zip(&[])), [Rejection::Empty]);
    assert_eq!(
        rejected(&zip(&[("a.txt", b"text")])),
        [Rejection::NotAReport]
    );
}

#[test]
fn a_damaged_container_is_never_read_in_part() {
    let long = [XML, &b" ".repeat(100_000)].concat();
    let mut bad_sum = gzip(&long);
    let at = bad_sum.len() - 6;
    bad_sum[at] ^= 1;
    let cut = gzip(&long)[..at - 20].to_vec();
    let mut bad_zip = zip(&[("a.xml", &long)]);
    let directory = bad_zip
        .windows(4)
        .rposition(|four| four == b"PK\x01\x02")
        .unwrap();
    bad_zip[directory + 16] ^= 1;
    for raw in [bad_sum, cut, bad_zip] {
        let unpacked = found(&raw);
        let outcomes: Vec<_> = unpacked.documents.iter().map(content).collect();
        assert_eq!(outcomes, [Err(Rejection::BadContainer)]);
    }
    assert_eq!(rejected(b"PK\x03\x04rubbish"), [Rejection::BadContainer]);
    assert_eq!(rejected(&gzip(b"")), [Rejection::Empty]);
    assert_eq!(rejected(b""), [Rejection::Empty]);
}

#[test]
fn an_encrypted_member_and_a_strange_method_are_unsupported() {
    for (offset, value) in [(8, 1), (10, 99)] {
        let mut raw = zip(&[("a.xml", XML)]);
        let directory = raw
            .windows(4)
            .rposition(|four| four == b"PK\x01\x02")
            .unwrap();
        raw[directory + offset] = value;
        raw[offset - 2] = value;
        assert_eq!(rejected(&raw), [Rejection::UnsupportedContainer]);
    }
}

#[test]
fn the_placeholder_of_yahoo_is_empty() {
    let part = attachment("application/gzip", &gzip(b"unused"));
    assert_eq!(rejected(multipart(&[part]).as_bytes()), [Rejection::Empty]);
}

#[test]
fn a_bomb_ends_at_the_bound() {
    let bounds = Bounds {
        inflated: 512 << 10,
        inflated_total: 1 << 20,
        ..Bounds::default()
    };
    let bomb = [XML, &b" ".repeat(2 << 20)].concat();
    let bomb = gzip(&bomb);
    let unpacked = documents(&bomb, &bounds);
    assert_eq!(content(&unpacked.documents[0]), Err(Rejection::TooLarge));

    // The total holds over members, and reading one of them twice costs it once, even after
    // another has found too little left.
    let part = [XML, &b" ".repeat(450 << 10)].concat();
    let raw = zip(&[("a.xml", &part), ("b.xml", &part), ("c.xml", &part)]);
    let unpacked = documents(&raw, &bounds);
    let outcomes: Vec<_> = [0, 0, 1, 1, 0, 2, 0, 2]
        .map(|at: usize| content(&unpacked.documents[at]).map(|bytes| bytes.len()))
        .into();
    assert_eq!(outcomes[..5], [Ok(part.len()); 5]);
    let too_large = Err(Rejection::TooLarge);
    assert_eq!(outcomes[5..], [too_large, Ok(part.len()), too_large]);
}

#[test]
fn a_short_mail_may_not_inflate_to_as_much_as_a_long_one() {
    let most = limits::MAX_INFLATED;
    for (length, expected) in [
        (1, 1 << 20),
        (8 << 10, 2 << 20),
        ((128 << 10) - 1, (32 << 20) - 256),
        (128 << 10, most),
    ] {
        assert_eq!(inflatable(length, most), expected);
        assert_eq!(inflatable(length, 5), 5, "the operator's limit holds too");
    }
    for (blanks, expected) in [(0, Ok(1 << 20)), (1, Err(Rejection::TooLarge))] {
        let raw = gzip(&[XML, &b" ".repeat((1 << 20) - XML.len() + blanks)].concat());
        let length = content(&found(&raw).documents[0]).map(|bytes| bytes.len());
        assert_eq!(length, expected);
    }
}

#[test]
fn what_lies_between_two_containers_is_bounded_too() {
    let bounds = Bounds {
        inflated: 64 << 10,
        ..Bounds::default()
    };
    // Members of nothing, and empty blocks: megabytes of gzip from which no byte comes out.
    let members = gzip(b"").repeat(100_000);
    let mut blocks = gzip(b"")[..10].to_vec();
    blocks.extend([0, 0, 0, 0xff, 0xff].repeat(500_000));
    for inner in [&members, &blocks] {
        let outer = gzip(inner);
        let found = documents(&outer, &bounds);
        let too_much = ("1".to_owned(), Rejection::TooLarge);
        assert_eq!((found.documents.len(), found.rejected), (0, vec![too_much]));
    }
    assert_eq!(rejected(&members), [Rejection::TooLarge]);
}

#[test]
fn zips_in_other_containers_share_what_may_be_held_in_memory() {
    // What is short is held anyway, and inflated once.
    let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let noise: Vec<u8> = std::iter::successors(Some(7), next)
        .map(|state| state.to_be_bytes()[0])
        .take(40_000)
        .collect();
    let inner = zip(&[("a.xml", XML), ("b.txt", &noise)]);
    assert!(inner.len() > limits::READ_CHUNK, "{}", inner.len());
    let bounds = Bounds {
        held: 2 * inner.len(),
        ..Bounds::default()
    };
    let outer = zip(&[("1.zip", &inner), ("2.zip", &inner), ("3.zip", &inner)]);
    let found = documents(&outer, &bounds);
    assert_eq!(found.documents.len(), 2);
    assert_eq!(found.held, bounds.held);
    let third = ("1/3".to_owned(), Rejection::TooLarge);
    assert_eq!(found.rejected, [third]);
}

#[test]
fn a_declared_size_is_not_believed() {
    let mut raw = zip(&[("a.xml", XML)]);
    let directory = raw
        .windows(4)
        .rposition(|four| four == b"PK\x01\x02")
        .unwrap();
    raw[directory + 24..directory + 28].copy_from_slice(&[1, 0, 0, 0]);
    raw[22..26].copy_from_slice(&[1, 0, 0, 0]);
    assert_eq!(one(&raw), XML);
}

#[test]
fn too_many_members_or_members_of_one_name_are_refused() {
    let names: Vec<_> = (0..101).map(|number| format!("{number}.xml")).collect();
    let members: Vec<_> = names.iter().map(|name| (&**name, XML)).collect();
    assert_eq!(rejected(&zip(&members)), [Rejection::TooLarge]);
    let mut raw = zip(&[("a.xml", XML), ("b.xml", XML)]);
    while let Some(at) = raw.windows(5).position(|name| name == b"b.xml") {
        raw[at] = b'a';
    }
    assert_eq!(rejected(&raw), [Rejection::BadContainer]);
}

#[test]
fn parts_are_numbered_as_imap_does() {
    let inner = multipart(&[attachment("application/gzip", &gzip(XML))]);
    let single = attachment("text/xml", XML);
    // Boundaries of multiparts within each other must differ.
    let outer = |parts: &[String]| multipart(parts).replace("=_b", "=_outer");
    let mail = outer(&[
        "Content-Type: text/plain\r\n\r\nSee <http://example>".to_owned(),
        "Content-Type: text/html\r\n\r\n<html><body>A report</body></html>".to_owned(),
        attachment("application/zip", &zip(&[("x", b"no"), ("a.xml", XML)])),
        attachment("message/rfc822", single.as_bytes()),
    ]);
    let parts: Vec<_> = all(mail.as_bytes())
        .0
        .into_iter()
        .map(|(part, _)| part)
        .collect();
    assert_eq!(parts, ["3/2", "4.1"]);

    let two = format!(
        "Content-Type: multipart/mixed; boundary=one\n\n--one\n{}\n--one\nContent-Type: message/rfc822\n\n{inner}\n--one--\n",
        multipart(&[attachment("image/png", XML)]).replace("=_b", "=_c"),
    );
    let parts: Vec<_> = all(two.as_bytes())
        .0
        .into_iter()
        .map(|(part, _)| part)
        .collect();
    assert_eq!(parts, ["1.1", "2.1"]);
    assert_eq!(all(single.as_bytes()).0[0].0, "1");
}

#[test]
fn a_bad_part_does_not_hide_a_good_one() {
    let mail = multipart(&[
        attachment("application/gzip", b"\x1f\x8b\x08rubbish"),
        attachment("application/zip", &gzip(XML)),
        attachment("application/gzip", b"PK\x03\x04rubbish"),
        attachment("application/gzip", b""),
    ]);
    let (documents, rejected) = all(mail.as_bytes());
    assert_eq!(documents, [("2".to_owned(), XML.to_vec())]);
    assert_eq!(
        rejected,
        [
            ("1".to_owned(), Rejection::BadContainer),
            ("3".to_owned(), Rejection::BadContainer),
            ("4".to_owned(), Rejection::Empty),
        ]
    );
}

#[test]
fn odd_mails_are_read() {
    let xml = String::from_utf8(XML.to_vec()).unwrap();
    for mail in [
        format!("A: b\n\n{xml}"),
        format!(
            "Content-Transfer-Encoding: quoted-printable\n\n{}",
            xml.replace('=', "=3D")
        ),
        format!("ContentType: multipart/mixed; boundary=b\n\n--b\n\n{xml}"),
        format!("Content-Type: multipart/mixed\n\n{xml}"),
        format!("Content-Type: multipart/mixed; boundary=missing\n\n{xml}"),
        format!("Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\n{xml}\n--b--"),
        attachment(
            "text/plain",
            &b"\xff\xfe"
                .iter()
                .copied()
                .chain(xml.encode_utf16().flat_map(u16::to_le_bytes))
                .collect::<Vec<_>>(),
        ),
    ] {
        assert_eq!(found(mail.as_bytes()).documents.len(), 1, "{mail}");
    }
    let named = "Content-Disposition: attachment; filename*0=\"r!d!1\";\n filename*1=\"!2.xml\"\nContent-Type: text/xml\n\n<feedback/>";
    let unpacked = found(named.as_bytes());
    assert_eq!(
        unpacked.documents[0].file_name.as_deref(),
        Some("r!d!1!2.xml")
    );
}

#[test]
fn a_mail_without_its_header_is_read() {
    let mail = multipart(&[attachment("application/gzip", &gzip(XML))]);
    let (_, body) = mail.split_once("\r\n\r\n").unwrap();
    for body in [
        body,
        &format!("\r\n{body}"),
        &encode(&zip(&[("a.xml", XML)])),
        &format!("\n{}", encode(XML)),
    ] {
        assert_eq!(one(body.as_bytes()), XML, "{body}");
    }
}

#[test]
fn an_ordinary_mail_holds_nothing() {
    for mail in [
        "Subject: x\n\nhe said hello\n",
        "Subject: x\n\n<b>hello</b>\n",
        "Subject: x\nContent-Type: text/html\n\n<!DOCTYPE html><html></html>\n",
        "Content-Type: text/html\n\n<div>For any feedback, mail to feedback@a.example</ div>\n",
        "Content-Type: text/html; name=a.html\n\n<P>Thanks for your feedback</P>\n",
        "Subject: x\n\n",
        "hXello: x\n\nunused\n",
        "Content-Type: image/svg+xml; name=logo.svg\n\n<?xml version='1.0'?><svg/>\n",
        "words without a header\n",
        "PNG, which means `<`, if most of it is left out\n",
    ] {
        let (documents, rejected) = all(mail.as_bytes());
        assert!(
            documents.is_empty() && rejected.is_empty(),
            "{mail}: {rejected:?}"
        );
    }
}

#[test]
fn what_may_be_a_report_is_not_taken_for_html() {
    for xml in [
        "<feedback><p>none</p></feedback>",
        "<ns:Feedback\nxmlns:ns='x'><p>none</p>",
        "<report><policy_published/></report>",
    ] {
        let mail = attachment("application/xml", xml.as_bytes());
        assert_eq!(one(mail.as_bytes()), xml.as_bytes());
    }
    let inline = "Subject: x\n\n<?xml version='1.0'?>\n<a:feedback xmlns:a='x'/>\n";
    assert_eq!(found(inline.as_bytes()).documents.len(), 1);
}

#[test]
fn feedback_parts_are_recognised() {
    let mail = multipart(&["Content-Type: message/feedback-report\r\n\r\nVersion: 1\r\nFeedback-Type: auth-failure\r\n".to_owned()]);
    assert_eq!(found(mail.as_bytes()).documents[0].shape, Shape::Feedback);
}

/// The default stack of a thread, in which the pipeline runs.
fn on_small_stack(raw: Vec<u8>) -> Vec<Rejection> {
    std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(move || rejected(&raw))
        .unwrap()
        .join()
        .unwrap()
}

#[test]
fn nesting_without_end_is_refused_on_a_small_stack() {
    let flat = "Content-Type: message/rfc822\r\n\r\n".repeat(100_000);
    assert_eq!(
        on_small_stack(flat.into_bytes()),
        [Rejection::MimeTooComplex]
    );
    let mut parts = String::new();
    for depth in 0..10_000 {
        write!(
            parts,
            "Content-Type: multipart/mixed; boundary=b{depth}\r\n\r\n--b{depth}\r\n"
        )
        .unwrap();
    }
    assert_eq!(
        on_small_stack(parts.into_bytes()),
        [Rejection::MimeTooComplex]
    );
    let mut encoded = "Content-Type: message/rfc822\r\n\r\n".repeat(20_000);
    for _ in 0..3 {
        encoded = attachment("message/rfc822", encoded.as_bytes());
    }
    assert_eq!(
        on_small_stack(encoded.into_bytes()),
        [Rejection::MimeTooComplex]
    );
    // Ten levels are no more than the bound.
    let most = "Content-Type: message/rfc822\r\n\r\n".repeat(10) + "\r\n<feedback/>";
    assert_eq!(found(most.as_bytes()).documents.len(), 1);
}

#[test]
fn parts_and_headers_are_bounded() {
    let parts = format!(
        "Content-Type: multipart/mixed; boundary=b\n\n{}",
        "--b\n\n".repeat(100_000)
    );
    assert_eq!(rejected(parts.as_bytes()), [Rejection::MimeTooComplex]);
    let headers = format!("{}\n<feedback/>", "a:\n".repeat(100_000));
    assert_eq!(rejected(headers.as_bytes()), [Rejection::MimeTooComplex]);
    let long = format!(
        "Content-Type: text/xml;\n{}\n\n<feedback/>",
        " a*0=x;\n".repeat(20_000)
    );
    assert_eq!(rejected(long.as_bytes()), [Rejection::MimeTooComplex]);
    let many = vec![attachment("text/xml", XML); 17];
    assert_eq!(all(multipart(&many[1..]).as_bytes()).0.len(), 16);
    let (documents, rejected) = all(multipart(&many).as_bytes());
    let seventeenth = ("17".to_owned(), Rejection::TooLarge);
    assert_eq!((documents.len(), rejected), (16, vec![seventeenth]));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(raw in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        for document in &found(&raw).documents {
            let _ = content(document);
        }
    }

    #[test]
    fn no_damage_to_a_mail_makes_it_panic(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        zipped in any::<bool>(),
    ) {
        let packed = if zipped { zip(&[("a.xml", XML), ("b.xml", XML)]) } else { gzip(XML) };
        let mut raw = packed.clone();
        for (at, byte) in &damage {
            let at = at.index(raw.len());
            raw[at] = *byte;
        }
        for document in &found(&raw).documents {
            let _ = content(document);
        }
        let mut mail = multipart(&[attachment("application/zip", &packed)]).into_bytes();
        for (at, byte) in &damage {
            let at = at.index(mail.len());
            mail[at] = *byte;
        }
        for document in &found(&mail).documents {
            let _ = content(document);
        }
    }
}

fn failure(parts: &[&str]) -> String {
    let parts: Vec<_> = parts
        .iter()
        .map(|part| format!("--b\r\n{part}\r\n"))
        .collect();
    format!(
        "From: r@reporter.example\r\nContent-Type: multipart/report; \
         report-type=feedback-report; boundary=b\r\n\r\n{}--b--\r\n",
        parts.concat()
    )
}

const FIELDS: &str = "Content-Type: message/feedback-report\r\n\r\nFeedback-Type: auth-failure\r\n";

/// H66: a message of 5 MB, with HTML and a report of its own, beside the fields.
#[test]
fn h66_of_the_message_in_a_failure_report_nothing_is_kept_but_its_header() {
    let xml = attachment("application/xml", b"<feedback></feedback>");
    let nested = failure(&[
        FIELDS,
        &format!("Content-Type: message/rfc822\r\n\r\n{xml}"),
    ]);
    let nested = nested
        .replace("boundary=b", "boundary=c")
        .replace("--b", "--c");
    let body = "<html><body>hello</body></html>\r\n".repeat(5 << 15);
    let message = format!(
        "Content-Type: message/rfc822\r\n\r\nSubject: hello\r\nX-Long: {}\r\n\r\n{body}\r\n{nested}",
        "x".repeat(100)
    );
    let mail = failure(&[FIELDS, &message, &message]);
    let found = found(mail.as_bytes());
    assert!(
        found.holds_failure && found.rejected.is_empty(),
        "{found:?}"
    );
    let [document] = &found.documents[..] else {
        panic!("{found:?}");
    };
    let headers = document.headers.as_ref().unwrap();
    assert!(headers.mail.starts_with(b"From: r@reporter.example\r\n"));
    assert!(headers.reported.starts_with(b"Subject: hello\r\n"));
    assert!(headers.reported.len() < 200);
}

/// H67: the fields are missing, or come twice.
#[test]
fn h67_a_failure_report_without_fields_is_rejected_and_one_with_two_is_two() {
    let message = "Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\n";
    let with_report = format!("{message}<?xml version='1.0'?><feedback/>\r\n");
    let mail = failure(&["\r\nhello\r\n", &with_report]);
    let without = found(mail.as_bytes());
    assert!(without.documents.is_empty() && without.holds_failure);
    assert_eq!(without.rejected, [(String::new(), Rejection::NoFeedback)]);
    let mail = failure(&[FIELDS, FIELDS, message]);
    let twice = found(mail.as_bytes());
    let headers = twice
        .documents
        .iter()
        .map(|of| of.headers.as_ref().unwrap());
    let reported: Vec<_> = headers.map(|of| !of.reported.is_empty()).collect();
    assert_eq!(reported, [false, true]);
}

#[test]
fn messages_elsewhere_are_looked_into_as_before() {
    let xml = attachment("application/xml", b"<feedback></feedback>");
    let message = format!("Content-Type: message/rfc822\r\n\r\n{xml}");
    let report =
        format!("Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n{FIELDS}\r\n--c--\r\n");
    let mail = multipart(&[report, message]);
    let found = found(mail.as_bytes());
    let parts: Vec<_> = found.documents.iter().map(|of| of.part.as_str()).collect();
    assert_eq!(parts, ["1.1", "2.1"]);
}

#[test]
fn a_header_is_whole_lines_within_the_bound() {
    assert_eq!(
        header(b"A: 1\r\nB: 2\r\n\r\nbody: 3\r\n"),
        b"A: 1\r\nB: 2\r\n"
    );
    assert_eq!(header(b"\r\n\r\nA: 1"), b"A: 1");
    assert_eq!(header(b""), b"");
    let long = b"A: 1234567\r\n".repeat(limits::MAX_HEADER);
    let cut = header(&long);
    assert!(cut.len() <= limits::MAX_HEADER && cut.ends_with(b"\r\n"));
}
