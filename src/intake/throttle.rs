//! Whoever sends too much hears 451, and what is refused too often is no longer logged line by line.

use std::{
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use super::rate::{Allowed, Rates};
use crate::{config::rate::Rate, limits, terms::Rejection};

/// Lines about mail that was not taken: ten a second of one network, a hundred in all.
const LINES: Allowed = Allowed {
    per_network: limits::LOG_PER_NETWORK,
    overall: limits::LOG_OVERALL,
};

/// What came of late, by network.
#[derive(Debug)]
pub struct Throttle {
    since: Instant,
    mails: Mutex<Rates>,
    lines: Mutex<Rates>,
    left_out: AtomicU64,
}

impl Throttle {
    /// Nothing came yet.
    pub fn new() -> Self {
        Self {
            since: Instant::now(),
            mails: Mutex::default(),
            lines: Mutex::default(),
            left_out: AtomicU64::new(0),
        }
    }

    /// Whether one more report mail of this client, which is of this network, may come in.
    pub fn mail(
        &self,
        rate: &Rate,
        client: Option<IpAddr>,
        network: &str,
    ) -> Result<(), Rejection> {
        let allowed = Allowed {
            per_network: rate.per_network,
            overall: rate.overall,
        };
        if client.is_some_and(|client| rate.is_relay(client))
            || self.take(&self.mails, allowed, network)
        {
            Ok(())
        } else {
            Err(Rejection::RateLimited)
        }
    }

    /// Whether a line about a mail of this network that was not taken is written; if not, it is
    /// counted.
    pub fn line(&self, network: &str) -> bool {
        let written = self.take(&self.lines, LINES, network);
        if !written {
            self.left_out.fetch_add(1, Relaxed);
        }
        written
    }

    /// How many lines were left out since this was asked last.
    pub fn left_out(&self) -> u64 {
        self.left_out.swap(0, Relaxed)
    }

    fn take(&self, rates: &Mutex<Rates>, allowed: Allowed, network: &str) -> bool {
        // Nothing is half done in there, whoever panicked.
        let mut rates = rates.lock().unwrap_or_else(PoisonError::into_inner);
        rates.take(allowed, network, self.since.elapsed())
    }
}
