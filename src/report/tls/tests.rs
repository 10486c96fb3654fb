//! What a TLS report may look like, and what it must not do.

use proptest::prelude::*;

use super::*;
use crate::{
    limits::{MAX_JSON_DEPTH, MAX_TLS_FAILURES, MAX_TOKEN},
    terms::Rejection,
};

const HEAD: &str = r#""organization-name":"R","report-id":"1","contact-info":null,
    "date-range":{"start-datetime":"2024-01-09T00:00:00Z","end-datetime":"2024-01-09T23:59:59Z"}"#;

fn document(policies: &str) -> String {
    format!("{{{HEAD},\"policies\":{policies}}}")
}

fn policy(domain: &str, successful: &str, failures: &str) -> String {
    format!(
        r#"{{"policy":{{"policy-type":"sts","policy-domain":"{domain}"}},
            "summary":{{"total-successful-session-count":{successful},
            "total-failure-session-count":3}},"failure-details":{failures}}}"#
    )
}

fn whole(text: &str) -> Result<Whole, Rejection> {
    read_whole(|| text.as_bytes(), &Hints::default(), 10_000).map_err(|broken| broken.rejection)
}

fn report(policies: &str) -> TlsReport {
    whole(&document(policies)).unwrap().report
}

#[test]
fn a_report_cut_anywhere_counts_nothing() {
    let text = document(&format!("[{}]", policy("d.example", "2", "[]")));
    assert_eq!(whole(&text).unwrap().report.sessions, 5);
    for end in 0..text.len() {
        assert!(whole(&text[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn line_ends_do_not_change_the_digest() {
    let text = document("[]").replace("\"1\"", "\"1_d.example\"");
    let crlf = text.replace('\n', "\r\n");
    let digest = |text: &str| whole(text).unwrap().report.digest;
    assert_eq!(digest(&text), digest(&crlf));
}

#[test]
fn no_policies_are_a_report_and_no_list_of_them_is_none() {
    let named = |text: &str| whole(&text.replace("\"1\"", "\"1_d.example\""));
    for empty in ["[]", "null"] {
        let report = named(&document(empty)).unwrap().report;
        assert_eq!((report.policies, report.sessions), (0, 0));
        assert_eq!(report.domain().as_str(), "d.example");
    }
    let without = format!("{{{HEAD}}}");
    assert_eq!(named(&without).unwrap_err(), Rejection::WrongRoot);
    assert_eq!(whole("null").unwrap_err(), Rejection::WrongRoot);
    assert_eq!(whole("7").unwrap_err(), Rejection::WrongRoot);
    assert_eq!(whole(&document("[]")).unwrap_err(), Rejection::NoDomain);
}

#[test]
fn a_policy_with_an_impossible_count_is_left_out() {
    for count in ["-1", "1.5", "\"x\"", "1e300", "18446744073709551616"] {
        let (bad, good) = (
            policy("d.example", count, "[]"),
            policy("d.example", "2", "[]"),
        );
        let report = report(&format!("[{bad},{good},7]"));
        assert_eq!(
            (report.policies, report.skipped_policies),
            (1, 2),
            "{count}"
        );
        assert_eq!(report.sessions, 5);
    }
    // No number at all, says the JSON reader.
    let text = document(&format!("[{}]", policy("d.example", "1e400", "[]")));
    assert_eq!(whole(&text).unwrap_err(), Rejection::IllFormed);
    let text = document(&format!(
        "[{}]",
        policy("d.example", "9007199254740990", "[]")
    ));
    assert_eq!(whole(&text).unwrap_err(), Rejection::BadCount);
}

#[test]
fn depth_and_tokens_are_bounded() {
    let nested = |depth: usize| {
        let inner = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        whole(&format!("{{\"x\":{inner},{}", &document("[]")[1..]))
    };
    assert_eq!(nested(MAX_JSON_DEPTH - 1).unwrap_err(), Rejection::NoDomain);
    assert_eq!(nested(MAX_JSON_DEPTH).unwrap_err(), Rejection::TooDeep);
    assert_eq!(nested(1_000_000).unwrap_err(), Rejection::TooDeep);
    let long = |length: usize| {
        let text = document("[]").replace("\"R\"", &format!("\"{}\"", "r".repeat(length)));
        whole(&text).unwrap_err()
    };
    assert_eq!(long(MAX_TOKEN - 1), Rejection::NoDomain);
    assert_eq!(long(MAX_TOKEN), Rejection::TokenTooLong);
}

#[test]
fn surplus_failures_are_summed_up_by_type() {
    let failure = r#"{"result-type":"certificate-expired","failed-session-count":1}"#;
    let failures = vec![failure; 100_000].join(",");
    let text = document(&format!(
        "[{}]",
        policy("d.example", "0", &format!("[{failures}]"))
    ));
    let whole = whole(&text).unwrap();
    assert!(whole.policies.is_none(), "too many to keep");
    let sums = whole.report.totals.values().next().unwrap();
    assert_eq!(
        sums.failures[&Some(TlsFailure::CertificateExpired)],
        100_000
    );
    let (mut kept, mut sessions) = (0, 0);
    read(text.as_bytes(), &Hints::default(), &mut |policy| {
        kept += policy.failures.len();
        sessions += policy
            .failures
            .iter()
            .filter_map(|it| it.sessions)
            .sum::<u64>();
    })
    .unwrap();
    assert_eq!((kept, sessions), (MAX_TLS_FAILURES + 1, 100_000));
}

#[test]
fn a_name_that_comes_twice_is_taken_once() {
    let twice = format!(
        "{{\"policies\":[{one}],\"policies\":[{one}],{HEAD},\"report-id\":\"2\"}}",
        one = policy("d.example", "2", "[]")
    );
    let report = whole(&twice).unwrap().report;
    assert_eq!((report.sessions, &*report.report_id), (5, "1"));
    assert!(report.notes[0].ends_with("(2)"), "{:?}", report.notes);
}

#[test]
fn sessions_are_not_summed_across_policies() {
    let tlsa = policy("d.example", "2", "[]").replace("sts", "tlsa");
    let other = policy("e.example", "7", "[]");
    let report = report(&format!(
        "[{},{tlsa},{other}]",
        policy("d.example", "1", "[]")
    ));
    let sums: Vec<_> = report
        .totals
        .iter()
        .map(|((domain, policy_type), sums)| (domain.as_str(), *policy_type, sums.successful))
        .collect();
    assert_eq!(
        sums,
        [
            ("d.example", Some(TlsPolicy::Tlsa), 2),
            ("d.example", Some(TlsPolicy::Sts), 1),
            ("e.example", Some(TlsPolicy::Sts), 7),
        ]
    );
}

#[test]
fn the_head_tells_a_domain_only_if_it_is_sure() {
    let one = document(&format!("[{}]", policy("d.example", "2", "[]")));
    assert_eq!(head(one.as_bytes()).domain, Domain::parse("d.example"));
    assert_eq!(head(one.as_bytes()).report_id.as_deref(), Some("1"));
    assert_eq!(head(&one.as_bytes()[..one.len() - 1]).domain, None);
    let (a, b) = (
        policy("d.example", "2", "[]"),
        policy("e.example", "2", "[]"),
    );
    assert_eq!(
        head(document(&format!("[{a},{b}]")).as_bytes()).domain,
        None
    );
}

#[test]
fn what_follows_the_root_is_no_report() {
    let text = document("[]").replace("\"1\"", "\"1_d.example\"");
    assert!(whole(&format!("{text} \r\n\0")).is_ok());
    assert_eq!(
        whole(&format!("{text}{text}")).unwrap_err(),
        Rejection::IllFormed
    );
}

proptest! {
    #[test]
    fn no_damage_makes_it_panic(at in 0_usize..2_000, junk in any::<[u8; 3]>(), cut in 0_usize..4) {
        let failure = r#"[{"result-type":"x","sending-mta-ip":"192.0.2.1"}]"#;
        let text = document(&format!("[{}]", policy("d.example", "2", failure)));
        let mut bytes = text.into_bytes();
        let at = at % bytes.len();
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, junk);
        let _ = read_whole(|| &bytes[..], &Hints::default(), 10_000);
        let _ = head(&bytes);
    }
}
