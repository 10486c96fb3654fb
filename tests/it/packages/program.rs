//! The program of the packages runs on every system that is promised.

use std::process::Command;

use crate::lab::daemon::release;

/// RHEL 8, the oldest.
const OLDEST_GLIBC: (u32, u32) = (2, 28);

fn objdump(option: &str) -> String {
    let output = Command::new("objdump").arg(option).arg(release()).output();
    let output = output.expect("objdump, of binutils");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn it_asks_for_no_newer_libc_than_that_of_the_oldest_system() {
    let symbols = objdump("--dynamic-syms");
    let versions = symbols.split("GLIBC_").skip(1).filter_map(|rest| {
        let version = rest.split([')', ' ', '\n']).next()?;
        let (major, minor) = version.split_once('.')?;
        let minor = minor.split('.').next()?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    let newest: (u32, u32) = versions.max().expect("some symbols of libc");
    assert!(newest <= OLDEST_GLIBC, "GLIBC_{}.{}", newest.0, newest.1);
}

#[test]
fn it_links_nothing_but_the_libraries_of_libc() {
    let of_libc = [
        "libc",
        "libm",
        "libdl",
        "libpthread",
        "librt",
        "libutil",
        "ld-linux-x86-64",
    ];
    let needed = objdump("--private-headers");
    let needed = needed
        .lines()
        .filter_map(|line| line.trim().strip_prefix("NEEDED"));
    let needed: Vec<_> = needed.map(str::trim).collect();
    assert!(!needed.is_empty());
    for library in needed {
        let name = library.split(".so").next().expect("a name");
        assert!(of_libc.contains(&name), "{library}");
    }
}
