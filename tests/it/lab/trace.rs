//! What strace wrote, as calls in the order in which they began, and what their order shows.

use std::collections::HashMap;

/// One system call.
#[derive(Debug)]
pub struct Call {
    pub thread: String,
    pub name: String,
    /// Its arguments and its result, as strace prints them.
    pub text: String,
    /// The file or socket it is about: what its first descriptor stands for, or the first path that
    /// it names.
    pub about: String,
    /// The line of the trace on which it began, and the one on which it was over, if it ever was.
    pub began: usize,
    pub ended: Option<usize>,
}

impl Call {
    pub fn is_write(&self) -> bool {
        ["write", "writev", "pwrite64", "sendto", "sendmsg"].contains(&&*self.name)
    }

    /// Brings data to the disk; that an injected one did, nobody knows.
    pub fn is_sync(&self) -> bool {
        ["fsync", "fdatasync", "syncfs"].contains(&&*self.name) && self.text.ends_with("= 0")
    }

    fn ended_before(&self, line: usize) -> bool {
        self.ended.is_some_and(|ended| ended < line)
    }
}

/// Calls of a trace that was made with `-f -y`.
pub fn read(trace: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut open: HashMap<&str, usize> = HashMap::new();
    for (line, text) in trace.lines().enumerate() {
        let Some((thread, text)) = text.split_once(' ') else {
            continue;
        };
        let text = text.trim_start();
        if text.starts_with("<... ") {
            let rest = text.split_once("resumed>").map(|(_, rest)| rest);
            if let (Some(rest), Some(begun)) = (rest, open.remove(thread)) {
                calls[begun].text.push_str(rest);
                calls[begun].ended = Some(line);
            }
            continue;
        }
        let Some((name, text)) = text.split_once('(') else {
            continue;
        };
        let unfinished = text.strip_suffix("<unfinished ...>");
        if unfinished.is_some() {
            open.insert(thread, calls.len());
        }
        let text = unfinished.unwrap_or(text);
        calls.push(Call {
            thread: thread.to_owned(),
            name: name.to_owned(),
            text: text.to_owned(),
            about: about(text).to_owned(),
            began: line,
            ended: unfinished.is_none().then_some(line),
        });
    }
    calls
}

fn about(text: &str) -> &str {
    let after = text.trim_start_matches(|c: char| c.is_ascii_digit());
    if let Some(of_descriptor) = after.strip_prefix('<').filter(|_| after != text) {
        return of_descriptor.split('>').next().unwrap_or_default();
    }
    text.split('"').nth(1).unwrap_or_default()
}

/// Whether `file` was synced after `what` had been written to it and before `reply` began.
pub fn synced_before(calls: &[Call], file: &str, what: &str, reply: &Call) -> Result<(), String> {
    // Its page may be written again, with others that came later.
    let written = calls
        .iter()
        .filter(|call| call.is_write() && call.about == file && call.text.contains(what))
        .filter_map(|call| call.ended)
        .filter(|&ended| ended < reply.began)
        .min()
        .ok_or_else(|| format!("{what} was not written to {file} before the reply"))?;
    let synced = calls.iter().any(|call| {
        call.is_sync()
            && call.about == file
            && call.began > written
            && call.ended_before(reply.began)
    });
    if synced {
        Ok(())
    } else {
        Err(format!(
            "{file} was not synced between {what} and the reply"
        ))
    }
}
