//! What the operator expects of a domain. Pure.

use crate::{
    config::domains::{Demands, DomainEntry, DomainList, Standing},
    dns::{
        record::{self, Record},
        uri::ReportUri,
    },
    terms::Policy,
};

/// What the operator expects of a domain; by default nothing.
#[derive(Clone, Debug, Default)]
pub struct Expected<'a> {
    /// The record that is wanted.
    pub wanted: Option<Record>,
    /// What is demanded at least.
    pub demands: Demands,
    /// The list that knows our addresses, and the domain's entry in it.
    pub home: Option<(&'a DomainList, DomainEntry<'a>)>,
}

impl<'a> Expected<'a> {
    /// What the configuration says of a domain.
    pub fn of(list: &'a DomainList, entry: DomainEntry<'a>) -> Self {
        let wanted = entry.details.wanted.as_deref();
        Self {
            wanted: wanted.and_then(|text| record::parse(text.as_bytes()).into_record()),
            demands: entry.details.demands,
            home: Some((list, entry)),
        }
    }

    /// Whether reports that go to `uri` come to us: the address is asked for as RCPT would.
    pub fn is_ours(&self, uri: &ReportUri) -> bool {
        self.home.is_some_and(|(list, _)| {
            uri.mailbox()
                .is_some_and(|address| list.standing(address.as_bytes()) == Standing::Ours)
        })
    }

    /// Our addresses for aggregate reports about the domain; none if we do not know any.
    pub fn destinations(&self) -> Vec<ReportUri> {
        let addresses = self.home.map(|(list, entry)| list.addresses_of(entry));
        let uri = |address: &_| ReportUri::mailto(&format!("{address}"));
        addresses.iter().flatten().filter_map(uri).collect()
    }

    /// Our addresses for TLS reports about it; none if they are not wanted.
    pub fn tls_destinations(&self) -> Vec<ReportUri> {
        let addresses = self.home.map(|(_, entry)| &entry.details.tls);
        let uri = |address: &_| ReportUri::mailto(&format!("{address}"));
        addresses.into_iter().flatten().filter_map(uri).collect()
    }

    /// Whether enforcement is wanted.
    pub fn enforces(&self) -> bool {
        let wanted = self.wanted.as_ref().and_then(Record::policy);
        wanted.max(self.demands.policy) > Some(Policy::None)
    }
}
