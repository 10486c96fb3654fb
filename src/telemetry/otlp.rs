//! Where OTLP goes: the file first, then the OTEL_* variables, then the specification's defaults.
//!
//! The SDK reads some of the variables and lets the program override them, each in its own way;
//! [`Otlp::resolve`] settles it in one place, as a function of the file and a look-up. Headers,
//! compression and temporality are left to the SDK's own reading where the file says nothing.

mod exporter;
mod headers;
pub(super) mod trial;

use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    path::{Path, PathBuf},
    time::Duration,
};

use super::TelemetryError;
use crate::{
    config::{Metrics, OtlpProtocol, OtlpTemporality},
    limits,
};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const METRICS_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const METRICS_PROTOCOL: &str = "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL";
const TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
const METRICS_TIMEOUT: &str = "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT";
const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
const METRICS_CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE";
/// What may name the authorities.
pub(super) const CA_FILE: &str = "metrics.otlp_ca_file, or OTEL_EXPORTER_OTLP_CERTIFICATE";
const INTERVAL: &str = "OTEL_METRIC_EXPORT_INTERVAL";
const PAGE_HOST: &str = "OTEL_EXPORTER_PROMETHEUS_HOST";
const PAGE_PORT: &str = "OTEL_EXPORTER_PROMETHEUS_PORT";
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
    /// From the start of one export to the start of the next.
    pub interval: Duration,
    /// `false`: as the SDK reads `OTEL_EXPORTER_OTLP_COMPRESSION`.
    pub gzip: bool,
    /// `None`: as the SDK reads `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`.
    pub temporality: Option<OtlpTemporality>,
    /// Whom to trust; `None`: the system's authorities.
    pub ca_file: Option<PathBuf>,
    /// What goes along besides what the variables say.
    pub headers_file: Option<PathBuf>,
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
            timeout: millis(METRICS_TIMEOUT, &env)
                .or_else(|| millis(TIMEOUT, &env))
                .unwrap_or(limits::EXPORT),
            interval: file
                .otlp_interval
                .or_else(|| millis(INTERVAL, &env))
                .unwrap_or(limits::EXPORT_INTERVAL),
            gzip: file.otlp_gzip,
            temporality: file.otlp_temporality,
            ca_file: file.otlp_ca_file.clone().or_else(|| {
                let variable = env(METRICS_CERTIFICATE).or_else(|| env(CERTIFICATE));
                variable.map(PathBuf::from)
            }),
            headers_file: file.otlp_headers_file.clone(),
        }))
    }
}

/// Where the Prometheus page is served; `None`: nowhere.
pub(super) fn page_address(
    file: &Metrics,
    env: &impl Fn(&str) -> Option<String>,
) -> Result<Option<SocketAddr>, TelemetryError> {
    let env = |name: &str| env(name).filter(|value| !value.is_empty());
    if file.prometheus.is_some() || is_disabled(&env) || !is_listed("prometheus", &env) {
        return Ok(file.prometheus);
    }
    let host = env(PAGE_HOST).unwrap_or_else(|| "localhost".into());
    let port = env(PAGE_PORT).unwrap_or_else(|| "9464".into());
    let resolved = port.parse().ok().and_then(|port: u16| {
        let host = host.trim_matches(['[', ']']);
        (host, port).to_socket_addrs().ok()?.next()
    });
    resolved
        .map(Some)
        .ok_or(TelemetryError::PageAddress { host, port })
}

/// Reads a file that the operator named by `key`.
fn read(key: &'static str, path: &Path) -> Result<String, TelemetryError> {
    std::fs::read_to_string(path).map_err(|source| TelemetryError::Read {
        key,
        path: path.to_owned(),
        source,
    })
}

