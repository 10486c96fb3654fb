//! Our own small TLS reports, one oddity each, read as the program reads them.

use std::{fs, path::Path};

use rua_milter::report::{
    self, Stated, Whole,
    aggregate::Hints,
    tls::{Failure, Policy},
};
use serde_json::{Value, json};

use crate::samples;

fn stated<T: ToString + Copy>(value: &Stated<T>) -> Value {
    match value {
        Stated::Not => Value::Null,
        Stated::Known(word) => json!(word.to_string()),
        Stated::Other(text) => json!({"other": text}),
    }
}

fn failure(failure: &Failure) -> Value {
    json!({
        "result_type": stated(&failure.result_type),
        "sending_mta_ip": failure.sending_mta_ip,
        "receiving_mx_hostname": failure.receiving_mx_hostname,
        "receiving_mx_helo": failure.receiving_mx_helo,
        "receiving_ip": failure.receiving_ip,
        "sessions": failure.sessions,
        "additional_information": failure.additional_information,
        "reason_code": failure.reason_code,
    })
}

fn policy(policy: &Policy) -> Value {
    json!({
        "policy_type": stated(&policy.policy_type),
        "policy_string": policy.policy_string,
        "domain": policy.domain,
        "mx_host": policy.mx_host,
        "successful": policy.successful,
        "failed": policy.failed,
        "failures": policy.failures.iter().map(failure).collect::<Vec<_>>(),
    })
}

fn outcome(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap();
    let hints = Hints {
        file_name: path.file_name().unwrap().to_str(),
        is_json: true,
        ..Hints::default()
    };
    let whole = match report::read(|| &bytes[..], &hints, usize::MAX) {
        Ok(Whole::Tls(whole)) => whole,
        Ok(_) => return json!("another kind"),
        Err(unread) => {
            return json!({
                "error": unread.broken.rejection,
                "offset": unread.broken.offset,
                "kind": unread.kind,
            });
        }
    };
    let report = whole.report;
    let totals: Vec<_> = report
        .totals
        .iter()
        .map(|((domain, policy_type), sums)| {
            let failures: Vec<_> = sums.failures.iter().collect();
            json!([domain, policy_type, sums.successful, sums.failed, failures])
        })
        .collect();
    json!({
        "digest": report.digest.to_string(),
        "org_name": report.org_name,
        "contact": report.contact,
        "report_id": report.report_id,
        "begin": report.begin,
        "end": report.end,
        "domains": report.domains,
        "counted": [report.policies, report.sessions, report.skipped_policies],
        "skipped": report.skipped,
        "totals": totals,
        "policies": whole.policies.unwrap().iter().map(policy).collect::<Vec<_>>(),
        "notes": report.notes,
    })
}

#[test]
fn every_sample_reads_as_written_beside_it() {
    samples::hold("tls", outcome);
}
