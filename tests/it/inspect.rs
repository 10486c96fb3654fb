//! The command `inspect`, as an operator uses it.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

fn inspect(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rua-milter"))
        .arg("inspect")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn sample() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/aggregate/01-plain.xml");
    fs::read(path).unwrap()
}

#[test]
fn a_folder_is_read_in_order_and_one_bad_file_makes_the_code_1() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    fs::write(dir.path().join("b.xml"), sample()).unwrap();
    let output = inspect(&["--json", path], b"");
    assert_eq!(output.status.code(), Some(0));
    fs::create_dir(dir.path().join("a")).unwrap();
    fs::write(dir.path().join("a/x.gz"), b"\x1f\x8b\x08rubbish").unwrap();
    let output = inspect(&["--json", path], b"");
    assert_eq!(output.status.code(), Some(1));
    let found = lines(&output);
    assert_eq!(found[0]["path"], format!("{path}/a/x.gz"));
    assert_eq!(found[0]["error"], "bad_container");
    assert_eq!(found[1]["path"], format!("{path}/b.xml"));
    assert_eq!(found[1]["domain"], "d.example");
    assert_eq!(found[1]["messages"], 2);
}

#[test]
fn stdin_may_be_an_mbox_and_its_messages_are_numbered() {
    let report = String::from_utf8(sample()).unwrap();
    let mbox = format!(
        "From a@example Mon\nSubject: 1\nContent-Type: text/xml\n\n{report}\n\
         From b@example Tue\nSubject: 2\n\nhello\n"
    );
    let output = inspect(&["--json", "-"], mbox.as_bytes());
    let found = lines(&output);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(
        (&found[0]["path"], &found[0]["part"]),
        (&"-".into(), &"1:1".into())
    );
    assert_eq!(found[1]["error"], "not_a_report");
}

#[test]
fn what_a_stranger_wrote_does_not_act_on_the_terminal() {
    let report = String::from_utf8(sample())
        .unwrap()
        .replace("Reporter Example", "\u{9b}31m\u{202e}evil");
    for arguments in [&["-"][..], &["--json", "-"]] {
        let output = inspect(arguments, report.as_bytes());
        assert_eq!(output.status.code(), Some(0));
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(shown.contains("evil"));
        assert!(!shown.contains(['\u{9b}', '\u{202e}']));
    }
}
