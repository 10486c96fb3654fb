//! What a person reads.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use comfy_table::{CellAlignment, Table, presets};

use super::{Args, date, pass_rate, span, word};
use crate::{
    cli::escape,
    store::{
        failures::FailureSummary,
        queries::{Counts, DomainSummary, Reporter, Top},
        sessions::TlsSummary,
    },
};

/// Domains of which more than a line is shown.
const DETAILED: usize = 10;
/// Columns of a bar.
const BAR: i64 = 60;
/// Characters of a reporter's name.
const NAME: usize = 60;

/// Prints what DMARC reports add up to, and TLS and failure reports if there are any.
pub(super) fn print(
    args: &Args,
    domains: &[DomainSummary],
    tls: &[TlsSummary],
    failures: &[FailureSummary],
    out: &mut dyn Write,
) -> io::Result<()> {
    if domains.is_empty() && tls.is_empty() && failures.is_empty() {
        return match &args.domain {
            Some(domain) => writeln!(out, "No reports about {domain}."),
            None => writeln!(out, "No reports."),
        };
    }
    if !domains.is_empty() {
        dmarc(args, domains, out)?;
    }
    for domain in tls.iter().take(DETAILED) {
        tls_detail(domain, out)?;
    }
    for domain in failures.iter().take(DETAILED) {
        failure_detail(domain, out)?;
    }
    for (what, all) in [("TLS", tls.len()), ("Failure", failures.len())] {
        if let more @ 1.. = all.saturating_sub(DETAILED) {
            writeln!(
                out,
                "{what} reports about {more} more: rua-milter summary DOMAIN"
            )?;
        }
    }
    Ok(())
}

/// A line for each domain if there are several, then details of those with most messages.
fn dmarc(args: &Args, domains: &[DomainSummary], out: &mut dyn Write) -> io::Result<()> {
    let axis = span(domains).map(|(first, last)| Axis { first, last });
    if let Some(axis) = axis {
        let (first, last) = (date(axis.first), date(axis.last));
        let more = if args.days == 0 {
            ""
        } else {
            " (--days 0 shows all)"
        };
        writeln!(out, "Reports of {first} to {last}, UTC{more}\n")?;
    }
    if domains.len() > 1 {
        overview(domains, axis, out)?;
    }
    for domain in domains.iter().take(DETAILED) {
        detail(domain, axis, out)?;
    }
    match domains.len().saturating_sub(DETAILED) {
        0 => Ok(()),
        more => writeln!(out, "Details of {more} more: rua-milter summary DOMAIN"),
    }
}

fn overview(domains: &[DomainSummary], axis: Option<Axis>, out: &mut dyn Write) -> io::Result<()> {
    let mut table = table(&["Domain", "Reports", "Messages", "DMARC pass", "A day"]);
    for domain in domains {
        table.add_row([
            domain.domain.clone(),
            domain.reports.to_string(),
            domain.counts.messages.to_string(),
            percent(domain.counts),
            axis.map_or_else(String::new, |axis| axis.bars(domain).0),
        ]);
    }
    print_table(&table, out)?;
    writeln!(out)
}

fn detail(domain: &DomainSummary, axis: Option<Axis>, out: &mut dyn Write) -> io::Result<()> {
    let counts = domain.counts;
    writeln!(out, "{}", domain.domain)?;
    write!(
        out,
        "  reports {}, messages {}",
        domain.reports, counts.messages
    )?;
    write!(out, ", DMARC pass {}", percent(counts))?;
    if counts.unknown > 0 {
        write!(out, ", unknown {}", counts.unknown)?;
    }
    if domain.revisions > 0 {
        write!(out, ", revisions left out {}", domain.revisions)?;
    }
    let dispositions = domain.dispositions.iter();
    let dispositions: Vec<_> = dispositions
        .map(|(disposition, messages)| format!("{} {messages}", word(*disposition)))
        .collect();
    writeln!(out, "\n  disposition: {}", dispositions.join(", "))?;
    if let Some(axis) = axis {
        let (all, failing) = axis.bars(domain);
        let days = axis.days_a_column();
        let unit = if days == 1 {
            "a day".to_owned()
        } else {
            format!("{days} days")
        };
        writeln!(
            out,
            "  messages  {all}  a column is {unit}\n  failing   {failing}"
        )?;
    }
    list(
        &["Source", "Messages", "DMARC pass"],
        &domain.sources,
        out,
        |source| {
            [
                source.ip.to_string(),
                source.counts.messages.to_string(),
                percent(source.counts),
            ]
        },
    )?;
    list(
        &["Reporter", "Messages", "Reports"],
        &domain.reporters,
        out,
        reporter_row,
    )?;
    writeln!(out)
}

