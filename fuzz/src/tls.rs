//! TLS reports.

use std::collections::BTreeMap;

use rua_milter::report::{
    Broken,
    aggregate::Hints,
    recognise,
    tls::{self, Policy, TlsReport},
};
use serde_json::Value;

/// What a report counts is what its policies say, and twice is the same; what is read is JSON to
/// anybody; and a domain that the head told at SMTP time is all that the report is about.
pub fn tls(input: &[u8]) {
    let read = read(input);
    assert_eq!(
        shown(&read),
        shown(&self::read(input)),
        "read a second time"
    );
    let Ok((report, policies)) = read else {
        return;
    };
    adds_up(&report, &policies);
    let start = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input);
    if let Ok(text) = std::str::from_utf8(start)
        && !text.contains(|c: char| c.is_control())
    {
        let json: Result<Value, _> = serde_json::from_str(text);
        assert!(json.is_ok(), "{json:?}");
    }
    if let Some(domain) = recognise(input).and_then(|head| head.domain) {
        assert_eq!(report.domains, [domain], "told at SMTP time");
    }
    let whole = tls::read_whole(|| input, &Hints::default(), usize::MAX).expect("as before");
    assert_eq!(
        format!("{:?}", whole.policies),
        format!("{:?}", Some(&policies))
    );
    if whole.size > 0 {
        let less = tls::read_whole(|| input, &Hints::default(), whole.size - 1);
        let less = less.expect("as before");
        assert!(less.policies.is_none() && less.size == 0);
        assert_eq!(format!("{:?}", less.report), format!("{report:?}"));
    }
}

type Read = Result<(TlsReport, Vec<Policy>), Broken>;

fn shown(read: &Read) -> String {
    format!("{read:?}")
}

fn read(input: &[u8]) -> Read {
    let mut policies = Vec::new();
    let mut sink = |policy| policies.push(policy);
    let report = tls::read(input, &Hints::default(), &mut sink)?;
    Ok((report, policies))
}

fn adds_up(report: &TlsReport, policies: &[Policy]) {
    let mut sums = BTreeMap::<_, (u64, u64)>::new();
    for policy in policies {
        let domain = policy.domain.as_ref().unwrap_or(report.domain());
        assert!(report.domains.contains(domain));
        let (successful, failed) = sums
            .entry((domain, policy.policy_type.known()))
            .or_default();
        *successful += policy.successful;
        *failed += policy.failed;
    }
    let told = report
        .totals
        .iter()
        .map(|((domain, policy_type), sessions)| {
            let sums = (sessions.successful, sessions.failed);
            ((domain, *policy_type), sums)
        });
    assert!(told.eq(sums.iter().map(|(key, sums)| (*key, *sums))));
    assert_eq!(report.policies, policies.len() as u64);
    let sessions = sums
        .values()
        .map(|(successful, failed)| successful + failed);
    assert_eq!(report.sessions, sessions.sum::<u64>());
    assert!(0 < report.begin && report.begin <= report.end);
}
