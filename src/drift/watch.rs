//! The task that looks every configured domain up, again and again, and tells what changed.
//!
//! Looks run side by side, at most [`limits::DNS_CONCURRENCY`], each when it is due ([`schedule`]); what
//! they bring is settled one after the other, as the store has one writer: the answer recorded, findings
//! about it opened and closed, and the domain's latest reports compared with what is now known to have
//! been published. (Reports are compared here rather than when they arrive: a report can only be judged
//! once a later look has covered the end of its range.)
//!
//! Nothing here ends the program. A failing store or DNS is logged and tried again.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::watch,
    task::{JoinSet, spawn_blocking},
    time::{Instant, sleep_until},
};
use tracing::{debug, error, info, warn};

use super::{
    advice,
    compare::Past,
    expected::Expected,
    history,
    look::look,
    published::{self, Seen},
    quiet, reported,
    schedule::{self, Queue},
    tls,
};
use crate::{
    config::Config,
    dns::{
        Finding, Period,
        lookup::{self, Resolver},
        printable,
        psl::SuffixList,
        walk::Known,
    },
    domain::Domain,
    limits,
    store::{
        Store, StoreError,
        published::{Changes, OpenFinding, Settling},
    },
    terms::{DnsOutcome, FindingKind, FindingSource, Severity},
};

/// Open findings by kind and severity.
pub type FindingCounts = Vec<(FindingKind, Severity, u64)>;

/// Hears of a domain, its changes, and when they were, UTC epoch seconds.
pub type Tell = dyn Fn(&Domain, &Changes, i64) + Send + Sync;

/// Hears of a domain that was looked at, and since when the DNS says nothing about it, UTC epoch
/// seconds, if so.
pub type LookedAt = dyn Fn(&Domain, Option<i64>) + Send + Sync;

/// What the watch tells the instruments.
pub struct Observers {
    /// A query came to this, and took so long.
    pub queried: Arc<lookup::Observer>,
    /// A domain was looked at.
    pub looked_at: Box<LookedAt>,
    /// So many findings are open, by kind and severity.
    pub open_findings: Box<dyn Fn(FindingCounts) + Send + Sync>,
    /// Findings of a domain opened or closed; must not wait.
    pub changed: Box<Tell>,
    /// A configuration was taken up: what queries came to before says nothing any more.
    pub adopted: Box<dyn Fn() + Send + Sync>,
}

/// Watches until `shutdown`; takes up a new configuration as it comes. `store` is locked only on
/// blocking threads, for single transactions.
pub async fn run(
    store: Arc<Mutex<Store>>,
    mut config: watch::Receiver<Arc<Config>>,
    observers: Observers,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = pin!(shutdown);
    let first = config.borrow_and_update().clone();
    let mut watcher = Watcher::new(store, first, observers);
    watcher.adopt(None).await;
    let mut reloads = true;
    loop {
        let next = watcher.next();
        tokio::select! {
            () = &mut shutdown => break,
            changed = config.changed(), if reloads => match changed {
                Ok(()) => {
                    let new = config.borrow_and_update().clone();
                    let old = std::mem::replace(&mut watcher.config, new);
                    watcher.adopt(Some(old)).await;
                }
                Err(_) => reloads = false,
            },
            Some(look) = watcher.looks.join_next() => match look {
                Ok(seen) => watcher.settle(seen).await,
                Err(failed) => error!(%failed, "a DNS lookup ended badly"),
            },
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                watcher.look();
            }
        }
    }
    watcher.looks.shutdown().await;
}

struct Watcher {
    store: Arc<Mutex<Store>>,
    config: Arc<Config>,
    observers: Observers,
    /// Made when first needed, under each configuration.
    resolver: Option<Resolver>,
    /// Read anew under each configuration.
    suffixes: Option<Arc<SuffixList>>,
    /// Not before this, as no resolver could be made.
    not_before: Option<Instant>,
    /// Who is next; domains whose lookup is running are not in it.
    queue: Queue,
    /// They may be cut off anywhere: none touches the store.
    looks: JoinSet<Seen>,
    /// Open findings. Nobody else opens or closes any, and the store would look at all of them to
    /// count them.
    open: BTreeMap<(FindingKind, Severity), u64>,
}

