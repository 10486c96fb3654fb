//! The mails in `tests/data/mails` are what their table says. `UPDATE_SAMPLES=1` writes them anew.

use std::{fs, path::PathBuf};

use crate::lab::{
    Lab, RUA, SOON, USER,
    daemon::{self, Stored},
    mails::{self, Report},
    replies, until,
};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/mails")
}

/// File, domain, records, messages; from the table in the folder's README.
fn table() -> Vec<(String, String, u64, u64)> {
    let readme = fs::read_to_string(folder().join("README.md")).expect("README.md");
    let rows = readme.lines().filter_map(|line| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let file = cells.next()?.strip_suffix(".eml")?;
        let mut cell = || cells.next().map(str::to_owned);
        let (_, domain, records, messages) = (cell()?, cell()?, cell()?, cell()?);
        let number = |text: &str| text.parse().expect("a number");
        Some((
            format!("{file}.eml"),
            domain,
            number(&records),
            number(&messages),
        ))
    });
    rows.collect()
}

#[test]
fn the_sample_mails_can_be_written_anew() {
    if std::env::var_os("UPDATE_SAMPLES").is_none() {
        return;
    }
    let com = |id, counts: &[u64]| Report::new(id, "example.com", counts);
    let samples = [
        (
            "google",
            com("8593127690416743321", &[10, 2, 1]).google(RUA),
        ),
        (
            "microsoft",
            Report::new("0e4a92f9f3ab4d1d", "example.org", &[40, 7]).microsoft(RUA),
        ),
        (
            "rfc9990",
            com("2023-11-14.example.com", &[5, 4, 3, 2]).rfc9990(RUA),
        ),
        (
            "foreign",
            Report::new("17", "other.example", &[6]).google(RUA),
        ),
        ("ordinary", mails::ordinary(USER)),
    ];
    for (name, mail) in samples {
        let text = String::from_utf8(mail)
            .expect("ASCII")
            .replace("\r\n", "\n");
        fs::write(folder().join(name).with_extension("eml"), text).expect("to write");
    }
}

#[test]
fn inspect_reads_the_sample_mails_as_their_table_says() {
    let rows = table();
    assert_eq!(rows.len(), 5);
    for (file, domain, records, messages) in rows {
        if records == 0 {
            continue;
        }
        let path = folder().join(&file);
        let output = daemon::run(&["inspect", "--json", path.to_str().expect("UTF-8")], b"");
        let [report] = &output.json_lines()[..] else {
            panic!("{file}: {output:?}");
        };
        assert_eq!(output.code, 0, "{file}: {output:?}");
        assert_eq!(report["kind"], "aggregate", "{file}");
        assert_eq!(report["domain"], *domain, "{file}");
        assert_eq!(report["records"], records, "{file}");
        assert_eq!(report["messages"], messages, "{file}");
    }
}

#[test]
fn the_sample_mails_go_their_ways_through_postfix() {
    let lab = Lab::start();
    let mut client = lab.client();
    for (file, domain, ..) in table() {
        let text = fs::read_to_string(folder().join(&file)).expect("a sample");
        let to = if file == "ordinary.eml" { USER } else { RUA };
        let reply = client.submit(&[to], &mails::crlf(&text));
        match &*domain {
            "other.example" => assert_eq!(reply, replies::FOREIGN, "{file}"),
            _ => assert!(reply.starts_with("250"), "{file}: {reply}"),
        }
    }
    for name in ["example.com", "example.org"] {
        let rows = table().into_iter().filter(|(_, domain, ..)| domain == name);
        let expected = rows.fold(Stored::NOTHING, |sum, (.., messages)| Stored {
            reports: sum.reports + 1,
            messages: sum.messages + messages,
        });
        lab.daemon.expect_stored(name, expected);
    }
    until("the other has it", SOON, || lab.sink.recipients() == [USER]);
}
