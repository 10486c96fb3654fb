//! One stored TLS report.

use std::io::Write;

use super::{TEXT, arrivals};
use crate::{
    cli::{
        escape, inspect, reports,
        rows::{Rows, minute},
    },
    store::{
        Reader,
        queries::{StoredTls, StoredTlsFailure, StoredTlsPolicy},
    },
};

/// Prints it for a person; what is not stated takes no line.
pub(super) fn print(
    report: &StoredTls,
    reader: &Reader,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let listed = &report.listed;
    let counted = match &*listed.domain {
        domain if domain == listed.policy_domain => "",
        domain => domain,
    };
    let range = format!("{} to {} UTC", minute(listed.begin), minute(listed.end));
    let lines = [
        ("report", format!("{} ({})", listed.id, listed.kind)),
        ("reporter", listed.org_name.clone()),
        ("contact", report.contact_info.clone()),
        ("report id", listed.report_id.clone()),
        ("range", range),
        ("domain", listed.policy_domain.clone()),
        ("counted under", counted.to_owned()),
        ("policies", listed.records.to_string()),
        ("sessions", listed.messages.to_string()),
        ("flags", reports::words(&listed.flags)),
        ("parser", report.parser_version.to_string()),
        ("document", report.digest.clone()),
    ];
    let left_out = inspect::left_out(listed.skipped_records, &listed.skipped);
    let notes = listed.notes.iter().chain(&left_out);
    let notes = notes.map(|note| ("note", &**note));
    let lines = lines.iter().map(|(name, text)| (*name, &**text));
    for (name, text) in lines.chain(notes).filter(|(_, text)| !text.is_empty()) {
        writeln!(out, "{name:>16}: {}", escape::text(text, TEXT))?;
    }
    arrivals(&report.arrivals, report.arrivals_in_all, out)?;
    writeln!(out)?;
    let header = &[
        "domain",
        "type",
        "successful",
        "failed",
        "hosts",
        "failures",
    ];
    let mut rows = Rows::new(out, header);
    reader.tls_policies(listed.id, |policy| anyhow::Ok(rows.add(row(&policy))?))?;
    Ok(rows.flush()?)
}

fn row(policy: &StoredTlsPolicy) -> [String; 6] {
    [
        policy.policy_domain.clone(),
        policy.policy_type.clone().unwrap_or_default(),
        policy.successful.to_string(),
        policy.failed.to_string(),
        policy.mx_host.join(", "),
        failures(policy),
    ]
}

/// The failures in one cell.
pub fn failures(policy: &StoredTlsPolicy) -> String {
    let failures: Vec<_> = policy.failures.iter().map(failure).collect();
    failures.join("; ")
}

/// `3 certificate-expired at mx.example.com (192.0.2.1)`.
fn failure(failure: &StoredTlsFailure) -> String {
    let what = failure.result_type.as_deref().unwrap_or("not stated");
    let mut text = format!("{} {what}", failure.sessions);
    for (before, said) in [
        (" at ", &*failure.receiving_mx_hostname),
        (" from ", failure.sending_mta_ip.as_deref().unwrap_or("")),
        (": ", &*failure.failure_reason_code),
    ] {
        if !said.is_empty() {
            text += before;
            text += said;
        }
    }
    text
}
