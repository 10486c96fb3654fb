//! Real reports, which are no part of the project: `RUA_MILTER_CORPUS`, or `../shared/corpus`.

use std::{env, fs, io::Read, path::PathBuf, process::Command};

use encoding_rs::{Encoding, UTF_8};
use roxmltree::Document;
use rua_milter::{
    report::{self, Whole, aggregate::Hints},
    unpack::{self, Bounds, Shape},
};
use serde_json::Value;

use crate::fuzz::properties::oracle;

/// Files whose number of records is another with us than with mail-auth and parsedmarc, and why.
const OTHERWISE: &[(&str, &str)] = &[
    // No other parser of INDEX.tsv reads these; each holds one report of one record.
    ("rendered-from-python/xml.eml", "read by us only"),
    ("rendered-from-python/xml_2_0.eml", "read by us only"),
];

/// Files that INDEX.tsv calls invalid and that a person can read all the same: records, and
/// records left out.
const READ_THOUGH_INVALID: &[(&str, u64, u64)] = &[
    (
        "parsedmarc/samples/aggregate/ikea.com!example.de!1538690400!1538776800.xml",
        1,
        0,
    ),
    ("parsedmarc/samples/aggregate/invalid_utf_8.xml", 1, 0),
    ("parsedmarc/samples/aggregate/invalid_xml.xml", 1, 0),
    // A null report.
    ("pkg/dmarc/testdata/test_empty.xml", 0, 0),
    ("bad.com!example.com!1337140800!1337227200.xml", 2, 1),
    ("_20150705_163-failed.com.eml", 1, 0),
];

/// The HTML beside a report, which is told as what it is.
const NO_REPORTS: &[(&str, &str)] = &[("outlook.eml", "1.1.2"), ("103.eml", "1.1.2")];

/// Where the corpus is, if it is there.
pub fn corpus() -> Option<PathBuf> {
    let path = env::var_os("RUA_MILTER_CORPUS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus"),
        PathBuf::from,
    );
    path.is_dir().then_some(path)
}

/// A line of INDEX.tsv.
struct Row {
    file: String,
    path: PathBuf,
    kind: String,
    /// What other parsers said of it.
    others: Vec<String>,
}

/// All of them; none, and the test then says so, if the corpus is not here.
fn index() -> Option<Vec<Row>> {
    let Some(corpus) = corpus() else {
        println!("no corpus here: nothing was read");
        return None;
    };
    let index = fs::read_to_string(corpus.join("INDEX.tsv")).unwrap();
    let row = |line: &str| {
        let columns: Vec<_> = line.split('\t').map(str::to_owned).collect();
        Row {
            file: columns[0].clone(),
            path: corpus.join(&columns[0]),
            kind: columns[1].clone(),
            others: columns[6..].to_vec(),
        }
    };
    Some(index.lines().skip(1).map(row).collect())
}

/// What `inspect --json` finds in a file.
fn lines(row: &Row) -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_rua-milter"))
        .args(["inspect", "--json"])
        .arg(&row.path)
        .output()
        .unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// `aggregate:7`, `ok 7` and `ok-dmarc 7` mean seven records.
fn records(verdict: &str) -> Option<u64> {
    ["aggregate:", "ok ", "ok-dmarc "]
        .iter()
        .find_map(|start| verdict.strip_prefix(start)?.parse().ok())
}

