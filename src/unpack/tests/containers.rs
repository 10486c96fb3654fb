//! gzip, zip and zlib: what is found in them, and what is wrong with them.

use flate2::write::ZlibEncoder;

use super::*;

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
    for behind in [&b"\r\n"[..], b"\0\0\0"] {
        let raw = [&zip(&[("a.xml", XML)])[..], behind].concat();
        assert_eq!(one(&raw), XML);
    }
    for before in [
        &b"\xef\xbb\xbf \n"[..],
        b"\n\xef\xbb\xbf",
        b"\xef\xbb\xbf\xef\xbb\xbf",
    ] {
        let padded = [before, XML].concat();
        assert_eq!(one(&padded), padded);
    }
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
