//! XML and JSON that are cut, of strange encodings, deep, long, or full of entities.

use std::fmt::Write as _;

use super::{
    BEGIN, KIB, MIB, TAIL, changed, facts, head, import, inspect, inspect_much, lab::gzip, mail,
    record, report, squeeze, swollen, with,
};

#[test]
fn h15_a_report_that_is_cut_counts_nothing() {
    let whole = report("cut", 100);
    for keep in [whole.len() / 2, whole.len() - TAIL.len(), whole.len() - 2] {
        let cut = mail(&gzip(&whole[..keep]));
        assert_eq!(inspect("h15", &cut), ["1 truncated"], "{keep}");
    }
    let totals = import("h15", &mail(&gzip(&whole[..whole.len() / 2])));
    assert_eq!(
        (&totals["parked"], &totals["messages"]),
        (&1.into(), &0.into())
    );
}

#[test]
fn h19_encodings() {
    let xml = String::from_utf8(changed("reporter.example<", "Müller & Söhne<")).unwrap();
    let xml = xml.replace('&', "&amp;");
    let utf16 = |mark: &str| -> Vec<u8> {
        let units = mark.encode_utf16().chain(xml.encode_utf16());
        units.flat_map(u16::to_le_bytes).collect()
    };
    let latin: Vec<u8> = xml
        .chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect();
    let declared = |name: &str| {
        let from = b"version=\"1.0\"";
        let to = format!("version=\"1.0\" encoding=\"{name}\"");
        [b"<?xml ", to.as_bytes(), &latin[6 + from.len()..]].concat()
    };
    for (what, file) in [
        ("UTF-16", utf16("\u{feff}")),
        ("UTF-16 without mark", utf16("")),
        ("UTF-8 with mark", format!("\u{feff}{xml}").into_bytes()),
        ("Latin-1", declared("iso-8859-1")),
        ("windows-1252", declared("windows-1252")),
        ("no UTF-8", latin.clone()),
    ] {
        let found = facts(&format!("h19, {what}"), &mail(&gzip(&file)), 0);
        assert_eq!(found[0]["org_name"], "Müller & Söhne", "{what}");
    }
}

#[test]
fn h20_h21_h22_document_types() {
    let of = |declaration: &str, name: &str| {
        let xml = String::from_utf8(changed("reporter.example<", &format!("{name}<"))).unwrap();
        let start = format!("<!DOCTYPE feedback{declaration}>\n<feedback>");
        gzip(xml.replacen("<feedback>", &start, 1).as_bytes())
    };
    let mut laughs = " [<!ENTITY l0 \"lol\">".to_owned();
    for level in 1..10 {
        let below = format!("&l{};", level - 1).repeat(10);
        write!(laughs, "<!ENTITY l{level} \"{below}\">").unwrap();
    }
    let quadratic = format!(" [<!ENTITY q \"{}\">]", "x".repeat(50_000));
    for (what, file) in [
        ("h20, laughs", of(&(laughs + "]"), "&l9;")),
        ("h20, quadratic", of(&quadratic, &"&q;".repeat(50_000))),
        (
            "h21, file",
            of(" [<!ENTITY x SYSTEM \"file:///etc/passwd\">]", "&x;"),
        ),
        (
            "h21, http",
            of(" [<!ENTITY x SYSTEM \"http://127.0.0.1:9/\">]", "&x;"),
        ),
        (
            "h21, parameter",
            of(" [<!ENTITY % x SYSTEM \"file:///etc/passwd\"> %x;]", ""),
        ),
        ("h22", of("", "harmless")),
        ("h22, SYSTEM", of(" SYSTEM \"feedback.dtd\"", "harmless")),
    ] {
        assert_eq!(inspect(what, &mail(&file)), ["1 doctype"], "{what}");
    }
    // What is not asked for is not fetched: an element like any other.
    let include = "<xi:include xmlns:xi='http://www.w3.org/2001/XInclude' href='/etc/passwd'/>";
    let file = mail(&with("include", &(include.to_owned() + &record())));
    assert_eq!(inspect("h21, XInclude", &file), ["1 1"]);
}

#[test]
fn h23_attributes() {
    let many = |name: &str, count: usize| {
        let mut tag = "<x".to_owned();
        for number in 0..count {
            write!(tag, " {name}{number}=\"{number}\"").unwrap();
        }
        mail(&gzip(&with("attributes", &(tag + "/>" + &record()))))
    };
    assert_eq!(inspect("h23", &many("a", 300_000)), ["1 token_too_long"]);
    assert_eq!(
        inspect("h23, xmlns", &many("xmlns:a", 10_000)),
        ["1 token_too_long"]
    );
    assert_eq!(inspect("h23, some", &many("xmlns:a", 2_000)), ["1 1"]);
}

