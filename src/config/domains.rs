//! The list of domains and addresses that are ours, large or small. Pure.
//!
//! A domain of which only the name is said takes about 100 bytes, so that a million of them fit
//! beside everything else; look-ups are hash look-ups, however long the list is.

use std::collections::{HashMap, HashSet};

use super::address::Recipient;
use crate::{
    domain::Domain,
    terms::{Alignment, Policy},
};

/// What is said of a domain besides its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
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
    /// What it must come to at least, where no whole record is wanted.
    pub demands: Demands,
}

/// What a record must come to at least, as receivers take it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// For the domain.
    pub policy: Option<Policy>,
    /// For names below it, whether they exist or not.
    pub subdomains: Option<Policy>,
    /// Of DKIM and SPF; exactly this.
    pub alignment: Option<Alignment>,
}

/// What is said of most domains of a long list.
static NOTHING: Details = Details {
    rua: Vec::new(),
    tls: Vec::new(),
    ruf: Vec::new(),
    failure_reports: false,
    wanted: None,
    demands: Demands {
        policy: None,
        subdomains: None,
        alignment: None,
    },
};

/// One configured domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DomainEntry<'a> {
    /// Its name.
    pub name: &'a Domain,
    /// All else.
    pub details: &'a Details,
}

/// Configured domains by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries(HashMap<Domain, Option<Box<Details>>>);

impl Entries {
    /// Adds a domain; whether it is new.
    pub fn add(&mut self, name: Domain, details: Details) -> bool {
        let details = (details != NOTHING).then(|| Box::new(details));
        self.0.insert(name, details).is_none()
    }

    fn iter(&self) -> impl Iterator<Item = DomainEntry<'_>> {
        self.0.iter().map(entry)
    }
}

impl FromIterator<(Domain, Details)> for Entries {
    fn from_iter<T: IntoIterator<Item = (Domain, Details)>>(domains: T) -> Self {
        let mut entries = Self::default();
        for (name, details) in domains {
            entries.add(name, details);
        }
        entries
    }
}

fn entry<'a>((name, details): (&'a Domain, &'a Option<Box<Details>>)) -> DomainEntry<'a> {
    let details = details.as_deref().unwrap_or(&NOTHING);
    DomainEntry { name, details }
}

/// Who is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainList {
    domains: Entries,
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
        domains: Entries,
        hosts: HashSet<Domain>,
        template: Option<Template>,
        delimiter: String,
    ) -> Self {
        let addresses = domains
            .iter()
            .flat_map(|DomainEntry { details, .. }| {
                details
                    .rua
                    .iter()
                    .chain(&details.tls)
                    .chain(&details.ruf)
                    .cloned()
            })
            .collect();
        let take_failure_reports = domains.iter().any(|entry| entry.details.failure_reports);
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
        let by_template = |template: &Template| {
            template.matches(address, |name| self.domains.0.contains_key(name))
        };
        self.addresses.contains(address) || self.template.as_ref().is_some_and(by_template)
    }

    /// The configured domain that a report about `domain` belongs to: itself, or the nearest
    /// one above it.
    pub fn covering(&self, domain: &Domain) -> Option<DomainEntry<'_>> {
        let mut names = domain.ancestors();
        names.find_map(|name| self.domains.0.get_key_value(name).map(entry))
    }

    /// The entry of exactly this domain.
    pub fn get(&self, domain: &Domain) -> Option<DomainEntry<'_>> {
        self.domains.0.get_key_value(domain).map(entry)
    }

    /// Whether failure reports are taken for any domain.
    pub fn take_failure_reports(&self) -> bool {
        self.take_failure_reports
    }

    /// Every configured domain, in no order.
    pub fn iter(&self) -> impl Iterator<Item = DomainEntry<'_>> {
        self.domains.iter()
    }

    /// Number of configured domains.
    pub fn len(&self) -> usize {
        self.domains.0.len()
    }

    /// Whether no domain is configured.
    pub fn is_empty(&self) -> bool {
        self.domains.0.is_empty()
    }

    /// The addresses at which `entry` receives reports: its own, or the template's.
    pub fn addresses_of(&self, entry: DomainEntry<'_>) -> Vec<Recipient> {
        match &self.template {
            Some(template) if entry.details.rua.is_empty() => {
                vec![template.address_for(entry.name)]
            }
            _ => entry.details.rua.clone(),
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
        let address = |text: &str| Recipient::parse(text.as_bytes()).expect("an address");
        let details = Details {
            rua: vec![address("dmarc@example.com")],
            tls: vec![address("tls@example.com")],
            ..Details::default()
        };
        let entries = [
            (domain("example.com"), details),
            (domain("a-b.example"), Details::default()),
        ];
        DomainList::new(
            entries.into_iter().collect(),
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
    fn a_domain_is_added_once_and_its_name_alone_is_short() {
        let mut entries = Entries::default();
        assert!(entries.add(domain("a.example"), Details::default()));
        assert!(!entries.add(domain("A.example."), Details::default()));
        assert_eq!(
            entries.iter().next().map(|entry| entry.details),
            Some(&NOTHING)
        );
        assert_eq!(size_of::<(Domain, Option<Box<Details>>)>(), 24);
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
