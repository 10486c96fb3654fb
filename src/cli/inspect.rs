//! `inspect`: reads reports without storing them. Needs no configuration, but takes the limits of
//! one that is named.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use serde::Serialize;

use super::{escape, progress::Progress, rows::minute};
use crate::{
    config::Limits,
    domain::Domain,
    intake::import::{self, Mail, Unreadable},
    limits::{INSPECT_FILE, INSPECT_ROWS},
    pipeline::hints,
    report::{self, Skipped, Whole, range},
    terms::{Flag, Kind, Rejection},
    unpack::{self, Document},
};

/// Characters of one cell.
const CELL: usize = 200;
/// A note of ours, as the readers have no clock.
const AHEAD: &str = "a range that ends in the future: not believed";
/// Bad records of one report that a person is told of one by one.
const LEFT_OUT: usize = 10;

/// Read reports and show what they say, without storing anything
///
/// Exits with 1 if anything could not be read. What a mail may hold are the defaults, or the
/// limits of a configuration that is named with --config.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Mails (.eml, .eml.gz), mbox files, Maildirs, bare .xml, .json, .gz or .zip files, folders of
    /// these; - is stdin
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Print one JSON object a line, for each document found
    #[arg(long)]
    json: bool,
}

/// One line: a document, or what could not be read.
#[derive(Debug, Serialize)]
struct Line {
    path: String,
    part: String,
    #[serde(flatten)]
    what: What,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum What {
    Report(Box<Facts>),
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        kind: Option<Kind>,
        error: String,
    },
}

#[derive(Debug, Serialize)]
struct Facts {
    kind: Kind,
    org_name: String,
    report_id: String,
    domain: Domain,
    begin: i64,
    end: i64,
    records: u64,
    messages: u64,
    skipped_records: u64,
    skipped: Vec<Skipped>,
    flags: Vec<Flag>,
    notes: Vec<String>,
    digest: String,
}

/// Runs the command.
pub fn run(args: &Args, limits: Limits) -> anyhow::Result<ExitCode> {
    let mut show = Show::new(args.json);
    let bar = Progress::beside_rows("mails and files");
    let mut all = || -> io::Result<()> {
        for path in &args.paths {
            import::mails(path, INSPECT_FILE, &mut |mail| {
                bar.add(1);
                lines(&mail, &limits)
                    .into_iter()
                    .try_for_each(|line| show.line(line))
            })?;
        }
        show.flush()
    };
    match all() {
        // Whoever read us has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        result => {
            result.context("cannot write the result")?;
            Ok(ExitCode::from(u8::from(show.unread)))
        }
    }
}

/// What one mail or file holds.
fn lines(mail: &Mail<'_>, limits: &Limits) -> Vec<Line> {
    let path = mail.path.to_string_lossy().into_owned();
    let line = |part: &str, what| Line {
        path: path.clone(),
        // Messages of an mbox are told apart by their number in front.
        part: match mail.number {
            Some(number) => format!("{number}:{part}"),
            None => part.to_owned(),
        },
        what,
    };
    let raw = match &mail.content {
        Ok(raw) => raw,
        Err(Unreadable::TooLarge) => return vec![line("", error(None, Rejection::TooLarge))],
        Err(Unreadable::Io(cause)) => {
            let error = format!("cannot read: {cause}");
            return vec![line("", What::Error { kind: None, error })];
        }
    };
    let found = unpack::documents(raw, &limits.bounds());
    let mut lines: Vec<_> = found
        .documents
        .iter()
        .map(|document| line(&document.part, read(document, limits)))
        .collect();
    lines.extend(
        found
            .rejected
            .into_iter()
            .map(|(part, rejection)| line(&part, error(None, rejection))),
    );
    if lines.is_empty() {
        lines.push(line("", error(None, Rejection::NotAReport)));
    }
    lines
}

fn read(document: &Document<'_>, limits: &Limits) -> What {
    let hints = hints(document, limits.max_records);
    match report::read(|| document.open(), &hints, 0) {
        Ok(whole) => {
            let mut facts = Facts::of(whole);
            if range::is_ahead(facts.end, Timestamp::now().as_second()) {
                facts.notes.push(AHEAD.to_owned());
            }
            facts.flags = report::flags(facts.skipped_records, &facts.notes);
            What::Report(Box::new(facts))
        }
        Err(unread) => error(unread.kind, unread.broken.rejection),
    }
}