#[test]
fn h24_depth() {
    for depth in [200_000, 1_000_000] {
        let deep = "<x>".repeat(depth) + &"</x>".repeat(depth);
        let file = mail(&squeeze([&with("deep", &(deep + &record()))[..]]));
        assert_eq!(inspect("h24", &file), ["1 too_deep"]);
    }
}

#[test]
fn h25_one_long_text_and_many_comments() {
    let start = head("text").replace("</org_name>", "");
    let file = mail(&swollen(start.as_bytes(), b"A", 60, TAIL.as_bytes()));
    assert_eq!(inspect("h25", &file), ["1 token_too_long"]);
    let many = "<!-- -->".repeat(50_000) + &"<?x y?>".repeat(50_000) + &record();
    let file = with("comments", &many);
    assert_eq!(inspect("h25, comments", &mail(&gzip(&file))), ["1 1"]);
    let long = format!("<!--{}-->{}", "x".repeat(MIB), record());
    let file = mail(&gzip(&with("comment", &long)));
    assert_eq!(inspect("h25, a long comment", &file), ["1 token_too_long"]);
}

#[test]
fn h26_unknown_elements_anywhere() {
    let record = record()
        .replace(
            "<row>",
            "<x:a xmlns:x='urn:x'><count>9</count></x:a><row><new/>",
        )
        .replace("</record>", "<extension><record/></extension></record>");
    let xml = String::from_utf8(with("extensions", &record.repeat(3))).unwrap();
    let xml = xml.replace("<p>none</p>", "<p>none</p><np>none</np><soon>1</soon>");
    assert_eq!(inspect("h26", &mail(xml.as_bytes())), ["1 3"]);
}

#[test]
fn h29_dates() {
    let begin = |begin: &str| changed(&format!("<begin>{BEGIN}<"), &format!("<begin>{begin}<"));
    let end = |end: &str| {
        let own = BEGIN + 86_399;
        changed(&format!("<end>{own}<"), &format!("<end>{end}<"))
    };
    for (what, file) in [
        ("end before begin", end("1600000000")),
        ("milliseconds", begin("1699920000000")),
        ("none", begin("")),
        ("no number", end("tomorrow")),
    ] {
        assert_eq!(
            inspect(&format!("h29, {what}"), &mail(&file)),
            ["1 bad_dates"]
        );
    }
    // What can be is shown; whether it is believed depends on who brings it, and when.
    for (what, file, note) in [
        ("1970", begin("100000"), "before 2010"),
        (
            "400 days",
            end(&(BEGIN + 400 * 86_400).to_string()),
            "366 days",
        ),
        ("2099", end("4070908800"), "ends in the future"),
    ] {
        let found = facts(&format!("h29, {what}"), &mail(&file), 0);
        assert_eq!(found[0]["records"], 1, "{what}");
        assert!(found[0]["notes"].to_string().contains(note), "{found:?}");
    }
    let ahead = import("h29, 2099", &mail(&end("4070908800")));
    assert_eq!((&ahead["stored"], &ahead["parked"]), (&0.into(), &1.into()));
}

#[test]
fn h31_parts_that_come_twice_or_not() {
    let xml = String::from_utf8(report("twice", 1)).unwrap();
    let two_roots = format!("{xml}{}", xml.replace("<?xml version=\"1.0\"?>", ""));
    let policy = "<policy_published><domain>other.example</domain></policy_published>";
    let metadata = "<report_metadata><report_id>2</report_id></report_metadata>";
    for (what, file) in [
        ("roots", two_roots),
        (
            "policies",
            xml.replace("<record>", &format!("{policy}<record>")),
        ),
        (
            "heads",
            xml.replace("<record>", &format!("{metadata}<record>")),
        ),
    ] {
        let found = inspect(&format!("h31, two {what}"), &mail(file.as_bytes()));
        assert_eq!(found, ["1 ill_formed"], "{what}");
    }
    assert_eq!(inspect("h31, no record", &mail(&with("none", ""))), ["1 0"]);
}