impl Watcher {
    fn new(store: Arc<Mutex<Store>>, config: Arc<Config>, observers: Observers) -> Self {
        Self {
            store,
            config,
            observers,
            resolver: None,
            suffixes: None,
            not_before: None,
            queue: Queue::new(),
            looks: JoinSet::new(),
            open: BTreeMap::new(),
        }
    }

    /// Takes up the configuration: every domain is looked up soon, as what is wanted of it may
    /// have changed, and the findings of domains that are not watched are closed. `old` is the one before;
    /// lookups under it are cut off.
    async fn adopt(&mut self, old: Option<Arc<Config>>) {
        self.looks.shutdown().await;
        (self.observers.adopted)();
        self.resolver = None;
        self.not_before = None;
        if let Some(round) = schedule::overlong_round(&self.config) {
            let (secs, per_second) = (round.as_secs(), self.config.dns.queries_per_second);
            warn!(
                secs,
                per_second,
                "dns.queries_per_second allows one look at each domain in this time only"
            );
        }
        let (before, config) = (std::mem::take(&mut self.queue), self.config.clone());
        // A million of them take a second, and so does to free them; mail must not wait for that.
        let queue = spawn_blocking(move || {
            drop((before, old));
            schedule::first_looks(&config, Instant::now())
        });
        match queue.await {
            Ok(queue) => self.queue = queue,
            Err(failed) => error!(%failed, "nothing is watched until the next reload"),
        }
        let config = self.config.clone();
        let adopted = self
            .with_store(move |store| {
                let suffixes = config.dns.suffix_list();
                (suffixes, close_departed(store, &config, now()))
            })
            .await;
        let Some((suffixes, closed)) = adopted else {
            return;
        };
        self.suffixes = suffixes.map_or_else(
            |error| {
                error!(%error, "the Public Suffix List cannot be read, and is not looked at");
                None
            },
            |list| list.map(Arc::new),
        );
        match closed {
            Ok(changes) => {
                for (domain, changes) in changes {
                    self.tell(&domain, &changes);
                }
                self.count_findings().await;
            }
            Err(error) => log_failure(&error),
        }
    }

    /// When the next lookup is to start; `None`: none is waiting, or there is no room.
    fn next(&self) -> Option<Instant> {
        let (due, _) = self.queue.first()?;
        let room = self.looks.len() < limits::DNS_CONCURRENCY;
        room.then(|| {
            self.not_before
                .map_or(*due, |not_before| not_before.max(*due))
        })
    }

    /// Starts the next lookup.
    fn look(&mut self) {
        let Some(resolver) = self.resolver() else {
            return;
        };
        let Some((_, domain)) = self.queue.pop_first() else {
            return;
        };
        self.looks
            .spawn(async move { look(&resolver, &domain).await });
    }

    fn resolver(&mut self) -> Option<Resolver> {
        if self.resolver.is_none() {
            let dns = &self.config.dns;
            match Resolver::new(&dns.servers, dns.timeout, dns.queries_per_second) {
                Ok(resolver) => {
                    self.resolver = Some(resolver.observed(self.observers.queried.clone()));
                    self.not_before = None;
                }
                Err(error) => {
                    self.not_before = Some(Instant::now() + limits::DNS_RETRY);
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    error!(%error, cause, "published records are not watched");
                }
            }
        }
        self.resolver.clone()
    }

