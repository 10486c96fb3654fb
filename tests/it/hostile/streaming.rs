//! Memory does not grow with the number of records.

use std::{fs, io::Write as _};

use flate2::{Compression, write::GzEncoder};

use super::{MIB, Run, TAIL, configure, head, lab::gzip, mail, record, run};

/// Resident memory that reading, and storing as well, may take.
const INSPECT_MIB: f64 = 16.0;
const IMPORT_MIB: f64 = 40.0;

/// A mail with a gzip file of so many records, each another, and as long as those of real
/// reporters: 650 bytes.
fn giant(records: usize) -> Vec<u8> {
    let blank = format!("<extension>{}</extension></record>", "blank ".repeat(40));
    let record = record().replace("</record>", &blank);
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    out.write_all(head("giant").as_bytes()).unwrap();
    for number in 0..records {
        let [_, a, b, c] = u32::try_from(number).unwrap().to_be_bytes();
        let record = record.replace("192.0.2.1", &format!("10.{a}.{b}.{c}"));
        out.write_all(record.as_bytes()).unwrap();
    }
    out.write_all(TAIL.as_bytes()).unwrap();
    mail(&out.finish().unwrap())
}

fn check(what: &str, run: &Run, most: f64) {
    let Run {
        peak_mib, cpu_secs, ..
    } = run;
    println!("{what}: {peak_mib:.1} MiB of at most {most}, {cpu_secs:.2} s");
    assert_eq!(run.code, 0, "{what}: {} {}", run.stdout, run.stderr);
    assert!(*peak_mib <= most, "{what}: {peak_mib} MiB");
}

fn reads_and_stores(records: usize, limits: &str) {
    let dir = tempfile::tempdir().unwrap();
    let config = configure(dir.path(), limits);
    let path = dir.path().join("giant.eml");
    fs::write(&path, giant(records)).unwrap();
    let path = path.to_str().unwrap();
    let inspected = run(&["inspect", "--json", "--config", &config, path]);
    check(
        &format!("inspect, {records} records"),
        &inspected,
        INSPECT_MIB,
    );
    assert_eq!(inspected.lines()[0]["records"], records);
    let imported = run(&["import", "--json", "--config", &config, path]);
    check(&format!("import, {records} records"), &imported, IMPORT_MIB);
    assert_eq!(imported.lines()[0]["messages"], records);
}

#[test]
fn sixty_thousand_records() {
    reads_and_stores(60_000, "");
}

#[test]
#[ignore = "takes a minute"]
fn a_million_records() {
    reads_and_stores(
        1_000_000,
        "max_records = 1000000\nmax_inflated_bytes = 1073741824",
    );
}

#[test]
fn a_mail_that_is_as_large_as_mails_may_be() {
    let records = gzip(&super::report("large", 1));
    let noise = super::mails::noise(14 * MIB);
    let mail = mail(&[records, noise].concat());
    assert!((19 * MIB..20 * MIB).contains(&mail.len()));
    assert_eq!(super::inspect("20 MiB", &mail), ["1 1"]);
    assert_eq!(super::import("20 MiB", &mail)["stored"], 1);
}
