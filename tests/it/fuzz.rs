//! The properties that fuzzing looks for a way around, held over what it found worth keeping and
//! over every sample.

use std::{fs, panic::catch_unwind, path::Path};

use crate::lab::files_below;

#[path = "../../fuzz/src/lib.rs"]
pub mod properties;

type Property = fn(&[u8]);

/// Each file of `fuzz/fuzz_targets`, and what it calls.
const TARGETS: &[(&str, Property)] = &[
    ("aggregate", properties::aggregate),
    ("domains", properties::domains),
    ("failure", properties::failure),
    ("inflate", properties::inflate),
    ("mail", properties::mail),
    ("record", properties::record),
    ("tls", properties::tls),
];

#[test]
fn what_holds_for_every_input_holds_for_those_that_were_kept() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let samples = files_below(&root.join("tests/data"));
    let mut broken = Vec::new();
    for (target, property) in TARGETS {
        let corpus = files_below(&root.join("fuzz/corpus").join(target));
        assert!(!corpus.is_empty(), "no corpus of {target}");
        for path in corpus.iter().chain(&samples).filter(|path| path.is_file()) {
            let input = fs::read(path).unwrap();
            if catch_unwind(|| property(&input)).is_err() {
                broken.push((target, path.clone()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn no_target_is_left_out() {
    let files = files_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets"));
    let mut targets: Vec<_> = files.iter().filter_map(|path| path.file_stem()).collect();
    targets.sort();
    assert!(targets.iter().eq(TARGETS.iter().map(|(target, _)| target)));
}
