//! A TLS report as far as it came: values at their places -> [`TlsReport`] and [`Policy`]s.

use std::collections::BTreeMap;

use super::{
    Digest, Stated,
    aggregate::Hints,
    head::{fill, first},
    notes::{Notes, Oddity},
    range,
    skipped::Skips,
    tls::{Failure, Policy, Sessions, TlsReport},
    tls_json::{Place, lines_within},
    tls_values::{add, add_sessions, address, host, moment, push},
    values,
};
use crate::{
    domain::Domain,
    limits::{MAX_JSON_VALUES, MAX_JSON_VALUES_PER_POLICY, MAX_TLS_DOMAINS, MAX_TLS_FAILURES},
    terms::{LeftOut, Rejection, TlsFailure, TlsPolicy},
};

/// What was refused; the reason is kept with the draft.
pub(super) struct Refused;

/// Builds a report from values.
pub(super) struct Draft<'s> {
    sink: &'s mut dyn FnMut(Policy),
    max_policies: u64,
    /// Values met, of whatever kind and place.
    values: u64,
    failed: Option<Rejection>,
    is_object: bool,
    has_policies: bool,
    /// A policy is about what is no domain; then none is guessed.
    misnamed: bool,
    org_name: String,
    contact: String,
    report_id: String,
    begin: Option<i64>,
    end: Option<i64>,
    entry: Option<Entry>,
    failure: Option<Failure>,
    domains: Vec<Domain>,
    /// The first name of a mail host, which may stand in for a domain.
    host: Option<Domain>,
    totals: BTreeMap<(Option<Domain>, Option<TlsPolicy>), Sessions>,
    policies: u64,
    skips: Skips,
    sessions: u64,
    notes: Notes,
}

/// An entry of `policies` as far as it came.
#[derive(Default)]
struct Entry {
    policy: Policy,
    domain: String,
    successful: Option<u64>,
    failed: Option<u64>,
    /// A count came that is no usable number.
    miscounted: bool,
    failures: BTreeMap<Option<TlsFailure>, u64>,
    /// Of these, the sums of those whose details are not kept.
    surplus: BTreeMap<Option<TlsFailure>, u64>,
}

impl<'s> Draft<'s> {
    pub(super) fn new(sink: &'s mut dyn FnMut(Policy), max_policies: u64) -> Self {
        Self {
            sink,
            max_policies,
            values: 0,
            failed: None,
            is_object: false,
            has_policies: false,
            misnamed: false,
            org_name: String::new(),
            contact: String::new(),
            report_id: String::new(),
            begin: None,
            end: None,
            entry: None,
            failure: None,
            domains: Vec::new(),
            host: None,
            totals: BTreeMap::new(),
            policies: 0,
            skips: Skips::default(),
            sessions: 0,
            notes: Notes::default(),
        }
    }

    /// Why it refused to go on, if it did.
    pub(super) fn failed(&self) -> Option<Rejection> {
        self.failed
    }

    /// The domain of all policies so far, if it is one.
    pub(super) fn only_domain(&self) -> Option<&Domain> {
        match self.domains.as_slice() {
            [domain] => Some(domain),
            _ => None,
        }
    }

    /// `report-id`, if it came.
    pub(super) fn report_id(&self) -> Option<String> {
        (!self.report_id.is_empty()).then(|| self.report_id.clone())
    }

    /// A value is met: there is a bound on what says nothing.
    pub(super) fn count_value(&mut self) -> Result<(), Refused> {
        self.values += 1;
        if self.values > MAX_JSON_VALUES + MAX_JSON_VALUES_PER_POLICY * self.policies {
            self.failed = Some(Rejection::TooLarge);
            return Err(Refused);
        }
        Ok(())
    }

    /// A name came twice in one object.
    pub(super) fn repeated(&mut self) {
        self.notes.add(Oddity::Repeated);
    }

    /// An object starts.
    pub(super) fn open(&mut self, place: Place) {
        match place {
            Place::Root => self.is_object = true,
            Place::Entry => self.entry = Some(Entry::default()),
            Place::Failure => self.failure = Some(Failure::default()),
            _ => {}
        }
    }

    /// An object ends.
    pub(super) fn close(&mut self, place: Place) -> Result<(), Refused> {
        let closed = match place {
            Place::Entry => self.close_entry(),
            Place::Failure => self.close_failure(),
            _ => Ok(()),
        };
        closed.map_err(|rejection| {
            self.failed = Some(rejection);
            Refused
        })
    }

