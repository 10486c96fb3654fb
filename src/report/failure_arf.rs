//! The fields of a message/feedback-report part (RFC 5965 section 3, RFC 6591 section 3).
//!
//! They are read one at a time, so that a report that carries a whole body in
//! `DKIM-Canonicalized-Body` takes no more memory than another. Of a field that may come once the
//! first counts; unknown ones are skipped, and so are those that hold the message itself.

use std::{
    io::{self, BufRead},
    net::IpAddr,
};

use super::{
    Stated,
    failure_header::{fields, time},
    head::{fill, first},
    notes::{Notes, Oddity},
    values,
};
use crate::{
    limits::{MAX_FAILURE_VALUES, MAX_MESSAGES},
    terms::{AuthFailure, DeliveryResult},
};

/// What a report says of the message.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// `Feedback-Type`.
    pub feedback_type: String,
    /// `Auth-Failure`.
    pub auth_failure: Stated<AuthFailure>,
    /// `Delivery-Result`.
    pub delivery_result: Stated<DeliveryResult>,
    /// `Identity-Alignment`; of a text its two lines.
    pub identity_alignment: String,
    /// `Source-IP`.
    pub source_ip: Option<IpAddr>,
    /// `Original-Envelope-Id`: the reporter's name of the message.
    pub envelope_id: String,
    /// `Original-Mail-From`; `Some("")` is a stated null sender.
    pub mail_from: Option<String>,
    /// `Original-Rcpt-To`.
    pub rcpt_to: Vec<String>,
    /// `Authentication-Results`.
    pub authentication_results: Vec<String>,
    /// `DKIM-Domain`.
    pub dkim_domain: String,
    /// `DKIM-Identity`.
    pub dkim_identity: String,
    /// `DKIM-Selector`.
    pub dkim_selector: String,
    /// `SPF-DNS`.
    pub spf_dns: Vec<String>,
}

impl Said {
    /// Every text but the addresses.
    pub(super) fn each_text(&mut self, change: &mut dyn FnMut(&mut String)) {
        let single = [
            &mut self.identity_alignment,
            &mut self.envelope_id,
            &mut self.dkim_domain,
            &mut self.dkim_identity,
            &mut self.dkim_selector,
        ];
        let listed = self.authentication_results.iter_mut();
        let listed = listed.chain(&mut self.spf_dns);
        single.into_iter().chain(listed).for_each(&mut *change);
        if let Stated::Other(text) = &mut self.delivery_result {
            change(text);
        }
        if let Stated::Other(text) = &mut self.auth_failure {
            change(text);
        }
    }

    /// Every address.
    pub(super) fn addresses(&mut self) -> impl Iterator<Item = &mut String> {
        self.mail_from.iter_mut().chain(&mut self.rcpt_to)
    }

    /// Bytes of all of it.
    pub(super) fn texts_len(&self) -> usize {
        let mut copy = self.clone();
        let mut length = copy.addresses().map(|text| text.len()).sum();
        copy.each_text(&mut |text| length += text.len());
        length
    }
}

/// A report as far as its fields tell it.
#[derive(Default)]
pub(super) struct Draft {
    /// It says that it is one.
    pub is_feedback: bool,
    pub domain: String,
    pub reporting_mta: String,
    pub generator: String,
    pub arrival: Option<i64>,
    pub incidents: u64,
    pub said: Said,
    pub notes: Notes,
}

/// Reads the fields up to the first blank line.
pub(super) fn read(input: &mut dyn BufRead) -> io::Result<Draft> {
    let mut draft = Draft::default();
    let mut incidents = None;
    fields(input, &mut |name, value| {
        let once = match name {
            "incidents" => fill_option(&mut incidents, value),
            _ => draft.set(name, value),
        };
        if !once {
            draft.notes.add(Oddity::Repeated);
        }
    })?;
    draft.count(incidents.as_deref());
    let kind = &draft.said.feedback_type;
    draft.is_feedback = !kind.is_empty();
    if draft.is_feedback && !kind.eq_ignore_ascii_case("auth-failure") {
        draft.notes.add(Oddity::OtherFeedback);
    }
    Ok(draft)
}

