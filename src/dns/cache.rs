//! Answers that many domains have in common: those of the names above them, and of the hosts to which
//! their reports go.
//!
//! An answer is kept for its TTL and for some minutes at most, as a look has to see what is published
//! now. One that says nothing is not kept, but who waits for it hears it. (The resolver's own cache
//! would do this below the point where queries are counted and paced.)

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::OnceCell;

use super::Answer;
use crate::{domain::Domain, limits};

/// Answers by name, those that are still waited for included.
#[derive(Default)]
pub struct Cache(Mutex<HashMap<Domain, Arc<Cell>>>);

type Cell = OnceCell<(Answer, Instant)>;

impl Cache {
    /// The answer about a name that is kept, or what `ask` brings. Several that want the same at a
    /// time ask once.
    pub async fn answer(&self, name: &Domain, ask: impl Future<Output = Answer>) -> Answer {
        let cell = self.cell(name, Instant::now());
        let asked = || async {
            let answer = ask.await;
            let until = Instant::now() + lifetime(&answer);
            (answer, until)
        };
        let (answer, until) = cell.get_or_init(asked).await;
        if *until <= Instant::now() {
            self.forget(name, &cell);
        }
        answer.clone()
    }

    /// What is fresh at `now`, or room for it.
    fn cell(&self, name: &Domain, now: Instant) -> Arc<Cell> {
        let mut cells = self.lock();
        let is_fresh = |cell: &&Arc<Cell>| cell.get().is_none_or(|(_, until)| now < *until);
        if let Some(cell) = cells.get(name).filter(is_fresh) {
            return cell.clone();
        }
        if cells.len() >= limits::DNS_CACHE {
            // What is asked for often is soon back.
            cells.clear();
        }
        let cell = Arc::<Cell>::default();
        cells.insert(name.clone(), cell.clone());
        cell
    }

    fn forget(&self, name: &Domain, cell: &Arc<Cell>) {
        let mut cells = self.lock();
        // Somebody else's question may have taken its place.
        if cells.get(name).is_some_and(|kept| Arc::ptr_eq(kept, cell)) {
            cells.remove(name);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Domain, Arc<Cell>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long an answer is kept. One that says nothing has no TTL.
fn lifetime(answer: &Answer) -> Duration {
    let bytes: usize = answer.texts.iter().map(Vec::len).sum();
    if bytes > limits::DNS_CACHED_TEXT {
        return Duration::ZERO;
    }
    Duration::from_secs(answer.ttl.into()).min(limits::DNS_CACHED)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell as Counter;

    use tokio::sync::Notify;

    use super::*;
    use crate::terms::{DnsOutcome, DnsTrouble};

    fn name(text: &str) -> Domain {
        Domain::parse(text).expect("a domain")
    }

    fn found(ttl: u32) -> Answer {
        Answer::found(vec![b"v=DMARC1; p=none".to_vec()], ttl)
    }

    #[test]
    fn an_answer_is_kept_for_its_ttl_and_not_for_long() {
        let seconds = |answer: &Answer| lifetime(answer).as_secs();
        assert_eq!(seconds(&found(60)), 60);
        assert_eq!(seconds(&found(86_400)), limits::DNS_CACHED.as_secs());
        assert_eq!(seconds(&Answer::absent(DnsOutcome::NxDomain, 30)), 30);
        assert_eq!(seconds(&Answer::unknown(DnsTrouble::Timeout)), 0);
        let long = vec![b'x'; limits::DNS_CACHED_TEXT + 1];
        assert_eq!(seconds(&Answer::found(vec![long], 60)), 0);
    }

    #[tokio::test]
    async fn what_is_kept_is_not_asked_for_until_its_time_is_over() {
        let cache = Cache::default();
        let example = name("example.com");
        let first = cache.answer(&example, async { found(60) }).await;
        let second = cache
            .answer(&example, async { panic!("asked again") })
            .await;
        assert_eq!(first, second);
        let at = |seconds| Instant::now() + Duration::from_secs(seconds);
        assert!(cache.cell(&example, at(59)).initialized());
        assert!(!cache.cell(&example, at(60)).initialized());
        // What says nothing leaves no trace.
        let unknown = Answer::unknown(DnsTrouble::Timeout);
        cache.answer(&name("example.org"), async { unknown }).await;
        assert_eq!(cache.lock().len(), 1);
    }

    #[tokio::test]
    async fn those_who_want_the_same_at_a_time_ask_once() {
        let cache = Cache::default();
        let example = name("example.com");
        let (asked, all_wait) = (Counter::new(0), Notify::new());
        let ask = || async {
            asked.set(asked.get() + 1);
            all_wait.notified().await;
            Answer::unknown(DnsTrouble::Timeout)
        };
        // The first to ask gives up, and leaves the question to the next.
        let given_up = tokio::select! {
            biased;
            _ = cache.answer(&example, ask()) => false,
            () = async {} => true,
        };
        assert!(given_up);
        let (first, second, ()) = tokio::join!(
            cache.answer(&example, ask()),
            cache.answer(&example, ask()),
            async { all_wait.notify_one() },
        );
        assert_eq!(first, second);
        assert_eq!(asked.get(), 2);
    }

    #[tokio::test]
    async fn there_is_a_bound() {
        let cache = Cache::default();
        for n in 0..2 * limits::DNS_CACHE {
            let name = name(&format!("customer-{n}.example"));
            cache.answer(&name, async { found(60) }).await;
            assert!(cache.lock().len() <= limits::DNS_CACHE);
        }
    }
}