    /// A value that is no object, as text.
    pub(super) fn text(&mut self, place: Place, text: &str) -> Result<(), Refused> {
        let trimmed = text.trim();
        let text = values::bounded(trimmed);
        if text.len() < trimmed.len() && place != Place::PolicyString {
            self.notes.add(Oddity::LongText);
        }
        let free = match place {
            Place::Root => {
                self.failed = Some(Rejection::WrongRoot);
                return Err(Refused);
            }
            // What stands in the place of a policy is a bad one.
            Place::Entry => {
                self.leave_out(LeftOut::Sessions);
                true
            }
            Place::OrgName => fill(&mut self.org_name, text),
            Place::Contact => fill(&mut self.contact, text),
            Place::ReportId => fill(&mut self.report_id, text),
            Place::Begin => moment(text, &mut self.begin, &mut self.notes),
            Place::End => moment(text, &mut self.end, &mut self.notes),
            _ => match (&mut self.failure, &mut self.entry) {
                (Some(failure), _) => set_failure(failure, place, text, &mut self.notes),
                (None, Some(entry)) => set_entry(entry, place, trimmed, &mut self.notes),
                (None, None) => true,
            },
        };
        if !free {
            self.notes.add(Oddity::Repeated);
        }
        Ok(())
    }

    fn leave_out(&mut self, reason: LeftOut) {
        let number = self.policies + self.skips.count + 1;
        self.skips.add(number, reason, &mut self.notes);
    }

    fn close_failure(&mut self) -> Result<(), Rejection> {
        let (Some(failure), Some(entry)) = (self.failure.take(), &mut self.entry) else {
            return Ok(());
        };
        if failure.sessions.is_none() {
            self.notes.add(Oddity::BadFailedCount);
        }
        let sum = entry
            .failures
            .entry(failure.result_type.known())
            .or_default();
        add(sum, failure.sessions.unwrap_or(0))?;
        if self.host.is_none() {
            self.host = host(&failure.receiving_mx_hostname);
        }
        if entry.policy.failures.len() < MAX_TLS_FAILURES {
            entry.policy.failures.push(failure);
        } else {
            self.notes.add(Oddity::SurplusFailures);
            let surplus = entry.surplus.entry(failure.result_type.known());
            add(surplus.or_default(), failure.sessions.unwrap_or(0))?;
        }
        Ok(())
    }

    fn close_entry(&mut self) -> Result<(), Rejection> {
        let Some(entry) = self.entry.take() else {
            return Ok(());
        };
        if self.policies + self.skips.count >= self.max_policies {
            return Err(Rejection::TooLarge);
        }
        let mut policy = entry.policy;
        // One of each type without details, so that the rows of a policy hold all that it sums up.
        let summed_up = entry
            .surplus
            .into_iter()
            .map(|(result_type, sessions)| Failure {
                result_type: result_type.map_or(Stated::Not, Stated::Known),
                sessions: Some(sessions),
                ..Failure::default()
            });
        policy.failures.extend(summed_up);
        if entry.miscounted {
            self.leave_out(LeftOut::Sessions);
            return Ok(());
        }
        if entry.successful.is_none() || entry.failed.is_none() {
            self.notes.add(Oddity::NoSessions);
        }
        policy.successful = entry.successful.unwrap_or(0);
        policy.failed = entry.failed.unwrap_or(0);
        if entry.domain.is_empty() {
            self.notes.add(Oddity::NoPolicyDomain);
        } else {
            policy.domain = Domain::parse(&entry.domain);
            if policy.domain.is_none() {
                self.misnamed = true;
                self.leave_out(LeftOut::PolicyDomain);
                return Ok(());
            }
        }
        if self.host.is_none() {
            self.host = policy.mx_host.first().and_then(|name| host(name));
        }
        self.count(&policy, &entry.failures)?;
        (self.sink)(policy);
        Ok(())
    }

    fn count(
        &mut self,
        policy: &Policy,
        failures: &BTreeMap<Option<TlsFailure>, u64>,
    ) -> Result<(), Rejection> {
        if let Some(domain) = policy.domain.as_ref()
            && !self.domains.contains(domain)
        {
            if self.domains.len() >= MAX_TLS_DOMAINS {
                return Err(Rejection::TooLarge);
            }
            self.domains.push(domain.clone());
        }
        self.policies += 1;
        add(&mut self.sessions, policy.successful)?;
        add(&mut self.sessions, policy.failed)?;
        let key = (policy.domain.clone(), policy.policy_type.known());
        let sums = self.totals.entry(key).or_default();
        add_sessions(sums, policy.successful, policy.failed, failures)
    }

