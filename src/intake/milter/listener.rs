//! Sockets for MTAs: bound with their mode and group, and accepting whatever happens.

use std::{
    future::Future,
    io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
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
use crate::{config::ListenAddress, limits};

/// Why a socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be bound.
    #[error("cannot listen on {address}")]
    Bind {
        /// What was configured.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody answers there.
    #[error("another process listens on {}", .0.display())]
    Taken(PathBuf),
    /// Something else has the path.
    #[error("{} is in the way: it is no socket", .0.display())]
    InTheWay(PathBuf),
    /// The group does not exist.
    #[error("there is no group {0:?} for the socket")]
    NoGroup(String),
    /// The socket file cannot be given its mode or group.
    #[error("cannot set mode or group of {}", path.display())]
    Permissions {
        /// The socket file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A listener that outlives every accept error, and shuts when it is told to.
pub struct MilterListener {
    /// Gone once it is shut.
    inner: Option<EitherListener<QuickAck, UnixListener>>,
    shut: Pin<Box<dyn Future<Output = ()> + Send>>,
    pause: Option<Pin<Box<Sleep>>>,
    /// The socket file, removed at the end.
    file: Option<PathBuf>,
}

impl MilterListener {
    /// Binds `address`, and accepts until `shut` resolves. A socket file that nobody answers on
    /// is a leftover, and replaced.
    pub async fn bind(
        address: &ListenAddress,
        shut: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Self, ListenError> {
        let wrong = |source| ListenError::Bind {
            address: address.to_string(),
            source,
        };
        let (inner, file) = match address {
            ListenAddress::Tcp(socket) => {
                let listener = TcpListener::bind(socket).await.map_err(wrong)?;
                (EitherListener::Tcp(QuickAck(listener)), None)
            }
            ListenAddress::Unix { path, mode, group } => {
                remove_leftover(path)?;
                let listener = UnixListener::bind(path).map_err(wrong)?;
                set_permissions(path, *mode, group.as_deref())?;
                (EitherListener::Unix(listener), Some(path.clone()))
            }
        };
        Ok(Self {
            inner: Some(inner),
            shut: Box::pin(shut),
            pause: None,
            file,
        })
    }

    fn remove_file(&mut self) {
        if let Some(file) = self.file.take() {
            // It may be gone already; the next start would replace it anyway.
            let _ = std::fs::remove_file(file);
        }
    }
}

impl Drop for MilterListener {
    fn drop(&mut self) {
        self.remove_file();
    }
}

fn remove_leftover(path: &Path) -> Result<(), ListenError> {
    let Ok(found) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        return Err(ListenError::InTheWay(path.to_owned()));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(ListenError::Taken(path.to_owned())),
        Err(_) => std::fs::remove_file(path).map_err(|source| ListenError::Permissions {
            path: path.to_owned(),
            source,
        }),
    }
}

fn set_permissions(path: &Path, mode: u32, group: Option<&str>) -> Result<(), ListenError> {
    let wrong = |source| ListenError::Permissions {
        path: path.to_owned(),
        source,
    };
    if let Some(name) = group {
        let group = nix::unistd::Group::from_name(name)
            .map_err(|errno| wrong(errno.into()))?
            .ok_or_else(|| ListenError::NoGroup(name.to_owned()))?;
        std::os::unix::fs::chown(path, None, Some(group.gid.as_raw())).map_err(wrong)?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(wrong)
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
                self.remove_file();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn address(path: &Path) -> ListenAddress {
        ListenAddress::Unix {
            path: path.to_owned(),
            mode: 0o640,
            group: None,
        }
    }

    #[tokio::test]
    async fn a_leftover_socket_is_replaced_and_a_living_one_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("rua.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        assert!(path.exists(), "std leaves the file behind");
        let listener = MilterListener::bind(&address(&path), std::future::pending())
            .await
            .expect("replaced");
        let mode = std::fs::metadata(&path)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o640);
        let taken = MilterListener::bind(&address(&path), std::future::pending())
            .await
            .err()
            .expect("taken");
        assert!(matches!(taken, ListenError::Taken(_)), "{taken}");
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_in_the_way_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("rua.sock");
        std::fs::write(&path, "precious").expect("written");
        let error = MilterListener::bind(&address(&path), std::future::pending())
            .await
            .err()
            .expect("an error");
        assert!(matches!(error, ListenError::InTheWay(_)), "{error}");
        assert!(path.exists());
    }
}
