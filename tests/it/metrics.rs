//! What the daemon behind a real Postfix counts, as a collector and as Prometheus get it.

use std::{
    collections::BTreeMap,
    io::Write,
    net::TcpListener,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rua_milter::telemetry::metrics::{self, Shape};

use crate::{
    lab::{
        Lab, RUA, RUA_ORG, SOON, USER,
        daemon::Stored,
        free_port,
        mails::{self, Report},
        nsd::Nsd,
        page, replies, until,
    },
    otlp::{Attributes, Receiver},
};

/// The name in OTLP of what the page calls so.
fn otlp_name(shown: &str) -> Option<String> {
    metrics::ALL.iter().find_map(|what| {
        let behind = shown.strip_prefix(&*what.page_name())?;
        match (what.shape, behind) {
            (Shape::Histogram(_), "_count" | "_sum") => {
                Some(format!("{}{}", what.name, behind.replace('_', ".")))
            }
            (Shape::Histogram(_), _) => None,
            (_, "") => Some(what.name.to_owned()),
            _ => None,
        }
    })
}

/// Every series, by OTLP's name and its attributes.
type Series = BTreeMap<(String, Attributes), f64>;

/// The series of a Prometheus page, buckets left out.
fn on_page(text: &str) -> Series {
    let lines = text.lines().filter(|line| {
        !line.starts_with('#') && !line.starts_with("target_info") && !line.contains("_bucket{")
    });
    let lines = lines.filter(|line| !is_its_own(line));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let name = otlp_name(name).unwrap_or_else(|| panic!("a name of ours: {line}"));
            let labels = labels.trim_end_matches('}').split(',');
            // No attribute of ours holds a comma or a quotation mark.
            let labels = labels.filter_map(|label| label.split_once('='));
            let labels = labels.map(|(key, value)| (key.into(), value.trim_matches('"').into()));
            let value = value.parse().expect("a number");
            ((name, labels.collect()), value)
        })
        .collect()
}

/// What counts the exports themselves, the process and the time is never the same twice.
fn is_its_own(name: &str) -> bool {
    let name = name.replace('_', ".");
    let its_own = ["rua.otlp", "process.", "dmarc.reports.last.age"];
    its_own.iter().any(|start| name.starts_with(start))
}

fn at_collector(collector: &Receiver) -> Series {
    let points = collector.metrics().into_iter();
    let points = points.filter(|point| !is_its_own(&point.name));
    points
        .map(|point| ((point.name, point.attributes), point.value))
        .collect()
}

fn are_equal(one: &Series, other: &Series) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|((a, x), (b, y))| a == b && (x - y).abs() < 1e-9)
}

/// The sum of the series of `name` that have all of `attributes`; 0 if there is none.
fn sum(series: &Series, name: &str, attributes: &[(&str, &str)]) -> f64 {
    let matching = series.iter().filter(|((of, has), _)| {
        of == name
            && attributes
                .iter()
                .all(|(key, value)| has.get(*key).is_some_and(|v| v == value))
    });
    matching.map(|(_, value)| value).sum()
}

fn is(series: &Series, name: &str, attributes: &[(&str, &str)], expected: f64) {
    let found = sum(series, name, attributes);
    assert!(
        (found - expected).abs() < f64::EPSILON,
        "{name} {attributes:?}: {found} instead of {expected} in {series:#?}"
    );
}

fn com(id: &str, counts: &[u64]) -> Report {
    Report::new(id, "example.com", counts)
}

fn accept(lab: &Lab, recipients: &[&str], mail: &[u8]) {
    let reply = lab.client().submit(recipients, mail);
    assert!(reply.starts_with("250"), "{reply}");
}

/// One mail of each fate. Gives the bytes that are parked.
fn traffic(lab: &Lab) -> usize {
    let first = com("first", &[10, 2, 1]).google(RUA);
    accept(lab, &[RUA], &first);
    lab.settle();
    accept(lab, &[RUA], &first);
    let org = Report::new("org", "example.org", &[40, 7]);
    accept(lab, &[RUA_ORG, USER], &org.microsoft(RUA_ORG));
    let cut = &mails::gzip(com("cut", &[1; 2_000]).xml().as_bytes())[..2_000];
    accept(lab, &[RUA], &mails::attached(RUA, cut));
    let foreign = Report::new("foreign", "foreign.example", &[5]).google(RUA);
    accept(lab, &[RUA, USER], &foreign);
    let mut client = lab.client();
    assert_eq!(client.submit(&[RUA], &foreign), replies::FOREIGN);
    let ordinary = mails::ordinary(RUA);
    assert_eq!(client.submit(&[RUA], &ordinary), replies::NOT_A_REPORT);
    client.mail();
    assert_eq!(client.rcpt("nobody@reports.example"), replies::UNKNOWN);
    drop(client);
    accept(lab, &[USER], &mails::ordinary(USER));
    lab.settle();
    lab.daemon.spooled("parked").iter().map(Vec::len).sum()
}

