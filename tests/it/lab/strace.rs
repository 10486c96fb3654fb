//! strace: what the program asks of the system, seen or tampered with.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::{SOON, holds_within};

/// What runs a program under strace from its first call on; the program stays our child. Not by
/// `--seccomp-bpf`, with which strace 6.1 injects no signals.
pub fn command(output: &Path, options: &[String]) -> Vec<String> {
    let mut words = vec!["strace".into(), "-D".into()];
    words.extend(common(output));
    words.extend_from_slice(options);
    words
}

fn common(output: &Path) -> [String; 6] {
    let output = output.display().to_string();
    ["-f", "-y", "-e", "signal=kill", "-o", &output].map(Into::into)
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

/// strace on a program that was running already.
pub struct Attached {
    strace: Child,
    output: PathBuf,
}

impl Attached {
    /// Attaches to all threads of a process, before this returns, and to those that it will start.
    pub fn to(pid: u32, output: &Path, options: &[String]) -> Self {
        let mut strace = Command::new("strace")
            .args(common(output))
            .args(options)
            .args(["-p", &pid.to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace");
        let mut said = String::new();
        let stderr = strace.stderr.as_mut().expect("piped");
        // Said once they are all attached.
        let line = BufReader::new(stderr).read_line(&mut said);
        assert!(line.is_ok() && said.contains("attached"), "{said}");
        Self {
            strace,
            output: output.to_owned(),
        }
    }

    /// The trace, once the process has ended.
    pub fn trace(mut self) -> String {
        self.strace.wait().expect("an end");
        std::fs::read_to_string(&self.output).expect("a trace")
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}