impl Draft {
    /// Sets one field; `false` if it came before and may not.
    fn set(&mut self, name: &str, value: &str) -> bool {
        let Self { said, notes, .. } = self;
        let text = values::bounded(value);
        let is_once = match name {
            "feedback-type" => fill(&mut said.feedback_type, text),
            "user-agent" => fill(&mut self.generator, text),
            "reporting-mta" => {
                // RFC 3464 section 2.2.2: `dns; mail.example.com`.
                let name = text.split_once(';').map_or(text, |(_, name)| name.trim());
                fill(&mut self.reporting_mta, name)
            }
            "reported-domain" => fill(&mut self.domain, text),
            // The second is that of the drafts before RFC 5965.
            "arrival-date" | "received-date" => {
                let is_first = self.arrival.is_none();
                self.arrival = self.arrival.or_else(|| time(text));
                is_first
            }
            "source-ip" => self.set_source(text),
            "auth-failure" => first(&mut said.auth_failure, values::stated(text)),
            "delivery-result" => first(&mut said.delivery_result, values::stated(text)),
            "identity-alignment" => fill(&mut said.identity_alignment, text),
            "original-envelope-id" => fill(&mut said.envelope_id, text),
            "original-mail-from" => fill_option(&mut said.mail_from, unbracketed(text)),
            "dkim-domain" => fill(&mut said.dkim_domain, text),
            "dkim-identity" => fill(&mut said.dkim_identity, text),
            "dkim-selector" => fill(&mut said.dkim_selector, text),
            // These may come several times.
            "original-rcpt-to" => push(&mut said.rcpt_to, unbracketed(text), notes),
            "spf-dns" => push(&mut said.spf_dns, text, notes),
            "authentication-results" => {
                return push(&mut said.authentication_results, value, notes);
            }
            _ => return true,
        };
        if text.len() < value.len() {
            self.notes.add(Oddity::LongText);
        }
        is_once
    }

    /// Some (`OpenDMARC`) put the name of the host behind the address.
    pub(super) fn set_source(&mut self, text: &str) -> bool {
        let is_first = self.said.source_ip.is_none();
        let end = text.find([' ', '\t', '(']).unwrap_or(text.len());
        let address = &text[..end];
        let tagged = address.get(..5);
        let tagged = tagged.is_some_and(|tag| tag.eq_ignore_ascii_case("ipv6:"));
        let source = values::address(if tagged { &address[5..] } else { address });
        if source.is_none() && !text.is_empty() {
            self.notes.add(Oddity::BadSource);
        }
        self.said.source_ip = self.said.source_ip.or(source);
        is_first
    }

    /// RFC 6591 section 3.1: a report without `Incidents` is about one.
    pub(super) fn count(&mut self, stated: Option<&str>) {
        let count = stated.map_or(Some(1), values::count);
        let count = count.filter(|count| (1..=MAX_MESSAGES).contains(count));
        if count.is_none() {
            self.notes.add(Oddity::BadIncidents);
        }
        self.incidents = count.unwrap_or(1);
    }
}

/// The text, cut at the bound.
pub(super) fn bounded<'t>(text: &'t str, notes: &mut Notes) -> &'t str {
    let short = values::bounded(text);
    if short.len() < text.len() {
        notes.add(Oddity::LongText);
    }
    short
}

fn fill_option(slot: &mut Option<String>, text: &str) -> bool {
    let is_first = slot.is_none();
    slot.get_or_insert_with(|| text.to_owned());
    is_first
}

fn push(list: &mut Vec<String>, text: &str, notes: &mut Notes) -> bool {
    if list.len() >= MAX_FAILURE_VALUES {
        notes.add(Oddity::SurplusValues);
    } else if !text.is_empty() {
        list.push(text.to_owned());
    }
    true
}

/// An address without its brackets.
pub(super) fn unbracketed(text: &str) -> &str {
    let inner = text
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'));
    inner.unwrap_or(text).trim()
}
