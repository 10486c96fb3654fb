//! Where the packages come from: the list of their parts, and the same bytes every time.

use std::{
    collections::HashSet,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::lab::{daemon::target, open_dir};
use serde_json::Value;

/// The list of parts, as it is installed.
fn parts() -> Value {
    let file = target().join("packages/made/rua-milter.cdx.json");
    let text = fs::read_to_string(file).expect("packaging/build makes it");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn the_list_of_parts_has_every_crate_once_and_sqlite() {
    let parts = parts();
    assert_eq!(parts["bomFormat"], "CycloneDX");
    let names: Vec<_> = parts["components"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|part| part["bom-ref"].as_str().expect("a reference"))
        .collect();
    let distinct: HashSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
    assert!(
        names
            .iter()
            .any(|name| name.starts_with("pkg:generic/sqlite@3."))
    );
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock"));
    let lock = lock.expect("Cargo.lock");
    for name in ["indymilter", "rusqlite", "ring", "hickory-resolver"] {
        let version = lock
            .split(&format!("name = \"{name}\"\nversion = \""))
            .nth(1);
        let version = version
            .and_then(|rest| rest.split('"').next())
            .expect("locked");
        assert!(
            names.contains(&&*format!("pkg:cargo/{name}@{version}")),
            "{name}"
        );
    }
    for tested_only in ["proptest", "tempfile", "roxmltree"] {
        assert!(
            !names
                .iter()
                .any(|name| name.contains(&format!("/{tested_only}@")))
        );
    }
}

#[test]
#[ignore = "tests/run --long: builds the release twice, from two checkouts"]
fn two_builds_give_equal_packages() {
    let dir = open_dir();
    let [one, other] = ["one", "other"].map(|name| built(&dir.path().join(name)));
    assert_eq!(one.len(), 2);
    for ((name, one), (_, other)) in one.iter().zip(&other) {
        assert!(one == other, "{name} is another each time");
    }
}

/// The packages that a checkout elsewhere makes, by name.
fn built(checkout: &Path) -> Vec<(String, Vec<u8>)> {
    let cloned = Command::new("git")
        .args(["clone", "--quiet", env!("CARGO_MANIFEST_DIR")])
        .arg(checkout)
        .status();
    assert!(cloned.expect("git").success());
    let target = checkout.join("target");
    let output = Command::new(checkout.join("packaging/build"))
        .env("CARGO_TARGET_DIR", &target)
        .stderr(Stdio::inherit())
        .output()
        .expect("packaging/build");
    assert!(output.status.success());
    let packages = String::from_utf8(output.stdout).expect("text");
    let packages = packages.lines().map(|package| {
        let name = Path::new(package).file_name().expect("a name");
        let bytes = fs::read(package).expect("a package");
        (name.to_string_lossy().into_owned(), bytes)
    });
    let packages = packages.collect();
    fs::remove_dir_all(target).expect("to remove");
    packages
}

#[test]
#[ignore = "tests/run --long: installs a validator from PyPI"]
fn the_list_of_parts_is_valid_cyclonedx() {
    let tools = target().join("tools/cyclonedx");
    let run = |program: &Path, args: &[&str]| {
        let output = Command::new(program).args(args).output().expect("to run");
        assert!(output.status.success(), "{args:?}: {output:?}");
    };
    if !tools.join("bin/pip").exists() {
        let tools = tools.to_str().expect("UTF-8");
        run(Path::new("/usr/bin/python3"), &["-m", "venv", tools]);
    }
    let library = "cyclonedx-python-lib[json-validation]==11.12.0";
    run(&tools.join("bin/pip"), &["--quiet", "install", library]);
    let validate = "import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())
sys.exit(error and str(error)[:2000])";
    let parts = target().join("packages/made/rua-milter.cdx.json");
    let parts = parts.to_str().expect("UTF-8");
    run(&tools.join("bin/python3"), &["-c", validate, parts]);
}