/// Sessions by policy type; what is not known is `other`.
fn tls_detail(domain: &TlsSummary, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{}\n  TLS reports {}", domain.domain, domain.reports)?;
    if domain.revisions > 0 {
        write!(out, ", revisions left out {}", domain.revisions)?;
    }
    writeln!(out)?;
    let mut sums = table(&["Policy", "Successful", "Failed", "Reasons"]);
    for (policy_type, of_type) in &domain.policies {
        let reasons = of_type.failures.iter();
        let reasons: Vec<_> = reasons
            .map(|(reason, sessions)| format!("{reason} {sessions}"))
            .collect();
        sums.add_row([
            policy_type.clone(),
            of_type.successful.to_string(),
            of_type.failed.to_string(),
            reasons.join(", "),
        ]);
    }
    print_table(&sums, out)?;
    list(
        &["Reporter", "Sessions", "Reports"],
        &domain.reporters,
        out,
        reporter_row,
    )?;
    writeln!(out)
}

/// Messages by type of failure, and who sent them.
fn failure_detail(domain: &FailureSummary, out: &mut dyn Write) -> io::Result<()> {
    write!(
        out,
        "{}\n  failure reports {}, messages {}",
        domain.domain, domain.reports, domain.messages
    )?;
    if domain.revisions > 0 {
        write!(out, ", revisions left out {}", domain.revisions)?;
    }
    let types = domain.auth_failures.iter();
    let types: Vec<_> = types
        .map(|(auth_failure, messages)| format!("{auth_failure} {messages}"))
        .collect();
    writeln!(out, "\n  failure: {}", types.join(", "))?;
    list(&["Source", "Messages"], &domain.sources, out, |source| {
        [source.ip.to_string(), source.messages.to_string()]
    })?;
    list(
        &["Reporter", "Messages", "Reports"],
        &domain.reporters,
        out,
        reporter_row,
    )?;
    writeln!(out)
}

fn reporter_row(reporter: &Reporter) -> [String; 3] {
    [
        escape::text(&reporter.org_name, NAME),
        reporter.messages.to_string(),
        reporter.reports.to_string(),
    ]
}

fn list<T, const N: usize>(
    header: &[&str],
    top: &Top<T>,
    out: &mut dyn Write,
    row: impl Fn(&T) -> [String; N],
) -> io::Result<()> {
    let mut table = table(header);
    table.add_rows(top.rows.iter().map(row));
    let hidden = top.of.saturating_sub(top.rows.len() as u64);
    if hidden > 0 {
        table.add_row([format!("{hidden} more")]);
    }
    print_table(&table, out)
}

/// A table whose first column is a name and whose others are numbers.
fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn print_table(table: &Table, out: &mut dyn Write) -> io::Result<()> {
    table
        .lines()
        .try_for_each(|line| writeln!(out, " {}", line.trim_end()))
}

/// The rate to a tenth, rounded towards 0, so that 100 % means all.
fn percent(counts: Counts) -> String {
    pass_rate(counts).map_or("-".to_owned(), |rate| {
        format!("{:.1} %", (rate * 1000.0).floor() / 10.0)
    })
}

/// The days that all bars of one page show.
#[derive(Clone, Copy)]
struct Axis {
    first: i64,
    last: i64,
}

impl Axis {
    fn days_a_column(self) -> i64 {
        (self.last - self.first) / BAR + 1
    }

    /// All messages and the failing ones, on one scale.
    fn bars(self, domain: &DomainSummary) -> (String, String) {
        let mut columns = BTreeMap::<i64, Counts>::new();
        for (day, counts) in &domain.days {
            let column = (day - self.first) / self.days_a_column();
            columns.entry(column).or_default().add_all(*counts);
        }
        let most = columns.values().map(|counts| counts.messages).max();
        let most = most.unwrap_or_default();
        let bar = |number: fn(&Counts) -> u64| {
            (0..=(self.last - self.first) / self.days_a_column())
                .map(|column| block(columns.get(&column).map_or(0, number), most))
                .collect()
        };
        (bar(|counts| counts.messages), bar(|counts| counts.fail))
    }
}

/// `number` of `most` as one character; `·` is none at all.
fn block(number: u64, most: u64) -> char {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    if number == 0 {
        return '·';
    }
    // Wide, as seven times a number may not fit.
    let step = u128::from(number) * 7 / u128::from(most.max(1));
    BLOCKS[usize::try_from(step).unwrap_or(7).min(7)]
}
