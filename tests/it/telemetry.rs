//! Metrics as a collector and as Prometheus get them.

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use rua_milter::{
    config::{Metrics, OtlpProtocol},
    domain::Domain,
    limits,
    report::{Results, Totals, reporters::Reporters},
    telemetry::{self, Telemetry},
    terms::{Aligned, Disposition, Door, Kind, Outcome, Rejection, Stage, Verdict},
    web::Health,
};
use tokio::net::TcpListener;

use crate::otlp::Receiver;

fn config(protocol: OtlpProtocol, endpoint: &str) -> Metrics {
    Metrics {
        max_domains: limits::METRIC_DOMAINS,
        prometheus: Some(([127, 0, 0, 1], 0).into()),
        otlp_endpoint: Some(endpoint.to_owned()),
        otlp_protocol: Some(protocol),
        otlp_interval: Some(Duration::from_hours(1)),
        ..Metrics::default()
    }
}

fn domain() -> Domain {
    Domain::parse("example.com").expect("a domain")
}

fn start(config: &Metrics) -> Telemetry {
    telemetry::install_crypto();
    let domain = domain();
    telemetry::start(
        config,
        "node-1",
        [&domain].into_iter(),
        &Reporters::default(),
        &Arc::default(),
    )
    .expect("telemetry starts")
}

fn record(telemetry: &Telemetry) {
    let to = &telemetry.instruments;
    let domain = telemetry.labels.label(&domain());
    to.mail(Door::Milter, "smtp", Verdict::Accepted, None, 4_000);
    to.mail(
        Door::Milter,
        "smtp",
        Verdict::Refused,
        Some(Rejection::ForeignDomain),
        100,
    );
    to.stage(Stage::SpoolCommit, Duration::from_millis(250));
    let reporter = telemetry.reporters.label_of(None);
    to.report(Kind::Aggregate, Outcome::Stored, &domain, &reporter);
    let results = Results {
        disposition: Some(Disposition::Quarantine),
        dkim: Some(Aligned::Fail),
        spf: None,
    };
    to.messages(&domain, &Totals::from([(results, 12)]));
    to.gauges.entries_new.store(3, Relaxed);
    to.set_findings(Vec::new());
}

