//! Makes the exporter, and stands around it: an export has an end, and what became of it counts.

use std::{path::Path, sync::Arc, thread, time::Duration};

use opentelemetry_otlp::{
    Compression, MetricExporter, Protocol, WithExportConfig, WithHttpConfig, WithTonicConfig,
    tonic_types::transport::{Certificate, ClientTlsConfig},
};
use opentelemetry_sdk::{
    error::{OTelSdkError, OTelSdkResult},
    metrics::{Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
};
use tokio::runtime::Handle;

use super::{
    Otlp,
    headers::{Headers, WithHeaders},
};
use crate::{
    config::{OtlpProtocol, OtlpTemporality},
    telemetry::{TelemetryError, instruments::Exports},
};

impl Otlp {
    /// Makes the exporter; it connects when it first has something to say. Only within a tokio
    /// runtime.
    pub fn exporter(&self, exports: Arc<Exports>) -> Result<Watched, TelemetryError> {
        let runtime = Handle::try_current().map_err(|_| TelemetryError::NoRuntime)?;
        let headers = match &self.headers_file {
            Some(path) => Headers::read(path)?,
            None => Headers::default(),
        };
        let authorities = self.ca_file.as_deref().map(authorities).transpose()?;
        let exporter = match self.protocol {
            OtlpProtocol::Grpc => self.grpc(headers, authorities)?,
            OtlpProtocol::HttpProtobuf => self.http(headers, authorities)?,
        };
        Ok(Watched {
            exporter,
            runtime,
            timeout: self.timeout,
            exports,
        })
    }

    fn grpc(
        &self,
        headers: Headers,
        authorities: Option<Authorities>,
    ) -> Result<MetricExporter, TelemetryError> {
        let mut builder = MetricExporter::builder()
            .with_tonic()
            .with_endpoint(&self.endpoint)
            .with_timeout(self.timeout)
            .with_interceptor(move |mut request: tonic::Request<()>| {
                headers.set(request.metadata_mut().as_mut());
                Ok(request)
            });
        if !self.endpoint.starts_with("http://") {
            // Left alone, the exporter would trust no root at all. Reading the system's roots
            // fails where there are none, so they are read only when needed.
            builder = builder.with_tls_config(match authorities {
                Some(ours) => {
                    ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ours.pem))
                }
                None => ClientTlsConfig::new().with_enabled_roots(),
            });
        }
        if self.gzip {
            builder = builder.with_compression(Compression::Gzip);
        }
        Ok(match self.temporality {
            Some(temporality) => builder.with_temporality(temporality.into()).build()?,
            None => builder.build()?,
        })
    }

    fn http(
        &self,
        headers: Headers,
        authorities: Option<Authorities>,
    ) -> Result<MetricExporter, TelemetryError> {
        let timeout = self.timeout;
        // The reader exports from a thread of its own, where only a blocking client works; and
        // such a client may not be made on a thread of the runtime.
        let client = thread::Builder::new()
            .name("otlp-client".into())
            .spawn(move || {
                let client = reqwest::blocking::Client::builder()
                    .timeout(timeout)
                    .redirect(reqwest::redirect::Policy::none());
                match authorities {
                    Some(ours) => client.tls_certs_only(ours.certificates).build(),
                    None => client.build(),
                }
            })
            .map_err(TelemetryError::Thread)?
            .join()
            .map_err(|_| TelemetryError::ClientPanicked)??;
        let mut builder = MetricExporter::builder()
            .with_http()
            .with_http_client(WithHeaders { client, headers })
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&self.endpoint)
            .with_timeout(self.timeout);
        if self.gzip {
            builder = builder.with_compression(Compression::Gzip);
        }
        Ok(match self.temporality {
            Some(temporality) => builder.with_temporality(temporality.into()).build()?,
            None => builder.build()?,
        })
    }
}

impl From<OtlpTemporality> for Temporality {
    fn from(temporality: OtlpTemporality) -> Self {
        match temporality {
            OtlpTemporality::Cumulative => Self::Cumulative,
            OtlpTemporality::Delta => Self::Delta,
            OtlpTemporality::LowMemory => Self::LowMemory,
        }
    }
}

/// Whom the operator trusts in place of the system's authorities.
struct Authorities {
    pem: String,
    certificates: Vec<reqwest::Certificate>,
}

fn authorities(path: &Path) -> Result<Authorities, TelemetryError> {
    let pem = super::read(super::CA_FILE, path)?;
    let certificates = reqwest::Certificate::from_pem_bundle(pem.as_bytes()).unwrap_or_default();
    if certificates.is_empty() {
        return Err(TelemetryError::NoCertificate(path.to_owned()));
    }
    Ok(Authorities { pem, certificates })
}

/// An exporter whose exports end, and are counted.
pub(in crate::telemetry) struct Watched {
    exporter: MetricExporter,
    runtime: Handle,
    timeout: Duration,
    exports: Arc<Exports>,
}

impl PushMetricExporter for Watched {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        // The SDK bounds the wait for an answer's head; a collector that never ends its answer
        // over gRPC would hold up all further exports. This thread is none of the runtime's, whose
        // clock it needs.
        let bounded = {
            let _clock = self.runtime.enter();
            tokio::time::timeout(self.timeout, self.exporter.export(metrics))
        };
        let result = bounded
            .await
            .unwrap_or(Err(OTelSdkError::Timeout(self.timeout)));
        self.exports.count(result.is_ok());
        result
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
