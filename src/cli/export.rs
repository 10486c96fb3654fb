//! `rua-milter export [DOMAIN] --csv|--json`: one row for each record, with the head of its report.
//!
//! Every record that the sums count, in the order in which the reports came; revisions are left
//! out. Rows leave as they are read, so that memory does not grow with their number.
//!
//! `--json` prints one object a line, its lists as lists and its times as UTC epoch seconds.
//! `--csv` is RFC 4180 with a header, times as RFC 3339, and lists in one cell for people. A cell
//! that a spreadsheet would execute begins with an apostrophe, and control characters and those
//! that reorder text are escapes, as everywhere: what stands there was written by strangers.

use std::io::{self, Write};

use jiff::Timestamp;

use super::{domain, escape, reports::Days, show};
use crate::{
    domain::Domain,
    store::{
        Reader,
        queries::{Exported, StoredRecord},
    },
    terms::Aligned,
};

/// Options of `export`.
#[derive(Clone, Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("format").required(true))]
pub struct Args {
    /// Export reports about this domain and the names below it
    #[arg(value_parser = domain)]
    domain: Option<Domain>,
    /// Print comma-separated values
    #[arg(long, group = "format")]
    csv: bool,
    /// Print one JSON object a line
    #[arg(long, group = "format")]
    json: bool,
    #[command(flatten)]
    days: Days,
}

/// The first line.
const HEADER: [&str; 24] = [
    "id",
    "domain",
    "policy_domain",
    "org_name",
    "report_id",
    "begin",
    "end",
    "p",
    "sp",
    "adkim",
    "aspf",
    "pct",
    "source_ip",
    "count",
    "disposition",
    "dkim",
    "spf",
    "dmarc",
    "header_from",
    "envelope_from",
    "envelope_to",
    "reasons",
    "dkim_auth",
    "spf_auth",
];

/// Reads the store and prints.
pub fn run(args: Args, reader: &Reader, out: &mut dyn Write) -> anyhow::Result<()> {
    let filter = args.days.filter(args.domain);
    if args.json {
        return reader.export(&filter, |row| {
            let json = serde_json::to_string(&row)?;
            Ok(writeln!(out, "{}", escape::json(&json))?)
        });
    }
    line(&HEADER.map(str::to_owned), out)?;
    reader.export(&filter, |row| Ok(line(&cells(row), out)?))
}

fn cells(row: Exported) -> [String; 24] {
    let stated = Option::unwrap_or_default;
    let record: &StoredRecord = &row.record;
    let lists = [
        show::reasons(record),
        show::signatures(record),
        show::spf_checks(record),
    ];
    let [reasons, signatures, spf_checks] = lists;
    let record = row.record;
    [
        row.id.to_string(),
        row.domain,
        row.policy_domain,
        row.org_name,
        row.report_id,
        time(row.begin),
        time(row.end),
        stated(row.p),
        stated(row.sp),
        stated(row.adkim),
        stated(row.aspf),
        row.pct.map_or_else(String::new, |pct| pct.to_string()),
        record.source_ip.to_string(),
        record.count.to_string(),
        stated(record.disposition),
        stated(record.dkim),
        stated(record.spf),
        record.dmarc.map_or("", Aligned::as_str).to_owned(),
        record.header_from,
        stated(record.envelope_from),
        stated(record.envelope_to),
        reasons,
        signatures,
        spf_checks,
    ]
}

fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

/// One line by RFC 4180 section 2.
fn line(cells: &[String; 24], out: &mut dyn Write) -> io::Result<()> {
    for (n, cell) in cells.iter().enumerate() {
        if n > 0 {
            out.write_all(b",")?;
        }
        let cell = escape::text(&defused(cell), usize::MAX);
        if cell.contains([',', '"', ';']) {
            write!(out, "\"{}\"", cell.replace('"', "\"\""))?;
        } else {
            out.write_all(cell.as_bytes())?;
        }
    }
    out.write_all(b"\r\n")
}

/// The text with an apostrophe before what a spreadsheet takes for a formula. Where the semicolon
/// separates cells, one begins after each of them, whatever we quote.
fn defused(cell: &str) -> String {
    let mut safe = String::with_capacity(cell.len() + 1);
    for (n, part) in cell.split(';').enumerate() {
        if n > 0 {
            safe.push(';');
        }
        let start = part.trim_start_matches(is_passed_over);
        if start.starts_with(is_formula) {
            safe.push('\'');
        }
        safe.push_str(part);
    }
    safe
}

/// What may stand before a formula.
fn is_passed_over(c: char) -> bool {
    c == '"' || c.is_whitespace() && !c.is_control()
}

/// What begins a formula, in the usual and in the full width, or moves to another cell.
fn is_formula(c: char) -> bool {
    matches!(
        c,
        '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(cell: &str) -> String {
        let mut cells = [const { String::new() }; 24];
        cell.clone_into(&mut cells[0]);
        let mut out = Vec::new();
        line(&cells, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        text.trim_end_matches([',', '\r', '\n']).to_owned()
    }

    #[test]
    fn a_formula_is_defused() {
        for formula in ["=1+1", "+1", "-1", "@SUM(1)", "＝1", "＋1", "－1", "＠1"] {
            assert_eq!(csv(formula), format!("'{formula}"));
        }
        assert_eq!(csv("\t=1"), "'\\t=1");
        assert_eq!(csv("\r=1"), "'\\r=1");
        assert_eq!(csv("\n=1"), "'\\n=1");
        assert_eq!(csv(" \u{a0}=1"), "' \u{a0}=1");
        assert_eq!(csv("\"=1\""), "\"'\"\"=1\"\"\"");
        assert_eq!(csv("a;=1"), "\"a;'=1\"");
        assert_eq!(csv("a;\"@x"), "\"a;'\"\"@x\"");
    }

    #[test]
    fn what_separates_is_quoted_and_the_rest_is_left_alone() {
        assert_eq!(csv("a,b"), "\"a,b\"");
        assert_eq!(csv("say \"hi\""), "\"say \"\"hi\"\"\"");
        assert_eq!(csv("a\r\nb"), "a\\r\\nb");
        assert_eq!(csv("Bücher 1+1=2"), "Bücher 1+1=2");
        assert_eq!(csv("2001:db8::1"), "2001:db8::1");
        assert_eq!(time(1_699_920_000), "2023-11-14T00:00:00Z");
    }
}
