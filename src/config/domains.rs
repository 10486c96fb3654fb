//! The list of domains and addresses that are ours, large or small. Pure.
//!
//! Memory is about 100 bytes a domain; look-ups are hash look-ups, however long the list is.

use std::collections::{HashMap, HashSet};

use super::address::Recipient;
use crate::domain::Domain;

/// One configured domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainEntry {
    /// Its name.
    pub name: Domain,
    /// Its addresses for aggregate reports; empty: the template's.
    pub rua: Vec<Recipient>,
    /// Its addresses for TLS reports, beside those. Content decides what a report is: each of our
    /// addresses takes every kind.
    pub tls: Vec<Recipient>,
    /// Its addresses for failure reports, likewise.
    pub ruf: Vec<Recipient>,
    /// Whether failure reports about it are taken.
    pub failure_reports: bool,
    /// The DMARC record that the operator wants to be published.
    pub wanted: Option<String>,
}

/// Who is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainList {
    domains: HashMap<Domain, DomainEntry>,
    /// Explicit addresses. One address may serve many domains, so only its being ours is kept.
    addresses: HashSet<Recipient>,
    hosts: HashSet<Domain>,
    template: Option<Template>,
    delimiter: String,
    take_failure_reports: bool,
}

/// Whether an address is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Neither the address nor its host is.
    NotOurs,
    /// It receives reports.
    Ours,
    /// Its host is ours, and it stands for no configured domain.
    Unknown,
}

/// `recipients.template`: one address for every domain, such as `{domain}@rua.example.net`, or
/// the very same for all, such as `rua@example.net`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    before: String,
    /// What follows `{domain}`, if that stands in the template.
    after: Option<String>,
    host: Domain,
}

impl Template {
    /// Reads a template: at most one `{domain}` in the local part, and a host.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let (local, host) = text.rsplit_once('@')?;
        let (before, after) = match local.split_once("{domain}") {
            Some((before, after)) => (before, Some(after)),
            None => (local, None),
        };
        let plain = |part: &str| !part.contains(['{', '}', '"', '@', ' ']);
        if local.is_empty() || !plain(before) || !after.is_none_or(plain) {
            return None;
        }
        let host = Domain::parse(host)?;
        Some(Self {
            before: before.to_owned(),
            after: after.map(str::to_owned),
            host,
        })
    }

    fn address_for(&self, domain: &Domain) -> Recipient {
        let local = match &self.after {
            Some(after) => format!("{}{domain}{after}", self.before),
            None => self.before.clone(),
        };
        Recipient {
            local: local.into(),
            host: self.host.clone(),
        }
    }

    /// Whether `address` is the template's for a domain that `is_configured`.
    fn matches(&self, address: &Recipient, is_configured: impl FnOnce(&str) -> bool) -> bool {
        if address.host != self.host {
            return false;
        }
        match &self.after {
            None => *address.local == *self.before,
            Some(after) => address
                .local
                .strip_prefix(&*self.before)
                .and_then(|rest| rest.strip_suffix(&**after))
                .is_some_and(is_configured),
        }
    }
}

impl DomainList {
    /// Makes the list. `delimiter` is the set of characters that start an address extension.
    pub fn new(
        entries: Vec<DomainEntry>,
        hosts: HashSet<Domain>,
        template: Option<Template>,
        delimiter: String,
    ) -> Self {
        let addresses = entries
            .iter()
            .flat_map(|entry| {
                entry
                    .rua
                    .iter()
                    .chain(&entry.tls)
                    .chain(&entry.ruf)
                    .cloned()
            })
            .collect();
        let take_failure_reports = entries.iter().any(|entry| entry.failure_reports);
        let domains = entries
            .into_iter()
            .map(|entry| (entry.name.clone(), entry))
            .collect();
        Self {
            domains,
            addresses,
            hosts,
            template,
            delimiter,
            take_failure_reports,
        }
    }

