//! The structure of mails: which parts are looked into, and under which number.

use super::*;

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
fn the_line_end_before_a_boundary_belongs_to_the_boundary() {
    let xml = String::from_utf8(XML.to_vec()).unwrap();
    for end in ["\r\n", "\n"] {
        let plain = format!("Content-Type: text/xml{end}{end}{xml}");
        let mail = [
            "Content-Type: multipart/mixed; boundary=b",
            "",
            "--b",
            &plain,
            "--b--",
            "",
        ];
        let (documents, _) = all(mail.join(end).as_bytes());
        assert_eq!(documents, [("1".to_owned(), XML.to_vec())]);
    }
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
}

/// RFC 5322 section 4.2; long subjects come folded so.
#[test]
fn a_line_of_blanks_is_a_fold_where_the_header_goes_on() {
    for (end, blanks) in [("\r\n", " "), ("\r\n", "\t"), ("\n", "  \t")] {
        let mail = [
            "Subject: Report Domain: example.com",
            blanks,
            "Content-Type: multipart/mixed;",
            blanks,
            blanks,
            " boundary=b",
            blanks,
            "",
            "--b",
            "Content-Type: text/xml;",
            blanks,
            "Content-Transfer-Encoding: base64",
            blanks,
            " ",
            "Content-Disposition: attachment",
            "",
            &encode(XML),
            "--b--",
            "",
        ];
        let mail = mail.join(end);
        assert_eq!(one(mail.as_bytes()), XML, "{mail}");
    }
}

#[test]
fn a_line_of_blanks_before_a_body_ends_the_header() {
    let xml = String::from_utf8(XML.to_vec()).unwrap();
    for body in [
        &xml,
        "{\"organization-name\":\"x\"}",
        "--b:c\n\n<feedback></feedback>",
        "\n<feedback></feedback>",
    ] {
        let kind = "Content-Type: multipart/mixed; boundary=\"b:c\"";
        let mail = format!("Subject: x\n{kind}\n \n{body}");
        assert_eq!(found(mail.as_bytes()).documents.len(), 1, "{mail}");
    }
    let encoded = "Content-Transfer-Encoding: base64";
    let mail = format!("Subject: x\r\n{encoded}\r\n \t\r\n{}", encode(XML));
    assert_eq!(one(mail.as_bytes()), XML);
}

#[test]
fn a_name_may_come_in_pieces_and_encoded() {
    for name in [
        "Content-Disposition: attachment; filename*0=\"r!d!1\";\n filename*1=\"!2.xml\"",
        "Content-Type: text/xml; name*=utf-8''r%21d%211%212.xml",
        "Content-Type: text/xml;\n name*0*=utf-8''r%21d;\n name*1*=%211%212;\n name*2=.xml",
        "Content-Type: text/xml; name=\"=?utf-8?Q?r!d!1!2=2Exml?=\"",
        "Content-Type: text/xml; name=\"../r/r!d!1!2.xml\"",
    ] {
        let mail = format!("{name}\n\n<feedback/>");
        let unpacked = found(mail.as_bytes());
        let file_name = unpacked.documents[0].file_name.as_deref();
        assert_eq!(file_name, Some("r!d!1!2.xml"), "{name}");
    }
}

/// `standards.md` has each of them from a real reporter.
#[test]
fn what_a_part_is_called_makes_no_difference() {
    for kind in [
        "multipart/alternative",
        "message/delivery-status",
        "application/x-gzip",
        "application/x-zip-compressed",
        "application/tlsrpt",
        "application/tlsrpt+gzip",
        "text/plain; name=a.txt",
        "image/png; name=a.png",
        "nonsense",
        "",
    ] {
        for packed in [gzip(XML), zip(&[("a.json", b"{}")]), gzip(b" \r\n{}")] {
            let mail = multipart(&[attachment(kind, &packed)]);
            assert_eq!(found(mail.as_bytes()).documents.len(), 1, "{kind}");
        }
    }
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
        // In base64 these would begin with a brace.
        "Subject: x\n\nexactly what you need\n",
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
    for before in ["", "CAUTION: this mail came from outside.\n\n"] {
        let inline = "<?xml version='1.0'?>\n<a:feedback xmlns:a='x'/>\n";
        let mail = format!("Subject: x\n\n{before}{inline}");
        assert_eq!(found(mail.as_bytes()).documents.len(), 1, "{before}");
    }
}

/// What uuencode makes of these bytes.
fn uuencode(bytes: &[u8], zero: u8) -> String {
    let digit = |value: u8| char::from(if value == 0 { zero } else { value + b' ' });
    let mut out = "begin 644 r!d!1!2.xml.gz\n".to_owned();
    for line in bytes.chunks(45) {
        out.push(digit(u8::try_from(line.len()).unwrap()));
        for three in line.chunks(3) {
            let at = |n: usize| u32::from(three.get(n).copied().unwrap_or(0));
            let word = at(0) << 16 | at(1) << 8 | at(2);
            out.extend([18, 12, 6, 0].map(|shift| digit((word >> shift & 63) as u8)));
        }
        out.push('\n');
    }
    format!("{out}{}\nend\n", char::from(zero))
}

