//! The HTTP listener: `GET /metrics` and `GET /health`, and nothing else yet.
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
};

/// The Prometheus text format.
const PAGE_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves until `shutdown` ends, then finishes the open connections, which takes
/// [`limits::WEB_CONNECTION`] at most. `render` makes the page, on a thread where it may take
/// its time; `health` is `Err` with a short constant text when we are not well.
pub async fn serve<R, H>(
    listener: TcpListener,
    render: R,
    health: H,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()>
where
    R: Fn() -> String + Clone + Send + Sync + 'static,
    H: Fn() -> Result<(), &'static str> + Clone + Send + Sync + 'static,
{
    let routes = Router::new()
        .route("/metrics", get(move || page(render.clone())))
        .route("/health", get(move || async move { well(health()) }));
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

fn well(health: Result<(), &'static str>) -> Response {
    match health {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
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

    async fn running(health: Result<(), &'static str>) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { stopped.await.unwrap_or(()) };
        let page = || "a_metric 1\n".to_owned();
        let ended = tokio::spawn(serve(listener, page, move || health, shutdown));
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
    async fn two_pages_are_served_and_nothing_else() {
        let web = running(Ok(())).await;
        let page = web.ask("GET /metrics").await;
        assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
        assert!(
            page.contains("content-type: text/plain; version=0.0.4"),
            "{page}"
        );
        assert!(page.ends_with("\r\n\r\na_metric 1\n"), "{page}");
        assert!(web.ask("GET /health").await.starts_with("HTTP/1.1 200 "));
        assert!(web.ask("GET /").await.starts_with("HTTP/1.1 404 "));
        assert!(web.ask("GET /metrics/x").await.starts_with("HTTP/1.1 404 "));
        assert!(web.ask("POST /metrics").await.starts_with("HTTP/1.1 405 "));
        web.end().await;
    }

    #[tokio::test]
    async fn ill_health_is_503_with_its_reason() {
        let web = running(Err("spool is read-only")).await;
        let answer = web.ask("GET /health").await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\nspool is read-only\n"), "{answer}");
        web.end().await;
    }

    #[tokio::test]
    async fn silent_peers_beyond_the_bound_wait_and_do_not_stop_the_end() {
        let web = running(Ok(())).await;
        let mut silent = Vec::new();
        for _ in 0..limits::WEB_CONNECTIONS {
            silent.push(TcpStream::connect(web.at).await.unwrap());
        }
        let late = tokio::time::timeout(Duration::from_millis(300), web.ask("GET /health"));
        assert!(late.await.is_err());
        drop(silent.pop());
        assert!(web.ask("GET /health").await.starts_with("HTTP/1.1 200 "));
        let began = Instant::now();
        web.end().await;
        assert!(began.elapsed() < limits::WEB_CONNECTION);
    }
}
