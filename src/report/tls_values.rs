//! Single values of a TLS report, read leniently and never wrapped or clipped in silence.

use std::{collections::BTreeMap, net::IpAddr};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::{
    notes::{Notes, Oddity},
    tls::Sessions,
    values,
};
use crate::{
    domain::Domain,
    limits::{MAX_MESSAGES, MAX_TLS_LINES},
    terms::{Rejection, TlsFailure},
};

/// Adds one line of a list.
pub(super) fn push(lines: &mut Vec<String>, text: &str, notes: &mut Notes) {
    let line = values::bounded(text.trim());
    if line.len() < text.trim().len() {
        notes.add(Oddity::LongText);
    }
    if lines.len() >= MAX_TLS_LINES {
        notes.add(Oddity::SurplusLines);
    } else if !line.is_empty() {
        lines.push(line.to_owned());
    }
}

/// Sets an address; an empty text is none (parsedmarc #915).
pub(super) fn address(slot: &mut Option<IpAddr>, text: &str, notes: &mut Notes) -> bool {
    if !text.is_empty() {
        *slot = values::address(text);
        if slot.is_none() {
            notes.add(Oddity::BadFailureAddress);
        }
    }
    true
}

/// Sets a time of RFC 3339; Microsoft has left out the zone, and UTC is what the RFC expects.
pub(super) fn moment(text: &str, slot: &mut Option<i64>, notes: &mut Notes) -> bool {
    let stated = text.parse().map(Timestamp::as_second);
    *slot = stated.ok().or_else(|| {
        let local: DateTime = text.parse().ok()?;
        notes.add(Oddity::TimeWithoutZone);
        let utc = TimeZone::UTC.to_timestamp(local).ok()?;
        Some(utc.as_second())
    });
    true
}

/// A name with a dot in it, which may be a pattern of MTA-STS.
pub(super) fn host(name: &str) -> Option<Domain> {
    let name = name.strip_prefix("mx:").unwrap_or(name).trim();
    let name = name.strip_prefix("*.").unwrap_or(name);
    Domain::parse(name).filter(|domain| domain.as_str().contains('.'))
}

/// Adds to a sum that must stay what can be summed.
pub(super) fn add(sum: &mut u64, sessions: u64) -> Result<(), Rejection> {
    *sum = sum.saturating_add(sessions);
    if *sum > MAX_MESSAGES {
        return Err(Rejection::BadCount);
    }
    Ok(())
}

/// Adds sums to sums.
pub(super) fn add_sessions(
    sums: &mut Sessions,
    successful: u64,
    failed: u64,
    failures: &BTreeMap<Option<TlsFailure>, u64>,
) -> Result<(), Rejection> {
    add(&mut sums.successful, successful)?;
    add(&mut sums.failed, failed)?;
    for (result_type, sessions) in failures {
        add(sums.failures.entry(*result_type).or_default(), *sessions)?;
    }
    Ok(())
}
