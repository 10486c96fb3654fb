//! `parked show ID`: what is known of one parked mail, and how it begins.
//!
//! The parts and their outcomes are those of the last try, as the report store has them. What ended
//! the program is not unpacked here either.

use std::io::{Read as _, Write};

use serde::Serialize;

use super::{Show, entry, host};
use crate::{
    cli::{escape, rows::minute},
    config::Config,
    spool::{ParkedEntry, Reader},
    store,
    terms::{Outcome, Rejection},
    unpack,
};

/// Bytes of the mail's header, and of each document, that are shown.
const BEGINNING: usize = 1_024;
/// Characters of one line.
const LINE: usize = 200;
/// Documents that are shown.
const DOCUMENTS: usize = 4;

/// A parked mail, whole.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    entry: &'a ParkedEntry,
    parts: &'a [Tried],
    beginning: &'a [Beginning],
}

/// What became of one part at the last try.
#[derive(Serialize)]
struct Tried {
    part: String,
    outcome: Outcome,
    rejection: Option<Rejection>,
    at_byte: Option<u64>,
}

/// How the mail's header, or a document in it, begins.
#[derive(Serialize)]
struct Beginning {
    part: String,
    file_name: Option<String>,
    text: String,
}

/// Reads and prints.
pub fn run(
    args: &Show,
    reader: &Reader,
    config: &Config,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let entry = entry(args.id, reader)?;
    let parts = parts(&entry, reader, config)?;
    let raw = reader.load(args.id)?.map(|entry| entry.raw);
    let beginning = beginnings(&raw.unwrap_or_default(), &entry, config);
    if args.json {
        let shown = Shown {
            entry: &entry,
            parts: &parts,
            beginning: &beginning,
        };
        let json = serde_json::to_string(&shown)?;
        return Ok(writeln!(out, "{}", escape::json(&json))?);
    }
    head(&entry, out)?;
    for part in &parts {
        let why = part
            .rejection
            .map(|reason| place(reason.as_str(), part.at_byte));
        let why = why.unwrap_or_default();
        let name = escape::text(&part.part, LINE);
        writeln!(out, "{:>12} {name}: {} {why}", "part", part.outcome)?;
    }
    for beginning in &beginning {
        let name = beginning.file_name.as_deref().unwrap_or_default();
        let name = escape::text(&format!("{} {name}", beginning.part), LINE);
        writeln!(out, "\n-- {name}")?;
        for line in beginning.text.lines() {
            writeln!(out, "{}", escape::text(line, LINE))?;
        }
    }
    Ok(())
}

/// Parts of the last try, where the report store can be read and knows them.
fn parts(entry: &ParkedEntry, reader: &Reader, config: &Config) -> anyhow::Result<Vec<Tried>> {
    let Ok(store) = store::Reader::open(&config.data_dir.join(store::FILE)) else {
        return Ok(Vec::new());
    };
    let found = store.outcomes(&config.node, &reader.spool_id()?, &[entry.id])?;
    let parts = found.into_iter().map(|found| Tried {
        part: found.part,
        outcome: found.outcome,
        rejection: found.rejection,
        at_byte: found.at_byte,
    });
    Ok(parts.collect())
}

fn beginnings(raw: &[u8], entry: &ParkedEntry, config: &Config) -> Vec<Beginning> {
    let header = unpack::header(raw);
    let header = if header.is_empty() { raw } else { header };
    let mut shown = vec![Beginning {
        part: "mail".to_owned(),
        file_name: None,
        text: text(header),
    }];
    if entry.reason == Rejection::Crashed.as_str() {
        return shown;
    }
    let unpacked = unpack::documents(raw, &config.limits.bounds());
    shown.extend(unpacked.documents.iter().take(DOCUMENTS).map(|document| {
        let mut bytes = Vec::new();
        // What cannot be read ends what is shown.
        let _ = document
            .open()
            .take(BEGINNING as u64)
            .read_to_end(&mut bytes);
        Beginning {
            part: document.part.clone(),
            file_name: document.file_name.clone(),
            text: text(&bytes),
        }
    }));
    shown
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(BEGINNING)]).into_owned()
}

fn head(entry: &ParkedEntry, out: &mut dyn Write) -> std::io::Result<()> {
    let envelope = &entry.envelope;
    let line = |parts: &[&str]| {
        let parts: Vec<_> = parts
            .iter()
            .filter(|part| !part.is_empty())
            .copied()
            .collect();
        escape::text(&parts.join(", "), LINE)
    };
    let crashes = match entry.crashes {
        0 => String::new(),
        crashes => format!("ended the program {crashes} times"),
    };
    for (what, text) in [
        ("parked mail", entry.id.to_string()),
        (
            "reason",
            line(&[&place(&entry.reason, entry.at_byte), &crashes]),
        ),
        ("arrived", format!("{} UTC", minute(entry.arrived))),
        ("bytes", entry.bytes.to_string()),
        ("host", line(&[&host(envelope), &entry.network])),
        ("helo", line(&[&envelope.helo])),
        ("sender", line(&[&envelope.sender])),
        ("recipients", line(&[&envelope.recipients.join(", ")])),
        ("queue id", line(&[&envelope.queue_id])),
        ("parked by", line(&[&entry.parked_by])),
    ] {
        writeln!(out, "{what:>12} {text}")?;
    }
    Ok(())
}

/// A reason with its place.
pub fn place(reason: &str, at_byte: Option<u64>) -> String {
    match at_byte {
        Some(at) => format!("{reason} at byte {at}"),
        None => reason.to_owned(),
    }
}
