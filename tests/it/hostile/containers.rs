//! gzip, zip and zlib that are bombs, broken, or merely odd.

use std::io::{Cursor, Write as _};

use flate2::{Compression, write::ZlibEncoder};
use zip::{ZipWriter, write::SimpleFileOptions};

use super::{
    MIB, TAIL, head, import, import_much, inspect, inspect_much, lab::gzip, mail, multipart, part,
    record, report, squeeze, swollen,
};

/// A zip file of these members.
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

/// A zip file of one member that was compressed before; `size` is what its headers say.
fn zip_of_gzip(gzip: &[u8], size: u32) -> Vec<u8> {
    let deflated = &gzip[10..gzip.len() - 8];
    let crc: [u8; 4] = gzip[gzip.len() - 8..gzip.len() - 4].try_into().unwrap();
    let local = local_header(b"a.xml", u32::from_le_bytes(crc), deflated.len(), size);
    let central = central_header(b"a.xml", u32::from_le_bytes(crc), deflated.len(), size);
    let end = end_of_directory(1, central.len(), local.len() + deflated.len());
    [&local[..], deflated, &central, &end].concat()
}

fn local_header(name: &[u8], crc: u32, packed: usize, size: u32) -> Vec<u8> {
    let mut out = b"PK\x03\x04\x14\0\0\0\x08\0\0\0\x70\x5b".to_vec();
    out.extend(crc.to_le_bytes());
    out.extend(u32::try_from(packed).unwrap().to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
    out.extend([0; 2]);
    out.extend(name);
    out
}

fn central_header(name: &[u8], crc: u32, packed: usize, size: u32) -> Vec<u8> {
    let mut out = b"PK\x01\x02\x14\0\x14\0\0\0\x08\0\0\0\x70\x5b".to_vec();
    out.extend(crc.to_le_bytes());
    out.extend(u32::try_from(packed).unwrap().to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
    out.extend([0; 16]);
    out.extend(name);
    out
}

fn end_of_directory(members: u16, length: usize, offset: usize) -> Vec<u8> {
    let mut out = b"PK\x05\x06\0\0\0\0".to_vec();
    out.extend([members.to_le_bytes(), members.to_le_bytes()].concat());
    out.extend(u32::try_from(length).unwrap().to_le_bytes());
    out.extend(u32::try_from(offset).unwrap().to_le_bytes());
    out.extend([0; 2]);
    out
}

/// A gibibyte in one text.
fn one_text() -> Vec<u8> {
    let start = head("one-text").replace("reporter.example</org_name>", "");
    swollen(start.as_bytes(), b"A", 1_024, b"")
}

/// A gibibyte of good records.
fn records() -> Vec<u8> {
    swollen(
        head("records").as_bytes(),
        record().as_bytes(),
        1_024,
        TAIL.as_bytes(),
    )
}

#[test]
fn h01_a_gibibyte_in_a_gzip_file() {
    let bomb = mail(&one_text());
    assert_eq!(inspect("h01, one text", &bomb), ["1 token_too_long"]);
    let bomb = mail(&records());
    let most = 256 * MIB;
    assert_eq!(inspect_much("h01, records", &bomb, most), ["1 too_large"]);
    assert_eq!(import_much("h01, records", &bomb, most)["parked"], 1);
}

#[test]
fn h02_h07_a_gibibyte_in_a_zip_file_that_tells_its_size_or_lies() {
    let records = records();
    for size in [1 << 30, 1_000] {
        let bomb = mail(&zip_of_gzip(&records, size));
        let what = format!("h02 h07, {size} bytes declared");
        assert_eq!(inspect_much(&what, &bomb, 256 * MIB), ["1/1 too_large"]);
    }
    // What it holds counts, not what it says that it holds.
    let long = report("long", 20_000);
    let lie = mail(&zip_of_gzip(&gzip(&long), 10));
    assert_eq!(inspect_much("h07", &lie, long.len()), ["1/1 20000"]);
}

#[test]
fn h03_members_that_overlap() {
    let one = squeeze([&report("overlap", 2_000)[..]]);
    let deflated = &one[10..one.len() - 8];
    let crc: [u8; 4] = one[one.len() - 8..one.len() - 4].try_into().unwrap();
    let crc = u32::from_le_bytes(crc);
    for (members, expected) in [(60_000, "1 too_large"), (16, "1/1 2000")] {
        let mut bomb = local_header(b"00001.xml", crc, deflated.len(), 1);
        bomb.extend(deflated);
        let offset = bomb.len();
        for number in 0..members {
            let name = format!("{number:05}.xml");
            bomb.extend(central_header(name.as_bytes(), crc, deflated.len(), 1));
        }
        let length = bomb.len() - offset;
        bomb.extend(end_of_directory(members, length, offset));
        let found = inspect_much("h03", &mail(&bomb), 16 * MIB);
        assert_eq!(found[0], expected, "{members}");
    }
}

#[test]
fn h04_h05_containers_in_containers_and_quines() {
    let zips =
        |depth: usize| (0..depth).fold(report("deep", 1), |inner, _| zip(&[("a.zip", &inner)]));
    assert_eq!(inspect("h04, 2", &mail(&zips(2))), ["1/1/1 1"]);
    assert_eq!(inspect("h04, 3", &mail(&zips(3))), ["1/1/1 too_large"]);
    // What a gzip quine does: there is always another one within.
    let endless = (0..50).fold(report("deep", 1), |inner, _| gzip(&inner));
    assert_eq!(inspect("h05, gzip", &mail(&endless)), ["1 too_large"]);
    // 42.zip: sixteen in each.
    let mut bomb = zip(&[("a.xml", &report("deep", 1))]);
    for _ in 0..4 {
        let names: Vec<_> = (0..16).map(|number| format!("{number}.zip")).collect();
        let members: Vec<_> = names.iter().map(|name| (&**name, &bomb[..])).collect();
        bomb = zip(&members);
    }
    let found = inspect("h04, 42", &mail(&bomb));
    assert!(
        found.iter().all(|line| line.ends_with("too_large")),
        "{found:?}"
    );
    assert_eq!(import("h04, 42", &mail(&bomb))["parked"], found.len());
}

#[test]
fn h06_gzip_in_gzip_is_read_and_a_bomb_in_it_is_not() {
    let twice = gzip(&gzip(&report("twice", 2)));
    assert_eq!(inspect("h06", &mail(&twice)), ["1 2"]);
    assert_eq!(import("h06", &mail(&twice))["stored"], 1);
    // A few kilobytes that come to gigabytes.
    let bomb = gzip(&squeeze([&records()[..]]));
    let bomb = mail(&squeeze([&bomb[..]]));
    assert_eq!(inspect("h06, three deep", &bomb), ["1 too_large"]);
    let short = squeeze([&swollen(head("s").as_bytes(), b"<a/>", 64, TAIL.as_bytes())[..]]);
    assert_eq!(inspect("h06, short", &mail(&short)), ["1 too_large"]);
}

#[test]
fn h08_damage_is_never_read_in_part() {
    let good = report("damaged", 500);
    let whole = gzip(&good);
    let at = whole.len() - 6;
    let mut bad_sum = whole.clone();
    bad_sum[at] ^= 1;
    let mut bad_zip = zip(&[("a.xml", &good)]);
    let directory = bad_zip.windows(4).rposition(|four| four == b"PK\x01\x02");
    bad_zip[directory.unwrap() + 16] ^= 1;
    for (what, file) in [("sum", &bad_sum[..]), ("cut", &whole[..at - 20])] {
        assert_eq!(
            inspect(&format!("h08, {what}"), &mail(file)),
            ["1 bad_container"]
        );
    }
    assert_eq!(inspect("h08, zip", &mail(&bad_zip)), ["1/1 bad_container"]);
    let totals = import("h08", &mail(&bad_sum));
    assert_eq!(
        (&totals["parked"], &totals["messages"]),
        (&1.into(), &0.into())
    );
}

#[test]
fn h09_what_is_encrypted_or_packed_otherwise() {
    for (what, offset, value) in [("encrypted", 8, 1), ("AES", 10, 99), ("unknown", 10, 42)] {
        let mut file = zip(&[("a.xml", &report("locked", 1))]);
        let directory = file.windows(4).rposition(|four| four == b"PK\x01\x02");
        file[directory.unwrap() + offset] = value;
        file[offset - 2] = value;
        let found = inspect(&format!("h09, {what}"), &mail(&file));
        assert_eq!(found, ["1/1 unsupported_container"]);
    }
}

#[test]
fn h10_h11_every_report_of_a_zip_file() {
    let (one, two) = (report("one", 1), report("two", 2));
    let file = zip(&[
        ("d/", b""),
        ("__MACOSX/d/._one.xml", b"\0\x05\x16\x07"),
        ("d/one.xml", &one),
        ("read.txt", b"read me"),
        ("d/two.xml", &two),
    ]);
    assert_eq!(inspect("h10 h11", &mail(&file)), ["1/3 1", "1/5 2"]);
    assert_eq!(import("h10 h11", &mail(&file))["stored"], 2);
}

#[test]
fn h12_h13_gzip_of_several_members_and_with_something_behind() {
    let xml = report("members", 3);
    let (start, end) = xml.split_at(xml.len() / 2);
    let members = [gzip(start), gzip(end)].concat();
    assert_eq!(inspect("h12", &mail(&members)), ["1 3"]);
    for behind in [&b"\0\0\0\0"[..], b"\r\n", b"\x1f rubbish", b"rubbish"] {
        let file = [&gzip(&xml), behind].concat();
        assert_eq!(inspect("h13", &mail(&file)), ["1 3"]);
    }
    let endless = mail(&squeeze([&gzip(b"").repeat(500_000)[..]]));
    assert_eq!(inspect("h12, endless", &endless), ["1 too_large"]);
    let endless = mail(&gzip(b"").repeat(500_000));
    assert_eq!(inspect("h12, as many", &endless), ["1 too_large"]);
}

#[test]
fn h14_nothing() {
    for (what, file) in [("zip", zip(&[])), ("file", Vec::new()), ("gzip", gzip(b""))] {
        assert_eq!(inspect(&format!("h14, {what}"), &mail(&file)), ["1 empty"]);
    }
    // A gzip file of no bytes at all is a broken one.
    assert_eq!(inspect("h14, cut", &mail(b"\x1f\x8b")), ["1 bad_container"]);
}

#[test]
fn h17_the_content_says_what_it_is() {
    let xml = report("magic", 1);
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    zlib.write_all(&xml).unwrap();
    let mail = multipart(&[
        part("Content-Type: application/zip; name=a.zip", &gzip(&xml)),
        part(
            "Content-Type: application/gzip; name=a.gz",
            &zip(&[("a", &xml)]),
        ),
        part(
            "Content-Type: application/gzip; name=a.gz",
            &zlib.finish().unwrap(),
        ),
        part("Content-Type: application/pdf; name=a.pdf", &xml),
    ]);
    assert_eq!(inspect("h17", &mail), ["1 1", "2/1 1", "3 1", "4 1"]);
}

/// All limits at once: what is allowed is read, and one more is not.
#[test]
fn a_mail_may_inflate_to_256_mebibytes_over_all_its_members() {
    // Blanks between elements cost little to read.
    let of = |bytes: usize| {
        let (head, tail) = (head("limit"), record() + TAIL);
        let blanks = bytes - head.len() - tail.len();
        let block = vec![b'\n'; MIB];
        let blocks = std::iter::repeat_n(&block[..], blanks / MIB);
        squeeze(
            std::iter::once(head.as_bytes())
                .chain(blocks)
                .chain([&block[..blanks % MIB], tail.as_bytes()]),
        )
    };
    let most = 256 * MIB;
    let mails = |rest: usize| {
        let attached = |file: &[u8]| part("Content-Type: application/gzip", file);
        multipart(&[attached(&of(most / 2)), attached(&of(rest))])
    };
    let limit = inspect_much("256 MiB", &mails(most / 2), most);
    assert_eq!(limit, ["1 1", "2 1"]);
    let beyond = inspect_much("256 MiB and a byte", &mails(most / 2 + 1), most);
    assert_eq!(beyond, ["1 1", "2 too_large"]);
}

#[test]
fn a_large_mail_with_containers_in_containers_stays_within_memory() {
    let noise = super::mails::noise(19 * MIB / 2);
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut out = ZipWriter::new(Cursor::new(Vec::new()));
    out.start_file("a.xml", stored).unwrap();
    out.write_all(&report("large", 1)).unwrap();
    out.start_file("b.bin", stored).unwrap();
    out.write_all(&noise).unwrap();
    let zip = out.finish().unwrap().into_inner();
    assert_eq!(inspect("zip", &mail(&zip)), ["1/1 1"]);
    let within = mail(&gzip(&zip));
    assert!(within.len() < 20 * MIB);
    let found = inspect_much("zip in gzip", &within, 20 * MIB);
    assert_eq!(found, ["1/1 1"]);
    assert_eq!(import("zip in gzip", &within)["stored"], 1);
}
