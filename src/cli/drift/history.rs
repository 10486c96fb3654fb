//! `drift --history`: what was published when, as far as it was watched.
//!
//! It asks nobody: the daemon's watch has written all of it down. A time of which nothing is known
//! is told apart by its reason, as the DNS said nothing (`unknown`) or nobody asked (`unwatched`);
//! neither says that the record was gone.

use std::io::{self, Write};

use super::Args;
use crate::{
    cli::{escape, rows::minute},
    config::Config,
    dns::{Period, printable},
    domain::Domain,
    drift::schedule::longest_gap,
    store::{Reader, published::NoAnswer},
    terms::{DnsTrouble, UNKNOWN},
};

/// In place of an outcome: nobody asked.
const UNWATCHED: &str = "unwatched";

/// One stretch of the timeline; times in UTC epoch seconds.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
struct Stretch {
    /// An outcome, `unknown` or `unwatched`.
    state: &'static str,
    from: i64,
    to: i64,
    /// The largest that came with the answer.
    ttl: Option<u32>,
    /// The TXT records, escaped where they are not printable ASCII.
    texts: Vec<String>,
    /// Why the last lookup said nothing.
    trouble: Option<DnsTrouble>,
    /// How many said nothing.
    lookups: Option<u32>,
}

/// Prints the timeline of each domain, the oldest stretch first.
pub fn run(
    args: &Args,
    config: &Config,
    reader: &Reader,
    now: i64,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    for domain in &args.domains {
        let (periods, runs) = (reader.history(domain)?, reader.no_answers(domain)?);
        let stretches = timeline(&periods, &runs, longest_gap(config), now);
        if args.json {
            json(domain, &stretches, out)?;
        } else {
            text(domain, &stretches, out)?;
        }
    }
    Ok(())
}

/// Puts what was seen in order of time, and what was not between. Lookups that said nothing may lie
/// within a period, which they do not end.
fn timeline(periods: &[Period], runs: &[NoAnswer], gap: i64, now: i64) -> Vec<Stretch> {
    let mut seen: Vec<_> = periods.iter().map(of_period).collect();
    seen.extend(runs.iter().map(of_run));
    seen.sort_by_key(|stretch| (stretch.from, stretch.to));
    let mut stretches = Vec::with_capacity(seen.len());
    let mut known: Option<i64> = None;
    for next in seen {
        stretches.extend(known.and_then(|known| unwatched(known, next.from, gap)));
        known = known.max(Some(next.to));
        stretches.push(next);
    }
    stretches.extend(known.and_then(|known| unwatched(known, now, gap)));
    stretches
}

fn unwatched(from: i64, to: i64, gap: i64) -> Option<Stretch> {
    let stretch = || Stretch {
        state: UNWATCHED,
        from,
        to,
        ttl: None,
        texts: Vec::new(),
        trouble: None,
        lookups: None,
    };
    (to.saturating_sub(from) > gap).then(stretch)
}

fn of_period(period: &Period) -> Stretch {
    Stretch {
        state: period.outcome.as_str(),
        from: period.first_seen,
        to: period.last_seen,
        ttl: Some(period.ttl),
        texts: period.texts.iter().map(|t| printable(t).into()).collect(),
        trouble: None,
        lookups: None,
    }
}

fn of_run(run: &NoAnswer) -> Stretch {
    Stretch {
        state: UNKNOWN,
        from: run.first_seen,
        to: run.last_seen,
        ttl: None,
        texts: Vec::new(),
        trouble: Some(run.trouble),
        lookups: Some(run.lookups),
    }
}

fn json(domain: &Domain, stretches: &[Stretch], out: &mut dyn Write) -> anyhow::Result<()> {
    #[derive(serde::Serialize)]
    struct Line<'a> {
        domain: &'a Domain,
        #[serde(flatten)]
        stretch: &'a Stretch,
    }
    for stretch in stretches {
        let line = serde_json::to_string(&Line { domain, stretch })?;
        writeln!(out, "{}", escape::json(&line))?;
    }
    Ok(())
}

/// A line a stretch, and one more for each further record.
fn text(domain: &Domain, stretches: &[Stretch], out: &mut dyn Write) -> io::Result<()> {
    if stretches.is_empty() {
        return writeln!(out, "{domain}: was never looked up");
    }
    writeln!(out, "{domain}:")?;
    for stretch in stretches {
        let (from, to) = (minute(stretch.from), minute(stretch.to));
        let ttl = stretch.ttl.map(|ttl| ttl.to_string()).unwrap_or_default();
        let said = match (stretch.trouble, stretch.lookups) {
            (Some(trouble), Some(lookups)) => format!("{trouble}, lookups: {lookups}"),
            _ => stretch.texts.first().cloned().unwrap_or_default(),
        };
        let line = format!("  {from}  {to}  {:<9}  {ttl:>6}  {said}", stretch.state);
        writeln!(out, "{}", line.trim_end())?;
        for more in stretch.texts.iter().skip(1) {
            writeln!(out, "{:>57}{more}", "")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::DnsOutcome;

    const HOUR: i64 = 3_600;
    const GAP: i64 = 3 * HOUR;

    fn period(outcome: DnsOutcome, texts: &[&[u8]], from: i64, to: i64) -> Period {
        Period {
            outcome,
            texts: texts.iter().map(|text| text.to_vec()).collect(),
            first_seen: from * HOUR,
            last_seen: to * HOUR,
            ttl: 300,
        }
    }

    fn run(from: i64, to: i64) -> NoAnswer {
        NoAnswer {
            trouble: DnsTrouble::ServFail,
            first_seen: from * HOUR,
            last_seen: to * HOUR,
            lookups: 7,
        }
    }

    fn states(periods: &[Period], runs: &[NoAnswer], now: i64) -> Vec<(&'static str, i64, i64)> {
        timeline(periods, runs, GAP, now * HOUR)
            .iter()
            .map(|s| (s.state, s.from / HOUR, s.to / HOUR))
            .collect()
    }

    #[test]
    fn a_time_is_unwatched_only_if_nobody_asked() {
        let found = |from, to| period(DnsOutcome::Found, &[b"a"], from, to);
        let gone = period(DnsOutcome::NxDomain, &[], 11, 20);
        assert_eq!(
            states(&[found(0, 10), gone, found(40, 50)], &[run(22, 30)], 52),
            [
                ("found", 0, 10),
                ("nxdomain", 11, 20),
                ("unknown", 22, 30),
                ("unwatched", 30, 40),
                ("found", 40, 50),
            ]
        );
        // A failure within a period does not end it, and an old end is not the present.
        assert_eq!(
            states(&[found(0, 10)], &[run(4, 5)], 20),
            [("found", 0, 10), ("unknown", 4, 5), ("unwatched", 10, 20)]
        );
        assert_eq!(states(&[], &[], 20), []);
    }

    #[test]
    fn records_are_shown_whole_and_escaped() {
        let records: &[&[u8]] = &[b"v=DMARC1; p=none", b"\x1b[2J"];
        let found = period(DnsOutcome::Found, records, 0, 10);
        let stretches = timeline(&[found], &[run(11, 12)], GAP, 12 * HOUR);
        let mut out = Vec::new();
        text(&Domain::parse("example.com").unwrap(), &stretches, &mut out).unwrap();
        let shown = "example.com:\n  \
            1970-01-01 00:00  1970-01-01 10:00  found         300  v=DMARC1; p=none\n                                                         \
            \\x1b[2J\n  \
            1970-01-01 11:00  1970-01-01 12:00  unknown            servfail, lookups: 7\n";
        assert_eq!(String::from_utf8(out).unwrap(), shown);
    }
}