impl Facts {
    /// The records of a TLS report are its policies, the messages its sessions. A failure report is
    /// one record, about its incidents, at the time when the first arrived.
    fn of(whole: Whole) -> Self {
        match whole {
            Whole::Aggregate(whole) => {
                let report = whole.report;
                Self {
                    kind: Kind::Aggregate,
                    org_name: report.metadata.org_name,
                    report_id: report.metadata.report_id,
                    domain: report.policy.domain,
                    begin: report.metadata.begin,
                    end: report.metadata.end,
                    records: report.records,
                    messages: report.messages,
                    flags: Vec::new(),
                    skipped_records: report.skipped_records,
                    skipped: report.skipped,
                    notes: report.notes,
                    digest: report.digest.to_string(),
                }
            }
            Whole::Tls(whole) => {
                let report = whole.report;
                Self {
                    kind: Kind::Tls,
                    domain: report.domain().clone(),
                    org_name: report.org_name,
                    report_id: report.report_id,
                    begin: report.begin,
                    end: report.end,
                    records: report.policies,
                    messages: report.sessions,
                    flags: Vec::new(),
                    skipped_records: report.skipped_policies,
                    skipped: report.skipped,
                    notes: report.notes,
                    digest: report.digest.to_string(),
                }
            }
            Whole::Failure(report) => Self {
                kind: Kind::Failure,
                org_name: report.org_name,
                report_id: report.report_id,
                domain: report.domain,
                begin: report.arrival,
                end: report.arrival,
                records: 1,
                messages: report.incidents,
                flags: Vec::new(),
                skipped_records: 0,
                skipped: Vec::new(),
                notes: report.notes,
                digest: report.digest.to_string(),
            },
        }
    }
}

fn error(kind: Option<Kind>, rejection: Rejection) -> What {
    What::Error {
        kind,
        error: rejection.to_string(),
    }
}

/// Where lines go: to stdout at once as JSON, or into tables.
struct Show {
    json: bool,
    table: Table,
    unread: bool,
}

impl Show {
    fn new(json: bool) -> Self {
        Self {
            json,
            table: table(),
            unread: false,
        }
    }

    fn line(&mut self, line: Line) -> io::Result<()> {
        self.unread |= matches!(line.what, What::Error { .. });
        if self.json {
            let json = serde_json::to_string(&line)?;
            return writeln!(io::stdout().lock(), "{}", escape::json(&json));
        }
        self.table
            .add_row(row(line).map(|cell| escape::text(&cell, CELL)));
        if self.table.row_count() >= INSPECT_ROWS {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.table.row_count() > 0 {
            writeln!(io::stdout().lock(), "{}", self.table)?;
            self.table = table();
        }
        Ok(())
    }
}

/// Each record that was left out and the reason, as far as they are listed; then their number.
pub fn left_out(skipped: u64, listed: &[Skipped]) -> Vec<String> {
    let one = |it: &Skipped| format!("record {} left out: {}", it.record, it.reason);
    let mut lines: Vec<_> = listed.iter().take(LEFT_OUT).map(one).collect();
    let more = skipped.saturating_sub(lines.len() as u64);
    if more > 0 {
        lines.push(format!("{more} more left out"));
    }
    lines
}

fn table() -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header([
            "file", "part", "reporter", "domain", "from", "to", "records", "messages", "remarks",
        ]);
    table
}

fn row(line: Line) -> [String; 9] {
    match line.what {
        What::Report(facts) => {
            let mut remarks = left_out(facts.skipped_records, &facts.skipped);
            remarks.extend(facts.notes);
            [
                line.path,
                line.part,
                facts.org_name,
                facts.domain.to_string(),
                minute(facts.begin),
                minute(facts.end),
                facts.records.to_string(),
                facts.messages.to_string(),
                remarks.join("; "),
            ]
        }
        What::Error { kind, error } => {
            let remark = match kind {
                Some(kind) => format!("not read: {error} ({kind})"),
                None => format!("not read: {error}"),
            };
            let mut row = [const { String::new() }; 9];
            (row[0], row[1], row[8]) = (line.path, line.part, remark);
            row
        }
    }
}
