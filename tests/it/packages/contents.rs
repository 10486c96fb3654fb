//! What is installed is what `packaging/contents` says, and the linters have nothing to say.

use std::{fs, path::Path, process::Command};

use super::package;
use crate::lab::container::Container;

/// Every line of `packaging/contents` that is for this kind of package.
pub fn assert_installed(container: &Container, kind: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/contents");
    let text = fs::read_to_string(file).expect("packaging/contents");
    let mut seen = 0;
    for line in text.lines().filter(|line| line.starts_with('/')) {
        let words: Vec<_> = line.split_whitespace().collect();
        let flags = &words[4..];
        if flags.iter().any(|flag| ["deb", "rpm"].contains(flag)) && !flags.contains(&kind) {
            continue;
        }
        let (target, mode, owner, source) = (words[0], words[1], words[2], words[3]);
        if target.ends_with('/') && source != "-" {
            let files = container.sh(&format!("find {target} -type f ! -group root"));
            assert_eq!(files, "", "{target}");
            continue;
        }
        let found = container.sh(&format!("stat -c '0%a %U:%G' {target}"));
        assert_eq!(found.trim(), format!("{mode} {owner}"), "{target}");
        seen += 1;
    }
    assert!(seen > 10, "packaging/contents is another than this reads");
}

/// Folders of `packaging/` that the packages are made by; the others are for operators.
const MAKING: &[&str] = &["build.d", "deb", "man", "quickstart.d", "rpm"];

#[test]
fn what_is_for_operators_is_in_the_packages() {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let contents = fs::read_to_string(packaging.join("contents")).expect("packaging/contents");
    let sources: Vec<_> = contents.split_whitespace().collect();
    for entry in fs::read_dir(packaging).expect("packaging").flatten() {
        let name = entry.file_name().into_string().expect("UTF-8");
        if entry.path().is_dir() && !MAKING.contains(&&*name) {
            let source = format!("packaging/{name}/");
            assert!(
                sources.contains(&&*source),
                "{source} is not in packaging/contents"
            );
        }
    }
}

#[test]
fn lintian_has_nothing_to_say() {
    let output = Command::new("lintian")
        .args(["--allow-root", "--no-tag-display-limit"])
        .arg(package(".deb"))
        .output()
        .expect("lintian");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn rpmlint_has_nothing_to_say() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/rpm/rpmlint.toml");
    let output = Command::new("rpmlint")
        .arg("--config")
        .arg(config)
        .arg(package(".rpm"))
        .output()
        .expect("rpmlint");
    let said = String::from_utf8_lossy(&output.stdout);
    let clean = said.contains("1 packages and 0 specfiles checked; 0 errors, 0 warnings");
    assert!(clean, "{said}");
}

#[test]
fn the_unit_is_as_tight_as_it_is_promised() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/rua-milter.service");
    // In tenths: 1.2.
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=12", "--no-pager"])
        .arg(unit)
        .output()
        .expect("systemd-analyze");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}
