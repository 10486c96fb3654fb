//! `[metrics]`: what is exported, and where to.

use super::{
    Metrics, OtlpProtocol, OtlpTemporality,
    file::{ConfigError, SECS, Source, choose, secs},
    raw::RawMetrics,
};
use crate::limits;

impl Source<'_> {
    pub(super) fn metrics(&self, raw: &RawMetrics) -> Result<Metrics, ConfigError> {
        let protocols = [
            ("grpc", Some(OtlpProtocol::Grpc)),
            ("http/protobuf", Some(OtlpProtocol::HttpProtobuf)),
        ];
        let temporalities = [
            ("cumulative", Some(OtlpTemporality::Cumulative)),
            ("delta", Some(OtlpTemporality::Delta)),
            ("lowmemory", Some(OtlpTemporality::LowMemory)),
        ];
        Ok(Metrics {
            max_domains: self.or(
                raw.max_domains.as_ref(),
                limits::METRIC_DOMAINS,
                "a number from 0 to 10000",
                |n| usize::try_from(*n).ok().filter(|n| *n <= 10_000),
            )?,
            prometheus: self.or(
                raw.prometheus.as_ref(),
                None,
                "an address and port",
                |text| text.parse().ok().map(Some),
            )?,
            otlp_endpoint: self.or(
                raw.otlp_endpoint.as_ref(),
                None,
                "a URL such as \"http://127.0.0.1:4317\"",
                |url| {
                    let known = url.starts_with("http://") || url.starts_with("https://");
                    known.then(|| Some(url.clone()))
                },
            )?,
            otlp_protocol: self.or(
                raw.otlp_protocol.as_ref(),
                None,
                "\"grpc\" or \"http/protobuf\"",
                |text| choose(text, &protocols),
            )?,
            otlp_interval: self.or(raw.otlp_interval_secs.as_ref(), None, SECS, |n| {
                secs(*n).map(Some)
            })?,
            // That nothing is compressed cannot be told to the SDK against a variable.
            otlp_gzip: self.or(
                raw.otlp_compression.as_ref(),
                false,
                "\"gzip\", or no such key",
                |text| (text == "gzip").then_some(true),
            )?,
            otlp_temporality: self.or(
                raw.otlp_temporality.as_ref(),
                None,
                "\"cumulative\", \"delta\" or \"lowmemory\"",
                |text| choose(text, &temporalities),
            )?,
            otlp_ca_file: raw.otlp_ca_file.as_ref().map(|name| self.secret_file(name)),
            otlp_headers_file: raw
                .otlp_headers_file
                .as_ref()
                .map(|name| self.secret_file(name)),
        })
    }
}
