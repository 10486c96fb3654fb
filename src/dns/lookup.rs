//! Asking for TXT records, and telling what is known from what is not.
//!
//! Every doubt is [`DnsOutcome::Unknown`]: a server failure, a refusal, a timeout, a referral, a
//! chain of aliases without an end. Nothing is kept between two questions, as each domain is
//! asked for once an hour, and `drift` has to see what is published now.

use std::{net::SocketAddr, time::Duration};

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

use super::Answer;
use crate::{
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

/// Asks the configured servers.
#[derive(Clone)]
pub struct Resolver {
    hickory: TokioResolver,
    patience: Duration,
}

impl Resolver {
    /// Makes a resolver that asks `servers`, or those of the system if there are none, and waits
    /// `timeout` for an answer to one query.
    pub fn new(servers: &[SocketAddr], timeout: Duration) -> Result<Self, LookupError> {
        let mut builder = if servers.is_empty() {
            Hickory::builder_tokio().map_err(LookupError::System)?
        } else {
            let servers = servers.iter().map(name_server).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            Hickory::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.timeout = timeout;
        // Retries: each question is asked twice.
        options.attempts = 1;
        options.edns0 = true;
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = 0;
        // It cuts the TTL that it tells to that of its cache, a day.
        options.positive_max_ttl = Some(Duration::from_secs(u64::from(u32::MAX)));
        Ok(Self {
            hickory: builder.build().map_err(LookupError::Start)?,
            patience: timeout.saturating_mul(limits::DNS_PATIENCE),
        })
    }

    /// The TXT records at `name`, an absolute name of A-labels.
    pub async fn txt(&self, name: &str) -> Answer {
        let Ok(mut name) = Name::from_ascii(name) else {
            return Answer::unknown(DnsTrouble::Unclear);
        };
        // Otherwise the search list of resolv.conf is tried as well.
        name.set_fqdn(true);
        tokio::time::timeout(self.patience, self.ask(name))
            .await
            .unwrap_or_else(|_| Answer::unknown(DnsTrouble::Timeout))
    }

    /// Whether `name` is known to be an alias, wherever that leads.
    pub async fn is_alias(&self, name: &str) -> bool {
        let Ok(mut name) = Name::from_ascii(name) else {
            return false;
        };
        name.set_fqdn(true);
        let lookup = self.hickory.lookup(name, RecordType::CNAME);
        let answer = tokio::time::timeout(self.patience, lookup).await;
        answer.is_ok_and(|answer| answer.is_ok())
    }

    async fn ask(&self, name: Name) -> Answer {
        let error = match self.hickory.txt_lookup(name.clone()).await {
            Ok(lookup) => return found(&name, &lookup),
            Err(error) => error,
        };
        if let NetError::Dns(DnsError::NoRecordsFound(none)) = &error
            && none.soa.is_none()
            && none.response_code == ResponseCode::NoError
            && self.hickory.lookup(name, RecordType::CNAME).await.is_ok()
        {
            // The resolver gives a chain of aliases up in the middle, as one without an end,
            // with the words of "no data". The end of a chain names its zone.
            return Answer::unknown(DnsTrouble::Unclear);
        }
        not_found(&error)
    }
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
