//! One stored failure report.

use std::io::{self, Write};

use super::{TEXT, arrivals};
use crate::{
    cli::{escape, reports, rows::minute},
    store::queries::StoredFailure,
};

/// Prints it for a person; what is not stated takes no line.
pub(super) fn print(report: &StoredFailure, out: &mut dyn Write) -> io::Result<()> {
    let listed = &report.listed;
    let stated = |text: &Option<String>| text.clone().unwrap_or_default();
    let mail_from = match report.mail_from.as_deref() {
        Some("") => "<>",
        sender => sender.unwrap_or_default(),
    };
    let counted = match &*listed.domain {
        domain if domain == listed.policy_domain => "",
        domain => domain,
    };
    let source = report.source_ip.map(|ip| ip.to_string());
    let lines = [
        ("report", format!("{} ({})", listed.id, listed.kind)),
        ("reporter", listed.org_name.clone()),
        ("email", report.email.clone()),
        ("report id", listed.report_id.clone()),
        ("generator", report.generator.clone()),
        ("domain", listed.policy_domain.clone()),
        ("counted under", counted.to_owned()),
        ("arrived there", format!("{} UTC", minute(listed.begin))),
        ("messages", listed.messages.to_string()),
        ("feedback", report.feedback_type.clone()),
        ("failure", stated(&report.auth_failure)),
        ("delivery", stated(&report.delivery_result)),
        ("alignment", report.identity_alignment.clone()),
        ("source", source.unwrap_or_default()),
        ("envelope id", report.envelope_id.clone()),
        ("mail from", mail_from.to_owned()),
        ("rcpt to", report.rcpt_to.join(", ")),
        ("dkim domain", report.dkim_domain.clone()),
        ("dkim identity", report.dkim_identity.clone()),
        ("dkim selector", report.dkim_selector.clone()),
        ("from", report.header_from.clone()),
        ("subject", report.header_subject.clone()),
        ("date", report.header_date.clone()),
        ("message id", report.header_message_id.clone()),
        ("flags", reports::words(&listed.flags)),
        ("parser", report.parser_version.to_string()),
        ("document", report.digest.clone()),
    ];
    let listed = [
        ("results", &report.authentication_results),
        ("spf record", &report.spf_dns),
        ("note", &listed.notes),
    ];
    let lists = listed.iter().flat_map(|(name, texts)| {
        let texts = texts.iter().map(String::as_str);
        texts.map(move |text| (*name, text))
    });
    let lines = lines.iter().map(|(name, text)| (*name, &**text));
    for (name, text) in lines.chain(lists).filter(|(_, text)| !text.is_empty()) {
        writeln!(out, "{name:>16}: {}", escape::text(text, TEXT))?;
    }
    arrivals(&report.arrivals, report.arrivals_in_all, out)
}
