//! Asking for TXT records, and telling what is known from what is not.
//!
//! Every doubt is [`DnsOutcome::Unknown`]: a server failure, a refusal, a timeout, a referral, a
//! chain of aliases without an end. Names are absolute; no search list applies.
//!
//! Queries go out one after the other, at an even pace and to one server each, however many wait for
//! their answers. Nothing is kept between two of them but what domains have in common ([`Cache`]).

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hickory_resolver::{
    Resolver as Hickory, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig},
    lookup::Lookup,
    net::{DnsError, NetError, NoRecords, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{Name, RData, RecordType},
    },
};

use tokio::{
    sync::Mutex,
    time::{Instant, Interval, MissedTickBehavior, interval, timeout},
};

use super::{Answer, cache::Cache, walk::Known};
use crate::{
    domain::Domain,
    limits,
    terms::{DnsOutcome, DnsTrouble},
};

/// Why no question can be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// No `dns.servers`, and no usable system configuration.
    #[error("reading the DNS servers of /etc/resolv.conf; set dns.servers instead")]
    System(#[source] NetError),
    /// The resolver does not start.
    #[error("starting the DNS resolver")]
    Start(#[source] NetError),
}

/// Hears what a query came to, and how long that took.
pub type Observer = dyn Fn(DnsOutcome, Duration) + Send + Sync;

/// Asks the configured servers. Clones share their pace, and what they keep.
#[derive(Clone)]
pub struct Resolver {
    hickory: TokioResolver,
    patience: Duration,
    pace: Arc<Mutex<Interval>>,
    cache: Arc<Cache>,
    observer: Option<Arc<Observer>>,
}

impl Resolver {
    /// Makes a resolver that asks `servers`, or those of the system if there are none, so many
    /// questions a second, and waits for `patience` for the answer to one. Within a runtime.
    pub fn new(
        servers: &[SocketAddr],
        patience: Duration,
        per_second: u32,
    ) -> Result<Self, LookupError> {
        let mut builder = if servers.is_empty() {
            Hickory::builder_tokio().map_err(LookupError::System)?
        } else {
            let servers = servers.iter().map(name_server).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            Hickory::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.timeout = patience;
        // Retries: each question is asked twice.
        options.attempts = 1;
        // Of several servers the one that answers best; the others when it does not.
        options.num_concurrent_reqs = 1;
        options.edns0 = true;
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = 0;
        // It cuts the TTL that it tells to that of its cache, a day.
        options.positive_max_ttl = Some(Duration::from_secs(u64::from(u32::MAX)));
        let mut pace = interval(Duration::from_secs(1) / per_second.max(1));
        // Time without questions is not made up for.
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            hickory: builder.build().map_err(LookupError::Start)?,
            patience: patience.saturating_mul(limits::DNS_PATIENCE),
            pace: Arc::new(Mutex::new(pace)),
            cache: Arc::default(),
            observer: None,
        })
    }

    /// The same, heard by `observer`.
    pub fn observed(self, observer: Arc<Observer>) -> Self {
        let observer = Some(observer);
        Self { observer, ..self }
    }

    /// The TXT records at `name`, A-labels, as they are now.
    pub async fn txt(&self, name: &str) -> Answer {
        let Some(name) = absolute(name) else {
            return Answer::unknown(DnsTrouble::Unclear);
        };
        let error = match self.query(name.clone(), RecordType::TXT).await {
            Ok(lookup) => return found(&name, &lookup),
            Err(error) => error,
        };
        if let NetError::Dns(DnsError::NoRecordsFound(none)) = &error
            && none.soa.is_none()
            && none.response_code == ResponseCode::NoError
            && self.query(name, RecordType::CNAME).await.is_ok()
        {
            // The resolver gives a chain of aliases up in the middle, as one without an end,
            // with the words of "no data". The end of a chain names its zone.
            return Answer::unknown(DnsTrouble::Unclear);
        }
        not_found(&error)
    }

    /// The same, as they are or were some minutes ago: for names that many domains have in common.
    /// The TTL is that of the time when it was asked.
    pub async fn common_txt(&self, name: &Domain) -> Answer {
        self.cache.answer(name, self.txt(name.as_str())).await
    }

    /// Whether `name` is an alias, wherever that leads; what cannot be a name is none.
    pub async fn is_alias(&self, name: &str) -> Known<bool> {
        let Some(name) = absolute(name) else {
            return Known::Yes(false);
        };
        match self.query(name, RecordType::CNAME).await {
            Ok(_) => Known::Yes(true),
            Err(error) if not_found(&error).outcome == DnsOutcome::Unknown => Known::No,
            Err(_) => Known::Yes(false),
        }
    }

    /// Asks when it is this question's turn.
    async fn query(&self, name: Name, kind: RecordType) -> Result<Lookup, NetError> {
        self.pace.lock().await.tick().await;
        let asked = Instant::now();
        let lookup = timeout(self.patience, self.hickory.lookup(name, kind)).await;
        let lookup = lookup.unwrap_or(Err(NetError::Timeout));
        if let Some(observer) = &self.observer {
            let outcome = match &lookup {
                Ok(_) => DnsOutcome::Found,
                Err(error) => not_found(error).outcome,
            };
            observer(outcome, asked.elapsed());
        }
        lookup
    }
}

