//! What is kept of a mail with a failure report that cannot be used: the mail's own header and the
//! fields of the report, as a mail that a later version can read; nothing of anybody's message.

use std::io::{BufReader, Read};

use sha2::{Digest as _, Sha256};

use super::{
    Digest, failure_arf::unbracketed, failure_header::fields, failure_notice,
    failure_redact as redact,
};
use crate::limits::MAX_HEADER;

const LABEL: &str =
    "mime-version: 1.0\r\ncontent-type: multipart/report; report-type=feedback-report; ";

/// Makes it of the mail's header and of the reports in it, each with whether it is a text for
/// people.
pub fn kept<R: Read>(
    header: &[u8],
    reports: impl IntoIterator<Item = (R, bool)>,
    redact: bool,
) -> Vec<u8> {
    let mut parts = Vec::new();
    for (input, is_notice) in reports {
        let label = if is_notice {
            "text/plain"
        } else {
            "message/feedback-report"
        };
        let content = part(input, is_notice, redact);
        parts.push(format!("Content-Type: {label}\r\n\r\n{content}\r\n"));
    }
    let mut mail = Lines::default();
    // What lies in memory can be read.
    let _ = fields(&mut &*header, &mut |name, value| match name {
        "mime-version" | "contenttype" => {}
        _ if name.starts_with("content-") => {}
        // It often quotes that of the message, and may hide addresses in encoded words.
        "subject" if redact => {}
        _ => mail.add(name, value),
    });
    // No text holds its own digest.
    let boundary = Digest(Sha256::digest(parts.concat()).into());
    // First what we wrote: a field of theirs might make a mail look like a bare document.
    let mut text = vec![
        LABEL.to_owned(),
        format!("boundary={boundary}\r\n"),
        mail.0,
        "\r\n".to_owned(),
    ];
    for part in &parts {
        text.push(format!("--{boundary}\r\n{part}"));
    }
    if !parts.is_empty() {
        text.push(format!("--{boundary}--\r\n"));
    }
    text.concat().into_bytes()
}

fn part(input: impl Read, is_notice: bool, redact: bool) -> String {
    let mut input = BufReader::new(input);
    let mut lines = Lines::default();
    let shown = |name: &str, value: &str| match name {
        _ if !redact => value.to_owned(),
        "original-mail-from" | "original-rcpt-to" => redact::address(unbracketed(value)),
        _ => redact::text(value),
    };
    // What cannot be read any further is kept as far as it could.
    let _ = if is_notice {
        failure_notice::labels(&mut input, &mut |label, value| {
            // A tag in it could make a document of another kind of it.
            lines.add(label, &shown(label, value).replace('<', ""));
        })
    } else {
        fields(&mut input, &mut |name, value| {
            // RFC 6591 section 3.2.4: these hold header and body of the message.
            if !name.starts_with("dkim-canonicalized-") {
                lines.add(name, &shown(name, value));
            }
        })
    };
    lines.0
}

/// Lines that are no longer together than a header may be.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, value: &str) {
        if self.0.len() + name.len() + value.len() < MAX_HEADER {
            self.0.extend([name, ": ", value, "\r\n"]);
        }
    }
}
