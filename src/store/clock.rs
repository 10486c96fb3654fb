//! Whether our clock may be believed, before anything is deleted by it.
//!
//! A clock that is wrong makes everything old. So the newest time that was believed is kept in the
//! store, and a time that is before it, or more than [`CLOCK_JUMP`] behind it, is doubted. Either
//! somebody sets the clock right, and then it is within what is believed again; or it was right, as
//! after a month without power: a clock that has run on for [`CLOCK_PROOF`] without being set is
//! believed. While it is doubted nothing is deleted, and no time on record is moved.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Store, StoreError};
use crate::limits::{CLOCK_JUMP, CLOCK_PROOF, CLOCK_SLACK};

/// What is known of time; seconds of the UTC epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The newest time that was believed.
    believed: i64,
    /// A clock that says something else: since when, and what it said last.
    doubted: Option<(i64, i64)>,
}

impl Clock {
    /// A clock of which `newest` is the newest time on record.
    pub fn at(newest: i64) -> Self {
        Self {
            believed: newest,
            doubted: None,
        }
    }

    /// What is known once the clock has said `now`.
    pub fn look(self, now: i64) -> Self {
        if follows(now, self.believed) {
            return Self::at(now.max(self.believed));
        }
        match self.doubted {
            Some((since, latest)) if follows(now, latest) => {
                if now.saturating_sub(since) >= CLOCK_PROOF {
                    return Self::at(now);
                }
                let doubted = Some((since, now.max(latest)));
                Self { doubted, ..self }
            }
            _ => Self {
                doubted: Some((now, now)),
                ..self
            },
        }
    }

    /// Whether the last look was believed.
    pub fn is_believed(self) -> bool {
        self.doubted.is_none()
    }
}

/// Whether a clock that has run on may say `now`, some time after it said `before`.
fn follows(now: i64, before: i64) -> bool {
    (-CLOCK_SLACK..=CLOCK_JUMP).contains(&now.saturating_sub(before))
}

impl Store {
    /// Looks at the clock, which says `now`, and keeps what is known then.
    pub fn look_at_clock(&mut self, now: i64) -> Result<Clock, StoreError> {
        let newest = self.newest()?;
        self.transaction(|batch| {
            let known = kept(batch.connection).map_err(StoreError::sql("read the clock"))?;
            // A store without a report has nothing that a wrong clock could lose.
            let known = known.unwrap_or_else(|| Clock::at(newest.unwrap_or(now)));
            let clock = known.look(now);
            let (since, latest) = clock.doubted.unzip();
            batch
                .connection
                .execute(
                    "INSERT OR REPLACE INTO clock VALUES (1, ?1, ?2, ?3)",
                    params![clock.believed, since, latest],
                )
                .map_err(StoreError::sql("keep the clock"))?;
            Ok(clock)
        })
    }

    /// When the newest document came, of any kind; `None`: there is none.
    fn newest(&self) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT first_seen FROM document ORDER BY id DESC LIMIT 1";
        self.connection
            .query_row(sql, [], |row| row.get(0))
            .optional()
            .map_err(StoreError::sql("find the newest report"))
    }
}

/// Whether a clock that says `now` is believed, as far as is known; `false` before the first look.
pub(super) fn is_believed(connection: &Connection, now: i64) -> rusqlite::Result<bool> {
    Ok(kept(connection)?.is_some_and(|known| known.look(now).is_believed()))
}

fn kept(connection: &Connection) -> rusqlite::Result<Option<Clock>> {
    let sql = "SELECT believed, since, latest FROM clock";
    let clock = connection.query_row(sql, [], |row| {
        let doubted: (Option<i64>, Option<i64>) = (row.get(1)?, row.get(2)?);
        Ok(Clock {
            believed: row.get(0)?,
            doubted: doubted.0.zip(doubted.1),
        })
    });
    clock.optional()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixtures::{Place, arrival, plain};

    const DAY: i64 = 86_400;
    const NOW: i64 = 1_700_000_000;

    /// Looks once a day for some days.
    fn days(mut clock: Clock, from: i64, days: i64) -> Clock {
        for day in 0..days {
            clock = clock.look(from + day * DAY);
        }
        clock
    }

    #[test]
    fn time_that_passes_is_believed() {
        let clock = days(Clock::at(NOW), NOW, 100).look(NOW + 106 * DAY);
        assert!(clock.is_believed());
        assert!(clock.look(NOW + 106 * DAY - CLOCK_SLACK).is_believed());
    }

    #[test]
    fn a_jump_is_doubted_until_the_clock_is_set_right() {
        for (jump, days_on) in [(8, 6), (3_650, 6), (-1, 1)] {
            let wrong = days(Clock::at(NOW), NOW + jump * DAY, days_on);
            assert!(!wrong.is_believed(), "{jump}");
            let right = wrong.look(NOW + 6 * DAY);
            assert_eq!(right, Clock::at(NOW + 6 * DAY), "{jump}");
        }
    }

    #[test]
    fn a_month_without_power_is_believed_after_a_week_of_running() {
        let later = NOW + 30 * DAY;
        assert!(!days(Clock::at(NOW), later, 7).is_believed());
        assert!(days(Clock::at(NOW), later, 8).is_believed());
        // A week that is one more jump proves nothing.
        let jumped = Clock::at(NOW).look(later).look(later + 8 * DAY);
        assert!(!jumped.is_believed());
    }

    #[test]
    fn what_is_known_outlives_the_program_and_begins_with_the_newest_report() {
        let mut place = Place::new();
        assert!(place.store.look_at_clock(NOW).unwrap().is_believed());
        let later = place.store.look_at_clock(NOW + 8 * DAY).unwrap();
        assert!(!later.is_believed());
        let mut again = Store::open(&place.path()).unwrap();
        for day in 9..=15 {
            let clock = again.look_at_clock(NOW + day * DAY).unwrap();
            assert_eq!(clock.is_believed(), day == 15, "{day}");
        }

        let mut place = Place::new();
        let first = arrival(1);
        place.add(&first, &plain("r", 1));
        let jumped = place.store.look_at_clock(first.arrived + 8 * DAY);
        assert!(!jumped.unwrap().is_believed());
    }
}