#[test]
fn files_are_found_in_texts_as_uuencode_writes_them() {
    let long = [XML, &b"<!-- x -->".repeat(500)].concat();
    let packed = gzip(&long);
    // Blanks at the end of a line get lost, and line ends change.
    let blanks = uuencode(&packed, b' ')
        .replace(" \n", "\n")
        .replace('\n', "\r\n");
    for file in [uuencode(&packed, b'`'), blanks] {
        for mail in [
            format!("Subject: x\n\nHere it is:\n\n{file}"),
            format!(
                "Content-Type: application/gzip\nContent-Transfer-Encoding: x-uuencode\n\n{file}"
            ),
            file,
        ] {
            assert_eq!(one(mail.as_bytes()), long, "{mail}");
            let unpacked = found(mail.as_bytes());
            let document = &unpacked.documents[0];
            assert_eq!(
                (&*document.part, document.file_name.as_deref()),
                ("1/1", Some("r!d!1!2.xml.gz"))
            );
        }
    }
    let file = uuencode(&packed, b'`');
    let two = format!(
        "Subject: x\n\n{file}\nand\n{}",
        file.replace("begin 644", "begin 0600")
    );
    let parts: Vec<_> = all(two.as_bytes())
        .0
        .into_iter()
        .map(|(part, _)| part)
        .collect();
    assert_eq!(parts, ["1/1", "1/2"]);
    let cut = format!("Subject: x\n\n{}", &file[..file.len() / 2]);
    assert_eq!(rejected(cut.as_bytes()), [Rejection::BadContainer]);
    for text in [
        "begin 644 of them",
        "begin 644 x\n\nand end",
        "begin 6x4 y\nABC",
    ] {
        let (documents, rejected) = all(format!("Subject: x\n\n{text}\n").as_bytes());
        assert!(
            documents.is_empty() && rejected.is_empty(),
            "{text}: {rejected:?}"
        );
    }
    let short = uuencode(XML, b'`');
    let many = format!("Subject: x\n\n{}", short.repeat(17));
    let (documents, rejected) = all(many.as_bytes());
    assert_eq!(documents.len(), 16);
    assert_eq!(rejected, [("1/17".to_owned(), Rejection::TooLarge)]);
    let many = uuencode(b"a text", b'`').repeat(101);
    let last = all(format!("Subject: x\n\n{many}").as_bytes()).1;
    assert_eq!(last, [("1/101".to_owned(), Rejection::TooLarge)]);
}

#[test]
fn an_encoding_that_is_not_as_labelled_is_read_all_the_same() {
    let xml = String::from_utf8(XML.to_vec()).unwrap();
    let packed = encode(&gzip(XML));
    for mail in [
        format!("Content-Type: application/gzip\n\n{packed}"),
        format!("Content-Type: application/gzip\nContent-Transfer-Encoding: 7bit\n\n{packed}"),
        format!("Content-Type: text/xml; name=a.xml\n\n{}", encode(XML)),
        format!("Content-Type: text/xml\nContent-Transfer-Encoding: base64\n\n{xml}"),
    ] {
        assert_eq!(one(mail.as_bytes()), XML, "{mail}");
    }
    for encoding in ["7bit", "8bit", "binary", "8-bit", "x-unknown", ""] {
        let mail = format!("Content-Transfer-Encoding: {encoding}\n\n{xml}");
        assert_eq!(one(mail.as_bytes()), XML, "{mail}");
    }
}

#[test]
fn a_boundary_that_is_missing_or_wrong_is_told_from_the_body() {
    let mail = multipart(&[attachment("application/gzip", &gzip(XML))]);
    assert_eq!(one(mail.as_bytes()), XML);
    for told in [";\r\n boundary=\"=_c\"", "", "; boundary=\"\""] {
        let mail = mail.replacen(";\r\n boundary=\"=_b\"", told, 1);
        assert_eq!(one(mail.as_bytes()), XML, "{told}");
    }
}

#[test]
fn a_mail_attached_as_a_file_is_a_message() {
    let inner = multipart(&[attachment("application/gzip", &gzip(XML))]);
    for fields in [
        "application/octet-stream; name=report.eml",
        "application/vnd.ms-outlook; name=Report.MSG",
    ] {
        let mail = multipart(&[attachment(fields, inner.as_bytes())]).replace("=_b", "=_outer");
        let parts: Vec<_> = all(mail.as_bytes())
            .0
            .into_iter()
            .map(|(part, _)| part)
            .collect();
        assert_eq!(parts, ["1.1"], "{fields}");
    }
    let ole = attachment(
        "application/vnd.ms-outlook; name=a.msg",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    );
    let (documents, rejected) = all(multipart(&[ole]).as_bytes());
    assert!(documents.is_empty() && rejected.is_empty(), "{rejected:?}");
}
