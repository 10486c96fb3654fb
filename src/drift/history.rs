//! Which of the answers that we saw can a report have seen? Pure.

use std::ops::Range;

use crate::{
    dns::Period,
    limits::{PROPAGATION, REPORT_LATENESS},
};

/// The periods whose answer a reporter may have used for the range [`begin`, `end`], UTC epoch
/// seconds; `None` if our history does not cover the range.
///
/// It covers the range if an answer was known before the range began, one TTL earlier even, as
/// the reporter may have kept what came before; after it ended; and in between with no silence
/// longer than `gap` seconds. `history` is in order of time.
///
/// Reporters look late and their resolvers keep long, so that what was published up to
/// [`PROPAGATION`] before and [`REPORT_LATENESS`] after the range may have been used too.
pub fn covering(history: &[Period], begin: i64, end: i64, gap: i64) -> Option<Range<usize>> {
    if begin > end {
        return None;
    }
    let at_begin = known_at(history, begin)?;
    let kept = i64::from(history[at_begin].ttl).min(seconds(PROPAGATION));
    let first = known_at(history, begin.saturating_sub(kept))?;
    let last = history.iter().position(|period| period.last_seen >= end)?;
    let watched = history.get(first..=last)?;
    let silent = |pair: &[Period]| pair[1].first_seen.saturating_sub(pair[0].last_seen) > gap;
    if watched.windows(2).any(silent) {
        return None;
    }
    let from = begin.saturating_sub(seconds(PROPAGATION));
    let to = end.saturating_add(seconds(REPORT_LATENESS));
    // An answer may have been published until the next one was seen.
    let ends = |at: usize| history.get(at + 1).map_or(i64::MAX, |next| next.first_seen);
    let first = (0..history.len()).find(|&at| ends(at) >= from)?;
    let behind = history.partition_point(|period| period.first_seen <= to);
    Some(first..behind)
}

/// The last period that began at or before `time`.
fn known_at(history: &[Period], time: i64) -> Option<usize> {
    history.iter().rposition(|period| period.first_seen <= time)
}

fn seconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::DnsOutcome;

    const GAP: i64 = 3 * HOUR;
    const HOUR: i64 = 3_600;
    const DAY: i64 = 24 * HOUR;

    fn period(text: &str, first_seen: i64, last_seen: i64) -> Period {
        Period {
            outcome: DnsOutcome::Found,
            texts: vec![text.into()],
            first_seen,
            last_seen,
            ttl: 3_600,
        }
    }

    fn used(history: &[Period], begin: i64, end: i64) -> Option<Vec<String>> {
        let text = |p: &Period| String::from_utf8(p.texts[0].clone()).unwrap();
        covering(history, begin, end, GAP).map(|used| history[used].iter().map(text).collect())
    }

    #[test]
    fn a_range_is_covered_from_one_ttl_before_to_its_end() {
        let history = [period("a", 10 * DAY, 12 * DAY)];
        let covered = |begin, end| used(&history, begin, end).is_some();
        assert!(covered(10 * DAY + HOUR, 11 * DAY));
        assert!(covered(10 * DAY + HOUR, 12 * DAY));
        assert!(!covered(10 * DAY + HOUR - 1, 11 * DAY));
        assert!(!covered(9 * DAY, 11 * DAY));
        assert!(!covered(11 * DAY, 12 * DAY + 1));
        assert!(!covered(11 * DAY, 10 * DAY + HOUR));
        assert!(used(&[], 1, 2).is_none());
    }

    #[test]
    fn silence_within_the_range_is_not_covered_and_outside_does_not_matter() {
        let history = [
            period("a", 0, 5 * DAY),
            period("a", 6 * DAY, 10 * DAY),
            period("a", 10 * DAY + GAP, 20 * DAY),
        ];
        assert!(used(&history, 5 * DAY - HOUR, 7 * DAY).is_none());
        assert!(used(&history, 6 * DAY, 7 * DAY).is_none());
        assert!(used(&history, 6 * DAY + HOUR, 7 * DAY).is_some());
        assert!(used(&history, 9 * DAY, 11 * DAY).is_some());
    }

    #[test]
    fn an_old_answer_may_be_used_for_two_days_and_a_new_one_by_a_late_reporter() {
        let history = [
            period("a", 0, 10 * DAY),
            period("b", 10 * DAY + HOUR, 20 * DAY),
            period("c", 20 * DAY + HOUR, 30 * DAY),
        ];
        let names = |begin, end| used(&history, begin, end).unwrap().concat();
        assert_eq!(names(11 * DAY, 12 * DAY), "ab");
        assert_eq!(names(14 * DAY, 15 * DAY), "b");
        assert_eq!(names(19 * DAY, 20 * DAY - HOUR), "bc");
        assert_eq!(names(25 * DAY, 26 * DAY), "c");
    }
}