#[expect(clippy::cast_precision_loss, reason = "a few kilobytes")]
fn tells_of_the_traffic(series: &Series, parked_bytes: usize) {
    for (verdict, reason, expected) in [
        ("accepted", "none", 4.0),
        ("accepted", "foreign_domain", 1.0),
        ("refused", "foreign_domain", 1.0),
        ("refused", "not_a_report", 1.0),
        ("refused", "unknown_recipient", 1.0),
    ] {
        let of = [("door", "milter"), ("verdict", verdict), ("reason", reason)];
        is(series, "rua.mails", &of, expected);
    }
    is(series, "rua.mails", &[], 8.0);
    assert!(sum(series, "rua.mail.size", &[("verdict", "accepted")]) > 4_000.0);
    is(series, "rua.parked", &[], 1.0);

    let reports = |domain, outcome| {
        let of = [
            ("kind", "aggregate"),
            ("domain", domain),
            ("outcome", outcome),
        ];
        sum(series, "dmarc.reports", &of)
    };
    let outcomes = [
        reports("example.com", "stored"),
        reports("example.com", "duplicate"),
        reports("example.org", "stored"),
    ];
    assert!(
        outcomes.iter().all(|count| (count - 1.0).abs() < 0.1),
        "{outcomes:?}"
    );
    is(series, "dmarc.reports", &[], 3.0);
    for (domain, disposition, result, expected) in [
        ("example.com", "none", "pass", 11.0),
        ("example.com", "reject", "fail", 2.0),
        ("example.org", "none", "pass", 40.0),
        ("example.org", "reject", "fail", 7.0),
    ] {
        let of = [
            ("domain", domain),
            ("disposition", disposition),
            ("dkim", result),
            ("spf", result),
            ("dmarc", result),
        ];
        is(series, "dmarc.messages", &of, expected);
    }
    is(series, "dmarc.messages", &[], 60.0);

    is(series, "rua.spool.entries", &[("state", "new")], 0.0);
    is(series, "rua.spool.entries", &[("state", "parked")], 2.0);
    is(series, "rua.spool.size", &[("state", "new")], 0.0);
    // The messages, and a little for the envelopes.
    let beyond = sum(series, "rua.spool.size", &[("state", "parked")]) - parked_bytes as f64;
    assert!((100.0..2_000.0).contains(&beyond), "{beyond}");
    is(series, "rua.spool.oldest.age", &[("state", "new")], 0.0);

    let stage = |stage| sum(series, "rua.stage.duration.count", &[("stage", stage)]);
    is(series, "rua.stage.duration.count", &[("stage", "eom")], 7.0);
    is(
        series,
        "rua.stage.duration.count",
        &[("stage", "spool_commit")],
        5.0,
    );
    for name in ["parse", "archive", "store_commit"] {
        assert!(
            (2.0..=4.0).contains(&stage(name)),
            "{name}: {}",
            stage(name)
        );
    }
}

/// Sends the traffic, and compares what collector and page say of it.
async fn say_the_same(protocol: &str, endpoint: impl Fn(&Receiver) -> String) {
    let collector = Receiver::start().await;
    let (lab, port) = Lab::with_page(|settings| {
        let otlp = format!(
            "otlp_endpoint = \"{}\"\notlp_protocol = \"{protocol}\"\notlp_interval_secs = 1\n",
            endpoint(&collector)
        );
        settings.metrics += &otlp;
    });
    let parked_bytes = traffic(&lab);
    let mut shown = Series::new();
    until("the page tells of the last mail", SOON, || {
        shown = on_page(&page(port, "/metrics").1);
        sum(&shown, "rua.mails", &[]) > 7.0 && sum(&shown, "dmarc.reports", &[]) > 2.0
    });
    tells_of_the_traffic(&shown, parked_bytes);
    let same = |got: &Receiver| are_equal(&at_collector(got), &shown);
    collector.until(same).await;
    promtool_is_content(&page(port, "/metrics").1);
}

