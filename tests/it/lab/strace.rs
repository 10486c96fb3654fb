//! strace: what the program asks of the system, seen from outside.

use std::path::Path;

use super::{SOON, holds_within};

/// What runs a program under strace from its first call on; the program stays our child.
pub fn command(output: &Path, options: &[String]) -> Vec<String> {
    let mut words = vec!["strace".into(), "-D".into(), "--seccomp-bpf".into()];
    words.extend(common(output));
    words.extend_from_slice(options);
    words
}

fn common(output: &Path) -> [String; 6] {
    let output = output.display().to_string();
    ["-f", "-y", "-e", "signal=none", "-o", &output].map(Into::into)
}

/// Waits until the program that ran by [`command`] is known to have ended, and gives the trace.
pub fn trace_of(pid: u32, output: &Path) -> String {
    let mut trace = String::new();
    let ended = holds_within(SOON, || {
        trace = std::fs::read_to_string(output).unwrap_or_default();
        let mut lines = trace.lines().rev();
        lines.any(|line| {
            line.split_once(' ').is_some_and(|(thread, rest)| {
                thread == pid.to_string() && rest.trim_start().starts_with("+++ ")
            })
        })
    });
    assert!(ended, "the trace has no end:\n{trace}");
    trace
}
