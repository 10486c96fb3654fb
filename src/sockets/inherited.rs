//! Sockets that systemd has opened and hands over (`sd_listen_fds(3)`). Those who connect while we
//! restart wait in them, and it gives them a mode and group that we have no right to.

use std::{
    io,
    net::TcpListener,
    os::unix::net::{SocketAddr, UnixListener},
};

use listenfd::ListenFd;

use super::Socket;
use crate::config::ListenAddress;

/// What was handed over and is not taken yet.
#[derive(Debug, Default)]
pub struct Inherited(Vec<Handed>);

#[derive(Debug)]
enum Handed {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Inherited {
    /// Takes over what the environment tells of, and removes that from it: to be called while there
    /// is one thread.
    pub fn from_env() -> io::Result<Self> {
        let mut sockets = ListenFd::from_env();
        let mut handed = Vec::new();
        for at in 0..sockets.len() {
            // An error tells that it is of another kind, and leaves it there.
            if let Ok(Some(listener)) = sockets.take_unix_listener(at) {
                handed.push(Handed::Unix(listener));
            } else if let Some(listener) = sockets.take_tcp_listener(at)? {
                handed.push(Handed::Tcp(listener));
            }
        }
        Ok(Self(handed))
    }

    /// The one at this address, if it is there.
    pub(super) fn take(&mut self, address: &ListenAddress) -> io::Result<Option<Socket>> {
        let at = self.0.iter().position(|handed| handed.is_at(address));
        at.map(|at| self.0.swap_remove(at).into_socket())
            .transpose()
    }

    /// Where those are that nobody took.
    pub fn left(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(Handed::place)
    }
}

impl Handed {
    fn is_at(&self, address: &ListenAddress) -> bool {
        match (self, address) {
            (Self::Tcp(listener), ListenAddress::Tcp(at)) => {
                listener.local_addr().is_ok_and(|addr| addr == *at)
            }
            (Self::Unix(listener), ListenAddress::Unix { path, .. }) => listener
                .local_addr()
                .is_ok_and(|addr| addr.as_pathname() == Some(path)),
            _ => false,
        }
    }

    fn into_socket(self) -> io::Result<Socket> {
        Ok(match self {
            Self::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Socket::Tcp(tokio::net::TcpListener::from_std(listener)?)
            }
            Self::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Socket::Unix(tokio::net::UnixListener::from_std(listener)?, None)
            }
        })
    }

    fn place(&self) -> String {
        match self {
            Self::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|error| error.to_string(), |at| format!("inet:{at}")),
            Self::Unix(listener) => {
                let path = |at: SocketAddr| at.as_pathname().map(|path| path.display().to_string());
                let path = listener.local_addr().ok().and_then(path);
                format!("unix:{}", path.unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_is_taken_by_its_address_and_only_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("rua.sock");
        let unix = UnixListener::bind(&path).expect("bound");
        let tcp = TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = tcp.local_addr().expect("bound").port();
        let mut inherited = Inherited(vec![Handed::Tcp(tcp), Handed::Unix(unix)]);
        let at = |path: &std::path::Path| ListenAddress::Unix {
            path: path.to_owned(),
            mode: 0o660,
            group: None,
        };
        let taken = |found: io::Result<Option<Socket>>| found.expect("a socket").is_some();
        assert!(!taken(inherited.take(&at(&dir.path().join("other")))));
        assert!(taken(inherited.take(&at(&path))));
        assert!(!taken(inherited.take(&at(&path))));
        assert!(path.exists(), "systemd removes its file itself");
        let left: Vec<_> = inherited.left().collect();
        assert_eq!(left, [format!("inet:127.0.0.1:{port}")]);
        let address = ListenAddress::Tcp(([127, 0, 0, 1], port).into());
        assert!(taken(inherited.take(&address)));
    }
}
