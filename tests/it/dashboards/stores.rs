//! A real store that takes OTLP, and a real collector before it. They are fetched by `tests/run --long`
//! (`tests/fetch-observability`).

use std::{
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rua_milter::telemetry;

use super::{Names, queries, site::Site};
use crate::lab::{SOON, free_port, metric_store::MetricStore, until};

/// What was fetched.
pub fn fetched(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_rua-milter"))
        .ancestors()
        .nth(2);
    let path = target.expect("a target directory");
    let path = path.join("observability").join(name);
    assert!(
        path.exists(),
        "no {}: tests/run --long fetches it, and says why if it cannot",
        path.display()
    );
    path
}

fn victoria(names: Names) -> MetricStore {
    let naming: &[_] = match names {
        Names::Page => &["-opentelemetry.usePrometheusNaming"],
        // Its default: names are as they came.
        Names::Otlp => &[],
    };
    MetricStore::victoria(&fetched("victoria/usr/bin/victoria-metrics"), naming)
}

/// Rotel: takes OTLP over gRPC and HTTP and passes it on.
struct Collector {
    process: Child,
    grpc: u16,
    http: u16,
}

impl Collector {
    fn before(store: &MetricStore) -> Self {
        let (grpc, http) = (free_port(), free_port());
        let process = Command::new(fetched("rotel/rotel/rotel-agent"))
            .arg("start")
            .arg(format!("--otlp-grpc-endpoint=127.0.0.1:{grpc}"))
            .arg(format!("--otlp-http-endpoint=127.0.0.1:{http}"))
            .args(["--exporter=otlp", "--otlp-exporter-protocol=http"])
            .arg(format!(
                "--otlp-exporter-endpoint={}",
                store.url("/opentelemetry")
            ))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("to start");
        let listens = |port| TcpStream::connect(("127.0.0.1", port)).is_ok();
        until("the collector listens", SOON, || {
            listens(grpc) && listens(http)
        });
        Self {
            process,
            grpc,
            http,
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Lets a daemon that exports so take mails, and asks the store what each panel asks.
fn every_panel_has_something(store: &MetricStore, names: Names, endpoint: &str, protocol: &str) {
    telemetry::install_crypto();
    let mut site = Site::start(&format!(
        "otlp_endpoint = \"{endpoint}\"\notlp_protocol = \"{protocol}\"\notlp_interval_secs = 1\n"
    ));
    site.take_mails(1);
    let messages = match names {
        Names::Page => "dmarc_messages_total",
        Names::Otlp => "{__name__=\"dmarc.messages\"}",
    };
    until("the store has the first mails", SOON, || {
        store.query(messages).is_ok_and(|found| !found.is_empty())
    });
    site.take_mails(2);
    site.lose_dns();
    store.answers_all(queries(names));
}

#[test]
#[ignore = "needs a store that tests/run --long fetches"]
fn a_store_takes_otlp_and_every_panel_has_something() {
    let store = victoria(Names::Otlp);
    let endpoint = store.url("/opentelemetry");
    every_panel_has_something(&store, Names::Otlp, &endpoint, "http/protobuf");
}

#[test]
#[ignore = "needs a store and a collector that tests/run --long fetches"]
fn a_collector_passes_grpc_on_to_a_store_with_the_names_of_prometheus() {
    let store = victoria(Names::Page);
    let collector = Collector::before(&store);
    let endpoint = format!("http://127.0.0.1:{}", collector.grpc);
    every_panel_has_something(&store, Names::Page, &endpoint, "grpc");
}

#[test]
#[ignore = "needs a store and a collector that tests/run --long fetches"]
fn a_collector_passes_http_on_to_a_store() {
    let store = victoria(Names::Otlp);
    let collector = Collector::before(&store);
    let endpoint = format!("http://127.0.0.1:{}", collector.http);
    every_panel_has_something(&store, Names::Otlp, &endpoint, "http/protobuf");
}