/// A name to which no search list of resolv.conf applies.
fn absolute(name: &str) -> Option<Name> {
    let mut name = Name::from_ascii(name).ok()?;
    name.set_fqdn(true);
    Some(name)
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
    udp.port = address.port();
    tcp.port = address.port();
    NameServerConfig::new(address.ip(), true, vec![udp, tcp])
}

/// The texts at `asked`, or at the end of its aliases. An answer without any says nothing.
fn found(asked: &Name, lookup: &Lookup) -> Answer {
    let records = lookup.answers();
    let mut owner = asked;
    // One step for each record at most, so that a loop ends.
    for _ in records {
        let alias = records.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name == *owner => Some(&target.0),
            _ => None,
        });
        match alias {
            Some(target) => owner = target,
            None => break,
        }
    }
    let texts: Vec<_> = records
        .iter()
        .filter(|record| record.name == *owner)
        .filter_map(|record| match &record.data {
            // RFC 9989 section 4.5: the strings of one record are joined with nothing between.
            RData::TXT(text) => Some(text.txt_data.concat()),
            _ => None,
        })
        .collect();
    if texts.is_empty() {
        return Answer::unknown(DnsTrouble::Unclear);
    }
    let ttl = records.iter().map(|record| record.ttl).min();
    Answer::found(texts, ttl.unwrap_or(0))
}

fn not_found(error: &NetError) -> Answer {
    let trouble = match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => return absent(none),
        NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)) => DnsTrouble::ServFail,
        NetError::Dns(DnsError::ResponseCode(ResponseCode::Refused)) => DnsTrouble::Refused,
        NetError::Timeout => DnsTrouble::Timeout,
        NetError::Io(_) | NetError::NoConnections => DnsTrouble::Network,
        _ => DnsTrouble::Unclear,
    };
    Answer::unknown(trouble)
}

/// Sorts out what the resolver calls "no records", which holds more than absence.
fn absent(none: &NoRecords) -> Answer {
    let ttl = none.negative_ttl.unwrap_or(0);
    // A referral names other servers and no zone that it speaks for. (A missing zone alone is no
    // ground for doubt: stub resolvers leave it out.)
    let referral = none.soa.is_none() && none.ns.is_some();
    match none.response_code {
        ResponseCode::NXDomain => Answer::absent(DnsOutcome::NxDomain, ttl),
        ResponseCode::NoError if !referral => Answer::absent(DnsOutcome::NoData, ttl),
        _ => Answer::unknown(DnsTrouble::Unclear),
    }
}
