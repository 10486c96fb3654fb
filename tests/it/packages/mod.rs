//! The packages that `packaging/build` makes: what is in them, and what becomes of a machine that
//! gets them, by a real systemd.

mod contents;
mod debian;
mod machine;
mod program;
mod rpm;
mod sandbox;
mod supply;
mod upgrade;

use std::{fs, path::PathBuf};

use crate::lab::daemon::target;

/// The package with this ending, such as `.deb`; tests/run makes it.
fn package(ending: &str) -> PathBuf {
    let folder = target().join("packages");
    let mut files = fs::read_dir(&folder).into_iter().flatten().flatten();
    let found = files.find(|file| file.file_name().to_string_lossy().ends_with(ending));
    let found =
        found.unwrap_or_else(|| panic!("no *{ending} in {}: packaging/build", folder.display()));
    found.path()
}