    /// The end of the input: the report, if it is one.
    pub(super) fn finish(
        mut self,
        digest: Digest,
        notes: Notes,
        hints: &Hints<'_>,
    ) -> Result<TlsReport, Rejection> {
        if !self.is_object || !self.has_policies {
            return Err(Rejection::WrongRoot);
        }
        self.notes.merge(notes);
        let (Some(begin), Some(end)) = (self.begin, self.end) else {
            return Err(Rejection::BadDates);
        };
        let (begin, end) = range::possible(begin, end)?;
        range::note(begin, end, &mut self.notes);
        if self.policies == 0 {
            self.notes.add(Oddity::NoPolicies);
        }
        if self.domains.is_empty() {
            let guess = (!self.misnamed).then(|| self.elsewhere(hints)).flatten();
            let domain = guess.ok_or(Rejection::NoDomain)?;
            self.domains.push(domain);
        }
        let mut totals = super::tls::Totals::new();
        for ((domain, policy_type), sums) in self.totals {
            let domain = domain.unwrap_or_else(|| self.domains[0].clone());
            let into = totals.entry((domain, policy_type)).or_default();
            add_sessions(into, sums.successful, sums.failed, &sums.failures)?;
        }
        Ok(TlsReport {
            digest,
            org_name: self.org_name,
            contact: self.contact,
            report_id: self.report_id,
            begin,
            end,
            domains: self.domains,
            policies: self.policies,
            skipped_policies: self.skips.count,
            skipped: self.skips.list,
            sessions: self.sessions,
            totals,
            notes: self.notes.into_texts(),
        })
    }

    /// The domain of a report whose policies name none: from the file name, from an id such as
    /// Google's (`2019-04-14T00:00:00Z_example.org`), from a mail host.
    fn elsewhere(&mut self, hints: &Hints<'_>) -> Option<Domain> {
        let named = hints.file_name.and_then(values::domain_in_name);
        if let Some(domain) = named.and_then(Domain::parse) {
            self.notes.add(Oddity::DomainFromFileName);
            return Some(domain);
        }
        let tail = self.report_id.rsplit_once('_').map(|(_, tail)| tail);
        if let Some(domain) = tail.and_then(host) {
            self.notes.add(Oddity::DomainFromReportId);
            return Some(domain);
        }
        let domain = self.host.take()?;
        self.notes.add(Oddity::DomainFromMxHost);
        Some(domain)
    }

    /// `policies` is there, though perhaps empty.
    pub(super) fn has_policies(&mut self) {
        self.has_policies = true;
    }
}

/// Sets one value of an entry or its policy; `false` if it came before.
fn set_entry(entry: &mut Entry, place: Place, text: &str, notes: &mut Notes) -> bool {
    let policy = &mut entry.policy;
    let short = values::bounded(text);
    match place {
        Place::PolicyType => first(&mut policy.policy_type, values::stated(short)),
        Place::PolicyDomain => fill(&mut entry.domain, short),
        Place::PolicyString => {
            for line in lines_within(text).unwrap_or_else(|| vec![text.to_owned()]) {
                push(&mut policy.policy_string, &line, notes);
            }
            true
        }
        Place::MxHost => {
            push(&mut policy.mx_host, text, notes);
            true
        }
        Place::Successful | Place::Failed => {
            let count = values::count(short);
            entry.miscounted |= count.is_none();
            if place == Place::Successful {
                entry.successful = count;
            } else {
                entry.failed = count;
            }
            true
        }
        _ => true,
    }
}

/// Sets one value of a failure; `false` if it came before.
fn set_failure(failure: &mut Failure, place: Place, text: &str, notes: &mut Notes) -> bool {
    match place {
        Place::ResultType => first(&mut failure.result_type, values::stated(text)),
        Place::SendingMtaIp => address(&mut failure.sending_mta_ip, text, notes),
        Place::ReceivingIp => address(&mut failure.receiving_ip, text, notes),
        Place::ReceivingMxHostname => fill(&mut failure.receiving_mx_hostname, text),
        Place::ReceivingMxHelo => fill(&mut failure.receiving_mx_helo, text),
        Place::AdditionalInformation => fill(&mut failure.additional_information, text),
        Place::ReasonCode => fill(&mut failure.reason_code, text),
        Place::FailedSessions => {
            failure.sessions = values::count(text);
            true
        }
        _ => true,
    }
}
