//! Whole mails as reporters send them: what `inspect` says of them, and where they go through
//! Postfix.

use std::{fs, path::Path};

use serde_json::Value;

use crate::{
    lab::{
        Lab, RUA, SOON, USER,
        daemon::{self, Stored},
        mails::{self, Report},
        replies, until,
    },
    samples,
};

/// Name and content of each.
fn written() -> [(&'static str, Vec<u8>); 5] {
    let com = |id, counts: &[u64]| Report::new(id, "example.com", counts);
    let org = Report::new("0e4a92f9f3ab4d1d", "example.org", &[40, 7]);
    let foreign = Report::new("17", "other.example", &[6]);
    [
        (
            "01-google",
            com("8593127690416743321", &[10, 2, 1]).google(RUA),
        ),
        ("02-microsoft", org.microsoft(RUA)),
        (
            "03-rfc9990",
            com("2023-11-14.example.com", &[5, 4, 3, 2]).rfc9990(RUA),
        ),
        ("04-foreign", foreign.google(RUA)),
        ("05-ordinary", mails::ordinary(USER)),
    ]
}

/// The lines of `inspect --json`, without the path, which is another everywhere.
fn outcome(path: &Path) -> Value {
    if samples::are_updated() {
        let name = path.file_stem().expect("a name");
        let (_, mail) = written()
            .into_iter()
            .find(|(it, _)| *it == name)
            .expect("a sample");
        let text = String::from_utf8(mail)
            .expect("ASCII")
            .replace("\r\n", "\n");
        fs::write(path, text).expect("to write");
    }
    let output = daemon::run(&["inspect", "--json", path.to_str().expect("UTF-8")], b"");
    let mut lines = output.json_lines();
    for line in &mut lines {
        line.as_object_mut().expect("an object").remove("path");
    }
    lines.into()
}

#[test]
fn every_sample_is_inspected_as_written_beside_it() {
    samples::hold("mails", outcome);
}

#[test]
fn the_sample_mails_go_their_ways_through_postfix() {
    let lab = Lab::start();
    let mut client = lab.client();
    for path in samples::of("mails") {
        let name = path.file_stem().expect("a name").to_str().expect("UTF-8");
        let text = fs::read_to_string(&path).expect("a sample");
        let to = if name == "05-ordinary" { USER } else { RUA };
        let reply = client.submit(&[to], &mails::crlf(&text));
        match name {
            "04-foreign" => assert_eq!(reply, replies::FOREIGN, "{name}"),
            _ => assert!(reply.starts_with("250"), "{name}: {reply}"),
        }
    }
    for (name, reports, messages) in [("example.com", 2, 27), ("example.org", 1, 47)] {
        lab.daemon.expect_stored(name, Stored { reports, messages });
    }
    until("the other has it", SOON, || lab.sink.recipients() == [USER]);
}
