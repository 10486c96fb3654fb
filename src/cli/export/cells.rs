//! The columns of `export --csv`, by kind. Programs count on them: new ones come last, and none goes.

use jiff::Timestamp;

use crate::{
    cli::show,
    store::queries::{Exported, ExportedFailure, ExportedPolicy},
    terms::{Aligned, Kind},
};

const AGGREGATE: &[&str] = &[
    "id",
    "domain",
    "policy_domain",
    "org_name",
    "report_id",
    "begin",
    "end",
    "p",
    "sp",
    "adkim",
    "aspf",
    "pct",
    "source_ip",
    "count",
    "disposition",
    "dkim",
    "spf",
    "dmarc",
    "header_from",
    "envelope_from",
    "envelope_to",
    "reasons",
    "dkim_auth",
    "spf_auth",
];

const TLS: &[&str] = &[
    "id",
    "domain",
    "policy_domain",
    "org_name",
    "report_id",
    "begin",
    "end",
    "contact_info",
    "policy_type",
    "successful",
    "failed",
    "policy_string",
    "mx_host",
    "failures",
];

const FAILURE: &[&str] = &[
    "id",
    "domain",
    "policy_domain",
    "org_name",
    "report_id",
    "arrival",
    "messages",
    "email",
    "generator",
    "feedback_type",
    "auth_failure",
    "delivery_result",
    "identity_alignment",
    "source_ip",
    "envelope_id",
    "mail_from",
    "rcpt_to",
    "authentication_results",
    "spf_dns",
    "dkim_domain",
    "dkim_identity",
    "dkim_selector",
    "header_from",
    "header_subject",
    "header_date",
    "header_message_id",
];

/// The first line.
pub(super) const fn header(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Aggregate => AGGREGATE,
        Kind::Tls => TLS,
        Kind::Failure => FAILURE,
    }
}

pub(super) fn aggregate(row: Exported) -> [String; AGGREGATE.len()] {
    let stated = Option::unwrap_or_default;
    let record = &row.record;
    let lists = [
        show::reasons(record),
        show::signatures(record),
        show::spf_checks(record),
    ];
    let [reasons, signatures, spf_checks] = lists;
    let record = row.record;
    [
        row.id.to_string(),
        row.domain,
        row.policy_domain,
        row.org_name,
        row.report_id,
        time(row.begin),
        time(row.end),
        stated(row.p),
        stated(row.sp),
        stated(row.adkim),
        stated(row.aspf),
        row.pct.map_or_else(String::new, |pct| pct.to_string()),
        record.source_ip.to_string(),
        record.count.to_string(),
        stated(record.disposition),
        stated(record.dkim),
        stated(record.spf),
        record.dmarc.map_or("", Aligned::as_str).to_owned(),
        record.header_from,
        stated(record.envelope_from),
        stated(record.envelope_to),
        reasons,
        signatures,
        spf_checks,
    ]
}

pub(super) fn tls(row: ExportedPolicy) -> [String; TLS.len()] {
    let failures = show::tls::failures(&row.policy);
    let policy = row.policy;
    [
        row.id.to_string(),
        row.domain,
        policy.policy_domain,
        row.org_name,
        row.report_id,
        time(row.begin),
        time(row.end),
        row.contact_info,
        policy.policy_type.unwrap_or_default(),
        policy.successful.to_string(),
        policy.failed.to_string(),
        policy.policy_string.join("; "),
        policy.mx_host.join("; "),
        failures,
    ]
}

pub(super) fn failure(row: ExportedFailure) -> [String; FAILURE.len()] {
    let stated = Option::unwrap_or_default;
    let facts = row.facts;
    [
        row.id.to_string(),
        row.domain,
        row.policy_domain,
        row.org_name,
        row.report_id,
        time(row.arrival),
        row.messages.to_string(),
        facts.email,
        facts.generator,
        facts.feedback_type,
        stated(facts.auth_failure),
        stated(facts.delivery_result),
        facts.identity_alignment,
        facts
            .source_ip
            .map_or_else(String::new, |ip| ip.to_string()),
        facts.envelope_id,
        stated(facts.mail_from),
        facts.rcpt_to.join("; "),
        facts.authentication_results.join("; "),
        facts.spf_dns.join("; "),
        facts.dkim_domain,
        facts.dkim_identity,
        facts.dkim_selector,
        facts.header_from,
        facts.header_subject,
        facts.header_date,
        facts.header_message_id,
    ]
}

fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_names_every_column_in_its_order() {
        let manual = include_str!("../../../packaging/man/rua-milter.8.in").replace('\n', " ");
        for kind in Kind::ALL {
            let columns = header(*kind).join(", ");
            assert!(manual.contains(&columns), "{columns}");
        }
    }

    #[test]
    fn a_time_is_utc() {
        assert_eq!(time(1_699_920_000), "2023-11-14T00:00:00Z");
    }
}
