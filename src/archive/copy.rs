//! All of it once more, elsewhere.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use super::{Archive, ArchiveError};

impl Archive {
    /// Links every mail to a new archive at `root`, or copies it where that cannot be, as on another
    /// file system; calls `on` for each, and gives how many of each. It is on the disk when this
    /// returns. What comes or goes meanwhile may be in it or not.
    pub fn copy_to(&self, root: &Path, mut on: impl FnMut()) -> Result<(u64, u64), ArchiveError> {
        let to = Self::open(root)?;
        let (mut linked, mut copied) = (0, 0);
        for day in self.days()? {
            let mails = match self.mails(day) {
                // Retention has just deleted it.
                Err(ArchiveError::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound =>
                {
                    continue;
                }
                mails => mails?,
            };
            to.make_day(&to.day(day))?;
            for mail in mails {
                on();
                let from = self.path(&mail.digest, mail.arrived)?;
                let path = to.path(&mail.digest, mail.arrived)?;
                if fs::hard_link(&from, &path).is_ok() {
                    linked += 1;
                    continue;
                }
                match copy(&from, &path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    done => {
                        done.map_err(ArchiveError::io("write", &path))?;
                        copied += 1;
                    }
                }
            }
        }
        File::open(root)
            .and_then(|root| Ok(nix::unistd::syncfs(root)?))
            .map_err(ArchiveError::io("sync the file system of", root))?;
        Ok((linked, copied))
    }
}

/// With the time at which it was written, by which the mails of a day are in order.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let written = fs::metadata(from)?.modified()?;
    fs::copy(from, to)?;
    File::options().write(true).open(to)?.set_modified(written)
}
