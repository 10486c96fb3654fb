//! The form of the samples: `tests/data/KIND/NN-name.EXT`, its line in the README.md of that
//! folder, and what must come out of it beside it. `UPDATE_GOLDEN=1` writes the last anew; review
//! the difference.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// Extensions of a sample and of what stands beside it, by kind.
const KINDS: &[(&str, &str, &str)] = &[
    ("aggregate", "xml", "json"),
    ("failure", "eml", "expected"),
    ("mails", "eml", "json"),
    ("tls", "json", "expected"),
];

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// Whether what stands beside samples is to be written anew.
pub fn are_updated() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

/// The samples of one kind, in order.
pub fn of(kind: &str) -> Vec<PathBuf> {
    let (_, extension, _) = form(kind);
    let files = fs::read_dir(data().join(kind)).expect("a folder of samples");
    let files = files.map(|entry| entry.expect("an entry").path());
    let mut samples: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|it| it == extension))
        .collect();
    samples.sort();
    samples
}

fn form(kind: &str) -> (&'static str, &'static str, &'static str) {
    let found = KINDS.iter().find(|(name, ..)| *name == kind);
    *found.expect("a kind")
}

/// Holds what comes out of each sample against what stands beside it.
pub fn hold(kind: &str, outcome: fn(&Path) -> Value) {
    let (.., beside) = form(kind);
    for path in of(kind) {
        let found = outcome(&path);
        let golden = path.with_extension(beside);
        if are_updated() {
            fs::write(&golden, format!("{found:#}\n")).expect("to write");
        }
        let wanted = fs::read(&golden).expect("what is wanted stands beside the sample");
        let wanted: Value = serde_json::from_slice(&wanted).expect("JSON");
        assert_eq!(found, wanted, "{}", path.display());
    }
}

#[test]
fn every_sample_has_its_line_and_every_line_its_sample() {
    for entry in fs::read_dir(data()).expect("tests/data") {
        let folder = entry.expect("an entry").path();
        if !folder.is_dir() {
            continue;
        }
        let kind = folder.file_name().expect("a name").to_str().expect("UTF-8");
        let number = |path: &PathBuf| {
            let name = path.file_name()?.to_str()?;
            let (number, rest) = name.split_once('-')?;
            let is_number = number.len() == 2 && number.parse::<u8>().is_ok();
            (is_number && !rest.is_empty()).then(|| number.to_owned())
        };
        let samples: Vec<_> = of(kind).iter().map(number).collect();
        let numbers = (1..=samples.len()).map(|number| Some(format!("{number:02}")));
        assert!(samples.iter().cloned().eq(numbers), "{kind}: {samples:?}");
        let table = fs::read_to_string(folder.join("README.md")).expect("README.md");
        let lines = table.lines().filter_map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            let number = cells.next()?;
            let is_told =
                number.parse::<u8>().is_ok() && cells.next().is_some_and(|it| !it.is_empty());
            is_told.then(|| Some(number.to_owned()))
        });
        assert_eq!(samples, lines.collect::<Vec<_>>(), "{kind}: samples, lines");
    }
}

#[test]
fn nothing_stands_beside_a_sample_that_is_gone() {
    for (kind, extension, beside) in KINDS {
        let files = fs::read_dir(data().join(kind)).expect("a folder of samples");
        let files: BTreeSet<_> = files.map(|entry| entry.expect("an entry").path()).collect();
        let mut expected: BTreeSet<_> = of(kind)
            .into_iter()
            .flat_map(|path| [path.with_extension(beside), path.with_extension(extension)])
            .collect();
        expected.insert(data().join(kind).join("README.md"));
        assert_eq!(files, expected, "{kind}");
    }
}
