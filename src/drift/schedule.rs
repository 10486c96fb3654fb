//! When a domain is looked at.
//!
//! First looks are spread over the time that they take at the allowed rate of queries, in an order of
//! chance: no zone or server gets all of its questions in a row, and programs that start together
//! do not ask in step.
//!
//! A look is repeated when the TTL of the record is over: before that a resolver would say the same, and
//! people lower it before they change a record. But there are [`limits::DNS_LOOKS`] looks within
//! `dns.interval_secs` at most, as many zones have a TTL of five minutes for good, and one at least,
//! unless there are too many domains for the allowed rate. A tenth of chance is added.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use tokio::time::Instant;

use super::history::Watch;
use crate::{
    config::{Config, Dns},
    dns::Answer,
    domain::Domain,
    limits,
    terms::DnsOutcome,
};

/// Who is next.
pub(super) type Queue = BTreeSet<(Instant, Domain)>;

/// All domains that are watched.
pub(super) fn first_looks(config: &Config, now: Instant) -> Queue {
    if !config.dns.watch {
        return Queue::new();
    }
    let millis = millis(round(&config.dns, config.domains.len()));
    let random = RandomState::new();
    let names = config.domains.iter().map(|entry| entry.name);
    let due = |name| now + Duration::from_millis(random.hash_one(name) % (millis + 1));
    names.map(|name| (due(name), name.clone())).collect()
}

/// Until the next look at a domain that has answered so.
pub(super) fn pause(config: &Config, answer: &Answer) -> Duration {
    // A hasher's keys are random, and others each time.
    let random = RandomState::new().hash_one(());
    let longest = longest_pause(&config.dns, config.domains.len());
    with_chance(planned(answer, longest), random)
}

/// Two looks in a row may fail before a time counts as unwatched, in seconds.
pub fn longest_gap(config: &Config) -> i64 {
    seconds(longest_pause(&config.dns, config.domains.len()).saturating_mul(3))
}

/// How the domains are watched.
pub fn as_watched(config: &Config) -> Watch {
    Watch {
        gap: longest_gap(config),
        propagation: seconds(config.dns.propagation),
    }
}

/// The time that a look at each domain takes, if it is more than the interval in which each is to have
/// one.
pub(super) fn overlong_round(config: &Config) -> Option<Duration> {
    let round = round(&config.dns, config.domains.len());
    (config.dns.watch && round > config.dns.interval).then_some(round)
}

fn round(dns: &Dns, domains: usize) -> Duration {
    let domains = u64::try_from(domains).unwrap_or(u64::MAX);
    let queries = domains.saturating_mul(limits::LOOK_QUERIES * 1_000);
    Duration::from_millis(queries / u64::from(dns.queries_per_second.max(1)))
}

fn longest_pause(dns: &Dns, domains: usize) -> Duration {
    dns.interval.max(round(dns, domains))
}

fn planned(answer: &Answer, longest: Duration) -> Duration {
    match answer.outcome {
        DnsOutcome::Unknown => longest.min(limits::DNS_RETRY),
        _ => Duration::from_secs(answer.ttl.into()).clamp(longest / limits::DNS_LOOKS, longest),
    }
}

/// Never less: a moment before the TTL is over a look would be in vain.
fn with_chance(pause: Duration, random: u64) -> Duration {
    pause + Duration::from_millis(random % (millis(pause) / 10 + 1))
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::terms::DnsTrouble;

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn the_ttl_decides_within_bounds() {
        let minutes = |answer: &Answer| planned(answer, HOUR).as_secs() / 60;
        let found = |ttl| Answer::found(vec![b"v=DMARC1; p=none".to_vec()], ttl);
        assert_eq!(minutes(&found(0)), 15);
        assert_eq!(minutes(&found(300)), 15);
        assert_eq!(minutes(&found(1_800)), 30);
        assert_eq!(minutes(&found(86_400)), 60);
        assert_eq!(minutes(&Answer::absent(DnsOutcome::NxDomain, 1_200)), 20);
        let unknown = Answer::unknown(DnsTrouble::Timeout);
        assert_eq!(minutes(&unknown), 5);
        let minute = Duration::from_mins(1);
        assert_eq!(planned(&unknown, minute), minute);
    }

    #[test]
    fn a_tenth_of_chance_is_added() {
        let pauses: HashSet<_> = (0..1_000).map(|n| with_chance(HOUR, n * 7_919)).collect();
        assert!(
            pauses
                .iter()
                .all(|pause| (HOUR..=HOUR * 11 / 10).contains(pause))
        );
        assert!(pauses.len() > 900);
        assert_eq!(with_chance(Duration::ZERO, 7), Duration::ZERO);
    }

    #[test]
    fn with_more_domains_than_the_rate_allows_looks_are_further_apart() {
        let dns = Dns::default();
        assert_eq!(longest_pause(&dns, 5_000), HOUR);
        assert_eq!(round(&dns, 5_000), Duration::from_secs(100));
        assert_eq!(longest_pause(&dns, 1_000_000), Duration::from_secs(20_000));
    }
}
