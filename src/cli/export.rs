//! `rua-milter export [DOMAIN] --csv|--json`: one row for each record, with the head of its report.
//!
//! Every record that the sums count, in the order in which the reports came; revisions are left
//! out. Of TLS reports (`--kind tls`) a row is a policy, of failure reports a whole report. Rows
//! leave as they are read, so that memory does not grow with their number.
//!
//! `--json` prints one object a line, its lists as lists and its times as UTC epoch seconds.
//! `--csv` is RFC 4180 with a header, times as RFC 3339, and lists in one cell for people. A cell
//! that a spreadsheet would execute begins with an apostrophe, and control characters and those
//! that reorder text are escapes, as everywhere: what stands there was written by strangers.

mod cells;

use std::io::{self, Write};

use serde::Serialize;

use super::{
    domain, escape,
    progress::Progress,
    reports::{self, Days},
};
use crate::{domain::Domain, store::Reader, terms::Kind};

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
    /// Export records of aggregate, policies of tls, or failure reports
    #[arg(long, value_parser = reports::kind, default_value = Kind::Aggregate.as_str())]
    kind: Kind,
    #[command(flatten)]
    days: Days,
}

/// Reads the store and prints.
pub fn run(args: Args, reader: &Reader, out: &mut dyn Write) -> anyhow::Result<()> {
    let filter = args.days.filter(args.domain);
    if args.csv {
        line(cells::header(args.kind), out)?;
    }
    let bar = Progress::beside_rows("rows");
    let rows = &mut Rows {
        csv: args.csv,
        bar: &bar,
        out,
    };
    match args.kind {
        Kind::Aggregate => reader.export(&filter, |row| rows.give(row, cells::aggregate)),
        Kind::Tls => reader.export_policies(&filter, |row| rows.give(row, cells::tls)),
        Kind::Failure => reader.export_failures(&filter, |row| rows.give(row, cells::failure)),
    }
}

/// Where rows go, and how.
struct Rows<'a> {
    csv: bool,
    bar: &'a Progress,
    out: &'a mut dyn Write,
}

impl Rows<'_> {
    /// Prints one row.
    fn give<T: Serialize, const N: usize>(
        &mut self,
        row: T,
        cells: fn(T) -> [String; N],
    ) -> anyhow::Result<()> {
        self.bar.add(1);
        if self.csv {
            return Ok(line(&cells(row), self.out)?);
        }
        let json = serde_json::to_string(&row)?;
        Ok(writeln!(self.out, "{}", escape::json(&json))?)
    }
}

/// One line by RFC 4180 section 2.
fn line(cells: &[impl AsRef<str>], out: &mut dyn Write) -> io::Result<()> {
    for (n, cell) in cells.iter().enumerate() {
        if n > 0 {
            out.write_all(b",")?;
        }
        let cell = escape::text(&defused(cell.as_ref()), usize::MAX);
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
        let mut out = Vec::new();
        line(&[cell], &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        text.trim_end_matches(['\r', '\n']).to_owned()
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
        let mut out = Vec::new();
        line(&["a", "b"], &mut out).unwrap();
        assert_eq!(out, b"a,b\r\n");
    }
}
