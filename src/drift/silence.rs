//! Who used to write and has stopped. Pure.
//!
//! The rule, for a domain and for each reporter that is known by name:
//!
//! - A habit is learnt from reports on at least [`REGULAR_DAYS`] of the [`LEARNT_DAYS`] days that end
//!   with the last one: two of three, so that weekdays are enough and weekly reporters never are.
//! - Silent is who has not written for three times the longest pause of that time, and for at least
//!   three days. The longest pause has weekends in it, and what the reporter lags behind. In 2,400
//!   simulated years of reporters that write at random, on 40 to 90 % of all days, this brought 11
//!   false alarms; to learn from seven reports within thirty days brought up to three in ten years.
//! - The time is counted from the last report, or from when our watch over a record that names our
//!   address began without a break, whatever is later: what we did not watch says nothing.
//! - What was found stays until a report comes, or until the silence is as old as what is looked at.
//!
//! A domain that is silent as a whole is one finding, not one for each of its reporters.

use std::collections::BTreeMap;

use crate::{
    dns::{Evidence, Finding, Period},
    domain::Domain,
    terms::{FindingKind, Severity},
};

const DAY: i64 = 86_400;
/// Days from which a habit is learnt: six weeks.
const LEARNT_DAYS: i64 = 42;
/// Days of these with a report.
const REGULAR_DAYS: usize = 28;
/// How many times the longest pause is silence.
const PAUSES: i64 = 3;
/// Seconds that are no silence, whatever was learnt: a lost report, and a day until the next.
const LEAST: i64 = 3 * DAY;
/// Seconds after which a domain has no reports, if no other time is configured. Who has just
/// published a record hears of the large receivers within two days.
const NONE: i64 = 14 * DAY;
/// Seconds that are looked back: what is silent for longer is nobody's habit any more.
pub const LOOKED_BACK: i64 = 90 * DAY;

/// A report that came; times in UTC epoch seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Who wrote it, if he is known by name.
    pub reporter: Option<Domain>,
    /// When it came.
    pub at: i64,
}

/// A finding of ours that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Which one.
    pub kind: FindingKind,
    /// The domain, or the reporter.
    pub subject: Domain,
    /// Since when.
    pub since: i64,
}

/// The time for which it is known that reports should have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Its beginning.
    pub since: i64,
    /// Its end.
    pub now: i64,
    /// Seconds without a report that are silence; `None`: they are learnt.
    pub patience: Option<i64>,
}

/// Since when, without a break, what was published has named us up to `now`; `None`: it does not, or
/// nobody has looked. `history` is in order of time, and two looks are at most `gap` seconds apart.
pub fn named_since(
    history: &[Period],
    names_us: impl Fn(&Period) -> bool,
    gap: i64,
    now: i64,
) -> Option<i64> {
    let mut since = None;
    let mut next = now;
    for period in history.iter().rev() {
        if next.saturating_sub(period.last_seen) > gap || !names_us(period) {
            break;
        }
        since = Some(period.first_seen);
        next = period.first_seen;
    }
    since
}

/// What is silent about `domain`. `heard` is in order of time, and holds all that came within
/// [`LOOKED_BACK`].
pub fn silence(domain: &Domain, heard: &[Heard], watched: Watched, open: &[Open]) -> Vec<Finding> {
    let times: Vec<_> = heard.iter().map(|heard| heard.at).collect();
    let opened = |kind, subject: &Domain| {
        let mut open = open.iter();
        let known = open.find(|open| open.kind == kind && open.subject == *subject);
        known.map(|open| open.since)
    };
    let Some(&last) = times.last() else {
        return none(domain, watched).into_iter().collect();
    };
    let kind = FindingKind::ReportsStopped;
    if is_silent(&times, last, watched, opened(kind, domain)) {
        let detail = detail("from anybody", &times, last, watched.now);
        return vec![Finding::new(domain, kind, Severity::High, detail).with(heard_last(last))];
    }
    let mut reporters: BTreeMap<&Domain, Vec<i64>> = BTreeMap::new();
    for heard in heard {
        if let Some(reporter) = &heard.reporter {
            reporters.entry(reporter).or_default().push(heard.at);
        }
    }
    let kind = FindingKind::ReporterSilent;
    let silent = |(reporter, times): (&Domain, Vec<i64>)| {
        let last = *times.last()?;
        let detail = || detail(&format!("from {reporter}"), &times, last, watched.now);
        is_silent(&times, last, watched, opened(kind, reporter)).then(|| {
            let finding = Finding::new(reporter, kind, Severity::Medium, detail());
            finding.with(heard_last(last))
        })
    };
    reporters.into_iter().filter_map(silent).collect()
}

fn heard_last(at: i64) -> Evidence {
    Evidence {
        last_report: Some(at),
        ..Evidence::default()
    }
}

/// No report at all. It may be that the domain sends no mail, so it matters little.
fn none(domain: &Domain, watched: Watched) -> Option<Finding> {
    let quiet = watched.now.saturating_sub(watched.since);
    let detail = || {
        let days = quiet.min(LOOKED_BACK) / DAY;
        format!("the record names our address, and no report came for {days} days")
    };
    let is_late = quiet > watched.patience.unwrap_or(NONE);
    is_late.then(|| Finding::new(domain, FindingKind::ReportsNone, Severity::Low, detail()))
}

fn is_silent(times: &[i64], last: i64, watched: Watched, opened: Option<i64>) -> bool {
    if opened.is_some_and(|opened| last <= opened) {
        return true;
    }
    let Some(habit) = Habit::of(times, last) else {
        return false;
    };
    let learnt = habit.longest_pause.saturating_mul(PAUSES).max(LEAST);
    let quiet = watched.now.saturating_sub(last.max(watched.since));
    quiet > watched.patience.unwrap_or(learnt)
}

/// How somebody writes who writes regularly.
struct Habit {
    days: usize,
    longest_pause: i64,
}

impl Habit {
    fn of(times: &[i64], last: i64) -> Option<Self> {
        let first = last.saturating_sub(LEARNT_DAYS * DAY);
        let times = &times[times.partition_point(|at| *at <= first)..];
        let mut days: Vec<_> = times.iter().map(|at| at.div_euclid(DAY)).collect();
        days.dedup();
        let pauses = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
        let habit = Self {
            days: days.len(),
            longest_pause: pauses.max().unwrap_or_default(),
        };
        (habit.days >= REGULAR_DAYS).then_some(habit)
    }
}

fn detail(whose: &str, times: &[i64], last: i64, now: i64) -> String {
    let days = now.saturating_sub(last) / DAY;
    let habit = Habit::of(times, last).map_or_else(String::new, |habit| {
        format!(
            "; before, one came on {} of {LEARNT_DAYS} days, at most {} hours apart",
            habit.days,
            habit.longest_pause.max(0).unsigned_abs().div_ceil(3_600)
        )
    });
    format!("no report {whose} for {days} days{habit}")
}

#[cfg(test)]
mod tests;
