//! Records: how many, and what is in them.

use std::fmt::Write as _;

use super::{
    MIB, changed, configure, facts, import, import_much, inspect, inspect_much, lab::gzip, mail,
    record, report, run, shown, with,
};

#[test]
fn h27_as_many_records_as_allowed_and_one_more() {
    for (records, expected) in [(500_000, "1 500000"), (500_001, "1 too_large")] {
        let xml = report("many", records);
        let found = inspect_much(&format!("h27, {records}"), &mail(&gzip(&xml)), xml.len());
        assert_eq!(found, [expected]);
    }
}

#[test]
fn the_limits_are_the_operators() {
    let dir = tempfile::tempdir().unwrap();
    let limits = "max_records = 10\nmax_documents = 2\nmax_inflated_bytes = 65536";
    let config = configure(dir.path(), limits);
    let path = dir.path().join("input");
    let see = |file: &[u8]| {
        std::fs::write(&path, file).unwrap();
        let path = path.to_str().unwrap();
        shown(&run(&["inspect", "--json", "--config", &config, path]).lines())
    };
    assert_eq!(see(&mail(&gzip(&report("ten", 10)))), ["1 10"]);
    assert_eq!(see(&mail(&gzip(&report("eleven", 11)))), ["1 too_large"]);
    let part = super::part("Content-Type: text/xml; name=a.xml", &report("part", 1));
    let three = super::multipart(&[part.clone(), part.clone(), part]);
    assert_eq!(see(&three), ["1 1", "2 1", "3 too_large"]);
    let blanks = |bytes: usize| {
        let short = with("blanks", &record()).len();
        mail(&gzip(&with(
            "blanks",
            &("\n".repeat(bytes - short) + &record()),
        )))
    };
    assert_eq!(see(&blanks(65_536)), ["1 1"]);
    assert_eq!(see(&blanks(65_537)), ["1 too_large"]);
}

#[test]
fn h28_counts() {
    for (count, counted, skipped) in [
        ("-1", 0, 1),
        ("1.5", 0, 1),
        ("100000000000000000000", 0, 1),
        ("", 0, 1),
        ("1000000000", 1, 0),
        ("0", 1, 0),
    ] {
        let file = changed("<count>1<", &format!("<count>{count}<"));
        let found = &facts("h28", &mail(&file), 0)[0];
        let records = (&found["records"], &found["skipped_records"]);
        assert_eq!(records, (&counted.into(), &skipped.into()), "{count}");
    }
    // A bad record does not take the good ones with it, and is told.
    let bad = record().replace("<count>1<", "<count>-1<");
    let totals = import("h28", &mail(&with("part", &(record() + &bad + &record()))));
    assert_eq!(
        (&totals["stored"], &totals["messages"]),
        (&1.into(), &2.into())
    );
    let most = record().replace("<count>1<", "<count>9223372036854775807<");
    let found = inspect("h28, beyond 64 bits", &mail(&with("sum", &most.repeat(3))));
    assert_eq!(found, ["1 bad_count"]);
}

#[test]
fn h30_addresses() {
    for (address, counted) in [
        ("mail.example.com", 0),
        ("::ffff:192.0.2.1", 1),
        ("fe80::1%eth0", 1),
        ("192.0.2.001", 0),
        ("", 0),
        ("2001:DB8::1", 1),
    ] {
        let file = changed("<source_ip>192.0.2.1<", &format!("<source_ip>{address}<"));
        let found = &facts("h30", &mail(&file), 0)[0];
        assert_eq!(found["records"], counted, "{address}: {found}");
    }
}

#[test]
fn h62_h63_as_many_addresses_and_names_as_records() {
    let mut records = String::new();
    for number in 0..200_000 {
        let ip = format!(
            "<source_ip>2001:db8::{:x}:{:x}<",
            number >> 16,
            number & 0xffff
        );
        let from = format!("<header_from>h{number}.example.com<");
        let record = record()
            .replace("<source_ip>192.0.2.1<", &ip)
            .replace("<header_from>example.com<", &from);
        records += &record;
    }
    let xml = with("many", &records);
    let file = mail(&gzip(&xml));
    let found = inspect_much("h62 h63", &file, xml.len());
    assert_eq!(found, ["1 200000"]);
    // No address is looked up, and the totals have as many rows as there are results.
    // Rows to store cost about as much as to read.
    let totals = import_much("h62 h63", &file, 2 * xml.len());
    assert_eq!(totals["messages"], 200_000);
    let mut metadata = String::new();
    for number in 0..10_000 {
        write!(metadata, "<error>{number}</error>").unwrap();
    }
    let errors = changed("<date_range>", &format!("{metadata}<date_range>"));
    assert_eq!(inspect_much("h63, errors", &mail(&errors), MIB), ["1 1"]);
}
