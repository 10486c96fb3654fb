//! Asks the DNS all that is to be known about one domain.
//!
//! One question at a time, each at most once, so that the number of domains looked at side by side
//! bounds the number of queries. What is the domain's own is asked for anew; what it has in common with
//! others, the names above it and those of the hosts to which its reports go, may be minutes old.

use std::collections::HashMap;

use super::{
    published::{Absence, Host, Seen},
    tls,
};
use crate::{
    dns::{
        Answer, external,
        lookup::Resolver,
        record::{self, Record},
        uri::ReportUri,
        walk::{Known, Walk},
    },
    domain::Domain,
    limits::EXTERNAL_HOSTS,
    terms::DnsOutcome,
};

/// Looks at `domain`.
pub async fn look(resolver: &Resolver, domain: &Domain) -> Seen {
    let mut asker = Asker {
        resolver,
        domain,
        answers: HashMap::new(),
    };
    let walk = asker.walk(domain).await;
    let answer = asker.dmarc(domain).await;
    let mut seen = Seen {
        domain: domain.clone(),
        walk,
        absence: Known::Yes(Absence::Plain),
        hosts: Vec::new(),
        has_unknown_host: false,
        tls: asker.ask(tls::place(domain)).await,
        answer,
    };
    let texts = &seen.answer.texts;
    let is_absent = seen.answer.outcome != DnsOutcome::Unknown
        && !texts.iter().any(|text| record::is_meant(text));
    if is_absent {
        seen.absence = asker.absence(seen.answer.outcome).await;
    }
    if let Known::Yes(Some(applied)) = seen.walk.applied() {
        let (domain, record) = (applied.domain.clone(), applied.record.clone());
        let (hosts, has_unknown) = asker.hosts(&domain, &record).await;
        (seen.hosts, seen.has_unknown_host) = (hosts, has_unknown);
    }
    seen
}

struct Asker<'a> {
    resolver: &'a Resolver,
    domain: &'a Domain,
    answers: HashMap<Domain, Answer>,
}

impl Asker<'_> {
    /// The TXT records at a name; one that is too long to exist has none.
    async fn ask(&mut self, name: Option<Domain>) -> Answer {
        let Some(name) = name else {
            return Answer::absent(DnsOutcome::NxDomain, 0);
        };
        if let Some(answer) = self.answers.get(&name) {
            return answer.clone();
        }
        let answer = self.resolver.txt(name.as_str()).await;
        self.answers.insert(name, answer.clone());
        answer
    }

    async fn dmarc(&mut self, domain: &Domain) -> Answer {
        let place = Domain::parse(&format!("_dmarc.{domain}"));
        if let Some(name) = place.as_ref().filter(|_| domain != self.domain)
            && !self.answers.contains_key(name)
        {
            let answer = self.resolver.common_txt(name).await;
            self.answers.insert(name.clone(), answer);
        }
        self.ask(place).await
    }

    async fn walk(&mut self, domain: &Domain) -> Walk {
        let mut walk = Walk::new(domain.clone());
        while let Some(next) = walk.next() {
            let answer = self.dmarc(&next).await;
            walk.add(&answer);
        }
        walk
    }

    /// How it comes that there is no record, as far as the questions in turn are answered.
    async fn absence(&mut self, outcome: DnsOutcome) -> Known<Absence> {
        // An alias that leads to texts does not lead to nothing.
        if outcome != DnsOutcome::Found {
            match self.is_dangling().await {
                Known::Yes(false) => {}
                Known::Yes(true) => return Known::Yes(Absence::Dangling),
                Known::No => return Known::No,
            }
        }
        self.misplaced().await
    }

    async fn is_dangling(&self) -> Known<bool> {
        match self.is_alias("_dmarc").await {
            // A wildcard's alias is none for this name in particular.
            Known::Yes(true) => match self.is_alias("_any").await {
                Known::Yes(any) => Known::Yes(!any),
                Known::No => Known::No,
            },
            other => other,
        }
    }

    async fn is_alias(&self, label: &str) -> Known<bool> {
        let name = format!("{label}.{}", self.domain);
        self.resolver.is_alias(&name).await
    }

    /// Where people put a record that belongs to `_dmarc`: at the domain itself, below a label too
    /// many, and behind the name of the zone where it was left without its final dot.
    async fn misplaced(&mut self) -> Known<Absence> {
        let domain = self.domain;
        let doubled = ["_dmarc._dmarc", &format!("_dmarc.{domain}")];
        let names = doubled.map(|front| Domain::parse(&format!("{front}.{domain}")));
        let mut absence = Known::Yes(Absence::Plain);
        for name in [Some(domain.clone())].into_iter().chain(names).flatten() {
            let answer = self.ask(Some(name.clone())).await;
            if answer.texts.iter().any(|text| record::is_meant(text)) {
                return Known::Yes(Absence::Misplaced(name));
            }
            if answer.outcome == DnsOutcome::Unknown {
                absence = Known::No;
            }
        }
        absence
    }

    /// The hosts of destinations outside the organization of `domain`, where `record` is; and whether
    /// that is not known of one.
    async fn hosts(&mut self, domain: &Domain, record: &Record) -> (Vec<Host>, bool) {
        let host = |takes_aggregate| move |uri: &ReportUri| Some((uri.host()?, takes_aggregate));
        let named = record.rua.iter().filter_map(host(true));
        let named = named.chain(record.ruf.iter().filter_map(host(false)));
        let mut hosts: Vec<Host> = Vec::new();
        let mut has_unknown = false;
        let mut known = vec![domain.clone()];
        for (name, takes_aggregate) in named {
            if known.contains(&name) {
                continue;
            }
            known.push(name.clone());
            if known.len() > EXTERNAL_HOSTS + 1 {
                has_unknown = true;
                break;
            }
            match self.is_outside(domain, &name).await {
                Known::Yes(false) => {}
                Known::No => has_unknown = true,
                Known::Yes(true) => {
                    let place = external::name(domain, &name);
                    hosts.push(Host {
                        answer: self.ask(place.clone()).await,
                        name,
                        takes_aggregate,
                        place,
                    });
                }
            }
        }
        (hosts, has_unknown)
    }

    /// Whether a host is of another organization (RFC 9990 section 4).
    async fn is_outside(&mut self, domain: &Domain, host: &Domain) -> Known<bool> {
        let ours = self.walk(domain).await.organizational();
        let theirs = self.walk(host).await.organizational();
        match (ours, theirs) {
            (Known::Yes(ours), Known::Yes(theirs)) => Known::Yes(ours != theirs),
            _ => Known::No,
        }
    }
}
