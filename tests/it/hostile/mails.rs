//! The structure of mails: parts, headers, names, boundaries.

use std::fmt::Write as _;

use super::{
    KIB, MIB, facts, import, inspect, inspect_much, lab, lab::gzip, mail, multipart, part, report,
};

const GZIP: &str = "Content-Type: application/gzip";

/// Bytes that nothing makes shorter, always the same.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next)
        .flatten()
        .take(length)
        .collect()
}

#[test]
fn h16_h18_labels_that_say_little() {
    let xml = report("labels", 1);
    let text = String::from_utf8(xml.clone()).unwrap();
    let named = "Content-Type: application/octet-stream;\r\n name*0*=utf-8''reporter.example%21;\r\n \
                 name*1=\"example.com!1!2.xml\"";
    for (what, input) in [
        (
            "h16, text",
            part("Subject: x\r\nContent-Type: text/plain", &xml),
        ),
        ("h16, inline", part("Content-Disposition: inline", &xml)),
        ("h16, no fields", format!("Subject: x\r\n\r\n{text}")),
        ("h18", part(named, &gzip(&xml))),
        (
            "typo",
            part("Subject: x\r\nContentType: application/gzip", &gzip(&xml)),
        ),
    ] {
        assert_eq!(inspect(what, input.as_bytes()), ["1 1"], "{what}");
    }
    let quoted = text
        .replace('=', "=3D")
        .replace("<record>", "<rec=\r\nord>");
    let quoted = format!("Content-Transfer-Encoding: Quoted-Printable\r\n\r\n{quoted}");
    assert_eq!(inspect("quoted-printable", quoted.as_bytes()), ["1 1"]);
    let binary = [
        b"Content-Transfer-Encoding: binary\r\n\r\n",
        &gzip(&xml)[..],
    ]
    .concat();
    assert_eq!(inspect("binary", &binary), ["1 1"]);
}

#[test]
fn h32_two_million_parts() {
    let head = "Content-Type: multipart/mixed; boundary=B\n\n";
    let many = head.to_owned() + &"--B\n\n".repeat(2_000_000);
    assert_eq!(inspect("h32", many.as_bytes()), ["1 mime_too_complex"]);
    assert_eq!(import("h32", many.as_bytes())["parked"], 1);
    let gzips = format!("{GZIP}\r\nContent-Transfer-Encoding: base64\r\n\r\nH4sIAAAA");
    let found = inspect("h32, gzip", &multipart(&vec![gzips; 100_000]));
    // As many lines as there may be reports, and one more.
    assert_eq!(found.len(), 17, "{found:?}");
}

#[test]
fn h33_nesting_without_end() {
    let messages = "Content-Type: message/rfc822\r\n\r\n".repeat(100_000);
    let found = inspect("h33, messages", messages.as_bytes());
    assert_eq!(found, [format!("1{} mime_too_complex", ".1".repeat(11))]);
    assert_eq!(import("h33, messages", messages.as_bytes())["parked"], 1);
    let mut parts = String::new();
    for depth in 0..100_000 {
        write!(
            parts,
            "Content-Type: multipart/mixed; boundary=b{depth}\n\n--b{depth}\n"
        )
        .unwrap();
    }
    let found = inspect("h33, multiparts", parts.as_bytes());
    assert_eq!(found, ["1.1.1.1 mime_too_complex"], "searched too often");
    // Within the depth, but with much below it.
    for filling in ["\n", "-", "--", "--x\n", "a\n"] {
        let mut parts = String::new();
        for depth in 0..9 {
            write!(
                parts,
                "Content-Type: multipart/mixed; boundary=b{depth}\n\n--b{depth}\n"
            )
            .unwrap();
        }
        parts += &filling.repeat(19 * MIB / filling.len());
        inspect(&format!("h33, 19 MiB of {filling:?}"), parts.as_bytes());
    }
    // Each level decodes to most of the last one.
    let mut encoded = noise(2 * MIB);
    for _ in 0..6 {
        encoded = part("Content-Type: message/rfc822", &encoded).into_bytes();
    }
    let found = inspect("h33, encoded", &encoded);
    assert!(
        found.iter().all(|line| line.ends_with("too_large")),
        "{found:?}"
    );
}

#[test]
fn h34_headers() {
    let report = format!("\n{}", String::from_utf8(report("headers", 1)).unwrap());
    let tiny = "a:\n".repeat(10 * MIB / 3) + &report;
    assert_eq!(
        inspect("h34, tiny", tiny.as_bytes()),
        ["1 mime_too_complex"]
    );
    let long = format!("Subject: {}\n{report}", "x".repeat(10 * MIB));
    assert_eq!(
        inspect("h34, long", long.as_bytes()),
        ["1 mime_too_complex"]
    );
    let folded = format!("Subject: x\n{}{report}", " x\n".repeat(3 * MIB));
    assert_eq!(
        inspect("h34, folded", folded.as_bytes()),
        ["1 mime_too_complex"]
    );
    // RFC 2231 continuations, as many as there may be.
    let mut names = String::new();
    for number in 0..9_900 {
        let field = if number % 700 == 0 {
            "\nContent-Type: text/xml;"
        } else {
            ""
        };
        write!(names, "{field} a*{}=x;", number % 700).unwrap();
    }
    let parts = vec![format!("{}\n{report}", names.trim_start()); 200];
    inspect("h34, continuations", &multipart(&parts));
}

