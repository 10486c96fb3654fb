//! Instructions, counted by valgrind: the same on every machine, whatever else it does.
//!
//! Valgrind hides the processor's own SHA-256, so that with the digest the software's is counted;
//! time says what the digest really costs.

use std::{env, process::Command};

use anyhow::{Context as _, ensure};

use crate::readers::READERS;

/// The instructions of each reader for the first mails of a profile, each in a process of its own.
pub fn count(folder: &str) -> anyhow::Result<[f64; READERS.len()]> {
    let mut counts = [0.0; READERS.len()];
    for (count, reader) in counts.iter_mut().zip(&READERS) {
        *count = of(&["once", reader.name, folder])?;
    }
    Ok(counts)
}

/// The instructions of what is called `once` in this program when it is started so.
pub fn of(arguments: &[&str]) -> anyhow::Result<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(["--collect-atstart=no", "--toggle-collect=*once*"])
        .arg(env::current_exe()?)
        .args(arguments)
        .output()
        .context("valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    let number = said
        .lines()
        .find_map(|line| line.split("Collected : ").nth(1));
    Ok(number.context("valgrind counted nothing")?.trim().parse()?)
}
