//! `rua-milter reports [DOMAIN]`: the stored reports, those with the newest range first.
//!
//! The number in front is the one that `show` and `replay` take. `--since` and `--until` are UTC
//! days, both included, on which a report's range begins. `--json` prints one object a line.

use std::io::Write;

use jiff::{
    civil::{Date, Time},
    tz::Offset,
};

use super::{
    domain, escape,
    rows::{Rows, minute},
};
use crate::{
    domain::Domain,
    store::{
        Reader,
        queries::{Filter, Listed},
    },
    terms::{Flag, Kind},
};

/// Options of `reports`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// List reports about this domain and the names below it
    #[arg(value_parser = domain)]
    domain: Option<Domain>,
    #[command(flatten)]
    days: Days,
    /// List reports with this text in the reporter's name or address
    #[arg(long, value_name = "TEXT")]
    reporter: Option<String>,
    /// List reports of this kind: aggregate, tls or failure
    #[arg(long, value_parser = kind)]
    kind: Option<Kind>,
    /// List reports that are incomplete, revisions, were repaired or have notes
    #[arg(long)]
    flagged: bool,
    /// List at most N reports; 0: all
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Which days are meant.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Days {
    /// Only reports whose range begins on this UTC day or later, such as 2026-01-31
    #[arg(long, value_name = "DATE", value_parser = first_second)]
    since: Option<i64>,
    /// Only reports whose range begins on this UTC day or earlier
    #[arg(long, value_name = "DATE", value_parser = second_after)]
    until: Option<i64>,
}

impl Days {
    /// The reports of these days, about `below`.
    pub fn filter(self, below: Option<Domain>) -> Filter {
        Filter {
            below,
            since: self.since,
            before: self.until,
            ..Filter::default()
        }
    }
}

fn first_second(text: &str) -> Result<i64, String> {
    second(text, Ok)
}

fn second_after(text: &str) -> Result<i64, String> {
    second(text, Date::tomorrow)
}

fn second(text: &str, day: fn(Date) -> Result<Date, jiff::Error>) -> Result<i64, String> {
    let wrong = |_| "not a date such as 2026-01-31".to_owned();
    let day = Date::strptime("%Y-%m-%d", text).and_then(day);
    let midnight = day.map_err(wrong)?.to_datetime(Time::midnight());
    let second = Offset::UTC.to_timestamp(midnight).map_err(wrong)?;
    Ok(second.as_second())
}

/// Reads the name of a kind.
pub fn kind(text: &str) -> Result<Kind, String> {
    text.parse()
        .map_err(|_| "not one of aggregate, tls, failure".to_owned())
}

/// Reads the store and prints.
pub fn run(args: Args, reader: &Reader, out: &mut dyn Write) -> anyhow::Result<()> {
    let filter = Filter {
        reporter: args.reporter,
        kind: args.kind,
        flagged: args.flagged,
        ..args.days.filter(args.domain)
    };
    if args.json {
        return reader.reports(&filter, args.limit, |listed| {
            let json = serde_json::to_string(&listed)?;
            Ok(writeln!(out, "{}", escape::json(&json))?)
        });
    }
    let header = &[
        "id", "domain", "reporter", "from", "to", "records", "messages", "flags",
    ];
    let mut rows = Rows::new(out, header);
    reader
        .reports(&filter, args.limit, |listed| Ok(rows.add(row(listed))?))
        .and_then(|()| Ok(rows.end("No reports.")?))
}

fn row(listed: Listed) -> [String; 8] {
    let flags = words(&listed.flags);
    [
        listed.id.to_string(),
        listed.policy_domain,
        listed.org_name,
        minute(listed.begin),
        minute(listed.end),
        listed.records.to_string(),
        listed.messages.to_string(),
        flags,
    ]
}

/// Flags for a person.
pub fn words(flags: &[Flag]) -> String {
    let words: Vec<_> = flags.iter().map(|flag| flag.as_str()).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_day_is_included() {
        assert_eq!(first_second("2023-11-14"), Ok(1_699_920_000));
        assert_eq!(second_after("2023-11-14"), Ok(1_699_920_000 + 86_400));
        for wrong in ["", "2023-02-30", "yesterday", "9999-12-31T", "20231114x"] {
            assert!(first_second(wrong).is_err(), "{wrong}");
        }
        assert!(second_after("9999-12-31").is_err());
    }
}