    /// Records what a lookup brought, tells what changed, and plans the next one.
    async fn settle(&mut self, seen: Seen) {
        let domain = seen.domain.clone();
        debug!(%domain, outcome = %seen.answer.outcome, "looked up");
        let (config, suffixes) = (self.config.clone(), self.suffixes.clone());
        let mut again = schedule::pause(&config, &seen.answer);
        let settled = self
            .with_store(move |store| {
                lock(store).settle(|s| {
                    let changes = settle(s, &config, suffixes.as_deref(), &seen, now())?;
                    let unanswered = s.unanswered(&seen.domain)?;
                    let goes_on = unanswered.filter(|unanswered| unanswered.count > 0);
                    Ok((changes, goes_on.map(|unanswered| unanswered.first_unknown)))
                })
            })
            .await;
        if let Some(Ok((_, unanswered_since))) = settled {
            (self.observers.looked_at)(&domain, unanswered_since);
        }
        match settled {
            Some(Ok((Some(changes), _))) => self.tell(&domain, &changes),
            Some(Err(error)) => {
                log_failure(&error);
                again = again.min(limits::DNS_RETRY);
            }
            Some(Ok((None, _))) | None => again = again.min(limits::DNS_RETRY),
        }
        self.queue.insert((Instant::now() + again, domain));
    }

    fn tell(&mut self, domain: &Domain, changes: &Changes) {
        if *changes == Changes::default() {
            return;
        }
        log_changes(domain, changes);
        (self.observers.changed)(domain, changes, now());
        let key = |open: &OpenFinding| (open.finding.kind, open.finding.severity);
        for opened in &changes.opened {
            *self.open.entry(key(opened)).or_default() += 1;
        }
        for closed in &changes.closed {
            let count = self.open.entry(key(closed)).or_default();
            *count = count.saturating_sub(1);
        }
        self.open.retain(|_, count| *count > 0);
        self.show_findings();
    }

    async fn count_findings(&mut self) {
        let counts = self.with_store(|store| lock(store).open_counts()).await;
        match counts {
            Some(Ok(counts)) => {
                let by_kind = |(kind, severity, count)| ((kind, severity), count);
                self.open = counts.into_iter().map(by_kind).collect();
                self.show_findings();
            }
            Some(Err(error)) => log_failure(&error),
            None => {}
        }
    }

    fn show_findings(&self) {
        let counts = self.open.iter();
        let counts = counts.map(|(&(kind, severity), &count)| (kind, severity, count));
        (self.observers.open_findings)(counts.collect());
    }

    /// Runs `f` on a blocking thread; `None` if it panicked, which is logged.
    async fn with_store<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Mutex<Store>) -> T + Send + 'static,
    ) -> Option<T> {
        let store = self.store.clone();
        match spawn_blocking(move || f(&store)).await {
            Ok(value) => Some(value),
            Err(failed) => {
                error!(%failed, "the watch over published records stumbled");
                None
            }
        }
    }
}

/// The store's transactions are whole or undone, so that a panic elsewhere leaves it sound.
pub(super) fn lock(store: &Mutex<Store>) -> std::sync::MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Records what was seen and settles the findings that follow from it. An unknown answer opens and
/// closes none. `None`: a record has just gone, and it is to be seen once more that it has.
fn settle(
    settling: &Settling<'_>,
    config: &Config,
    suffixes: Option<&SuffixList>,
    seen: &Seen,
    at: i64,
) -> Result<Option<Changes>, StoreError> {
    let domain = &seen.domain;
    let gap = schedule::longest_gap(config);
    // The domain's record under its own name, all else under the name that was asked for.
    let tls = tls::place(domain);
    let hosts = seen
        .hosts
        .iter()
        .map(|host| (host.place.as_ref(), &host.answer));
    let answers = [(Some(domain), &seen.answer), (tls.as_ref(), &seen.tls)];
    let mut has_gone = false;
    for (name, answer) in answers.into_iter().chain(hosts) {
        let Some(name) = name else { continue };
        settling.record_answer(name, answer, at, gap)?;
        let is_absent = matches!(answer.outcome, DnsOutcome::NoData | DnsOutcome::NxDomain);
        has_gone |= is_absent && history::has_just_gone(&settling.history(name)?);
    }
    if has_gone {
        debug!(%domain, "a record has gone, if it has");
        return Ok(None);
    }
    let expected = config.domains.get(domain);
    let expected = expected.map_or_else(Expected::default, |e| Expected::of(&config.domains, e));
    let judged = published::judge(seen, &expected, suffixes);
    let (findings, undecided) = (&judged.findings, &judged.undecided);
    let dns = FindingSource::Dns;
    let mut changes = settling.set_findings(domain, dns, findings, undecided, at)?;
    if seen.answer.outcome == DnsOutcome::Unknown {
        let unanswered = settling.unanswered(domain)?;
        if let Some(first) = unanswered.filter(|unanswered| unanswered.count == 1) {
            warn!(%domain, trouble = %first.trouble, "the DNS says nothing about the record");
        }
        return Ok(Some(changes));
    }

    let history = settling.history(domain)?;
    let saw = settle_reports(settling, config, seen, &history, at)?;
    let silent = quiet::settle(settling, config, domain, &history, gap, at)?;
    for more in [saw, silent] {
        changes.opened.extend(more.opened);
        changes.closed.extend(more.closed);
    }
    Ok(Some(changes))
}

