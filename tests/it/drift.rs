//! Published records, asked of a real DNS server.

use std::{
    collections::HashSet,
    net::SocketAddr,
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rua_milter::{
    cli::drift::{Args, Format, history, run},
    config::{
        Config, Dns, Limits, Log, Metrics, Milter,
        address::Recipient,
        domains::{Details, DomainList},
        rate::Rate,
    },
    dns::{Answer, lookup::Resolver},
    domain::Domain,
    drift::watch::{self, FindingCounts, Observers},
    store::{Reader, Store},
    telemetry::Instruments,
    terms::{DnsOutcome, DnsTrouble, Fault, FindingKind},
};
use tokio::sync::{oneshot, watch as reload};

use crate::lab::nsd::{Nsd, black_hole};

const ZONE: &str = r#"
_dmarc.good     TXT "v=DMARC1; p=reject; rua=mailto:rua@reports.test"
_dmarc.split    TXT "v=DMARC1; p=rej" "ect; rua=mailto:rua@" "reports.test"
_dmarc.two      TXT "v=DMARC1; p=none"
_dmarc.two      TXT "v=DMARC1; p=reject"
_dmarc.other    TXT "v=DMARC1; p=reject; rua=mailto:x@elsewhere.test"
_dmarc.weak     TXT "v=DMARC1; p=none; rua=mailto:rua@reports.test"
_dmarc.bytes    TXT "v=DMARC1; p=none; x=\000\255"
_dmarc.nodata   A 127.0.0.1
_dmarc.alias    CNAME _dmarc.good
_dmarc.dangling CNAME nowhere
_dmarc.loop     CNAME _dmarc.loop2
_dmarc.loop2    CNAME _dmarc.loop
*.wild          CNAME _dmarc.nodata
_dmarc.noise    TXT "v=spf1 -all"
_dmarc.noise    TXT "v=DMARC1; p=none"
"#;

/// The hosts of destinations agree.
const AGREED: &str = r#"
*._report._dmarc.reports   TXT "v=DMARC1;"
*._report._dmarc.elsewhere TXT "v=DMARC1;"
"#;

/// The test zone with a record too large for one datagram.
fn nsd() -> Nsd {
    let large = format!(
        "_dmarc.large TXT \"v=DMARC1; p=none\" {}\n",
        format!("\"; x={}\" ", "y".repeat(240)).repeat(12)
    );
    Nsd::start(&[
        ("test", &(ZONE.to_owned() + AGREED + &large)),
        ("broken.example", ""),
    ])
}

fn resolver(server: SocketAddr) -> Resolver {
    Resolver::new(&[server], Duration::from_millis(500), 1_000).expect("a resolver")
}

async fn ask(server: SocketAddr, domain: &str) -> Answer {
    resolver(server).txt(&format!("_dmarc.{domain}")).await
}

#[tokio::test]
async fn what_is_published_is_told_from_what_is_not_known() {
    let nsd = nsd();
    let at = nsd.address();
    let record = b"v=DMARC1; p=reject; rua=mailto:rua@reports.test".to_vec();
    for name in ["good.test", "split.test", "alias.test"] {
        assert_eq!(
            ask(at, name).await,
            Answer::found(vec![record.clone()], 300),
            "{name}"
        );
    }
    for (name, outcome, texts) in [
        ("two.test", DnsOutcome::Found, 2),
        ("noise.test", DnsOutcome::Found, 2),
        ("large.test", DnsOutcome::Found, 1),
        ("nodata.test", DnsOutcome::NoData, 0),
        ("missing.test", DnsOutcome::NxDomain, 0),
        ("dangling.test", DnsOutcome::NxDomain, 0),
        ("loop.test", DnsOutcome::Unknown, 0),
    ] {
        let answer = ask(at, name).await;
        assert_eq!(
            (answer.outcome, answer.texts.len()),
            (outcome, texts),
            "{name}"
        );
    }
    assert_eq!(ask(at, "missing.test").await.ttl, 60);
    assert_eq!(
        ask(at, "bytes.test").await.texts,
        [b"v=DMARC1; p=none; x=\x00\xff"]
    );
    for (name, trouble) in [
        ("broken.example", DnsTrouble::ServFail),
        ("unserved.example", DnsTrouble::Refused),
    ] {
        assert_eq!(ask(at, name).await, Answer::unknown(trouble), "{name}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_unknown_in_time() {
    let (_silent, at) = black_hole();
    let began = Instant::now();
    let answer = ask(at, "good.test").await;
    assert_eq!(answer, Answer::unknown(DnsTrouble::Timeout));
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_changed_record_is_seen_at_once() {
    let mut nsd = nsd();
    let resolver = resolver(nsd.address());
    assert_eq!(resolver.txt("_dmarc.good.test").await.texts.len(), 1);
    nsd.change("test", "_dmarc.good TXT \"v=DMARC1; p=none\"");
    let answer = resolver.txt("_dmarc.good.test").await;
    assert_eq!(answer.texts, [b"v=DMARC1; p=none"]);
}

/// A configuration with one address for every domain, each wanted at p=reject.
fn config(server: SocketAddr, domains: &[&str]) -> Config {
    let entry = |name: &&str| {
        let details = Details {
            rua: vec![Recipient::parse(b"rua@reports.test").expect("an address")],
            wanted: Some("v=DMARC1; p=reject; rua=mailto:rua@reports.test".into()),
            ..Details::default()
        };
        (Domain::parse(name).expect("a domain"), details)
    };
    Config {
        hook: None,
        data_dir: "/nonexistent".into(),
        node: "test".into(),
        listen: Vec::new(),
        milter: Milter::default(),
        domains: DomainList::new(
            domains.iter().map(entry).collect(),
            HashSet::new(),
            None,
            "+".into(),
        ),
        redact: true,
        retention: rua_milter::config::Retention::default(),
        limits: Limits::default(),
        rate: Rate::default(),
        log: Log::default(),
        metrics: Metrics::default(),
        dns: Dns {
            servers: vec![server],
            timeout: Duration::from_millis(500),
            ..Dns::default()
        },
        reporters: rua_milter::config::Reporters::default(),
        webhook: None,
    }
}

/// What `drift` prints as JSON, and its exit code.
async fn drift(
    domains: &[&str],
    server: Option<SocketAddr>,
    config: Option<&Config>,
) -> (Vec<serde_json::Value>, String) {
    let args = Args {
        domains: domains
            .iter()
            .map(|name| Domain::parse(name).expect("a domain"))
            .collect(),
        json: true,
        format: Format::Text,
        server: server.into_iter().collect(),
        history: false,
        reported: false,
    };
    let mut out = Vec::new();
    let code = run(args, config, None, &mut out).await.expect("it runs");
    let lines = String::from_utf8(out).expect("UTF-8");
    let objects = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    (objects, format!("{code:?}"))
}

fn exit(code: u8) -> String {
    format!("{:?}", ExitCode::from(code))
}

fn kinds(object: &serde_json::Value) -> Vec<&str> {
    let findings = object["findings"].as_array().expect("findings");
    let kinds = findings.iter().map(|f| f["kind"].as_str().expect("a kind"));
    kinds.collect()
}

#[tokio::test]
async fn drift_finds_what_differs_from_the_configuration() {
    let nsd = nsd();
    for (name, expected, code) in [
        ("good.test", vec![], 0),
        ("split.test", vec![], 0),
        ("two.test", vec!["record_multiple"], 1),
        ("missing.test", vec!["record_missing"], 1),
        ("nodata.test", vec!["record_missing"], 1),
        ("dangling.test", vec!["cname_dangling"], 1),
        ("sub.wild.test", vec!["record_missing"], 1),
        ("other.test", vec!["rua_not_ours"], 1),
        ("weak.test", vec!["policy_weaker"], 1),
        ("broken.example", vec![], 3),
        ("unserved.example", vec![], 3),
    ] {
        let config = config(nsd.address(), &[name]);
        let (objects, exit_code) = drift(&[], None, Some(&config)).await;
        assert_eq!(objects.len(), 1, "{name}");
        assert_eq!(kinds(&objects[0]), expected, "{name}");
        assert_eq!(exit_code, exit(code), "{name}");
    }
}

#[tokio::test]
async fn drift_needs_no_configuration_when_domains_are_named() {
    let nsd = nsd();
    let at = Some(nsd.address());
    let (objects, code) = drift(&["other.test", "good.test"], at, None).await;
    assert_eq!(code, exit(0));
    assert_eq!(objects[0]["domain"], "good.test");
    assert_eq!(objects[1]["domain"], "other.test");
    let (objects, code) = drift(&["bytes.test", "broken.example"], at, None).await;
    assert_eq!(code, exit(1));
    assert_eq!(objects[0]["outcome"], "unknown");
    assert_eq!(objects[0]["trouble"], "servfail");
    assert_eq!(objects[1]["texts"][0], "v=DMARC1; p=none; x=\\x00\\xff");
    assert_eq!(objects[1]["publish"], "v=DMARC1; p=none");
}

/// Waits until `condition` holds of the store.
async fn until(store: &Mutex<Store>, what: &str, condition: impl Fn(&Store) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition(&store.lock().expect("no panic")) {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn open_kinds(store: &Store, domain: &str) -> Vec<FindingKind> {
    let domain = Domain::parse(domain).expect("a domain");
    let open = store.open_findings(&domain).expect("it reads");
    open.into_iter().map(|open| open.finding.kind).collect()
}

fn outcomes(store: &Store, domain: &str) -> Vec<DnsOutcome> {
    let domain = Domain::parse(domain).expect("a domain");
    let mut history = store.history(&domain).expect("it reads");
    // On a busy machine the watch may miss looks, and the same answer starts a period anew.
    history.dedup_by(|next, last| (next.outcome, &next.texts) == (last.outcome, &last.texts));
    history.iter().map(|period| period.outcome).collect()
}

/// Observers that remember which outcomes there were, and the last counts.
fn observers(
    outcomes: Arc<Mutex<HashSet<DnsOutcome>>>,
    counts: Arc<Mutex<FindingCounts>>,
) -> Observers {
    Observers {
        queried: Arc::new(move |outcome, _| {
            outcomes.lock().expect("no panic").insert(outcome);
        }),
        looked_at: Box::new(|_, _| {}),
        open_findings: Box::new(move |open| *counts.lock().expect("no panic") = open),
        changed: Box::new(|_, _, _| {}),
        adopted: Box::new(|| {}),
    }
}

#[tokio::test]
async fn the_watch_keeps_history_and_findings_open_and_close() {
    let mut nsd = nsd();
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(&dir.path().join("reports.sqlite")).expect("a store");
    let store = Arc::new(Mutex::new(store));
    let with = |domains: &[&str]| {
        let mut config = config(nsd.address(), domains);
        config.dns.interval = Duration::from_millis(200);
        Arc::new(config)
    };
    let (first, second) = (
        with(&["weak.test", "other.test", "broken.example"]),
        with(&["weak.test"]),
    );
    let (reload, reloaded) = reload::channel(first);
    let looked_up = Arc::new(Mutex::new(HashSet::new()));
    let counted = Arc::new(Mutex::new(Vec::new()));
    let observers = observers(looked_up.clone(), counted.clone());
    let (end, ended) = oneshot::channel::<()>();
    let watching = tokio::spawn(watch::run(store.clone(), reloaded, observers, async {
        let _ = ended.await;
    }));

    until(&store, "both findings are open", |store| {
        open_kinds(store, "weak.test") == [FindingKind::PolicyWeaker]
            && open_kinds(store, "other.test") == [FindingKind::RuaNotOurs]
    })
    .await;
    let broken = Domain::parse("broken.example").expect("a domain");
    until(&store, "failures are counted and nothing else", |store| {
        store
            .unanswered(&broken)
            .expect("it reads")
            .is_some_and(|unanswered| unanswered.count > 1)
    })
    .await;
    {
        let store = store.lock().expect("no panic");
        assert_eq!(open_kinds(&store, "broken.example"), []);
        assert_eq!(outcomes(&store, "broken.example"), []);
    }

    // Gone from the list: closed. Mended: closed, and both answers are history.
    reload.send(second).expect("it listens");
    until(&store, "the finding of a departed domain closes", |store| {
        open_kinds(store, "other.test").is_empty()
    })
    .await;
    nsd.change(
        "test",
        &format!("_dmarc.weak TXT \"v=DMARC1; p=reject; rua=mailto:rua@reports.test\"{AGREED}"),
    );
    until(&store, "a mended record closes its finding", |store| {
        open_kinds(store, "weak.test").is_empty()
    })
    .await;
    nsd.change("test", "@ TXT x");
    until(&store, "a record that is gone is found", |store| {
        open_kinds(store, "weak.test") == [FindingKind::RecordMissing]
    })
    .await;
    let _ = end.send(());
    watching.await.expect("it ends by itself");
    let store = store.lock().expect("no panic");
    let found = DnsOutcome::Found;
    assert_eq!(
        outcomes(&store, "weak.test"),
        [found, found, DnsOutcome::NxDomain]
    );
    // What else was asked is history under its own name.
    assert_eq!(
        outcomes(&store, "_smtp._tls.weak.test"),
        [DnsOutcome::NxDomain]
    );
    let agreed = outcomes(&store, "weak.test._report._dmarc.reports.test");
    assert_eq!(agreed.first(), Some(&found));
    let looked_up = looked_up.lock().expect("no panic");
    assert!(looked_up.contains(&found) && looked_up.contains(&DnsOutcome::Unknown));
    let counted = counted.lock().expect("no panic");
    assert_eq!(counted[0].0, FindingKind::RecordMissing);
    the_history_is_a_timeline(&dir.path().join("reports.sqlite"));
}

#[tokio::test]
async fn without_a_watch_nothing_stays_open_and_no_fault_is_left() {
    let nsd = nsd();
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(&dir.path().join("reports.sqlite")).expect("a store");
    let store = Arc::new(Mutex::new(store));
    let with = |domain, is_watched| {
        let mut config = config(nsd.address(), &[domain]);
        (config.dns.interval, config.dns.watch) = (Duration::from_millis(200), is_watched);
        Arc::new(config)
    };
    let (reload, reloaded) = reload::channel(with("weak.test", true));
    let counted = Arc::new(Mutex::new(Vec::new()));
    let instruments = Arc::new(Instruments::disconnected());
    let (asked, adopted) = (instruments.clone(), instruments.clone());
    let observers = Observers {
        queried: Arc::new(move |outcome, time| asked.dns(outcome, time)),
        adopted: Box::new(move || adopted.faults.forget_lookups()),
        ..observers(Arc::default(), counted.clone())
    };
    let (end, ended) = oneshot::channel::<()>();
    let watching = tokio::spawn(watch::run(store.clone(), reloaded, observers, async {
        let _ = ended.await;
    }));
    until(&store, "the finding is open", |store| {
        open_kinds(store, "weak.test") == [FindingKind::PolicyWeaker]
    })
    .await;
    reload.send(with("weak.test", false)).expect("it listens");
    until(&store, "nobody watches", |store| {
        open_kinds(store, "weak.test").is_empty()
    })
    .await;
    let is_failing = || instruments.faults.has(Fault::Dns);
    let reload_until = async |domain, is_watched, what: &str, is_so: &dyn Fn() -> bool| {
        reload.send(with(domain, is_watched)).expect("it listens");
        until(&store, what, |_| is_so()).await;
    };
    reload_until("broken.example", true, "no answers", &is_failing).await;
    reload_until("broken.example", false, "no questions", &|| !is_failing()).await;
    let _ = end.send(());
    watching.await.expect("it ends by itself");
    assert!(!is_failing());
    assert_eq!(*counted.lock().expect("no panic"), []);
}

/// A busy machine may leave holes in it.
fn the_history_is_a_timeline(store: &Path) {
    let state = |line: &serde_json::Value| line["state"].as_str().expect("a state").to_owned();
    let timeline = |domain| {
        let lines = timeline(store, domain);
        let mut states: Vec<_> = lines.iter().map(state).collect();
        states.retain(|state| state != "unwatched");
        states.dedup();
        (states, lines)
    };
    let (states, lines) = timeline("weak.test");
    assert_eq!(states, ["found", "nxdomain"]);
    assert_eq!(lines[0]["ttl"], 300);
    assert_eq!(
        lines[0]["texts"][0],
        "v=DMARC1; p=none; rua=mailto:rua@reports.test"
    );
    let (states, lines) = timeline("broken.example");
    assert_eq!(states, ["unknown"]);
    assert_eq!(lines[0]["trouble"], "servfail");
}

/// What `drift --history --json` prints.
fn timeline(store: &Path, domain: &str) -> Vec<serde_json::Value> {
    let args = Args {
        domains: vec![Domain::parse(domain).expect("a domain")],
        json: true,
        format: Format::Text,
        server: Vec::new(),
        history: true,
        reported: false,
    };
    let config = config(([127, 0, 0, 1], 53).into(), &[]);
    let reader = Reader::open(store).expect("a store");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs().cast_signed();
    let mut out = Vec::new();
    history::run(&args, &config, &reader, now, &mut out).expect("it runs");
    let lines = String::from_utf8(out).expect("UTF-8");
    let object = |line| serde_json::from_str(line).expect("JSON");
    lines.lines().map(object).collect()
}
