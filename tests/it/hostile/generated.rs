//! The bombs of the lab's generator, which lies beside the corpus and is no part of the project.

use std::{fs, process::Command};

use super::{MIB, inspect_much};
use crate::corpus::corpus;

/// Each bomb, the end of every line that it leads to, and the mebibytes that are worked on.
const BOMBS: &[(&str, &str, usize)] = &[
    ("gz1g_records", "too_large", 256),
    ("gz1g_onetext", "token_too_long", 0),
    ("zip_1g", "too_large", 256),
    ("nested_zip", "too_large", 0),
    ("zip_lying_size", "too_large", 256),
    ("zip_10k", "too_large", 0),
    ("zip_overlap", "too_large", 0),
    ("billion_laughs", "doctype", 0),
    ("quadratic", "doctype", 0),
    ("xxe_file", "doctype", 0),
    ("deep_xml", "too_deep", 0),
    ("many_attrs", "token_too_long", 0),
    ("deep_mime", "mime_too_complex", 0),
    ("many_parts", "", 0),
];

#[test]
fn the_bombs_of_the_lab_go_off_in_vain() {
    let generator = corpus().map(|corpus| corpus.join("../lab/gen.py"));
    let Some(generator) = generator.filter(|path| path.is_file()) else {
        println!("no lab here: only the bombs that this test makes itself were tried");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let made = Command::new("python3")
        .arg(generator)
        .arg(dir.path())
        .arg("bomb")
        .output();
    assert!(made.as_ref().unwrap().status.success(), "{made:?}");
    for (name, end, mebibytes) in BOMBS {
        let mail = fs::read(dir.path().join(format!("bomb/mail/{name}.eml"))).unwrap();
        let found = inspect_much(name, &mail, mebibytes * MIB);
        let as_told = found.iter().all(|line| line.ends_with(end));
        assert!(!found.is_empty() && as_told, "{name}: {found:?}");
    }
}
