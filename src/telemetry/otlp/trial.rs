//! Asks a collector whether it takes metrics of ours, without sending it any.

use std::{sync::Arc, time::Duration};

use opentelemetry_sdk::metrics::{data::ResourceMetrics, exporter::PushMetricExporter as _};

use super::Otlp;
use crate::{config, telemetry::TelemetryError};

/// A collector, to be tried.
#[derive(Debug)]
pub struct Collector {
    otlp: Otlp,
}

impl Collector {
    /// The one that metrics of this configuration go to, as `env` has it too; `None`: to none.
    pub fn of(
        config: &config::Metrics,
        env: &impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, TelemetryError> {
        let otlp = Otlp::resolve(config, env)?;
        Ok(otlp.map(|otlp| Self { otlp }))
    }

    /// Its URL, whose path may hold a token.
    pub fn url(&self) -> &str {
        &self.otlp.endpoint
    }

    /// Sends an export without metrics, which a collector answers like any other: by the same
    /// protocol, with the same header fields and certificates. Waits at most `patience`, retries
    /// included. Only within a tokio runtime, and after [`install_crypto`](crate::telemetry::install_crypto).
    pub async fn try_out(mut self, patience: Duration) -> Result<(), TelemetryError> {
        self.otlp.timeout = self.otlp.timeout.min(patience);
        let exporter = self.otlp.exporter(Arc::default())?;
        // The client for HTTP blocks, and must not be driven by the runtime.
        let trial = tokio::task::spawn_blocking(move || {
            futures_executor::block_on(exporter.export(&ResourceMetrics::default()))
        });
        let answer = trial.await.map_err(|_| TelemetryError::ClientPanicked)?;
        Ok(answer?)
    }
}