/// A time in milliseconds. What is none is told and passed over, as the specification asks; zero
/// would export without a pause.
fn millis(variable: &str, env: &impl Fn(&str) -> Option<String>) -> Option<Duration> {
    let value = env(variable)?;
    let millis = value.trim().parse().ok().filter(|millis| *millis > 0);
    if millis.is_none() {
        tracing::warn!(variable, value, "expected milliseconds; the default holds");
    }
    millis.map(Duration::from_millis)
}

fn is_disabled(env: &impl Fn(&str) -> Option<String>) -> bool {
    env(DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

fn is_listed(exporter: &str, env: &impl Fn(&str) -> Option<String>) -> bool {
    env(EXPORTERS).is_some_and(|list| list.split(',').any(|name| name.trim() == exporter))
}

/// What the file asks for stands, whatever the variables switch off.
fn is_wanted(file: &Metrics, env: &impl Fn(&str) -> Option<String>) -> bool {
    let by_variables = || match env(EXPORTERS) {
        Some(_) => is_listed("otlp", env),
        None => env(METRICS_ENDPOINT).or_else(|| env(ENDPOINT)).is_some(),
    };
    file.otlp_endpoint.is_some() || (!is_disabled(env) && by_variables())
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
    }

    #[test]
    fn what_the_file_asks_for_is_not_switched_off() {
        for env in [(DISABLED, "true"), (EXPORTERS, "none")] {
            assert!(resolve(&file("http://c"), &[env]).unwrap().is_some());
        }
    }

    #[test]
    fn the_page_is_where_the_file_says_or_where_the_variables_ask_for_it() {
        let silent = Metrics::default();
        let page = |file: &Metrics, env: &[(&str, &str)]| {
            let env: std::collections::HashMap<_, _> = env.iter().copied().collect();
            page_address(file, &|name| env.get(name).map(ToString::to_string))
        };
        let at = |text: &str| Some(text.parse().unwrap());
        let wanted = (EXPORTERS, "otlp, prometheus");
        let host = (PAGE_HOST, "127.0.0.2");
        assert_eq!(page(&silent, &[]).unwrap(), None);
        assert_eq!(page(&silent, &[host]).unwrap(), None);
        assert_eq!(
            page(&silent, &[wanted, host]).unwrap(),
            at("127.0.0.2:9464")
        );
        let port = (PAGE_PORT, "1");
        let disabled = (DISABLED, "true");
        let own = (PAGE_HOST, "[::1]");
        assert_eq!(page(&silent, &[wanted, own, port]).unwrap(), at("[::1]:1"));
        assert_eq!(page(&silent, &[wanted, host, disabled]).unwrap(), None);
        assert!(page(&silent, &[wanted, (PAGE_PORT, "http")]).is_err());
        let file = Metrics {
            prometheus: at("127.0.0.1:9525"),
            ..Metrics::default()
        };
        assert_eq!(
            page(&file, &[wanted, host, disabled]).unwrap(),
            file.prometheus
        );
    }

    #[test]
    fn certificates_are_those_of_the_file_then_of_the_variables() {
        let mut file = file("https://c");
        let env = [(CERTIFICATE, "/general"), (METRICS_CERTIFICATE, "/metrics")];
        let ca = |file: &Metrics, env: &[_]| on(file, env).ca_file;
        assert_eq!(ca(&file, &[]), None);
        assert_eq!(ca(&file, &env[..1]), Some("/general".into()));
        assert_eq!(ca(&file, &env), Some("/metrics".into()));
        file.otlp_ca_file = Some("/file".into());
        assert_eq!(ca(&file, &env), Some("/file".into()));
    }

    #[test]
    fn an_interval_of_nothing_is_the_default() {
        let interval = |value| on(&file("http://c"), &[(INTERVAL, value)]).interval;
        assert_eq!(interval("200"), Duration::from_millis(200));
        for wrong in ["0", "-1", "60s"] {
            assert_eq!(interval(wrong), limits::EXPORT_INTERVAL, "{wrong}");
        }
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
        assert_eq!(got.interval, Duration::from_secs(7));
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
