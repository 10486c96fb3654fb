//! Metrics and the log.
//!
//! [`start`] makes the one set of [`Instruments`] and whatever exports them: OTLP, the
//! Prometheus page, both or neither. Exporting runs on a thread of the SDK, so a collector that
//! is down, slow or lying delays nothing; what it did is logged there. [`log`] sets up the log.

pub mod domains;
pub mod faults;
pub mod instruments;
pub mod labels;
pub mod log;
pub mod manual;
pub mod metrics;
mod otlp;
mod process;
mod spool;

use std::{collections::HashMap, net::SocketAddr, path::PathBuf, sync::Arc, thread};

use opentelemetry::KeyValue;
use opentelemetry_sdk::{
    Resource,
    metrics::{Instrument, PeriodicReader, SdkMeterProvider, Stream},
};
use prometheus::{Registry, TextEncoder};

use crate::{
    config,
    domain::Domain,
    limits,
    report::reporters::{LARGEST, Reporters},
};
pub use instruments::{Exports, Instruments};
use labels::DomainLabels;
use otlp::Otlp;
pub use otlp::trial::Collector;

/// What keeps log or metrics from starting. Nothing that happens later is an error.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `log.target = "journald"` without a journal.
    #[error("connecting to the systemd journal (log.target)")]
    Journald(#[source] std::io::Error),
    /// The log was set up before.
    #[error("setting up the log")]
    Log(#[from] tracing_subscriber::util::TryInitError),
    /// A variable names a protocol that is not built in.
    #[error("{variable} is {value:?}; expected \"grpc\" or \"http/protobuf\"")]
    Protocol {
        /// The variable.
        variable: &'static str,
        /// What it says.
        value: String,
    },
    /// A file that `[metrics]` or a variable names.
    #[error("{key}: cannot read {}", path.display())]
    Read {
        /// What names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A line that is no header field; it may hold a secret, so it is not shown.
    #[error("metrics.otlp_headers_file: {}: line {line}: expected `Name: value`", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
    },
    /// A file of certificates without one.
    #[error("{}: {} holds no certificate in PEM", otlp::CA_FILE, .0.display())]
    NoCertificate(PathBuf),
    /// The variables name no address for the page.
    #[error("OTEL_EXPORTER_PROMETHEUS_HOST and _PORT: {host:?}, {port:?} is no address")]
    PageAddress {
        /// The host, or its default.
        host: String,
        /// The port, or its default.
        port: String,
    },
    /// OTLP was to start outside a tokio runtime.
    #[error("OTLP needs the runtime to be running")]
    NoRuntime,
    /// No thread for the HTTP client.
    #[error("starting a thread for the OTLP client")]
    Thread(#[source] std::io::Error),
    /// The HTTP client could not be made, such as for want of a certificate store.
    #[error("making the HTTP client for OTLP")]
    Client(#[from] reqwest::Error),
    /// Making the HTTP client panicked, as without [`install_crypto`].
    #[error("making the HTTP client for OTLP panicked")]
    ClientPanicked,
    /// The exporter refused its settings, such as an endpoint that is no URL.
    #[error("setting up the OTLP exporter (metrics.otlp_endpoint, or the OTEL_* variables)")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// A collector that was tried did not take the export.
    #[error("the export failed")]
    Export(#[from] opentelemetry_sdk::error::OTelSdkError),
    /// The Prometheus page could not be set up.
    #[error("setting up the Prometheus page")]
    Prometheus(#[source] opentelemetry_sdk::error::OTelSdkError),
}

impl TelemetryError {
    /// Whether it is what an operator wrote.
    pub fn is_setting(&self) -> bool {
        matches!(
            self,
            Self::Protocol { .. }
                | Self::Read { .. }
                | Self::Header { .. }
                | Self::NoCertificate(_)
                | Self::PageAddress { .. }
                | Self::Exporter(_)
        )
    }
}

/// Running telemetry. End it with [`Telemetry::flush`]; merely dropped, it waits for its last
/// export, up to five seconds, on the spot.
#[derive(Debug)]
pub struct Telemetry {
    /// What everybody counts with.
    pub instruments: Arc<Instruments>,
    /// Which domains metrics name; to be replaced on reload.
    pub labels: Arc<DomainLabels>,
    /// Which reporters they name; to be replaced on reload.
    pub reporters: Arc<DomainLabels>,
    /// Where the Prometheus page is to be served, if it is.
    pub page: Option<SocketAddr>,
    provider: SdkMeterProvider,
    registry: Option<Registry>,
}

/// Makes *ring* the TLS provider of the process. Commands that speak TLS call it first;
/// further calls change nothing.
pub fn install_crypto() {
    // The error holds the provider that is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Reads every setting that [`start`] reads, files and variables included, and exports nothing.
/// Call it within the tokio runtime.
pub fn check(config: &config::Metrics) -> Result<(), TelemetryError> {
    let env = |name: &str| std::env::var(name).ok();
    otlp::page_address(config, &env)?;
    if let Some(otlp) = Otlp::resolve(config, &env)? {
        otlp.exporter(Arc::default())?;
    }
    Ok(())
}

/// Starts the metrics of `node` about `domains` and `reporters`. Call it within the tokio runtime, with
/// the `exports` that the log has.
pub fn start<'a>(
    config: &config::Metrics,
    node: &str,
    domains: impl Iterator<Item = &'a Domain>,
    reporters: &Reporters,
    exports: &Arc<Exports>,
) -> Result<Telemetry, TelemetryError> {
    start_with(config, node, domains, reporters, exports, &|name| {
        std::env::var(name).ok()
    })
}

fn start_with<'a>(
    config: &config::Metrics,
    node: &str,
    domains: impl Iterator<Item = &'a Domain>,
    reporters: &Reporters,
    exports: &Arc<Exports>,
    env: &impl Fn(&str) -> Option<String>,
) -> Result<Telemetry, TelemetryError> {
    let page = otlp::page_address(config, env)?;
    let mut is_read = page.is_some();
    let mut builder = SdkMeterProvider::builder()
        .with_resource(resource(node, env))
        .with_view(series_limits(config.max_domains));
    if let Some(otlp) = Otlp::resolve(config, env)? {
        let exporter = otlp.exporter(Arc::clone(exports))?;
        let reader = PeriodicReader::builder(exporter).with_interval(otlp.interval);
        builder = builder.with_reader(reader.build());
        is_read = true;
    }
    let registry = page.map(|_| Registry::new());
    if let Some(registry) = &registry {
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            // The same on every line; it only makes queries longer.
            .scope_info_enabled(false)
            .build()
            .map_err(TelemetryError::Prometheus)?;
        builder = builder.with_reader(exporter);
    }
    let provider = builder.build();
    // Without anybody who reads, the SDK calls every observed instrument an error.
    let labels = Arc::new(DomainLabels::new(config.max_domains, domains));
    let known: Vec<_> = reporters.names().collect();
    let most = LARGEST + limits::METRIC_REPORTERS;
    let instruments = if is_read {
        Instruments::new(&provider, exports, Arc::clone(&labels))
    } else {
        Instruments::disconnected()
    };
    Ok(Telemetry {
        instruments: Arc::new(instruments),
        labels,
        reporters: Arc::new(DomainLabels::new(most, &known)),
        page,
        provider,
        registry,
    })
}

/// The SDK folds what is beyond its limit into one point; ours can never get there.
fn series_limits(max_domains: usize) -> impl Fn(&Instrument) -> Option<Stream> {
    let limits: HashMap<_, _> = metrics::ALL
        .iter()
        .map(|what| (what.name, what.series(max_domains).saturating_add(1)))
        .collect();
    move |instrument| {
        let limit = *limits.get(instrument.name())?;
        Stream::builder().with_cardinality_limit(limit).build().ok()
    }
}

/// Who we are. What the environment says of it stands; `Resource::builder` has read it already,
/// and attributes that are added would replace it.
fn resource(node: &str, env: &impl Fn(&str) -> Option<String>) -> Resource {
    let stated = env("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let named = env("OTEL_SERVICE_NAME").is_some_and(|name| !name.is_empty());
    let is_stated = |key: &str| {
        let mut keys = stated.split(',').filter_map(|pair| pair.split_once('='));
        (key == "service.name" && named) || keys.any(|(stated, _)| stated.trim() == key)
    };
    let ours = [
        ("service.name", env!("CARGO_PKG_NAME")),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", node),
    ];
    let missing = ours
        .into_iter()
        .filter(|&(key, value)| !value.is_empty() && !is_stated(key))
        .map(|(key, value)| KeyValue::new(key, value.to_owned()));
    Resource::builder().with_attributes(missing).build()
}

impl Telemetry {
    /// The Prometheus page, in text format 0.0.4; empty unless `metrics.prometheus` is set, and
    /// after [`Telemetry::flush`].
    pub fn render(&self) -> String {
        page(self.registry.as_ref())
    }

    /// [`Telemetry::render`] for somebody who must not own us, the web listener.
    pub fn renderer(&self) -> impl Fn() -> String + Clone + Send + Sync + 'static {
        let registry = self.registry.clone();
        move || page(registry.as_ref())
    }

    /// Exports what was counted last and ends, within [`limits::FLUSH`]. Stop the web listener
    /// first: the page is empty afterwards.
    ///
    /// The SDK's own bound is longer than ours and not ours to set, and a task of the runtime
    /// that blocks would hold up the runtime's end; so a plain thread does it, and is left
    /// behind when it takes too long.
    pub async fn flush(self) {
        let (done, wait) = tokio::sync::oneshot::channel();
        let flusher = thread::Builder::new()
            .name("telemetry-flush".into())
            .spawn(move || {
                let result = self.provider.shutdown();
                drop(self);
                // The other end is gone when the time is up.
                let _ = done.send(result);
            });
        if let Err(error) = flusher {
            tracing::warn!(%error, "no thread for the last export of metrics");
            return;
        }
        match tokio::time::timeout(limits::FLUSH, wait).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the last export of metrics failed"),
            Ok(Err(_)) => tracing::warn!("the last export of metrics panicked"),
            Err(_) => tracing::warn!("the last export of metrics took too long and was given up"),
        }
    }
}

fn page(registry: Option<&Registry>) -> String {
    let families = registry.map(Registry::gather).unwrap_or_default();
    TextEncoder::new()
        .encode_to_string(&families)
        .unwrap_or_else(|error| {
            tracing::error!(%error, "writing the Prometheus page");
            String::new()
        })
}

#[cfg(test)]
mod tests;
