//! Who owns the data directory.
//!
//! `serve` locks it. `import` puts mail into the spool beside a running daemon, and does the
//! daemon's work itself, under the lock, when none runs, until one asks for it. Started as root, every command that
//! writes becomes the directory's owner first, so that no file appears there which the daemon
//! cannot read.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Instant,
};

use nix::unistd::{Gid, Uid, User};

use crate::limits;

/// The user that the packages make.
const USER: &str = "rua-milter";
/// The file that is locked.
pub const LOCK: &str = "lock";
/// Locked by whoever waits for the lock itself.
pub const ASKED: &str = "lock.asked";

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It cannot be made or looked at.
    #[error("data_dir {}", path.display())]
    Io {
        /// The directory, or its lock.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another directory cannot be made.
    #[error("cannot make {}", path.display())]
    New {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A daemon runs there.
    #[error("data_dir {} is in use by another rua-milter", .0.display())]
    InUse(PathBuf),
    /// Root could not become the owner.
    #[error("cannot become the owner of data_dir {}", path.display())]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: nix::Error,
    },
}

/// The right to do the daemon's work; given up when dropped, or when the process ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, not read")] File);

/// Makes the directory if it is not there, and when run as root becomes its owner.
///
/// Must come before any thread and any file.
pub fn enter(path: &Path) -> Result<(), DataDirError> {
    let wrong = |source| DataDirError::Io {
        path: path.to_owned(),
        source,
    };
    let root = Uid::effective().is_root();
    if !path.exists() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(path)
            .map_err(wrong)?;
        if root && let Ok(Some(user)) = User::from_name(USER) {
            let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
            std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(wrong)?;
        }
    }
    let meta = fs::metadata(path).map_err(wrong)?;
    if root && meta.uid() != 0 {
        become_user(Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid())).map_err(|source| {
            DataDirError::Owner {
                path: path.to_owned(),
                source,
            }
        })?;
    }
    Ok(())
}

/// The same for commands that only read: becomes the owner, and makes nothing.
pub fn become_owner(path: &Path) -> Result<(), DataDirError> {
    if path.exists() { enter(path) } else { Ok(()) }
}

/// Whether a file of ours is there; an error if that cannot be seen.
pub fn has(path: &Path, name: &str) -> Result<bool, DataDirError> {
    let file = path.join(name);
    file.try_exists().map_err(|source| DataDirError::Io {
        path: file.clone(),
        source,
    })
}

/// Makes a new directory at `path` that only the owner of `data` can enter, whom root then becomes.
pub fn make_for_owner(path: &Path, data: &Path) -> Result<(), DataDirError> {
    let wrong = |source| DataDirError::New {
        path: path.to_owned(),
        source,
    };
    fs::DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(wrong)?;
    if Uid::effective().is_root() {
        let owner = fs::metadata(data).map_err(wrong)?;
        std::os::unix::fs::chown(path, Some(owner.uid()), Some(owner.gid())).map_err(wrong)?;
    }
    Ok(())
}

fn become_user(uid: Uid, gid: Gid) -> Result<(), nix::Error> {
    // With its supplementary groups, such as that of the socket.
    match User::from_uid(uid)? {
        Some(user) => {
            let name = std::ffi::CString::new(user.name).map_err(|_| nix::Error::EINVAL)?;
            nix::unistd::initgroups(&name, gid)?;
        }
        None => nix::unistd::setgroups(&[gid])?,
    }
    nix::unistd::setgid(gid)?;
    nix::unistd::setuid(uid)
}

/// Takes the lock; `None` when another process has it.
pub fn try_lock(path: &Path) -> Result<Option<Lock>, DataDirError> {
    try_file(path, LOCK)
}

/// Takes the lock when it is free. A command that works in the daemon's place is asked for it and
/// gives way; who has it after [`limits::LOCK_WAIT`] keeps it.
pub async fn lock(path: &Path) -> Result<Lock, DataDirError> {
    if let Some(lock) = try_lock(path)? {
        return Ok(lock);
    }
    let data_dir = path.display();
    tracing::info!(%data_dir, "waiting for another rua-milter to give way");
    let since = Instant::now();
    let mut asking = None;
    while since.elapsed() < limits::LOCK_WAIT {
        if asking.is_none() {
            asking = try_file(path, ASKED)?;
        }
        if let Some(lock) = try_lock(path)? {
            return Ok(lock);
        }
        tokio::time::sleep(limits::LOCK_LOOK).await;
    }
    Err(DataDirError::InUse(path.to_owned()))
}

/// Whether a daemon asks for the lock.
pub fn is_asked_for(path: &Path) -> Result<bool, DataDirError> {
    Ok(try_file(path, ASKED)?.is_none())
}

fn try_file(path: &Path, name: &str) -> Result<Option<Lock>, DataDirError> {
    let file = path.join(name);
    let wrong = |source| DataDirError::Io {
        path: file.clone(),
        source,
    };
    let lock = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        // Whoever may read it could hold the lock.
        .mode(0o600)
        .open(&file)
        .map_err(wrong)?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(Lock(lock))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(wrong(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_process_has_the_lock_and_another_asks_for_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let held = lock(dir.path()).await.expect("free");
        let mode = fs::metadata(dir.path().join("lock")).expect("there").mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(try_lock(dir.path()).expect("looked").is_none());
        assert!(!is_asked_for(dir.path()).expect("looked"));
        let give_way = async {
            while !is_asked_for(dir.path()).expect("looked") {
                tokio::time::sleep(limits::LOCK_LOOK).await;
            }
            drop(held);
        };
        let (taken, ()) = tokio::join!(lock(dir.path()), give_way);
        assert!(taken.is_ok());
        assert!(!is_asked_for(dir.path()).expect("looked"));
    }
}