#[test]
fn what_was_repaired_or_left_out_is_counted_once() {
    let (lab, port) = Lab::with_page(|_| {});
    let xml = com("odd", &[3, 2]).xml();
    assert!(xml.contains("<count>2<"));
    let odd = xml
        .replacen("<record>", "text<record>", 1)
        .replacen("<count>2<", "<count>-2<", 1);
    let odd = mails::attached(RUA, odd.as_bytes());
    for _ in 0..2 {
        accept(&lab, &[RUA], &odd);
        lab.settle();
    }
    let mut shown = Series::new();
    until("both are counted", SOON, || {
        shown = on_page(&page(port, "/metrics").1);
        sum(&shown, "dmarc.reports", &[]) > 1.0
    });
    for flag in ["incomplete", "repaired"] {
        let of = [("kind", "aggregate"), ("flag", flag)];
        is(&shown, "dmarc.reports.flagged", &of, 1.0);
    }
    is(&shown, "dmarc.reports.flagged", &[], 2.0);
}

fn promtool_is_content(page: &str) {
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
    assert!(result.stderr.is_empty(), "{result:?}\n{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_over_grpc_and_the_page_say_the_same() {
    say_the_same("grpc", |collector| collector.grpc.clone()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_over_http_and_the_page_say_the_same() {
    say_the_same("http/protobuf", |collector| collector.http.clone()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_counted_last_is_sent_at_the_end() {
    let collector = Receiver::start().await;
    let endpoint = &collector.grpc;
    let mut lab = Lab::with(|settings, _| {
        settings.metrics = format!("otlp_endpoint = \"{endpoint}\"\notlp_interval_secs = 3600\n");
    });
    accept(&lab, &[RUA], &com("last", &[5, 1]).google(RUA));
    lab.settle();
    assert_eq!(
        collector.sum("rua.mails", &[]),
        None,
        "no interval has passed"
    );
    lab.daemon.signal("TERM");
    assert!(lab.daemon.wait().success());
    assert_eq!(collector.sum("rua.mails", &[]), Some(1.0));
    assert_eq!(collector.sum("dmarc.messages", &[]), Some(6.0));
}

/// Counters begin anew, and what is read from the stores is as before.
#[test]
fn a_restart_forgets_counts_and_knows_states() {
    let (mut lab, port) = Lab::with_page(|_| {});
    accept(&lab, &[RUA], &com("first", &[3]).google(RUA));
    lab.settle();
    let cut = &mails::gzip(com("cut", &[1; 2_000]).xml().as_bytes())[..2_000];
    accept(&lab, &[RUA], &mails::attached(RUA, cut));
    lab.settle();
    let last = "dmarc_reports_last_age_seconds{domain=\"example.com\",kind=\"aggregate\"} ";
    let shows = |what: &str| page(port, "/metrics").1.contains(what);
    until("the report's age is shown", SOON, || shows(last));
    let of_others = "dmarc_reporter_reports_total{kind=\"aggregate\",outcome=\"stored\",\
                     reporter=\"other\"} 1";
    assert!(shows(of_others) && shows("dmarc_messages_total{"));
    lab.daemon.kill();
    lab.daemon.restart();
    until("the report's age is shown again", SOON, || shows(last));
    until("the parked mail too", SOON, || {
        shows("rua_spool_entries{state=\"parked\"} 1")
    });
    assert!(!shows("dmarc_messages_total{") && !shows("dmarc_reporter_reports_total{"));
    promtool_is_content(&page(port, "/metrics").1);
}

fn variables(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_alone_is_enough() {
    let collector = Receiver::start().await;
    let lab = Lab::with(|settings, _| {
        settings.env = variables(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.http),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "200"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "deployment.environment=lab,service.version=9",
            ),
            ("OTEL_SERVICE_NAME", "mail room"),
        ]);
    });
    accept(&lab, &[RUA], &com("env", &[3]).google(RUA));
    let counted = |got: &Receiver| got.sum("dmarc.messages", &[]) == Some(3.0);
    collector.until(counted).await;
    for point in collector.metrics() {
        let says = |key: &str| point.resource.get(key).map(String::as_str);
        assert_eq!(says("service.name"), Some("mail room"));
        assert_eq!(says("service.version"), Some("9"));
        assert_eq!(says("deployment.environment"), Some("lab"));
        assert!(says("service.instance.id").is_some(), "{point:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_in_the_file_wins_over_the_environment() {
    let (in_file, in_env) = (Receiver::start().await, Receiver::start().await);
    let mut lab = Lab::with(|settings, _| {
        settings.env = variables(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &in_env.http),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &in_env.http),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "3600000"),
        ]);
        settings.metrics = format!(
            "otlp_endpoint = \"{}\"\notlp_protocol = \"grpc\"\notlp_interval_secs = 1\n",
            in_file.grpc
        );
    });
    accept(&lab, &[RUA], &com("file", &[4]).google(RUA));
    let counted = |got: &Receiver| got.sum("dmarc.messages", &[]) == Some(4.0);
    in_file.until(counted).await;
    lab.daemon.signal("TERM");
    assert!(lab.daemon.wait().success());
    assert_eq!(in_env.metrics(), []);
}

#[test]
fn without_a_collector_mail_flows_and_the_end_comes_in_time() {
    // One that takes connections and never answers, and one that is not there.
    let hanging = TcpListener::bind("127.0.0.1:0").expect("a port");
    let hanging = (hanging.local_addr().expect("bound"), Some(hanging));
    let refusing = (([127, 0, 0, 1], free_port()).into(), None);
    for ((address, _open), protocol) in [(hanging, "grpc"), (refusing, "http/protobuf")] {
        let mut lab = Lab::with(|settings, _| {
            settings.metrics = format!(
                "otlp_endpoint = \"http://{address}\"\notlp_protocol = \"{protocol}\"\n\
                 otlp_interval_secs = 1\n"
            );
        });
        let mut client = lab.client();
        for n in 0..10 {
            let reply = client.submit(&[RUA], &com(&n.to_string(), &[1]).google(RUA));
            assert!(reply.starts_with("250"), "{reply}");
        }
        drop(client);
        let all = Stored {
            reports: 10,
            messages: 10,
        };
        lab.daemon.expect_stored("example.com", all);
        let began = Instant::now();
        lab.daemon.signal("TERM");
        assert!(lab.daemon.wait().success());
        let took = began.elapsed();
        assert!(took < Duration::from_secs(10), "{protocol}: {took:?}");
    }
}

#[test]
fn a_record_that_drifts_is_a_finding_on_the_page_until_it_is_mended() {
    let weak = "_dmarc TXT \"v=DMARC1; p=none; rua=mailto:rua@reports.example\"";
    let mut nsd = Nsd::start(&[("example.com", weak)]);
    let server = nsd.address();
    let (lab, port) = Lab::with_page(|settings| {
        settings.dns = format!("servers = [\"{server}\"]\ninterval_secs = 1\n");
        let name = "name = \"example.com\"\n";
        let wanted = "wanted = \"v=DMARC1; p=reject; rua=mailto:rua@reports.example\"\n";
        let with_wanted = format!("{name}{wanted}");
        settings.domains = settings.domains.replace(name, &with_wanted);
    });
    let weaker = |page: &str| {
        let of = [("kind", "policy_weaker")];
        sum(&on_page(page), "dmarc.findings", &of)
    };
    until("the finding is open", SOON, || {
        weaker(&page(port, "/metrics").1) > 0.5
    });
    // The server does not serve example.org: that is no finding, only nothing known.
    let mut shown = Series::new();
    until("both were looked up", SOON, || {
        shown = on_page(&page(port, "/metrics").1);
        ["found", "unknown"]
            .iter()
            .all(|outcome| sum(&shown, "rua.dns.duration.count", &[("outcome", outcome)]) > 0.5)
    });
    is(&shown, "dmarc.findings", &[], 1.0);
    until("what is unknown is shown, and nothing else", SOON, || {
        let page = page(port, "/metrics").1;
        let unknown = |domain: &str| {
            let series = format!("dmarc_policy_unknown_age_seconds{{domain=\"{domain}\"}} ");
            page.contains(&series)
        };
        unknown("example.org") && !unknown("example.com")
    });
    promtool_is_content(&page(port, "/metrics").1);
    assert_eq!(lab.daemon.log().matches("finding opened").count(), 1);
    let published = |policy: &str| {
        let of = format!(
            "dmarc_policy_info{{domain=\"example.com\",policy=\"{policy}\",\
             subdomains=\"{policy}\",testing=\"n\"}} 1\n"
        );
        page(port, "/metrics").1.contains(&of)
    };
    until("the policy is shown", SOON, || published("none"));
    nsd.change("example.com", &weak.replace("none", "reject"));
    until("the finding is closed", SOON, || {
        let text = page(port, "/metrics").1;
        text.contains("dmarc_findings{") && weaker(&text) < 0.5
    });
    until("the new policy is shown", SOON, || published("reject"));
    assert!(!published("none"), "the old one is not");
}
