//! `rua-milter summary [DOMAIN]`: what the stored reports add up to.
//!
//! Without DOMAIN, each configured domain that has reports, with the names below it that are
//! not configured themselves. With DOMAIN, that name and every name below it.
//!
//! A day is the UTC day on which a report's range begins. The newest `--days` days that have
//! messages are summed up (30), so that an old collection shows as much as a live one;
//! `--days 0` sums up everything. Documents that came again with other content under a known
//! report key are `revisions`: kept, and in no sum.
//!
//! `--json` prints one object:
//!
//! ```json
//! {
//!   "first_day": "2026-01-01", "last_day": "2026-01-30",
//!   "totals": {"reports": 2, "revisions": 0, "messages": 30, "pass": 14, "fail": 15,
//!              "unknown": 1, "pass_rate": 0.4827,
//!              "dispositions": {"none": 29, "quarantine": 0, "reject": 0, "pass": 0, "unknown": 1}},
//!   "domains": [{
//!     "domain": "example.com",
//!     "reports": 2, "…": "as in totals",
//!     "sources": [{"ip": "192.0.2.1", "messages": 30, "pass": 14, "fail": 15, "unknown": 1}],
//!     "sources_in_all": 1,
//!     "reporters": [{"org_name": "Reporter", "reports": 2, "messages": 30}],
//!     "reporters_in_all": 1,
//!     "days": [{"day": "2026-01-01", "messages": 30, "pass": 14, "fail": 15, "unknown": 1}]
//!   }],
//!   "tls": [{
//!     "domain": "example.com", "reports": 1, "revisions": 0,
//!     "policies": {"sts": {"successful": 20, "failed": 2, "failures": {"certificate-expired": 2}}},
//!     "reporters": [{"org_name": "Reporter", "reports": 1, "sessions": 22}],
//!     "reporters_in_all": 1
//!   }],
//!   "failures": [{
//!     "domain": "example.com", "reports": 2, "revisions": 0, "messages": 2,
//!     "auth_failures": {"dmarc": 2},
//!     "sources": [{"ip": "192.0.2.1", "messages": 2}], "sources_in_all": 1,
//!     "reporters": [{"org_name": "reporter.example", "reports": 2, "messages": 2}],
//!     "reporters_in_all": 1
//!   }]
//! }
//! ```
//!
//! `totals` is the sum over `domains`, and `messages` = `pass` + `fail` + `unknown` everywhere.
//! `unknown` are messages of which the reporter states neither aligned result; `pass_rate` is
//! `pass / (pass + fail)`, null without any. `first_day` and `last_day` are null without
//! messages. `sources` and `reporters` are the ten with most messages.
//!
//! `tls` is there if TLS reports are; its days are the newest `--days` that have sessions. A session
//! counts under each policy that covers it, and a failed one under each of its reasons: neither
//! policies nor `failures` are to be summed.
//!
//! `failures` is there if failure reports are; its days are the newest `--days` on which messages
//! failed, as far as `retention.failure_days` has left them.

mod json;
mod text;

use std::io::Write;

use anyhow::Context;
use jiff::{Timestamp, tz::Offset};

use super::{domain, escape, progress::Progress};
use crate::{
    domain::Domain,
    store::{
        Reader,
        queries::{Counts, DomainSummary},
    },
    terms::Disposition,
};

/// Rows of the lists of sources and reporters.
const TOP: u32 = 10;

/// Options of `summary`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Sum up this domain and the names below it; each configured domain otherwise
    #[arg(value_parser = domain)]
    pub domain: Option<Domain>,
    /// Sum up the newest N days that have messages; 0: all
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub days: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Reads the store and prints.
pub fn run(args: &Args, reader: &Reader, out: &mut dyn Write) -> anyhow::Result<()> {
    let doing = Progress::doing("adding up");
    let domains = reader.summary(args.domain.as_ref(), args.days, TOP)?;
    let tls = reader.tls_summary(args.domain.as_ref(), args.days, TOP)?;
    let failures = reader.failure_summary(args.domain.as_ref(), args.days, TOP)?;
    drop(doing);
    let printed = if args.json {
        let shown = json::Shown::of(&domains, &tls, &failures);
        let json = serde_json::to_string_pretty(&shown)?;
        writeln!(out, "{}", escape::json(&json))
    } else {
        text::print(args, &domains, &tls, &failures, out)
    };
    printed.context("cannot print")
}

fn word(disposition: Option<Disposition>) -> &'static str {
    disposition.map_or("unknown", Disposition::as_str)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a rate needs no more than 53 bits"
)]
fn pass_rate(counts: Counts) -> Option<f64> {
    let known = counts.pass.saturating_add(counts.fail);
    (known > 0).then(|| counts.pass as f64 / known as f64)
}

/// First and last day with messages.
fn span(domains: &[DomainSummary]) -> Option<(i64, i64)> {
    let days = || {
        domains
            .iter()
            .flat_map(|domain| domain.days.keys().copied())
    };
    days().min().zip(days().max())
}

fn date(day: i64) -> String {
    let time = Timestamp::from_second(day.saturating_mul(86_400));
    time.map_or_else(
        |_| day.to_string(),
        |time| Offset::UTC.to_datetime(time).date().to_string(),
    )
}

#[cfg(test)]
mod tests;
