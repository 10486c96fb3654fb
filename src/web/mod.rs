//! The HTTP listener: `GET /metrics` and `GET /health`, and nothing else yet.
//!
//! It is handed what it shows as closures and knows neither spool nor pipeline. A connection
//! carries one request and ends within [`limits::WEB_CONNECTION`], whether its peer is slow to
//! ask or slow to listen; [`limits::WEB_CONNECTIONS`] are served at a time, the others wait.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
    serve::Listener,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Sleep,
};

use crate::limits;

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
    let bounded = Bounded {
        listener,
        slots: Arc::new(Semaphore::new(limits::WEB_CONNECTIONS)),
        life: limits::WEB_CONNECTION,
    };
    axum::serve(bounded, routes.layer(axum::middleware::map_response(close)))
        .with_graceful_shutdown(shutdown)
        .await
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

/// One request a connection: so the life of a connection bounds the request, and no idle one
/// holds a place.
async fn close(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Accepts no more connections than there are slots.
struct Bounded {
    listener: TcpListener,
    slots: Arc<Semaphore>,
    life: Duration,
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let slot = Arc::clone(&self.slots)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        // axum's own accept logs errors, and pauses when descriptors run out.
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        let connection = Connection {
            stream,
            end: Box::pin(tokio::time::sleep(self.life)),
            _slot: slot,
        };
        (connection, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails once its time is up.
struct Connection {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    /// What the stream says, unless the time is up.
    fn in_time<T>(
        &mut self,
        cx: &mut Context<'_>,
        io: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        io(Pin::new(&mut self.stream), cx)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.in_time(cx, |stream, cx| stream.poll_read(cx, into))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.in_time(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(cx, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(cx, AsyncWrite::poll_shutdown)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
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
    async fn a_peer_that_trickles_its_head_is_cut_off() {
        let life = Duration::from_millis(300);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let slots = Arc::new(Semaphore::new(1));
        let mut bounded = Bounded {
            listener,
            slots: Arc::clone(&slots),
            life,
        };
        let mut slow = TcpStream::connect(at).await.unwrap();
        let (mut connection, _) = bounded.accept().await;
        let began = Instant::now();
        let mut byte = [0];
        while began.elapsed() < life * 10 {
            slow.write_all(b"x").await.unwrap();
            if let Err(error) = connection.read_exact(&mut byte).await {
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                break;
            }
        }
        assert!(began.elapsed() < life * 5);
        drop(connection);
        assert_eq!(slots.available_permits(), 1);
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
