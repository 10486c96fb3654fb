//! The HTTP listener: `GET` of `/metrics`, `/livez` and `/readyz`, and nothing else yet.
//!
//! It is handed what it shows as closures and knows neither spool nor pipeline. A connection
//! carries one request and ends within [`limits::WEB_CONNECTION`], whether its peer is slow to
//! ask or slow to listen; [`limits::WEB_CONNECTIONS`] are served at a time, the others wait.

use std::io;

use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

use crate::{
    limits,
    sockets::http::{self, Bounds},
    terms::Fault,
};

/// The Prometheus text format.
const PAGE_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How we are.
#[derive(Clone, Debug)]
pub struct Health {
    /// Why mail of ours cannot be taken now; a short constant text.
    pub not_ready: Option<&'static str>,
    /// What else is out of order.
    pub degraded: Vec<Fault>,
}

/// Serves until `shutdown` ends, then finishes the open connections, which takes
/// [`limits::WEB_CONNECTION`] at most. `render` makes the page, on a thread where it may take
/// its time; `health` says how we are.
pub async fn serve<R, H>(
    listener: TcpListener,
    render: R,
    health: H,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()>
where
    R: Fn() -> String + Clone + Send + Sync + 'static,
    H: Fn() -> Health + Clone + Send + Sync + 'static,
{
    let routes = Router::new()
        .route("/metrics", get(move || page(render.clone())))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(move || async move { readiness(&health()) }));
    let bounds = Bounds {
        connections: limits::WEB_CONNECTIONS,
        life: limits::WEB_CONNECTION,
    };
    http::serve(listener, routes, bounds, shutdown).await
}

async fn page(render: impl Fn() -> String + Send + 'static) -> Response {
    match tokio::task::spawn_blocking(render).await {
        Ok(page) => ([(header::CONTENT_TYPE, PAGE_TYPE)], page).into_response(),
        Err(error) => {
            tracing::error!(%error, "making the Prometheus page");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// 503 only where mail cannot be made durable: who is degraded takes mail as ever, and whoever
/// restarted him for it would only stop that.
fn readiness(health: &Health) -> Response {
    let degraded = health.degraded.iter().map(|fault| fault.as_str());
    let degraded = degraded.collect::<Vec<_>>().join(", ");
    match (health.not_ready, &*degraded) {
        (Some(reason), _) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response()
        }
        (None, "") => "ok\n".into_response(),
        (None, degraded) => format!("degraded: {degraded}\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::SocketAddr,
        time::{Duration, Instant},
    };

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        sync::oneshot,
    };

    use super::*;

    struct Running {
        at: SocketAddr,
        stop: oneshot::Sender<()>,
        ended: tokio::task::JoinHandle<io::Result<()>>,
    }

    async fn running(not_ready: Option<&'static str>, degraded: &[Fault]) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { stopped.await.unwrap_or(()) };
        let page = || "a_metric 1\n".to_owned();
        let degraded = degraded.to_vec();
        let health = Health {
            not_ready,
            degraded,
        };
        let ended = tokio::spawn(serve(listener, page, move || health.clone(), shutdown));
        Running { at, stop, ended }
    }

    impl Running {
        /// Sends a head and reads to the end.
        async fn ask(&self, line: &str) -> String {
            let mut stream = TcpStream::connect(self.at).await.unwrap();
            let head = format!("{line} HTTP/1.1\r\nHost: x\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        }

        async fn end(self) {
            self.stop.send(()).unwrap();
            self.ended.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn three_pages_are_served_and_nothing_else() {
        let web = running(None, &[]).await;
        let page = web.ask("GET /metrics").await;
        assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
        assert!(
            page.contains("content-type: text/plain; version=0.0.4"),
            "{page}"
        );
        assert!(page.ends_with("\r\n\r\na_metric 1\n"), "{page}");
        for page in ["GET /livez", "GET /readyz"] {
            let answer = web.ask(page).await;
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\nok\n"));
        }
        assert!(web.ask("GET /").await.starts_with("HTTP/1.1 404 "));
        assert!(web.ask("GET /metrics/x").await.starts_with("HTTP/1.1 404 "));
        assert!(web.ask("POST /metrics").await.starts_with("HTTP/1.1 405 "));
        web.end().await;
    }

    #[tokio::test]
    async fn only_what_keeps_mail_out_is_503() {
        let web = running(None, &[Fault::Store, Fault::Dns]).await;
        let answer = web.ask("GET /readyz").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(
            answer.ends_with("\r\n\r\ndegraded: store, dns\n"),
            "{answer}"
        );
        web.end().await;
        let web = running(Some("spool is read-only"), &[Fault::Store]).await;
        assert!(web.ask("GET /livez").await.starts_with("HTTP/1.1 200 "));
        let answer = web.ask("GET /readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\nspool is read-only\n"), "{answer}");
        web.end().await;
    }

    #[tokio::test]
    async fn silent_peers_beyond_the_bound_wait_and_do_not_stop_the_end() {
        let web = running(None, &[]).await;
        let mut silent = Vec::new();
        for _ in 0..limits::WEB_CONNECTIONS {
            silent.push(TcpStream::connect(web.at).await.unwrap());
        }
        let late = tokio::time::timeout(Duration::from_millis(300), web.ask("GET /livez"));
        assert!(late.await.is_err());
        drop(silent.pop());
        assert!(web.ask("GET /livez").await.starts_with("HTTP/1.1 200 "));
        let began = Instant::now();
        web.end().await;
        assert!(began.elapsed() < limits::WEB_CONNECTION);
    }
}
