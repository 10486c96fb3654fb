//! The sockets of milter connections: accepting whatever happens.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use indymilter::{EitherListener, Listener};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener},
    time::Sleep,
};

use super::frames::Frames;
use crate::{
    config::ListenAddress,
    limits,
    sockets::{self, ListenError, Socket, SocketFile, inherited::Inherited},
};

/// A listener that outlives every accept error, and shuts when it is told to.
pub struct MilterListener {
    /// Gone once it is shut.
    inner: Option<EitherListener<QuickAck, UnixListener>>,
    shut: Pin<Box<dyn Future<Output = ()> + Send>>,
    pause: Option<Pin<Box<Sleep>>>,
    /// Gone with it.
    file: Option<SocketFile>,
}

impl MilterListener {
    /// Binds `address`, if it is not handed over, and accepts until `shut` resolves.
    pub async fn bind(
        address: &ListenAddress,
        inherited: &mut Inherited,
        shut: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Self, ListenError> {
        let (inner, file) = match sockets::bind(address, inherited).await? {
            Socket::Tcp(listener) => (EitherListener::Tcp(QuickAck(listener)), None),
            Socket::Unix(listener, file) => (EitherListener::Unix(listener), file),
        };
        Ok(Self {
            inner: Some(inner),
            shut: Box::pin(shut),
            pause: None,
            file,
        })
    }
}

/// indymilter's `run` ends with the first accept error, such as exhausted descriptors. This one
/// waits a moment and goes on.
impl Listener for MilterListener {
    type Io = Frames<<EitherListener<QuickAck, UnixListener> as Listener>::Io>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Io>> {
        loop {
            if self.inner.is_some() && self.shut.as_mut().poll(cx).is_ready() {
                // Whoever comes now is told at once that nobody is here.
                self.inner = None;
                self.file = None;
            }
            let Some(inner) = &mut self.inner else {
                return Poll::Pending;
            };
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match ready!(inner.poll_accept(cx)) {
                Ok(stream) => return Poll::Ready(Ok(Frames::of(stream, limits::FRAME))),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a milter connection; trying again");
                    self.pause = Some(Box::pin(tokio::time::sleep(limits::ACCEPT_PAUSE)));
                }
            }
        }
    }
}

/// Accepts TCP connections that acknowledge at once.
///
/// An MTA writes two small frames where a step needs no answer; Nagle's algorithm holds the
/// second until the first is acknowledged, and delayed ACKs make that 40 ms. The kernel falls
/// back to delaying, so the option is set again after every read.
pub struct QuickAck(TcpListener);

impl Listener for QuickAck {
    type Io = QuickAckStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<QuickAckStream>> {
        let (stream, _) = ready!(self.0.poll_accept(cx))?;
        stream.set_nodelay(true)?;
        Poll::Ready(Ok(QuickAckStream(stream)))
    }
}

/// See [`QuickAck`].
pub struct QuickAckStream(TcpStream);

impl AsyncRead for QuickAckStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.0).poll_read(cx, buf));
        // Without it mail is slower, not wrong.
        let _ = self.0.set_quickack(true);
        Poll::Ready(result)
    }
}

impl AsyncWrite for QuickAckStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
