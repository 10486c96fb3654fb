//! Which of the answers that we saw can a report have seen? Pure.

use std::ops::Range;

use crate::{
    dns::Period,
    limits::{KEPT_LONGEST, REPORT_LATENESS},
    terms::DnsOutcome,
};

/// How a domain was watched, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// Two looks are at most so far apart, or else a time was not watched.
    pub gap: i64,
    /// Reporters may use an answer for so long after it was published, or for its TTL if that is
    /// longer.
    pub propagation: i64,
}

/// The periods whose answer a reporter may have used for the range [`begin`, `end`], UTC epoch
/// seconds; `None` if our history does not cover the range.
///
/// It covers the range if an answer was known before the range began, by as much as the reporter
/// may have kept what came before; after it ended; and in between, and as long as reporters are late,
/// with no silence longer than [`Watch::gap`]. `history` is in order of time.
///
/// Resolvers keep an answer for its TTL, and longer: what was published [`Watch::propagation`] or
/// its TTL before the range (at most [`KEPT_LONGEST`]) may have been used, and, as reporters look
/// late, what was published [`REPORT_LATENESS`] after it.
pub fn covering(history: &[Period], begin: i64, end: i64, watch: Watch) -> Option<Range<usize>> {
    if begin > end {
        return None;
    }
    let kept = |period: &Period| {
        let ttl = i64::from(period.ttl).min(seconds(KEPT_LONGEST));
        ttl.max(watch.propagation)
    };
    let at_begin = history.get(known_at(history, begin)?)?;
    let first = known_at(history, begin.saturating_sub(kept(at_begin)))?;
    let last = history.iter().position(|period| period.last_seen >= end)?;
    let to = end.saturating_add(seconds(REPORT_LATENESS));
    let behind = history.partition_point(|period| period.first_seen <= to);
    let watched = history.get(first..behind.max(last + 1))?;
    let silent = |pair: &[Period]| pair[1].first_seen.saturating_sub(pair[0].last_seen) > watch.gap;
    if watched.windows(2).any(silent) {
        return None;
    }
    // An answer may have been published until the next one was seen.
    let ends = |at: usize| history.get(at + 1).map_or(i64::MAX, |next| next.first_seen);
    let may_be_kept = |&at: &usize| ends(at).saturating_add(kept(&history[at])) >= begin;
    let first = (0..history.len()).find(may_be_kept)?;
    Some(first..behind)
}

/// Whether there was a record, and the last look was the first that found none. A zone that is being
/// replaced, or one server of several, may have said so; it is believed when it is said again.
pub fn has_just_gone(history: &[Period]) -> bool {
    matches!(history, [.., was, is] if was.outcome == DnsOutcome::Found
        && is.outcome != DnsOutcome::Found
        && is.first_seen == is.last_seen)
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

    const WATCH: Watch = Watch {
        gap: 3 * HOUR,
        propagation: 2 * DAY,
    };
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
        covering(history, begin, end, WATCH).map(|used| history[used].iter().map(text).collect())
    }

    #[test]
    fn a_range_is_covered_from_when_its_answer_may_have_been_kept_to_its_end() {
        let history = [period("a", 10 * DAY, 14 * DAY)];
        let covered = |begin, end| used(&history, begin, end).is_some();
        assert!(covered(12 * DAY, 13 * DAY));
        assert!(covered(12 * DAY, 14 * DAY));
        assert!(!covered(12 * DAY - 1, 13 * DAY));
        assert!(!covered(13 * DAY, 14 * DAY + 1));
        assert!(!covered(13 * DAY, 12 * DAY));
        assert!(used(&[], 1, 2).is_none());
        let mut slow = history;
        slow[0].ttl = 3 * 86_400;
        assert!(used(&slow, 13 * DAY - 1, 13 * DAY).is_none());
        assert!(used(&slow, 13 * DAY, 13 * DAY).is_some());
    }

    #[test]
    fn silence_within_the_range_is_not_covered_and_outside_does_not_matter() {
        let history = [
            period("a", 0, 5 * DAY),
            period("a", 6 * DAY, 10 * DAY),
            period("a", 10 * DAY + WATCH.gap, 20 * DAY),
        ];
        assert!(used(&history, 4 * DAY, 7 * DAY).is_none());
        assert!(used(&history, 7 * DAY, 9 * DAY).is_none());
        assert!(used(&history, 8 * DAY, 9 * DAY).is_some());
        assert!(used(&history, 9 * DAY, 11 * DAY).is_some());
    }

    #[test]
    fn a_record_has_just_gone_when_it_was_there_and_was_missed_once() {
        let found = period("a", 0, 5 * DAY);
        let gone = |first_seen, last_seen| Period {
            outcome: DnsOutcome::NxDomain,
            ..period("", first_seen, last_seen)
        };
        assert!(has_just_gone(&[found.clone(), gone(6 * DAY, 6 * DAY)]));
        assert!(!has_just_gone(&[found.clone(), gone(6 * DAY, 7 * DAY)]));
        // Who was never seen with one is without one.
        assert!(!has_just_gone(&[gone(6 * DAY, 6 * DAY)]));
        assert!(!has_just_gone(&[gone(1, 1), found]));
        assert!(!has_just_gone(&[]));
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
        // It counts how long the old one may be kept, not the new one.
        let mut history = history;
        history[0].ttl = 5 * 86_400;
        let names = |begin, end| used(&history, begin, end).unwrap().concat();
        assert_eq!(names(14 * DAY, 15 * DAY), "ab");
        assert_eq!(names(16 * DAY, 17 * DAY), "b");
    }
}