    /// Whether the argument of RCPT is an address of ours.
    pub fn standing(&self, argument: &[u8]) -> Standing {
        let Some(address) = Recipient::parse(argument) else {
            return Standing::NotOurs;
        };
        // As it is first: a domain in a template's local part may hold a delimiter.
        if self.receives(&address) || self.receives(&address.without_extension(&self.delimiter)) {
            Standing::Ours
        } else if self.hosts.contains(&address.host) {
            Standing::Unknown
        } else {
            Standing::NotOurs
        }
    }

    fn receives(&self, address: &Recipient) -> bool {
        let by_template =
            |template: &Template| template.matches(address, |name| self.domains.contains_key(name));
        self.addresses.contains(address) || self.template.as_ref().is_some_and(by_template)
    }

    /// The configured domain that a report about `domain` belongs to: itself, or the nearest
    /// one above it.
    pub fn covering(&self, domain: &Domain) -> Option<&DomainEntry> {
        domain.ancestors().find_map(|name| self.domains.get(name))
    }

    /// The entry of exactly this domain.
    pub fn get(&self, domain: &Domain) -> Option<&DomainEntry> {
        self.domains.get(domain)
    }

    /// Whether failure reports are taken for any domain.
    pub fn take_failure_reports(&self) -> bool {
        self.take_failure_reports
    }

    /// Every configured domain, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &DomainEntry> {
        self.domains.values()
    }

    /// Number of configured domains.
    pub fn len(&self) -> usize {
        self.domains.len()
    }

    /// Whether no domain is configured.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// The addresses at which `entry` receives reports: its own, or the template's.
    pub fn addresses_of(&self, entry: &DomainEntry) -> Vec<Recipient> {
        match &self.template {
            Some(template) if entry.rua.is_empty() => vec![template.address_for(&entry.name)],
            _ => entry.rua.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(name: &str) -> Domain {
        Domain::parse(name).expect("a domain")
    }

    fn list() -> DomainList {
        let entry = |name: &str, rua: &[&str]| DomainEntry {
            name: domain(name),
            rua: rua
                .iter()
                .map(|a| Recipient::parse(a.as_bytes()).expect("an address"))
                .collect(),
            tls: Recipient::parse(format!("<tls@{name}>").as_bytes())
                .into_iter()
                .collect(),
            ruf: Vec::new(),
            failure_reports: false,
            wanted: None,
        };
        DomainList::new(
            vec![
                entry("example.com", &["dmarc@example.com"]),
                entry("a-b.example", &[]),
            ],
            HashSet::from([domain("rua.example.net")]),
            Template::parse("r-{domain}@rua.example.net"),
            "+-".into(),
        )
    }

    #[test]
    fn an_address_is_ours_by_name_or_by_template() {
        let list = list();
        for argument in [
            "<dmarc@example.com>",
            "<DMARC+tag@example.com>",
            "<tls@example.com>",
            "<r-example.com@rua.example.net>",
            "<r-a-b.example@rua.example.net>",
        ] {
            assert_eq!(
                list.standing(argument.as_bytes()),
                Standing::Ours,
                "{argument}"
            );
        }
    }

    #[test]
    fn an_unknown_address_at_our_host_is_unknown_and_elsewhere_not_ours() {
        let list = list();
        assert_eq!(list.standing(b"<x@rua.example.net>"), Standing::Unknown);
        assert_eq!(
            list.standing(b"<r-other.example@rua.example.net>"),
            Standing::Unknown
        );
        assert_eq!(list.standing(b"<user@example.com>"), Standing::NotOurs);
        assert_eq!(list.standing(b"<>"), Standing::NotOurs);
    }

    #[test]
    fn a_report_belongs_to_the_nearest_configured_domain_above_it() {
        let list = list();
        let name = |d: &str| list.covering(&domain(d)).map(|e| e.name.to_string());
        assert_eq!(name("mail.eu.example.com").as_deref(), Some("example.com"));
        assert_eq!(name("com"), None);
        assert_eq!(name("notexample.com"), None);
    }
}
