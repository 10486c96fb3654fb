//! Sockets that others find us at: bound with their mode and group, and removed at the end; or handed
//! over by systemd, see [`inherited`].
//!
//! What is accepted, and by whom, is the doors' own business; those that speak HTTP find its bounds
//! in [`http`].

pub mod http;
pub mod inherited;

use std::{
    io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tokio::net::{TcpListener, UnixListener};

use self::inherited::Inherited;
use crate::config::ListenAddress;

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

/// A bound socket.
#[derive(Debug)]
pub enum Socket {
    /// On an address.
    Tcp(TcpListener),
    /// On a path; systemd's file is its own business.
    Unix(UnixListener, Option<SocketFile>),
}

/// The file of a unix socket, removed when this is dropped.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may be gone already; the next start would replace it anyway.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Takes what was handed over for `address`, or binds it. A socket file that nobody answers on is a
/// leftover, and replaced.
pub async fn bind(
    address: &ListenAddress,
    inherited: &mut Inherited,
) -> Result<Socket, ListenError> {
    let wrong = |source| ListenError::Bind {
        address: address.to_string(),
        source,
    };
    if let Some(socket) = inherited.take(address).map_err(wrong)? {
        return Ok(socket);
    }
    match address {
        ListenAddress::Tcp(socket) => {
            Ok(Socket::Tcp(TcpListener::bind(socket).await.map_err(wrong)?))
        }
        ListenAddress::Unix { path, mode, group } => {
            remove_leftover(path)?;
            let listener = UnixListener::bind(path).map_err(wrong)?;
            let file = SocketFile(path.clone());
            set_permissions(path, *mode, group.as_deref())?;
            Ok(Socket::Unix(listener, Some(file)))
        }
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
        let listener = bind(&address(&path), &mut Inherited::default())
            .await
            .expect("replaced");
        let mode = std::fs::metadata(&path)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o640);
        let taken = bind(&address(&path), &mut Inherited::default())
            .await
            .expect_err("taken");
        assert!(matches!(taken, ListenError::Taken(_)), "{taken}");
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_in_the_way_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("rua.sock");
        std::fs::write(&path, "precious").expect("written");
        let error = bind(&address(&path), &mut Inherited::default())
            .await
            .expect_err("an error");
        assert!(matches!(error, ListenError::InTheWay(_)), "{error}");
        assert!(path.exists());
    }
}
