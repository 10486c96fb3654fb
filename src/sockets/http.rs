//! HTTP with bounds: so many connections at a time, and each carries one request and ends in time,
//! whether its peer is slow to ask or slow to listen.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderValue, header},
    response::Response,
    serve::Listener,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Sleep,
};

/// What a listener bears.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at a time; the others wait in the backlog.
    pub connections: usize,
    /// How long one may last.
    pub life: Duration,
}

/// Serves until `shutdown` ends, then finishes the open connections, which takes one life at most.
pub async fn serve<L: Listener>(
    listener: L,
    routes: Router,
    bounds: Bounds,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()>
where
    L::Addr: std::fmt::Debug,
{
    let bounded = Bounded {
        listener,
        slots: Arc::new(Semaphore::new(bounds.connections)),
        life: bounds.life,
    };
    axum::serve(bounded, routes.layer(axum::middleware::map_response(close)))
        .with_graceful_shutdown(shutdown)
        .await
}

/// One request a connection: so the life of a connection bounds the request, and no idle one
/// holds a place.
async fn close(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Accepts no more connections than there are slots.
struct Bounded<L> {
    listener: L,
    slots: Arc<Semaphore>,
    life: Duration,
}

impl<L: Listener> Listener for Bounded<L> {
    type Io = Connection<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let slot = Arc::clone(&self.slots)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        // axum's own accept logs errors, and pauses when descriptors run out.
        let (stream, peer) = self.listener.accept().await;
        let connection = Connection {
            stream,
            end: Box::pin(tokio::time::sleep(self.life)),
            _slot: slot,
        };
        (connection, peer)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that fails once its time is up.
struct Connection<S> {
    stream: S,
    end: Pin<Box<Sleep>>,
    _slot: OwnedSemaphorePermit,
}

impl<S: Unpin> Connection<S> {
    /// What the stream says, unless the time is up.
    fn in_time<T>(
        &mut self,
        cx: &mut Context<'_>,
        io: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        io(Pin::new(&mut self.stream), cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.in_time(cx, |stream, cx| stream.poll_read(cx, into))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
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
        net::{TcpListener, TcpStream},
    };

    use super::*;

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
}
