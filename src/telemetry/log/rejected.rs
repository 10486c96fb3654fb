//! Points that a collector drops of an export that it takes.
//!
//! The SDK tells of them in its log and nowhere else, so they are counted where the log passes.

use std::{fmt, sync::Arc};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::Context,
};

use crate::telemetry::instruments::Exports;

/// Hears of them, whatever the level of the log.
pub(super) fn layer<S>(exports: Arc<Exports>) -> impl Layer<S>
where
    S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let told_by = Targets::new().with_target("opentelemetry-otlp", LevelFilter::WARN);
    Rejected(exports).with_filter(told_by)
}

struct Rejected(Arc<Exports>);

impl<S: Subscriber> Layer<S> for Rejected {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut points = Points(0);
        event.record(&mut points);
        if points.0 > 0 {
            self.0.reject();
        }
    }
}

/// `rejected_data_points` of a partial success (OTLP specification, "Partial Success").
struct Points(i64);

impl Visit for Points {
    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == "rejected_data_points" {
            self.0 = value;
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}
