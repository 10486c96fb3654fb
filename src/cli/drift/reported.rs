//! `drift --reported`: each report of the last weeks beside what was published during its range.

use std::io::{self, Write};

use super::Args;
use crate::{
    cli::{escape, rows::minute},
    config::Config,
    domain::Domain,
    drift::{
        compare::{Compared, Comparison, Past},
        schedule::as_watched,
    },
    report::{Reported, reporters::Reporters},
    store::Reader,
    terms::RecordTag,
};

/// Seconds that are looked back: a month.
const LOOKED_BACK: i64 = 31 * 86_400;

/// One report.
#[derive(serde::Serialize)]
struct Line<'a> {
    domain: &'a Domain,
    org_name: &'a str,
    /// The name that the reporter is known by.
    reporter: Option<Domain>,
    begin: i64,
    end: i64,
    /// How each field stands; `None`: nobody can say.
    fields: Option<Vec<Field>>,
    /// Until when a record was published that is as the report says, if it differs.
    published_until: Option<i64>,
}

#[derive(serde::Serialize)]
struct Field {
    field: RecordTag,
    #[serde(flatten)]
    comparison: Comparison,
}

/// Prints the reports about each domain, the newest first.
pub fn run(
    args: &Args,
    config: &Config,
    reader: &Reader,
    now: i64,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let suffixes = config.dns.suffix_list()?;
    for domain in &args.domains {
        let history = reader.history(domain)?;
        // The walk that tells it for certain is not in the store.
        let registrable = suffixes.as_ref().and_then(|list| list.registrable(domain));
        let is_organizational = registrable.is_none_or(|name| name == *domain);
        let past = Past::new(domain, &history, as_watched(config), is_organizational);
        let reports = reader.reported(domain, now.saturating_sub(LOOKED_BACK))?;
        let line = |report| {
            line(
                domain,
                report,
                past.compare(report),
                &config.reporters.known,
            )
        };
        let lines: Vec<_> = reports.iter().map(line).collect();
        if args.json {
            for line in lines {
                writeln!(out, "{}", escape::json(&serde_json::to_string(&line)?))?;
            }
        } else {
            text(domain, &lines, out)?;
        }
    }
    Ok(())
}

fn line<'a>(
    domain: &'a Domain,
    report: &'a Reported,
    compared: Option<Compared<'a>>,
    known: &Reporters,
) -> Line<'a> {
    let field = |(field, comparison)| Field { field, comparison };
    Line {
        domain,
        org_name: &report.org_name,
        reporter: known.name_of(&report.org_name, &report.email),
        begin: report.begin,
        end: report.end,
        published_until: compared.as_ref().and_then(|compared| compared.former),
        fields: compared.map(|compared| compared.fields.into_iter().map(field).collect()),
    }
}

fn text(domain: &Domain, lines: &[Line<'_>], out: &mut dyn Write) -> io::Result<()> {
    if lines.is_empty() {
        return writeln!(out, "{domain}: no report in the last month");
    }
    writeln!(out, "{domain}:")?;
    for line in lines {
        let name = line.reporter.as_ref().map_or(line.org_name, Domain::as_str);
        let name = escape::text(name, 24);
        let (begin, end) = (minute(line.begin), minute(line.end));
        writeln!(out, "  {begin}  {end}  {name:<24}  {}", said(line))?;
    }
    Ok(())
}

/// `same: p sp; differs: pct 50, published 100`.
fn said(line: &Line<'_>) -> String {
    let Some(fields) = &line.fields else {
        return "cannot be compared".to_owned();
    };
    let same = fields.iter().filter(|it| it.comparison == Comparison::Same);
    let same: Vec<_> = same.map(|it| it.field.as_str()).collect();
    let differs = fields.iter().filter_map(|it| match &it.comparison {
        Comparison::Differs { said, published } => {
            Some(format!("{} {said}, published {published}", it.field))
        }
        Comparison::Same | Comparison::NotStated => None,
    });
    let mut parts = Vec::new();
    if !same.is_empty() {
        parts.push(format!("same: {}", same.join(" ")));
    }
    parts.extend(differs.map(|differs| format!("differs: {differs}")));
    parts.extend(
        line.published_until
            .map(|at| format!("published until {}", minute(at))),
    );
    if parts.is_empty() {
        return "states nothing".to_owned();
    }
    parts.join("; ")
}