/// Compares what reports say was published with what was. That goes for `sp` and `np` at an
/// organizational domain only: where it is not known whether it is one, nothing is concluded.
fn settle_reports(
    settling: &Settling<'_>,
    config: &Config,
    seen: &Seen,
    history: &[Period],
    at: i64,
) -> Result<Changes, StoreError> {
    let domain = &seen.domain;
    let since = at.saturating_sub(seconds(limits::COMPARED_REPORTS_AGE));
    let (mut findings, undecided) = match seen.walk.organizational() {
        Known::Yes(organizational) => {
            let reports = settling.reported(domain, since)?;
            let (watch, is_it) = (schedule::as_watched(config), organizational == *domain);
            let past = Past::new(domain, history, watch, is_it);
            let compared: Vec<_> = reports.iter().filter_map(|r| past.compare(r)).collect();
            let known = &config.reporters.known;
            (reported::findings(domain, &compared, known), &[][..])
        }
        Known::No => (Vec::new(), &reported::KINDS[..]),
    };
    let revised = settling.revised(domain, since)?;
    findings.extend(reported::revised(domain, revised));
    settling.set_findings(domain, FindingSource::Reports, &findings, undecided, at)
}

/// Closes what is open about domains that are not watched any more: nobody would.
fn close_departed(
    store: &Mutex<Store>,
    config: &Config,
    at: i64,
) -> Result<Vec<(Domain, Changes)>, StoreError> {
    let mut closed = Vec::new();
    for &source in FindingSource::ALL {
        let domains = lock(store).domains_with_findings(source)?;
        for domain in domains {
            if !config.dns.watch || config.domains.get(&domain).is_none() {
                let close = |s: &Settling<'_>| s.set_findings(&domain, source, &[], &[], at);
                let changes = lock(store).settle(close)?;
                closed.push((domain, changes));
            }
        }
    }
    Ok(closed)
}

fn log_changes(domain: &Domain, changes: &Changes) {
    for finding in changes.opened.iter().map(|open| &open.finding) {
        let Finding {
            kind,
            severity,
            subject,
            detail,
            ..
        } = finding;
        let publish = finding
            .publish
            .as_ref()
            .map(|it| format!("{} TXT {}", it.name, printable(it.text.as_bytes())));
        let next_step = advice::next_step(*kind);
        match severity {
            Severity::Info => {
                info!(%domain, %kind, %severity, %subject, detail, next_step, publish, "finding opened");
            }
            _ => {
                warn!(%domain, %kind, %severity, %subject, detail, next_step, publish, "finding opened");
            }
        }
    }
    for Finding {
        kind,
        severity,
        subject,
        ..
    } in changes.closed.iter().map(|open| &open.finding)
    {
        info!(%domain, %kind, %severity, %subject, "finding closed");
    }
}

fn log_failure(error: &StoreError) {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    error!(%error, cause, "the watch over published records tries again");
}

/// UTC epoch seconds.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    seconds(now.unwrap_or_default())
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