#[test]
fn every_report_that_others_read_is_read() {
    let Some(rows) = index() else { return };
    let mut failed = Vec::new();
    for row in rows.iter().filter(|row| row.kind == "aggregate") {
        let Row { file, .. } = row;
        let others: Vec<_> = row.others.iter().filter_map(|c| records(c)).collect();
        let found = lines(row);
        let excused = OTHERWISE.iter().any(|(end, _)| file.ends_with(end));
        // What else is in the mail, such as a letter to people, is no failed report.
        let agrees = match &found[..] {
            [one] => one["records"]
                .as_u64()
                .is_some_and(|n| excused || others.contains(&n)),
            _ => excused && found.iter().all(|line| line["records"].is_u64()),
        };
        if !agrees {
            failed.push(format!("{file}: {found:?}, others {others:?}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// `ok 2` and `ok-tls 2` mean two policies.
#[test]
fn every_tls_report_is_read() {
    let Some(rows) = index() else { return };
    let mut failed = Vec::new();
    let mut compared = 0;
    for row in rows.iter().filter(|row| row.kind == "tlsrpt") {
        compared += 1;
        let others = row.others[1..].iter().find_map(|column| {
            let count = column
                .strip_prefix("ok-tls ")
                .or(column.strip_prefix("ok "));
            count?.parse::<u64>().ok()
        });
        let found = lines(row);
        let is_read = matches!(&found[..], [one] if one["kind"] == "tls"
            && others.is_none_or(|others| one["records"] == others));
        if !is_read {
            failed.push(format!("{}: {found:?}, others {others:?}", row.file));
        }
    }
    assert!(compared > 20 && failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn nothing_in_a_valid_file_is_an_error() {
    let Some(rows) = index() else { return };
    let mut failed = Vec::new();
    let is_valid = |row: &&Row| ["aggregate", "tlsrpt"].contains(&&*row.kind);
    for row in rows.iter().filter(is_valid) {
        for line in lines(row) {
            let is_known =
                |(end, part): &(&str, &str)| row.file.ends_with(end) && line["part"] == *part;
            if !line["error"].is_null() && !NO_REPORTS.iter().any(is_known) {
                failed.push(line.to_string());
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn what_a_person_can_read_of_the_invalid_files_is_read() {
    let Some(rows) = index() else { return };
    for &(end, records, skipped) in READ_THOUGH_INVALID {
        let row = rows.iter().find(|row| row.file.ends_with(end));
        let found = lines(row.expect("in the index"));
        let counted: Vec<_> = found
            .iter()
            .map(|line| (line["records"].as_u64(), line["skipped_records"].as_u64()))
            .collect();
        assert_eq!(counted, [(Some(records), Some(skipped))], "{found:?}");
    }
}

#[test]
fn every_failure_report_is_read() {
    let Some(rows) = index() else { return };
    let failures: Vec<_> = rows.iter().filter(|row| row.kind == "failure").collect();
    assert!(failures.len() >= 10, "{}", failures.len());
    for row in failures {
        let found = lines(row);
        let is_read = matches!(&found[..], [one] if one["kind"] == "failure"
            && one["records"] == 1 && one["begin"] == one["end"] && one["org_name"] != "");
        assert!(is_read, "{}: {found:?}", row.file);
    }
}

/// The text of an XML document, by its byte order mark or declaration.
fn decoded(bytes: &[u8]) -> String {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
    let label = head.split("encoding=").nth(1).and_then(|rest| {
        let quote = rest.chars().next()?;
        rest[1..].split(quote).next()
    });
    let declared = label.and_then(|label| Encoding::for_label(label.as_bytes()));
    declared.unwrap_or(UTF_8).decode(bytes).0.into_owned()
}

/// Whatever the container: records with an address and a count, and the sum of the counts.
#[test]
fn another_reader_agrees_on_every_well_formed_report() {
    let Some(rows) = index() else { return };
    let (mut agreed, mut failed, mut ill_formed) = (0, Vec::new(), Vec::new());
    for Row {
        file, path, kind, ..
    } in &rows
    {
        let raw = fs::read(path).unwrap();
        let found = unpack::documents(&raw, &Bounds::default());
        for document in found.documents.iter().filter(|it| it.shape == Shape::Xml) {
            let mut bytes = Vec::new();
            if document.open().read_to_end(&mut bytes).is_err() {
                continue;
            }
            let text = decoded(&bytes);
            let other = match Document::parse(&text) {
                Ok(other) => other,
                Err(error) => {
                    ill_formed.push(format!("{file}: {error}"));
                    continue;
                }
            };
            if other.root_element().tag_name().name() != "feedback" {
                continue;
            }
            let said = oracle::records(&other);
            let good = said
                .iter()
                .filter_map(|record| record.source_ip.and(record.count));
            let hints = Hints {
                file_name: document.file_name.as_deref(),
                ..Hints::default()
            };
            let ours = match report::read(|| &bytes[..], &hints, 0) {
                Ok(Whole::Aggregate(whole)) => (whole.report.records, whole.report.messages),
                // Well-formed, and no report that anybody could use.
                Err(_) if kind == "invalid" => continue,
                other => {
                    failed.push(format!("{file}: {other:?}"));
                    continue;
                }
            };
            let theirs = (good.clone().count() as u64, good.sum());
            if ours == theirs {
                agreed += 1;
            } else {
                failed.push(format!("{file}: {ours:?}, and {theirs:?}"));
            }
        }
    }
    println!("{agreed} agree; not well-formed: {ill_formed:#?}");
    assert!(agreed > 100 && failed.is_empty(), "{}", failed.join("\n"));
}