async fn reaches(protocol: OtlpProtocol) {
    let collector = Receiver::start().await;
    let endpoint = match protocol {
        OtlpProtocol::Grpc => &collector.grpc,
        OtlpProtocol::HttpProtobuf => &collector.http,
    };
    let telemetry = start(&config(protocol, endpoint));
    record(&telemetry);
    telemetry.flush().await;

    let came = |name, attributes: &[_]| collector.sum(name, attributes);
    assert_eq!(came("rua.mails", &[]), Some(2.0));
    assert_eq!(
        came(
            "rua.mails",
            &[("verdict", "refused"), ("reason", "foreign_domain")]
        ),
        Some(1.0)
    );
    assert_eq!(
        came("rua.mail.size", &[("listener", "smtp")]),
        Some(4_100.0)
    );
    assert_eq!(
        came("rua.stage.duration.sum", &[("stage", "spool_commit")]),
        Some(0.25)
    );
    assert_eq!(
        came(
            "dmarc.reports",
            &[("kind", "aggregate"), ("outcome", "stored")]
        ),
        Some(1.0)
    );
    let results = [
        ("domain", "example.com"),
        ("disposition", "quarantine"),
        ("dkim", "fail"),
        ("spf", "unknown"),
        ("dmarc", "fail"),
    ];
    assert_eq!(came("dmarc.messages", &results), Some(12.0));
    assert_eq!(came("rua.spool.entries", &[("state", "new")]), Some(3.0));
    assert_eq!(came("dmarc.findings", &[]), Some(0.0));
    for point in collector.metrics() {
        let says = |key: &str| point.resource.get(key).map(String::as_str);
        assert_eq!(says("service.name"), Some("rua-milter"));
        assert_eq!(says("service.version"), Some(env!("CARGO_PKG_VERSION")));
        assert_eq!(says("service.instance.id"), Some("node-1"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_collector_has_the_last_values_over_grpc() {
    reaches(OtlpProtocol::Grpc).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_collector_has_the_last_values_over_http() {
    reaches(OtlpProtocol::HttpProtobuf).await;
}

#[tokio::test]
async fn the_collector_hears_of_it_at_the_interval() {
    let collector = Receiver::start().await;
    let mut config = config(OtlpProtocol::Grpc, &collector.grpc);
    config.otlp_interval = Some(Duration::from_millis(50));
    let telemetry = start(&config);
    record(&telemetry);
    collector
        .until(|got| got.sum("rua.mails", &[]) == Some(2.0))
        .await;
    telemetry.instruments.rejected(Rejection::Doctype);
    collector
        .until(|got| got.sum("rua.parked", &[("reason", "doctype")]) == Some(1.0))
        .await;
    telemetry.flush().await;
}

/// How long flush and the end of the runtime take with a collector at `endpoint`.
fn time_to_end(protocol: OtlpProtocol, endpoint: &str) -> Duration {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let began = runtime.block_on(async {
        let telemetry = start(&config(protocol, endpoint));
        record(&telemetry);
        let began = Instant::now();
        telemetry.flush().await;
        began
    });
    drop(runtime);
    began.elapsed()
}

#[test]
fn a_collector_that_hangs_or_refuses_does_not_hold_up_the_end() {
    let slack = Duration::from_secs(2);
    // Accepts into its backlog and never answers.
    let hanging = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let refusing = {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        closed.local_addr().expect("bound")
    };
    let cases = [hanging.local_addr().expect("bound"), refusing]
        .into_iter()
        .flat_map(|at| [(OtlpProtocol::Grpc, at), (OtlpProtocol::HttpProtobuf, at)]);
    std::thread::scope(|scope| {
        for (protocol, at) in cases {
            scope.spawn(move || {
                let took = time_to_end(protocol, &format!("http://{at}"));
                assert!(took < limits::FLUSH + slack, "{protocol:?} {at}: {took:?}");
            });
        }
    });
}

#[tokio::test]
async fn an_endpoint_that_is_no_url_is_said_at_the_start() {
    telemetry::install_crypto();
    let start = telemetry::start(
        &config(OtlpProtocol::Grpc, "no url"),
        "",
        std::iter::empty(),
        &Reporters::default(),
        &Arc::default(),
    );
    let error = format!("{:#}", anyhow::Error::from(start.expect_err("refused")));
    assert!(error.contains("no url"), "{error}");
}

#[tokio::test]
async fn promtool_has_nothing_to_say_about_the_page() {
    let collector = Receiver::start().await;
    let telemetry = start(&config(OtlpProtocol::Grpc, &collector.grpc));
    record(&telemetry);
    telemetry.instruments.rejected(Rejection::Doctype);
    telemetry.instruments.dns(
        rua_milter::terms::DnsOutcome::Found,
        Duration::from_millis(1),
    );
    let page = telemetry.render();
    assert!(page.contains("rua_parked_total{"), "{page}");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool, of Debian's package prometheus");
    let mut stdin = promtool.stdin.take().expect("piped");
    stdin.write_all(page.as_bytes()).expect("promtool reads");
    drop(stdin);
    let result = promtool.wait_with_output().expect("promtool ends");
    assert!(result.status.success(), "{result:?}\n{page}");
    telemetry.flush().await;
}

#[tokio::test]
async fn prometheus_can_scrape_the_listener_until_it_ends() {
    let collector = Receiver::start().await;
    let telemetry = start(&config(OtlpProtocol::Grpc, &collector.grpc));
    record(&telemetry);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let page = format!("http://{}/metrics", listener.local_addr().expect("bound"));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let shutdown = async { stopped.await.unwrap_or(()) };
    let serving = rua_milter::web::serve(listener, telemetry.renderer(), || WELL, shutdown);
    let serving = tokio::spawn(serving);
    let text = reqwest::get(&page).await.expect("a page").text().await;
    assert!(
        text.expect("a text")
            .contains(r#"rua_spool_entries{state="new"} 3"#)
    );
    stop.send(()).expect("still serving");
    serving.await.expect("no panic").expect("no error");
    telemetry.flush().await;
}

const WELL: Health = Health {
    not_ready: None,
    degraded: Vec::new(),
};

/// The receiver of packaging/quickstart, which is a program of its own.
struct Script {
    program: Child,
    endpoint: String,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Script {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("metrics");
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/packaging/quickstart.d/otlp-receiver.py"
        );
        let mut program = Command::new("python3")
            .args([script.as_ref(), "0".as_ref(), file.as_os_str()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3");
        let mut said = String::new();
        BufReader::new(program.stdout.take().expect("piped"))
            .read_line(&mut said)
            .expect("its endpoint");
        Self {
            program,
            endpoint: said.trim().to_owned(),
            file,
            _folder: folder,
        }
    }

    fn printed(&self) -> String {
        std::fs::read_to_string(&self.file).expect("written after the export")
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.program.kill().expect("still running");
        self.program.wait().expect("ended");
    }
}

#[tokio::test]
async fn the_receiver_of_the_quickstart_prints_what_it_got() {
    let script = Script::start();
    let telemetry = start(&config(OtlpProtocol::HttpProtobuf, &script.endpoint));
    record(&telemetry);
    telemetry.flush().await;
    let printed = script.printed();
    for line in [
        r#"rua.mails{door="milter",listener="smtp",reason="none",verdict="accepted"} 1"#,
        r#"dmarc.messages{disposition="quarantine",dkim="fail",dmarc="fail",domain="example.com",spf="unknown"} 12"#,
        r#"rua.stage.duration.sum{stage="spool_commit"} 0.25"#,
        "rua.spool.oldest.age{state=\"new\"} 0",
    ] {
        assert!(printed.lines().any(|l| l == line), "{line}\n{printed}");
    }
    assert!(printed.lines().is_sorted());
}

async fn post(endpoint: &str, encoding: &'static str, body: Vec<u8>) -> u16 {
    let request = reqwest::Client::new()
        .post(format!("{endpoint}/v1/metrics"))
        .header("content-type", "application/x-protobuf")
        .header("content-encoding", encoding)
        .body(body);
    let answer = request.send().await.expect("an answer");
    answer.status().as_u16()
}

#[tokio::test]
async fn both_receivers_read_gzip_and_survive_garbage() {
    telemetry::install_crypto();
    // resource_metrics { scope_metrics { metrics { name "a" gauge { data_points { as_int 7 } } } } }
    let point = [&[0x31, 7][..], &[0; 7]].concat();
    let metric = [&[0x0a, 1, b'a', 0x2a, 11, 0x0a, 9][..], &point].concat();
    let request = [&[0x0a, 20, 0x12, 18, 0x12, 16][..], &metric].concat();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&request).expect("into memory");
    let body = gzip.finish().expect("into memory");

    let script = Script::start();
    let receiver = Receiver::start().await;
    for endpoint in [&script.endpoint, &receiver.http] {
        assert_eq!(post(endpoint, "gzip", b"garbage".to_vec()).await, 400);
        assert_eq!(post(endpoint, "identity", vec![0x0a, 200, 1]).await, 400);
        assert_eq!(post(endpoint, "gzip", body.clone()).await, 200);
    }
    assert_eq!(script.printed(), "a 7\n");
    assert_eq!(receiver.sum("a", &[]), Some(7.0));
}