#[test]
fn h61_the_domain() {
    let of = |name: &str| changed("<domain>example.com<", &format!("<domain>{name}<"));
    for (name, stored, foreign) in [
        ("EXAMPLE.com.", 1, 0),
        ("mail.example.com", 1, 0),
        ("example.net", 0, 1),
        ("xn--exmple-cua.com", 0, 1),
        ("exämple.com", 0, 1),
    ] {
        let totals = import(&format!("h61, {name}"), &mail(&of(name)));
        let counted = (&totals["stored"], &totals["foreign"]);
        assert_eq!(
            counted,
            (&stored.into(), &foreign.into()),
            "{name}: {totals}"
        );
    }
    assert_eq!(
        inspect("h61, no name", &mail(&of("not a name"))),
        ["1 no_domain"]
    );
}

/// A TLS report with this as its policies.
fn tls(policies: &str) -> Vec<u8> {
    format!(
        "{{\"organization-name\":\"reporter.example\",\"date-range\":{{\
         \"start-datetime\":\"2023-11-14T00:00:00Z\",\"end-datetime\":\"2023-11-14T23:59:59Z\"}},\
         \"contact-info\":\"a@reporter.example\",\"report-id\":\"h68\",\"policies\":{policies}}}"
    )
    .into_bytes()
}

#[test]
fn h68_tls_reports() {
    let policy = |summary: &str, details: &str| {
        format!(
            "{{\"policy\":{{\"policy-type\":\"sts\",\"policy-domain\":\"example.com\"}},\
             \"summary\":{{{summary}}},\"failure-details\":[{details}]}}"
        )
    };
    let counts = "\"total-successful-session-count\":1,\"total-failure-session-count\":0";
    let good = policy(counts, "");
    let failure = "{\"result-type\":\"certificate-expired\",\"failed-session-count\":1}";
    let failures = vec![failure; 100_000].join(",");
    for (what, file, expected) in [
        ("good", tls(&format!("[{good}]")), "1 1"),
        (
            "deep",
            tls(&("[".repeat(200) + &"]".repeat(200))),
            "1 too_deep",
        ),
        // About nothing, unless the file's name tells.
        ("null", tls("null"), "1 no_domain"),
        ("none", tls("[]"), "1 no_domain"),
        (
            "negative",
            tls(&format!(
                "[{good},{}]",
                policy(&counts.replace(":1", ":-1"), "")
            )),
            "1 1",
        ),
        (
            "beyond numbers",
            tls(&format!(
                "[{good},{}]",
                policy(&counts.replace(":1", ":1e400"), "")
            )),
            "1 ill_formed",
        ),
        (
            "failures",
            tls(&format!("[{}]", policy(counts, &failures))),
            "1 1",
        ),
        (
            "twice",
            tls(&format!("[{good}],\"policies\":[{good}]")),
            "1 1",
        ),
    ] {
        let length = file.len();
        let found = inspect_much(&format!("h68, {what}"), &mail(&gzip(&file)), length);
        assert_eq!(found, [expected], "{what}");
    }
    let text = "x".repeat(MIB);
    let file = tls(&format!(
        "[{{\"policy\":{{\"policy-string\":[\"{text}\"]}}}}]"
    ));
    assert_eq!(
        inspect("h68, a long text", &mail(&gzip(&file))),
        ["1 token_too_long"]
    );
}

/// Whatever fits into so little costs little: the tightest that each kind of input can be.
#[test]
fn twelve_kilobytes_never_cost_more_than_a_tenth_of_a_second() {
    let soups = [
        "<a/>", "<a></a>", "<!---->", "&#1;", "&x;", "<?x?>", "\n", "x", "<a>&amp;", "]]>", "&",
        "\u{1}",
    ];
    for soup in soups {
        for tail in [TAIL, "</wrong>"] {
            for depth in [1, 2] {
                let mut size = 16 * KIB;
                let file = loop {
                    let text = soup.repeat(size * KIB / soup.len());
                    let xml = head("soup") + &text + &record() + tail;
                    let file = squeeze([xml.as_bytes()]);
                    let file = mail(&if depth == 2 {
                        squeeze([&file[..]])
                    } else {
                        file
                    });
                    if file.len() <= 12 * KIB {
                        break file;
                    }
                    size = size * 3 / 4;
                };
                inspect(
                    &format!("12 KB of {soup:?}, {tail:?}, {depth}, {size} KiB"),
                    &file,
                );
            }
        }
    }
    for soup in ["[", "{\"a\":", "[],", "\"a\",", "{\"a\":{}},"] {
        let file = tls(&format!("[{}]", soup.repeat(8 * MIB / soup.len())));
        let file = mail(&squeeze([&file[..]]));
        inspect(
            &format!("12 KB of {soup:?}"),
            &file[..file.len().min(12 * KIB)],
        );
        inspect(&format!("some KB of {soup:?}"), &file);
    }
}