#[test]
fn h35_fields_and_boundaries_that_contradict() {
    let body = part(GZIP, &gzip(&report("boundaries", 1)));
    let mixed = "Content-Type: multipart/mixed";
    let plain = "Content-Type: text/plain";
    let first_counts = format!("{mixed}; boundary=b\r\n{plain}");
    let second_counts = format!("{plain}\r\n{mixed}; boundary=b");
    for (what, fields, end, expected) in [
        ("no end", &*format!("{mixed}; boundary=b"), "", "1 1"),
        ("two fields", &first_counts, "--b--", "1 1"),
        // The first counts, and a text for people is no report.
        (
            "two fields, text first",
            &second_counts,
            "--b--",
            " not_a_report",
        ),
        (
            "two boundaries",
            &format!("{mixed}; boundary=b; boundary=c"),
            "--b--",
            "1 1",
        ),
        (
            "two boundaries, ours last",
            &format!("{mixed}; boundary=c; boundary=b"),
            "--b--",
            "1 1",
        ),
        (
            "in a comment",
            &format!("{mixed} (boundary=c); boundary=b"),
            "--b--",
            "1 1",
        ),
        ("no boundary", mixed, "--b--", "1 1"),
    ] {
        let input = format!("{fields}\r\n\r\n--b\r\n{body}{end}\r\n");
        let found = inspect(&format!("h35, {what}"), input.as_bytes());
        assert_eq!(found, [expected], "{what}");
    }
}

#[test]
fn h36_h37_each_attachment_for_itself() {
    let good = |id: &str| part(GZIP, &gzip(&report(id, 2)));
    let bad = part(GZIP, b"\x1f\x8b\x08rubbish");
    let mail = multipart(&[bad, good("good")]);
    assert_eq!(inspect("h36", &mail), ["2 2", "1 bad_container"]);
    let totals = import("h36", &mail);
    assert_eq!(
        (&totals["stored"], &totals["parked"]),
        (&1.into(), &1.into())
    );
    let mail = multipart(&[good("one"), good("two")]);
    assert_eq!(inspect("h37", &mail), ["1 2", "2 2"]);
    assert_eq!(import("h37", &mail)["stored"], 2);
}

#[test]
fn h38_as_many_reports_as_allowed_and_more() {
    let attached = |count: usize| {
        let parts = (0..count).map(|id| part(GZIP, &gzip(&report(&id.to_string(), 1))));
        multipart(&parts.collect::<Vec<_>>())
    };
    let sixteen = inspect("h38, 16", &attached(16));
    assert!(sixteen.len() == 16 && sixteen.iter().all(|line| line.ends_with(" 1")));
    let seventeen = inspect("h38, 17", &attached(17));
    assert_eq!(seventeen[16..], ["17 too_large"]);
    let many = attached(500);
    let found = inspect("h38, 500", &many);
    assert!(
        found[16..].iter().all(|line| line.ends_with("too_large")),
        "{found:?}"
    );
    // Those that are read count; the mail is kept for a version, or a limit, that reads the rest.
    let totals = import("h38, 500", &many);
    assert_eq!(totals["stored"], 16);
    assert!(totals["parked"].as_u64() > Some(0));
}

#[test]
fn h39_bytes_that_do_not_belong_in_mails() {
    let xml = report("odd", 1);
    let body = String::from_utf8(mail(&gzip(&xml))).unwrap();
    for (what, start) in [
        ("NUL", "X-Odd: a\0b\r\n".to_owned()),
        ("lone CR", "X-Odd: a\rb\r\n".to_owned()),
        ("8 bits", "X-Odd: \u{e9}\u{4e2d}\r\n".to_owned()),
        (
            "long subject",
            format!("Subject: {}\r\n", "x".repeat(60 * KIB)),
        ),
    ] {
        let mail = start + &body;
        assert_eq!(inspect(&format!("h39, {what}"), mail.as_bytes()), ["1 1"]);
    }
    let long = format!("Subject: {}\r\n{body}", "x".repeat(100 * KIB));
    assert_eq!(
        inspect("h39, longer", long.as_bytes()),
        ["1 mime_too_complex"]
    );
    inspect("h39, noise", &noise(19 * MIB));
    inspect("h39, no MIME", &[&xml[..], &noise(MIB)].concat());
}

#[test]
fn h46_h47_file_names() {
    let xml = report("names", 1);
    let long = format!("{}.xml", "a".repeat(4 * KIB));
    for name in [
        "../../etc/x",
        "C:\\x",
        "a/b",
        "CON",
        "a\u{1}b",
        "\u{202e}lmx",
        &*long,
    ] {
        let fields = format!("{GZIP}; name=\"{name}\"");
        let mail = multipart(&[part(&fields, &gzip(&xml))]);
        assert_eq!(inspect(&format!("h46, {name:.20}"), &mail), ["1 1"]);
        assert_eq!(import("h46", &mail)["stored"], 1);
    }
    let other = String::from_utf8(report("other", 1)).unwrap();
    let other = other.replace("reporter.example", "another.example");
    let name = format!("{GZIP}; name=a.gz");
    let mail = multipart(&[
        part(&name, &gzip(&xml)),
        part(&name, &gzip(other.as_bytes())),
    ]);
    assert_eq!(import("h47", &mail)["stored"], 2);
    assert_eq!(facts("h47", &mail, 0).len(), 2);
}

#[test]
fn h72_a_message_of_exactly_the_limit() {
    let of = |length: usize| {
        let mut mail = mail(&gzip(&report("limit", 1)));
        let pad = length - mail.len();
        mail.extend(std::iter::repeat_n(b'\n', pad));
        mail
    };
    let limit = 20 * MIB;
    assert_eq!(import("h72, limit", &of(limit))["stored"], 1);
    assert_eq!(
        import("h72, limit and a byte", &of(limit + 1))["unreadable"],
        1
    );
    inspect_much(
        "h72, ordinary",
        &lab::long("rua@reports.example", 200_000),
        0,
    );
}
