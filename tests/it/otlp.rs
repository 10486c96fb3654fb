//! An OTLP collector within the test: gRPC and HTTP/protobuf, remembers the last value of every
//! series.

use std::{
    collections::BTreeMap,
    io::Read,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    routing::post,
};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::{
        ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_server::{MetricsService, MetricsServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::{Metric, NumberDataPoint, metric::Data, number_data_point},
};
use prost::Message;
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};
use tonic::{codec::CompressionEncoding, transport::server::TcpIncoming};

/// Attributes by name, values as text.
pub type Attributes = BTreeMap<String, String>;

/// The last value of one series. A histogram makes two: `NAME.count` and `NAME.sum`.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Who sent it.
    pub resource: Attributes,
    /// The metric, as OTLP names it.
    pub name: String,
    /// Of this point.
    pub attributes: Attributes,
    /// Cumulative counters: the total so far.
    pub value: f64,
}

impl Point {
    /// Whether it is of metric `name` and has all of `attributes`.
    pub fn is(&self, name: &str, attributes: &[(&str, &str)]) -> bool {
        self.name == name
            && attributes
                .iter()
                .all(|(key, value)| self.attributes.get(*key).is_some_and(|v| v == value))
    }
}

/// A running collector; it ends when dropped.
pub struct Receiver {
    /// Endpoint for `otlp_protocol = "grpc"`.
    pub grpc: String,
    /// Endpoint for `otlp_protocol = "http/protobuf"`, without path.
    pub http: String,
    received: Received,
    servers: [JoinHandle<()>; 2],
}

type Series = (Attributes, String, Attributes);

#[derive(Clone, Default)]
struct Received {
    /// Header fields of the last request, and the temporality of its counters.
    request: Arc<Mutex<(HeaderMap, i32)>>,
    last: Arc<Mutex<BTreeMap<Series, f64>>>,
    news: Arc<Notify>,
    /// Points that it says it dropped of each request.
    rejects: Arc<AtomicI64>,
}

impl Received {
    fn response(&self) -> ExportMetricsServiceResponse {
        let rejected_data_points = self.rejects.load(SeqCst);
        let partial_success = (rejected_data_points > 0).then(|| ExportMetricsPartialSuccess {
            rejected_data_points,
            error_message: "too old".into(),
        });
        ExportMetricsServiceResponse { partial_success }
    }
}

impl Receiver {
    /// From here on it says that it drops so many points of each request.
    pub fn reject(&self, points: i64) {
        self.received.rejects.store(points, SeqCst);
    }

    /// Listens on two free ports of the loopback.
    pub async fn start() -> Self {
        let received = Received::default();
        let (grpc_listener, grpc) = listener().await;
        let (http_listener, http) = listener().await;
        let service = MetricsServiceServer::new(received.clone())
            .accept_compressed(CompressionEncoding::Gzip);
        let grpc_server = tokio::spawn(async move {
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpIncoming::from(grpc_listener))
                .await
                .expect("serving gRPC");
        });
        let router = axum::Router::new()
            .route("/v1/metrics", post(over_http))
            .with_state(received.clone());
        let http_server = tokio::spawn(async move {
            axum::serve(http_listener, router)
                .await
                .expect("serving HTTP");
        });
        Self {
            grpc,
            http,
            received,
            servers: [grpc_server, http_server],
        }
    }

    /// Everything that came, the last value of each series.
    pub fn metrics(&self) -> Vec<Point> {
        let last = self.received.last.lock().expect("not poisoned");
        last.iter()
            .map(|((resource, name, attributes), &value)| Point {
                resource: resource.clone(),
                name: name.clone(),
                attributes: attributes.clone(),
                value,
            })
            .collect()
    }

    /// Header fields of the last request, and the temporality of its counters.
    pub fn last_request(&self) -> (HeaderMap, i32) {
        self.received.request.lock().expect("not poisoned").clone()
    }

    /// The sum over all points that [`Point::is`] holds for; `None` when there is none.
    pub fn sum(&self, name: &str, attributes: &[(&str, &str)]) -> Option<f64> {
        self.metrics()
            .iter()
            .filter(|point| point.is(name, attributes))
            .map(|point| point.value)
            .reduce(|a, b| a + b)
    }

    /// Waits until what came satisfies `enough`; panics after 20 s.
    pub async fn until(&self, enough: impl Fn(&Self) -> bool) {
        let wait = async {
            loop {
                // Registered before the look, so that no export falls between.
                let mut news = std::pin::pin!(self.received.news.notified());
                news.as_mut().enable();
                if enough(self) {
                    return;
                }
                news.await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), wait)
            .await
            .is_err()
        {
            panic!("the metrics never came; there are {:#?}", self.metrics());
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        for server in &self.servers {
            server.abort();
        }
    }
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    (listener, endpoint)
}

