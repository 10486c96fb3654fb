use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{metrics::Declaration, *};
use crate::{
    report::{Results, Totals, tls::Sessions},
    terms::{
        Aligned, AuthFailure, Disposition, DnsOutcome, Door, FindingKind, Flag, Kind, Outcome,
        Policy, Posting, Rejection, Severity, Stage, TlsFailure, TlsPolicy, Verdict,
    },
};

fn page_only(max_domains: usize) -> config::Metrics {
    config::Metrics {
        max_domains,
        prometheus: Some(([127, 0, 0, 1], 0).into()),
        ..config::Metrics::default()
    }
}

fn started(config: &config::Metrics, domains: &[Domain]) -> Telemetry {
    start_with(
        config,
        "node-1",
        domains.iter(),
        &Reporters::default(),
        &Arc::default(),
        &|_| None,
    )
    .unwrap()
}

fn record_everything(telemetry: &Telemetry, domain: &Domain) {
    let to = &telemetry.instruments;
    let label = telemetry.labels.label(domain);
    to.mail(Door::Milter, "smtp", Verdict::Accepted, None, 10);
    to.mail(
        Door::Import,
        "",
        Verdict::Refused,
        Some(Rejection::TooLarge),
        5,
    );
    to.stage(Stage::Eom, Duration::from_millis(3));
    to.rejected(Rejection::Doctype);
    to.dns(DnsOutcome::Found, Duration::from_millis(3));
    let google = Domain::parse("google.com").unwrap();
    let reporter = telemetry.reporters.label(&google);
    to.report(Kind::Aggregate, Outcome::Stored, &label, &reporter);
    to.committed(Stage::StoreCommit, 3);
    to.archived(2, 1_000);
    to.domains
        .reported(domain.clone(), Kind::Tls, 1_700_000_000);
    let published = domains::Published {
        policy: Some(Policy::Reject),
        subdomains: Some(Policy::Quarantine),
        testing: None,
    };
    to.domains.published(domain.clone(), Some(published));
    to.domains.looked_at(domain, Some(1_700_000_000));
    let rows = [
        (
            Some(Disposition::Reject),
            Some(Aligned::Fail),
            Some(Aligned::Pass),
        ),
        (None, None, None),
    ];
    let totals: Totals = rows
        .into_iter()
        .zip([40, 2])
        .map(|((disposition, dkim, spf), count)| {
            let results = Results {
                disposition,
                dkim,
                spf,
            };
            (results, count)
        })
        .collect();
    to.messages(&label, &totals);
    let sessions = Sessions {
        successful: 7,
        failed: 2,
        failures: [(Some(TlsFailure::DaneRequired), 1), (None, 3)].into(),
    };
    to.sessions(&label, Some(TlsPolicy::Sts), &sessions);
    to.failures(&label, Some(AuthFailure::Dmarc), 5);
    to.flagged(Kind::Tls, Flag::Incomplete);
    to.set_findings(vec![(FindingKind::RecordMissing, Severity::High, 3)]);
    to.posted(Posting::Delivered);
}

