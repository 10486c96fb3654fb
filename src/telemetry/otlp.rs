//! Where OTLP goes: the file first, then the OTEL_* variables, then the specification's defaults.
//!
//! The SDK reads some of the variables and lets the program override them, each in its own way;
//! [`Otlp::resolve`] settles it in one place, as a function of the file and a look-up. Headers,
//! compression and temporality have no key in the file and are left to the SDK's own reading.

use std::{thread, time::Duration};

use opentelemetry_otlp::{
    MetricExporter, Protocol, WithExportConfig, WithHttpConfig, WithTonicConfig,
    tonic_types::transport::ClientTlsConfig,
};

use super::TelemetryError;
use crate::{
    config::{Metrics, OtlpProtocol},
    limits,
};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const METRICS_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const METRICS_PROTOCOL: &str = "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL";
const TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
const METRICS_TIMEOUT: &str = "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT";
const EXPORTERS: &str = "OTEL_METRICS_EXPORTER";
const DISABLED: &str = "OTEL_SDK_DISABLED";

/// A collector, and how to speak to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Otlp {
    pub protocol: OtlpProtocol,
    /// The URL as the exporter uses it, path included.
    pub endpoint: String,
    /// Of one export, retries included.
    pub timeout: Duration,
    /// `None`: as the SDK reads `OTEL_METRIC_EXPORT_INTERVAL`.
    pub interval: Option<Duration>,
}

impl Otlp {
    /// `None` when nothing asks for OTLP. An empty variable counts as unset.
    pub fn resolve(
        file: &Metrics,
        env: &impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, TelemetryError> {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        if !is_wanted(file, &env) {
            return Ok(None);
        }
        let protocol = protocol(file, &env)?;
        Ok(Some(Self {
            protocol,
            endpoint: endpoint(protocol, file, &env),
            timeout: env(METRICS_TIMEOUT)
                .or_else(|| env(TIMEOUT))
                .and_then(|millis| millis.parse().ok())
                .map_or(limits::EXPORT, Duration::from_millis),
            interval: file.otlp_interval,
        }))
    }

    /// Makes the exporter; it connects when it first has something to say. Over gRPC, only
    /// within a tokio runtime.
    pub fn exporter(&self) -> Result<MetricExporter, TelemetryError> {
        match self.protocol {
            OtlpProtocol::Grpc => self.grpc(),
            OtlpProtocol::HttpProtobuf => self.http(),
        }
    }

    fn grpc(&self) -> Result<MetricExporter, TelemetryError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(TelemetryError::NoRuntime);
        }
        let builder = MetricExporter::builder()
            .with_tonic()
            .with_endpoint(&self.endpoint)
            .with_timeout(self.timeout);
        let builder = if self.endpoint.starts_with("http://") {
            builder
        } else {
            // Left alone, the exporter would trust no root at all. Reading the system's roots
            // fails where there are none, so they are read only when needed.
            builder.with_tls_config(ClientTlsConfig::new().with_enabled_roots())
        };
        Ok(builder.build()?)
    }

    fn http(&self) -> Result<MetricExporter, TelemetryError> {
        let timeout = self.timeout;
        // The reader exports from a thread of its own, where only a blocking client works; and
        // such a client may not be made on a thread of the runtime.
        let client = thread::Builder::new()
            .name("otlp-client".into())
            .spawn(move || {
                reqwest::blocking::Client::builder()
                    .timeout(timeout)
                    .redirect(reqwest::redirect::Policy::none())
                    .build()
            })
            .map_err(TelemetryError::Thread)?
            .join()
            .map_err(|_| TelemetryError::ClientPanicked)??;
        let builder = MetricExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&self.endpoint)
            .with_timeout(self.timeout);
        Ok(builder.build()?)
    }
}

fn is_wanted(file: &Metrics, env: &impl Fn(&str) -> Option<String>) -> bool {
    if env(DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return false;
    }
    file.otlp_endpoint.is_some()
        || match env(EXPORTERS) {
            Some(list) => list.split(',').any(|name| name.trim() == "otlp"),
            None => env(METRICS_ENDPOINT).or_else(|| env(ENDPOINT)).is_some(),
        }
}

fn protocol(
    file: &Metrics,
    env: &impl Fn(&str) -> Option<String>,
) -> Result<OtlpProtocol, TelemetryError> {
    if let Some(protocol) = file.otlp_protocol {
        return Ok(protocol);
    }
    for variable in [METRICS_PROTOCOL, PROTOCOL] {
        if let Some(value) = env(variable) {
            return match value.trim() {
                "grpc" => Ok(OtlpProtocol::Grpc),
                "http/protobuf" => Ok(OtlpProtocol::HttpProtobuf),
                _ => Err(TelemetryError::Protocol { variable, value }),
            };
        }
    }
    Ok(OtlpProtocol::Grpc)
}