#[tonic::async_trait]
impl MetricsService for Received {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, tonic::Status> {
        let headers = request.metadata().clone().into_headers();
        self.take(headers, request.into_inner());
        Ok(tonic::Response::new(self.response()))
    }
}

async fn over_http(
    State(received): State<Received>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Vec<u8>, StatusCode> {
    let has = |name, value: &str| headers.get(name).is_some_and(|v| v == value);
    if !has(header::CONTENT_TYPE, "application/x-protobuf") {
        return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let mut plain = Vec::new();
    let body = if has(header::CONTENT_ENCODING, "gzip") {
        flate2::read::GzDecoder::new(&*body)
            .read_to_end(&mut plain)
            .map_err(|_| StatusCode::BAD_REQUEST)?;
        &*plain
    } else {
        &*body
    };
    let request = ExportMetricsServiceRequest::decode(body).map_err(|_| StatusCode::BAD_REQUEST)?;
    received.take(headers, request);
    Ok(received.response().encode_to_vec())
}

impl Received {
    fn take(&self, headers: HeaderMap, request: ExportMetricsServiceRequest) {
        let metrics = request
            .resource_metrics
            .iter()
            .flat_map(|r| &r.scope_metrics);
        let counters = metrics.flat_map(|scope| &scope.metrics);
        let mut temporality = counters.filter_map(|metric| match &metric.data {
            Some(Data::Sum(sum)) => Some(sum.aggregation_temporality),
            _ => None,
        });
        let seen = (headers, temporality.next().unwrap_or_default());
        *self.request.lock().expect("not poisoned") = seen;
        let mut last = self.last.lock().expect("not poisoned");
        for from in request.resource_metrics {
            let resource = attributes(&from.resource.unwrap_or_default().attributes);
            let metrics = from.scope_metrics.into_iter().flat_map(|s| s.metrics);
            for (name, point, value) in metrics.flat_map(points) {
                last.insert((resource.clone(), name, point), value);
            }
        }
        drop(last);
        self.news.notify_waiters();
    }
}

fn points(metric: Metric) -> Vec<(String, Attributes, f64)> {
    let name = metric.name;
    let numbers = |points: Vec<NumberDataPoint>| {
        points
            .into_iter()
            .map(|point| (name.clone(), attributes(&point.attributes), number(&point)))
            .collect()
    };
    match metric.data {
        Some(Data::Gauge(gauge)) => numbers(gauge.data_points),
        Some(Data::Sum(sum)) => numbers(sum.data_points),
        Some(Data::Histogram(histogram)) => histogram
            .data_points
            .into_iter()
            .flat_map(|point| {
                let of = attributes(&point.attributes);
                #[expect(clippy::cast_precision_loss, reason = "counts of a test are small")]
                let count = point.count as f64;
                [
                    (format!("{name}.count"), of.clone(), count),
                    (format!("{name}.sum"), of, point.sum.unwrap_or_default()),
                ]
            })
            .collect(),
        other => panic!("{name} is of a kind that we never send: {other:?}"),
    }
}

fn number(point: &NumberDataPoint) -> f64 {
    match point.value {
        Some(number_data_point::Value::AsDouble(value)) => value,
        #[expect(clippy::cast_precision_loss, reason = "values of a test are small")]
        Some(number_data_point::Value::AsInt(value)) => value as f64,
        None => panic!("a point without a value"),
    }
}

fn attributes(pairs: &[KeyValue]) -> Attributes {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|any| any.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        other => format!("{other:?}"),
    };
    pairs
        .iter()
        .map(|pair| (pair.key.clone(), text(pair)))
        .collect()
}
