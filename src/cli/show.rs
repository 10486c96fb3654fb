//! `rua-milter show ID`: one stored report.
//!
//! `--raw` writes the mail that brought it, byte for byte, from the archive, its digest checked.
//! `--json` prints one object: what `reports --json` has, the whole head, `policy_published`,
//! `arrivals` (the first hundred, of `arrivals_in_all`) and `rows`, its records. It is written as it is
//! read, so that a large report costs no memory. The rows of a TLS report are its policies. A failure
//! report has what it says of its message instead, and no mail to show: it was never archived.

mod failure;
pub mod tls;

use std::{io::Write, path::Path};

use anyhow::Context as _;
use serde::Serialize;

use super::{
    escape, id, inspect, reports,
    rows::{Rows, minute},
};
use crate::{
    archive::Archive,
    report::Digest,
    store::{
        Reader,
        queries::{StoredArrival, StoredRecord, StoredReport},
    },
};

/// Characters of one text of the head.
const TEXT: usize = crate::limits::MAX_TEXT;

/// Options of `show`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The report's number, as `reports` lists it
    #[arg(value_parser = id)]
    id: i64,
    /// Print JSON
    #[arg(long, conflicts_with = "raw")]
    json: bool,
    /// Write its mail as it arrived
    #[arg(long)]
    raw: bool,
}

/// Reads the store, or the archive at `archive`, and prints.
pub fn run(
    args: &Args,
    reader: &Reader,
    archive: &Path,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    if let Some(report) = reader.failure(args.id)? {
        anyhow::ensure!(
            !args.raw,
            "report {} is a failure report: its mail is not kept",
            args.id
        );
        if args.json {
            return Ok(writeln!(
                out,
                "{}",
                escape::json(&serde_json::to_string(&report)?)
            )?);
        }
        return Ok(failure::print(&report, out)?);
    }
    if let Some(report) = reader.tls_report(args.id)? {
        if args.raw {
            return raw(args.id, report.archive, report.first_seen, archive, out);
        }
        if args.json {
            let mut rows = JsonRows::begin(&report, out)?;
            reader.tls_policies(args.id, |policy| rows.add(&policy))?;
            return rows.end();
        }
        return tls::print(&report, reader, out);
    }
    let report = reader
        .report(args.id)?
        .with_context(|| format!("there is no report {}", args.id))?;
    if args.raw {
        return raw(args.id, report.archive, report.first_seen, archive, out);
    }
    if args.json {
        let mut rows = JsonRows::begin(&report, out)?;
        reader.records(args.id, |record| rows.add(&record))?;
        return rows.end();
    }
    head(&report, out)?;
    arrivals(&report.arrivals, report.arrivals_in_all, out)?;
    records(report.listed.id, reader, out)
}

/// Writes the mail of a report as it arrived.
fn raw(
    id: i64,
    digest: Option<Digest>,
    arrived: i64,
    archive: &Path,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let digest = digest.with_context(|| format!("the mail of report {id} was not archived"))?;
    let mail = Archive::at(archive).get(&digest, arrived)?;
    Ok(out.write_all(&mail.raw)?)
}

/// One JSON object with `rows` as its last member, written one by one.
struct JsonRows<'o> {
    out: &'o mut dyn Write,
    between: &'static str,
}

impl<'o> JsonRows<'o> {
    fn begin(head: &impl Serialize, out: &'o mut dyn Write) -> anyhow::Result<Self> {
        let head = serde_json::to_string(head)?;
        let open = head.strip_suffix('}').unwrap_or(&head);
        write!(out, "{},\"rows\":[", escape::json(open))?;
        Ok(Self { out, between: "\n" })
    }

    fn add(&mut self, row: &impl Serialize) -> anyhow::Result<()> {
        let json = serde_json::to_string(row)?;
        write!(self.out, "{}{}", self.between, escape::json(&json))?;
        self.between = ",\n";
        Ok(())
    }

    fn end(self) -> anyhow::Result<()> {
        Ok(writeln!(self.out, "]}}")?)
    }
}

fn head(report: &StoredReport, out: &mut dyn Write) -> std::io::Result<()> {
    let (listed, policy) = (&report.listed, &report.policy_published);
    let stated = |text: &Option<String>| text.clone().unwrap_or_default();
    let range = format!("{} to {} UTC", minute(listed.begin), minute(listed.end));
    let counted = match &*listed.domain {
        domain if domain == listed.policy_domain => String::new(),
        domain => domain.to_owned(),
    };
    let pct = policy.pct.map_or_else(String::new, |pct| pct.to_string());
    let contact = worded(
        report.extra_contact_info.clone(),
        report.extra_contact_info_lang.as_deref(),
    );
    let lines = [
        ("report", format!("{} ({})", listed.id, listed.kind)),
        ("reporter", listed.org_name.clone()),
        ("email", report.email.clone()),
        ("contact", contact),
        ("report id", listed.report_id.clone()),
        ("generator", report.generator.clone()),
        ("version", report.version.clone()),
        ("range", range),
        ("domain", listed.policy_domain.clone()),
        ("counted under", counted),
        ("published p", stated(&policy.p)),
        ("published sp", stated(&policy.sp)),
        ("published np", stated(&policy.np)),
        ("published adkim", stated(&policy.adkim)),
        ("published aspf", stated(&policy.aspf)),
        ("published pct", pct),
        ("published fo", policy.fo.clone()),
        ("testing", stated(&policy.testing)),
        ("discovery method", stated(&policy.discovery_method)),
        ("records", listed.records.to_string()),
        ("messages", listed.messages.to_string()),
        ("flags", reports::words(&listed.flags)),
        ("parser", report.parser_version.to_string()),
        ("document", report.digest.clone()),
    ];
    let mut line = |name: &str, text: &str| match text {
        // What is not stated takes no line.
        "" => Ok(()),
        text => writeln!(out, "{name:>16}: {}", escape::text(text, TEXT)),
    };
    lines.iter().try_for_each(|(name, text)| line(name, text))?;
    notes(report).try_for_each(|(name, text)| line(name, &text))
}

