//! How much came from one network, and from all together, of late. Pure: the time is an argument.
//!
//! A bucket for each network that was heard of, in which what came is poured and which leaks at the
//! rate that is allowed: a minute's worth may come at once. An empty bucket is none, so networks
//! that are quiet cost nothing.

use std::{collections::HashMap, time::Duration};

use crate::limits;

/// What is allowed in a minute. Zero is no bound.
#[derive(Clone, Copy, Debug)]
pub struct Allowed {
    /// From one network.
    pub per_network: u32,
    /// From all together.
    pub overall: u32,
}

/// What came.
#[derive(Debug, Default)]
pub struct Rates {
    all: Bucket,
    networks: HashMap<String, Bucket>,
    /// When empty buckets were last looked for.
    swept: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    holds: f64,
    /// When that was.
    at: Duration,
}

impl Bucket {
    fn leaked(self, per_minute: u32, now: Duration) -> Self {
        let leaks = now.saturating_sub(self.at).as_secs_f64() * f64::from(per_minute) / 60.0;
        Self {
            holds: (self.holds - leaks).max(0.0),
            at: now,
        }
    }

    fn has_room(self, per_minute: u32) -> bool {
        per_minute == 0 || self.holds + 1.0 <= f64::from(per_minute)
    }
}

impl Rates {
    /// Takes one more from `network`, unless that were too many. What is not taken does not count:
    /// whoever keeps coming too fast is let in at the rate that is allowed.
    pub fn take(&mut self, allowed: Allowed, network: &str, now: Duration) -> bool {
        self.all = self.all.leaked(allowed.overall, now);
        if !self.all.has_room(allowed.overall) {
            return false;
        }
        if allowed.per_network > 0 {
            let bucket = self.bucket(allowed.per_network, network, now);
            *bucket = bucket.leaked(allowed.per_network, now);
            if !bucket.has_room(allowed.per_network) {
                return false;
            }
            bucket.holds += 1.0;
        }
        if allowed.overall > 0 {
            self.all.holds += 1.0;
        }
        true
    }

    /// The bucket of a network. Where there are too many, those that come late share one.
    fn bucket(&mut self, per_minute: u32, network: &str, now: Duration) -> &mut Bucket {
        let mut name = network;
        if self.networks.len() >= limits::RATE_NETWORKS && !self.networks.contains_key(name) {
            // A look at them all, which a flood of new networks must not cost each time.
            if now.saturating_sub(self.swept) >= limits::RATE_SWEEP {
                self.swept = now;
                self.networks
                    .retain(|_, bucket| bucket.leaked(per_minute, now).holds > 0.0);
            }
            if self.networks.len() >= limits::RATE_NETWORKS {
                name = "";
            }
        }
        self.networks.entry(name.to_owned()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: Allowed = Allowed {
        per_network: 60,
        overall: 100,
    };

    fn taken(rates: &mut Rates, network: &str, times: usize, now: u64) -> usize {
        let now = Duration::from_secs(now);
        (0..times)
            .filter(|_| rates.take(ALLOWED, network, now))
            .count()
    }

    #[test]
    fn a_minute_s_worth_comes_at_once_and_then_at_the_rate() {
        let mut rates = Rates::default();
        assert_eq!(taken(&mut rates, "a", 1_000, 0), 60);
        assert_eq!(taken(&mut rates, "a", 1_000, 5), 5);
        assert_eq!(taken(&mut rates, "a", 1_000, 3_600), 60);
    }

    #[test]
    fn one_network_does_not_use_up_what_is_another_s() {
        let mut rates = Rates::default();
        assert_eq!(taken(&mut rates, "a", 1_000, 0), 60);
        assert_eq!(taken(&mut rates, "b", 10, 0), 10);
        // But all together have a bound.
        assert_eq!(taken(&mut rates, "c", 1_000, 0), 30);
        assert_eq!(taken(&mut rates, "d", 1, 0), 0);
    }

    #[test]
    fn zero_is_no_bound_and_keeps_nothing() {
        let mut rates = Rates::default();
        let any = Allowed {
            per_network: 0,
            overall: 0,
        };
        assert!((0..10_000).all(|_| rates.take(any, "a", Duration::ZERO)));
        assert!(rates.networks.is_empty() && rates.all.has_room(1));
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_only_holds_up() {
        let mut rates = Rates::default();
        assert_eq!(taken(&mut rates, "a", 1_000, 100), 60);
        assert_eq!(taken(&mut rates, "a", 1_000, 50), 0);
    }

    #[test]
    fn the_networks_that_are_remembered_are_bounded() {
        let mut rates = Rates::default();
        let allowed = Allowed {
            per_network: 1,
            overall: 0,
        };
        let mut from = |network: String, now| rates.take(allowed, &network, now);
        let taken = (0..2 * limits::RATE_NETWORKS)
            .filter(|n| from(n.to_string(), Duration::from_secs(1)))
            .count();
        // The first late one has the last bucket.
        assert_eq!(taken, limits::RATE_NETWORKS + 1);
        // After a minute all are empty, and make room.
        assert!(from("new".into(), Duration::from_secs(62)));
        assert_eq!(rates.networks.len(), 1);
    }
}
