//! The range of dates that a report covers: whether it can be, and whether it is to be believed.
//!
//! Reading refuses only what is no range at all: `inspect` shows old samples too, and the one of
//! RFC 9990 appendix B is of 1979. What enters the store must also be believed, as a range decides
//! the days that the messages count under, and with them what every summary shows.

use super::{
    notes::{Notes, Oddity},
    values::epoch,
};
use crate::{
    limits::{EARLIEST_BEGIN, LONG_RANGE, MAX_AHEAD, MAX_RANGE},
    terms::{Door, Rejection},
};

/// 2100-01-01: a later time is milliseconds, or a mistake.
const LATEST: i64 = 4_102_444_800;
const SECONDS_OF_A_DAY: i64 = 86_400;

/// Whether a report that came at `arrived` by this way may have such a range.
///
/// One that ends in the future is nowhere believed. An early or a long one is what nobody's
/// reporter sends today, but what an operator may have kept: `import` vouches for it, strangers
/// cannot.
pub fn is_believed(begin: i64, end: i64, arrived: i64, door: Door) -> bool {
    !is_ahead(end, arrived)
        && (door == Door::Import || !(is_early(begin) || is_overlong(begin, end)))
}

/// Whether a range ends later than a clock that is wrong by hours explains.
pub fn is_ahead(end: i64, arrived: i64) -> bool {
    end > arrived.saturating_add(MAX_AHEAD)
}

fn is_early(begin: i64) -> bool {
    begin < EARLIEST_BEGIN
}

fn is_overlong(begin: i64, end: i64) -> bool {
    end.saturating_sub(begin) > MAX_RANGE
}

/// A range of dates that can be, of what an aggregate report states.
pub(super) fn stated(begin: Option<&str>, end: Option<&str>) -> Result<(i64, i64), Rejection> {
    let begin = begin.and_then(epoch).ok_or(Rejection::BadDates)?;
    let end = end.and_then(epoch).ok_or(Rejection::BadDates)?;
    possible(begin, end)
}

/// The same of times that were read already.
pub(super) fn possible(begin: i64, end: i64) -> Result<(i64, i64), Rejection> {
    // Zero is what a program writes that does not know.
    if (1..LATEST).contains(&begin) && (begin..LATEST).contains(&end) {
        Ok((begin, end))
    } else {
        Err(Rejection::BadDates)
    }
}

/// What is odd about a range that can be.
pub(super) fn note(begin: i64, end: i64, notes: &mut Notes) {
    if is_early(begin) {
        notes.add(Oddity::EarlyRange);
    }
    if is_overlong(begin, end) {
        notes.add(Oddity::OverlongRange);
    }
    if end - begin > LONG_RANGE {
        let days = u64::try_from((end - begin) / SECONDS_OF_A_DAY).unwrap_or_default();
        notes.add_many(Oddity::LongRange, days);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_cannot_be_is_refused() {
        assert_eq!(
            stated(Some("1337270400.0"), Some("1337270400")),
            Ok((1_337_270_400, 1_337_270_400))
        );
        for (begin, end) in [
            (None, Some("1700000000")),
            (Some("1700000000"), None),
            (Some("1700000001"), Some("1700000000")),
            (Some("0"), Some("1700000000")),
            (Some("-1"), Some("1700000000")),
            (Some("1700000000000"), Some("1700000000001")),
        ] {
            assert_eq!(stated(begin, end), Err(Rejection::BadDates));
        }
    }

    #[test]
    fn a_range_is_believed_up_to_each_limit() {
        let now = 1_700_000_000;
        let by = |door| move |begin, end| is_believed(begin, end, now, door);
        let (milter, import) = (by(Door::Milter), by(Door::Import));
        for door in [Door::Milter, Door::Hook, Door::Import] {
            assert!(by(door)(now, now + MAX_AHEAD));
            assert!(!by(door)(now, now + MAX_AHEAD + 1));
        }
        let first = EARLIEST_BEGIN;
        assert!(milter(first, first + MAX_RANGE));
        assert!(!milter(first - 1, first) && import(first - 1, first));
        let longer = first + MAX_RANGE + 1;
        assert!(!milter(first, longer) && import(first, longer));
    }
}