/// Notes, records that were left out and the reporter's errors, each with its name.
fn notes(report: &StoredReport) -> impl Iterator<Item = (&'static str, String)> {
    let listed = &report.listed;
    let notes = listed.notes.iter().map(|note| ("note", note.clone()));
    let left_out = inspect::left_out(listed.skipped_records, &listed.skipped);
    let errors = report.errors.iter();
    let errors = errors.map(|it| ("error", worded(it.text.clone(), it.lang.as_deref())));
    notes
        .chain(left_out.into_iter().map(|line| ("note", line)))
        .chain(errors)
}

/// A text with its language behind it, such as `Nachricht [de]`.
fn worded(text: String, lang: Option<&str>) -> String {
    match lang {
        Some(lang) => format!("{text} [{lang}]"),
        None => text,
    }
}

fn arrivals(list: &[StoredArrival], in_all: u64, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out)?;
    let header = &[
        "arrived",
        "outcome",
        "door",
        "node",
        "spool id",
        "part",
        "client",
        "sender",
        "recipient",
    ];
    let mut rows = Rows::new(out, header);
    for arrival in list {
        rows.add(arrival_row(arrival))?;
    }
    rows.flush()?;
    let hidden = in_all - list.len() as u64;
    if hidden > 0 {
        writeln!(out, "{hidden} more")?;
    }
    Ok(())
}

fn arrival_row(arrival: &StoredArrival) -> [String; 9] {
    [
        minute(arrival.arrived),
        arrival.outcome.to_string(),
        arrival.door.to_string(),
        arrival.node.clone(),
        arrival.spool_id.to_string(),
        arrival.part.clone(),
        arrival.client.map_or_else(String::new, |ip| ip.to_string()),
        arrival.sender.clone(),
        arrival.recipient.clone(),
    ]
}

fn records(id: i64, reader: &Reader, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out)?;
    let header = &[
        "source",
        "count",
        "disposition",
        "dkim",
        "spf",
        "dmarc",
        "header from",
        "envelope from",
        "envelope to",
        "reasons",
        "signatures",
        "spf checks",
    ];
    let mut rows = Rows::new(out, header);
    reader.records(id, |record| anyhow::Ok(rows.add(record_row(&record))?))?;
    Ok(rows.flush()?)
}

fn record_row(record: &StoredRecord) -> [String; 12] {
    let stated = |text: &Option<String>| text.clone().unwrap_or_default();
    let envelope_from = record.envelope_from.as_deref().map(|sender| match sender {
        "" => "<>",
        sender => sender,
    });
    let dmarc = record.dmarc.map_or("", crate::terms::Aligned::as_str);
    [
        record.source_ip.to_string(),
        record.count.to_string(),
        stated(&record.disposition),
        stated(&record.dkim),
        stated(&record.spf),
        dmarc.to_owned(),
        record.header_from.clone(),
        envelope_from.unwrap_or_default().to_owned(),
        stated(&record.envelope_to),
        reasons(record),
        signatures(record),
        spf_checks(record),
    ]
}

/// The reasons in one cell, such as `local_policy (arc=pass)`.
pub fn reasons(record: &StoredRecord) -> String {
    joined(record.reasons.iter().map(|reason| {
        let kind = reason.kind.as_deref().unwrap_or_default();
        described(
            kind.to_owned(),
            &reason.comment,
            reason.comment_lang.as_deref(),
        )
    }))
}

/// The signatures in one cell, such as `example.com/s1=pass`.
pub fn signatures(record: &StoredRecord) -> String {
    joined(record.dkim_auth.iter().map(|dkim| {
        let result = dkim.result.as_deref().unwrap_or_default();
        let cell = format!("{}/{}={result}", dkim.domain, dkim.selector);
        described(cell, &dkim.human_result, dkim.human_result_lang.as_deref())
    }))
}

/// The SPF checks in one cell, such as `mfrom example.com=pass`.
pub fn spf_checks(record: &StoredRecord) -> String {
    joined(record.spf_auth.iter().map(|spf| {
        let scope = spf.scope.iter().map(|scope| format!("{scope} "));
        let result = spf.result.as_deref().unwrap_or_default();
        let cell = format!("{}{}={result}", scope.collect::<String>(), spf.domain);
        described(cell, &spf.human_result, spf.human_result_lang.as_deref())
    }))
}

fn described(cell: String, words: &str, lang: Option<&str>) -> String {
    let words = worded(words.to_owned(), lang);
    match (&*cell, &*words) {
        (_, "") => cell,
        ("", words) => format!("({words})"),
        (cell, words) => format!("{cell} ({words})"),
    }
}

fn joined(cells: impl Iterator<Item = String>) -> String {
    cells.collect::<Vec<_>>().join(", ")
}