/// The file's endpoint and the general variable are base URLs, which over HTTP get the path of
/// the signal; the variable of the signal is used as it is (OTLP exporter specification,
/// "Endpoint URLs for OTLP/HTTP").
fn endpoint(
    protocol: OtlpProtocol,
    file: &Metrics,
    env: &impl Fn(&str) -> Option<String>,
) -> String {
    let from_base = |base: String| match protocol {
        OtlpProtocol::Grpc => base,
        OtlpProtocol::HttpProtobuf => {
            let base = base.trim_end_matches('/');
            format!(
                "{}/v1/metrics",
                base.strip_suffix("/v1/metrics").unwrap_or(base)
            )
        }
    };
    if let Some(base) = &file.otlp_endpoint {
        return from_base(base.clone());
    }
    env(METRICS_ENDPOINT).unwrap_or_else(|| {
        from_base(env(ENDPOINT).unwrap_or_else(|| match protocol {
            OtlpProtocol::Grpc => "http://localhost:4317".into(),
            OtlpProtocol::HttpProtobuf => "http://localhost:4318".into(),
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(file: &Metrics, env: &[(&str, &str)]) -> Result<Option<Otlp>, TelemetryError> {
        let env: std::collections::HashMap<_, _> = env.iter().copied().collect();
        Otlp::resolve(file, &|name| env.get(name).map(ToString::to_string))
    }

    fn on(file: &Metrics, env: &[(&str, &str)]) -> Otlp {
        resolve(file, env).unwrap().expect("wanted")
    }

    fn file(endpoint: &str) -> Metrics {
        Metrics {
            otlp_endpoint: Some(endpoint.into()),
            ..Metrics::default()
        }
    }

    #[test]
    fn without_a_word_nothing_is_exported() {
        let silent = Metrics::default();
        for env in [
            &[][..],
            &[(ENDPOINT, "")],
            &[(PROTOCOL, "grpc")],
            &[(EXPORTERS, "none"), (ENDPOINT, "http://c:4317")],
            &[(EXPORTERS, "prometheus")],
            &[(DISABLED, "TRUE"), (ENDPOINT, "http://c:4317")],
        ] {
            assert_eq!(resolve(&silent, env).unwrap(), None, "{env:?}");
        }
        assert_eq!(
            resolve(&file("http://c"), &[(DISABLED, "true")]).unwrap(),
            None
        );
    }

    #[test]
    fn the_file_wins_over_the_variables() {
        let mut file = file("http://file:1/");
        file.otlp_interval = Some(Duration::from_secs(7));
        let env = [
            (ENDPOINT, "http://env:1"),
            (METRICS_ENDPOINT, "http://env:2/own"),
            (PROTOCOL, "http/protobuf"),
            (EXPORTERS, "none"),
        ];
        let got = on(&file, &env);
        assert_eq!(got.protocol, OtlpProtocol::HttpProtobuf);
        assert_eq!(got.endpoint, "http://file:1/v1/metrics");
        assert_eq!(got.interval, Some(Duration::from_secs(7)));
        file.otlp_protocol = Some(OtlpProtocol::Grpc);
        let got = on(&file, &env);
        assert_eq!(
            (got.protocol, got.endpoint.as_str()),
            (OtlpProtocol::Grpc, "http://file:1/")
        );
    }

    #[test]
    fn the_variable_of_the_signal_wins_and_is_used_as_it_is() {
        let silent = Metrics::default();
        let http = (METRICS_PROTOCOL, "http/protobuf");
        let general = (ENDPOINT, "http://env:1/base/");
        let endpoint = |env: &[_]| on(&silent, env).endpoint;
        assert_eq!(
            endpoint(&[http, general, (PROTOCOL, "grpc")]),
            "http://env:1/base/v1/metrics"
        );
        assert_eq!(
            endpoint(&[http, general, (METRICS_ENDPOINT, "http://env:2/own")]),
            "http://env:2/own"
        );
        assert_eq!(endpoint(&[general]), "http://env:1/base/");
        assert_eq!(
            endpoint(&[(EXPORTERS, "console, otlp")]),
            "http://localhost:4317"
        );
    }

    #[test]
    fn a_path_that_is_there_is_not_appended_twice() {
        let mut file = file("http://c:4318/v1/metrics");
        file.otlp_protocol = Some(OtlpProtocol::HttpProtobuf);
        assert_eq!(on(&file, &[]).endpoint, "http://c:4318/v1/metrics");
    }

    #[test]
    fn an_unknown_protocol_is_an_error_that_names_its_variable() {
        let error = resolve(&file("http://c"), &[(PROTOCOL, "http/json")]).unwrap_err();
        assert!(error.to_string().contains(PROTOCOL), "{error}");
    }

    #[test]
    fn the_timeout_is_in_milliseconds() {
        let timeout = |env: &[_]| on(&file("http://c"), env).timeout;
        assert_eq!(timeout(&[]), limits::EXPORT);
        assert_eq!(timeout(&[(TIMEOUT, "1500")]), Duration::from_millis(1_500));
        assert_eq!(
            timeout(&[(TIMEOUT, "1500"), (METRICS_TIMEOUT, "20")]),
            Duration::from_millis(20)
        );
    }
}
