//! One stored failure report.

use std::io::{self, Write};

use super::{TEXT, arrivals};
use crate::{
    cli::{escape, reports, rows::minute},
    store::queries::StoredFailure,
};

/// Prints it for a person; what is not stated takes no line.
pub(super) fn print(report: &StoredFailure, out: &mut dyn Write) -> io::Result<()> {
    let (listed, facts) = (&report.listed, &report.facts);
    let stated = |text: &Option<String>| text.clone().unwrap_or_default();
    let mail_from = match facts.mail_from.as_deref() {
        Some("") => "<>",
        sender => sender.unwrap_or_default(),
    };
    let counted = match &*listed.domain {
        domain if domain == listed.policy_domain => "",
        domain => domain,
    };
    let source = facts.source_ip.map(|ip| ip.to_string());
    let lines = [
        ("report", format!("{} ({})", listed.id, listed.kind)),
        ("reporter", listed.org_name.clone()),
        ("email", facts.email.clone()),
        ("report id", listed.report_id.clone()),
        ("generator", facts.generator.clone()),
        ("domain", listed.policy_domain.clone()),
        ("counted under", counted.to_owned()),
        ("arrived there", format!("{} UTC", minute(listed.begin))),
        ("messages", listed.messages.to_string()),
        ("feedback", facts.feedback_type.clone()),
        ("failure", stated(&facts.auth_failure)),
        ("delivery", stated(&facts.delivery_result)),
        ("alignment", facts.identity_alignment.clone()),
        ("source", source.unwrap_or_default()),
        ("envelope id", facts.envelope_id.clone()),
        ("mail from", mail_from.to_owned()),
        ("rcpt to", facts.rcpt_to.join(", ")),
        ("dkim domain", facts.dkim_domain.clone()),
        ("dkim identity", facts.dkim_identity.clone()),
        ("dkim selector", facts.dkim_selector.clone()),
        ("from", facts.header_from.clone()),
        ("subject", facts.header_subject.clone()),
        ("date", facts.header_date.clone()),
        ("message id", facts.header_message_id.clone()),
        ("flags", reports::words(&listed.flags)),
        ("parser", report.parser_version.to_string()),
        ("document", report.digest.clone()),
    ];
    let listed = [
        ("results", &facts.authentication_results),
        ("spf record", &facts.spf_dns),
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
