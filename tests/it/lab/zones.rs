//! The fixtures of the kinds of finding: `tests/zones/KIND.zone`, lines of the zone `KIND.test` (with
//! hyphens), and in comments what else there is.

use std::{fs, path::Path};

use rua_milter::terms::FindingKind;

/// One of them.
pub struct Fixture {
    pub kind: FindingKind,
    /// The name of the zone without `.test`.
    pub name: String,
    pub lines: String,
}

impl Fixture {
    pub fn read(kind: FindingKind) -> Self {
        let file = format!("tests/zones/{kind}.zone");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        Self {
            kind,
            name: kind.as_str().replace('_', "-"),
            lines: fs::read_to_string(path).expect("a fixture for each kind of finding"),
        }
    }

    /// What stands behind `mark`, line by line.
    pub fn marked(&self, mark: &str) -> impl Iterator<Item = &str> {
        let lines = self.lines.lines();
        lines.filter_map(move |line| line.strip_prefix(mark))
    }
}