#[test]
fn the_page_shows_every_instrument_and_no_other() {
    let domain = Domain::parse("example.com").unwrap();
    let telemetry = started(&page_only(10), std::slice::from_ref(&domain));
    record_everything(&telemetry, &domain);
    let page = telemetry.render();
    let shown: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let expected: BTreeSet<_> = metrics::ALL.iter().map(Declaration::page_name).collect();
    let expected: BTreeSet<_> = expected
        .iter()
        .map(String::as_str)
        .chain(["target_info"])
        .collect();
    assert_eq!(shown, expected);
    for line in [
        r#"dmarc_messages_total{disposition="reject",dkim="fail",dmarc="pass",domain="example.com",spf="pass"} 40"#,
        r#"dmarc_messages_total{disposition="unknown",dkim="unknown",dmarc="unknown",domain="example.com",spf="unknown"} 2"#,
        r#"dmarc_reports_flagged_total{flag="incomplete",kind="tls"} 1"#,
        r#"dmarc_failures_total{auth_failure="dmarc",domain="example.com"} 5"#,
        r#"rua_mails_total{door="import",listener="none",reason="too_large",verdict="refused"} 1"#,
        r#"tlsrpt_sessions_total{domain="example.com",policy_type="sts",result="successful"} 7"#,
        r#"tlsrpt_failures_total{domain="example.com",policy_type="sts",result_type="other"} 3"#,
        r#"dmarc_findings{kind="record_missing",severity="high"} 3"#,
        r#"dmarc_findings{kind="record_missing",severity="low"} 0"#,
        r#"dmarc_reporter_reports_total{kind="aggregate",outcome="stored",reporter="google.com"} 1"#,
        r#"dmarc_policy_info{domain="example.com",policy="reject",subdomains="quarantine",testing="n"} 1"#,
        r#"rua_commit_batch_bucket{stage="store_commit",le="4"} 1"#,
        "rua_archive_size_bytes_total 1000",
        r#"rua_degraded{part="store"} 0"#,
    ] {
        assert!(page.lines().any(|l| l == line), "{line}\n{page}");
    }
    assert!(
        page.contains(r#"service_instance_id="node-1""#)
            && page.contains(r#"service_name="rua-milter""#)
    );
}

#[test]
fn every_domain_and_result_fits_without_overflow() {
    let domains: Vec<_> = (0..50)
        .map(|n| Domain::parse(&format!("d{n}.example")).unwrap())
        .collect();
    let telemetry = started(&page_only(40), &domains);
    let results = |n: u64| Results {
        disposition: usize::try_from(n % 5)
            .ok()
            .and_then(|at| Disposition::ALL.get(at).copied()),
        dkim: usize::try_from(n / 5 % 3)
            .ok()
            .and_then(|at| Aligned::ALL.get(at).copied()),
        spf: usize::try_from(n / 15)
            .ok()
            .and_then(|at| Aligned::ALL.get(at).copied()),
    };
    let totals: Totals = (0..45).map(|n| (results(n), 1)).collect();
    assert_eq!(totals.len(), 45);
    for domain in &domains {
        telemetry
            .instruments
            .messages(&telemetry.labels.label(domain), &totals);
    }
    let page = telemetry.render();
    let series: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("dmarc_messages_total{"))
        .collect();
    assert_eq!(series.len(), metrics::MESSAGES.series(40));
    let sum: u64 = series
        .iter()
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(sum, 50 * 45);
    assert!(!page.contains("overflow"));
}

#[test]
fn findings_that_were_never_counted_are_absent_and_not_zero() {
    let telemetry = started(&page_only(1), &[]);
    assert!(!telemetry.render().contains("dmarc_findings"));
}

#[test]
fn only_what_was_looked_at_and_said_nothing_is_unknown() {
    let domains = ["a.example", "b.example"].map(|name| Domain::parse(name).unwrap());
    let telemetry = started(&page_only(1), &domains);
    let states = &telemetry.instruments.domains;
    let shown = || {
        let page = telemetry.render();
        let lines = page.lines().filter_map(|line| line.split_once(' '));
        let names = lines.map(|(name, _)| name.to_owned());
        let unknown = names.filter(|name| name.starts_with("dmarc_policy_unknown_age_seconds{"));
        unknown.collect::<Vec<_>>()
    };
    assert_eq!(shown(), [""; 0]);
    // The second one is beyond the number of domains that metrics name.
    for domain in &domains {
        states.looked_at(domain, Some(1_700_000_000));
    }
    let first = r#"dmarc_policy_unknown_age_seconds{domain="a.example"}"#;
    assert_eq!(shown(), [first]);
    states.looked_at(&domains[0], None);
    assert_eq!(shown(), [""; 0]);
    states.looked_at(&domains[0], Some(1_700_000_000));
    states.forget_looks();
    assert_eq!(shown(), [""; 0]);
}

#[test]
fn without_a_page_nothing_is_rendered() {
    assert_eq!(started(&config::Metrics::default(), &[]).render(), "");
}

#[test]
fn what_the_environment_says_of_the_service_stands() {
    let key = |resource: &Resource, key: &'static str| {
        resource
            .get(&opentelemetry::Key::new(key))
            .map(|value| value.to_string())
    };
    let ours = resource("node-1", &|_| None);
    assert_eq!(key(&ours, "service.name").as_deref(), Some("rua-milter"));
    assert_eq!(key(&ours, "service.instance.id").as_deref(), Some("node-1"));
    // The SDK has read the real environment, which says nothing; so what is stated elsewhere
    // must not have been filled in by us.
    let stated = |name: &str| {
        (name == "OTEL_RESOURCE_ATTRIBUTES")
            .then(|| "a=b, service.version = 9,service.instance.id=x".to_owned())
    };
    let theirs = resource("node-1", &stated);
    assert_eq!(key(&theirs, "service.version"), None);
    assert_eq!(key(&theirs, "service.instance.id"), None);
    let named = |name: &str| (name == "OTEL_SERVICE_NAME").then(|| "mine".to_owned());
    assert_ne!(
        key(&resource("", &named), "service.name").as_deref(),
        Some("rua-milter")
    );
}
