//! Our own small reports, one oddity each, read as the program reads them.

use std::{fs, path::Path};

use rua_milter::report::{self, Record, Stated, Whole, Words, aggregate::Hints};
use serde_json::{Value, json};

use crate::samples;

fn stated<T: ToString + Copy>(value: &Stated<T>) -> Value {
    match value {
        Stated::Not => Value::Null,
        Stated::Known(word) => json!(word.to_string()),
        Stated::Other(text) => json!({"other": text}),
    }
}

/// The text, with its language where there is one.
fn words(words: &Words) -> Value {
    match &words.lang {
        None => json!(words.text),
        Some(lang) => json!({"text": words.text, "lang": lang}),
    }
}

fn record(record: &Record) -> Value {
    let reasons: Vec<_> = record
        .reasons
        .iter()
        .map(|reason| json!([stated(&reason.kind), words(&reason.comment)]))
        .collect();
    let dkim: Vec<_> = record
        .dkim_auth
        .iter()
        .map(|dkim| {
            json!([
                dkim.domain,
                dkim.selector,
                stated(&dkim.result),
                words(&dkim.human_result)
            ])
        })
        .collect();
    let spf: Vec<_> = record
        .spf_auth
        .iter()
        .map(|spf| {
            json!([
                spf.domain,
                stated(&spf.scope),
                stated(&spf.result),
                words(&spf.human_result)
            ])
        })
        .collect();
    json!({
        "source_ip": record.source_ip.to_string(),
        "count": record.count,
        "disposition": stated(&record.disposition),
        "dkim": stated(&record.dkim),
        "spf": stated(&record.spf),
        "reasons": reasons,
        "header_from": record.header_from,
        "envelope_from": record.envelope_from,
        "envelope_to": record.envelope_to,
        "dkim_auth": dkim,
        "spf_auth": spf,
    })
}

fn outcome(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap();
    let hints = Hints {
        file_name: path.file_name().unwrap().to_str(),
        ..Hints::default()
    };
    let whole = match report::read(|| &bytes[..], &hints, usize::MAX) {
        Ok(Whole::Aggregate(whole)) => whole,
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
        .map(|(key, count)| json!([key.disposition, key.dkim, key.spf, count]))
        .collect();
    json!({
        "reading": format!("{:?}", whole.reading),
        "digest": report.digest.to_string(),
        "metadata": {
            "version": report.metadata.version,
            "org_name": report.metadata.org_name,
            "email": report.metadata.email,
            "extra_contact_info": words(&report.metadata.extra_contact_info),
            "report_id": report.metadata.report_id,
            "begin": report.metadata.begin,
            "end": report.metadata.end,
            "errors": report.metadata.errors.iter().map(words).collect::<Vec<_>>(),
            "generator": report.metadata.generator,
        },
        "policy": {
            "domain": report.policy.domain,
            "p": stated(&report.policy.p),
            "sp": stated(&report.policy.sp),
            "np": stated(&report.policy.np),
            "adkim": stated(&report.policy.adkim),
            "aspf": stated(&report.policy.aspf),
            "pct": report.policy.pct,
            "fo": report.policy.fo,
            "testing": stated(&report.policy.testing),
            "discovery_method": stated(&report.policy.discovery_method),
        },
        "counted": [report.records, report.messages, report.skipped_records],
        "skipped": report.skipped,
        "flags": report::flags(report.skipped_records, &report.notes),
        "totals": totals,
        "records": whole.records.unwrap().iter().map(record).collect::<Vec<_>>(),
        "notes": report.notes,
    })
}

#[test]
fn every_sample_reads_as_written_beside_it() {
    samples::hold("aggregate", outcome);
}
