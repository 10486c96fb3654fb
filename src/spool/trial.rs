//! Which entry is being tried: on record before the try begins, and while it lasts.
//!
//! The record is a file of one line beside the spool. It is written and never synced: the end of
//! the process leaves it as it is, and a power cut is no entry's fault. So it costs microseconds, and
//! when a try ends the program, the one mail that was being read is to blame and no other.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
};

/// Stands for no entry; numbers begin with 1.
const NONE: i64 = 0;
/// Longest line: a name of 16 characters, a blank, a number.
const LINE: usize = 64;

/// The record, and the name of the spool whose entries are tried.
#[derive(Debug)]
pub struct Trial {
    file: Option<File>,
    name: Arc<str>,
}

impl Trial {
    /// Takes the file, which only the owner of the data directory may; makes it if it is not there.
    pub fn open(path: &Path, name: Arc<str>) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        Ok(Self {
            file: Some(file),
            name,
        })
    }

    /// For what is tried once, by hand.
    pub fn unrecorded(name: &str) -> Self {
        Self {
            file: None,
            name: name.into(),
        }
    }

    /// What tells this spool from any other.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Does `work` on an entry, on record until it comes to an end. A panic is none.
    pub fn of<T>(&self, id: i64, work: impl FnOnce() -> T) -> T {
        self.write(id);
        let done = work();
        self.write(NONE);
        done
    }

    /// The entry whose try came to no end.
    pub fn unfinished(&self) -> io::Result<Option<i64>> {
        let Some(file) = &self.file else {
            return Ok(None);
        };
        let mut line = [0; LINE];
        let length = file.read_at(&mut line, 0)?;
        let line = std::str::from_utf8(&line[..length]).unwrap_or_default();
        let number = line
            .strip_prefix(&*self.name)
            .and_then(|number| number.trim().parse().ok());
        Ok(number.filter(|id| *id != NONE))
    }

    /// The unfinished try is about to be counted.
    pub fn clear(&self) {
        self.write(NONE);
    }

    fn write(&self, id: i64) {
        let line = format!("{} {id:20}\n", self.name);
        // A disk that takes not even this takes no commit either, so that nothing is tried for long.
        let _ = self
            .file
            .as_ref()
            .map(|file| file.write_all_at(line.as_bytes(), 0));
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn only_a_try_without_an_end_stays_on_record_and_only_of_its_own_spool() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trying");
        let open = |name: &str| Trial::open(&path, name.into()).unwrap();
        let trial = open("0123456789abcdef");
        assert_eq!(trial.unfinished().unwrap(), None);
        assert_eq!(trial.of(7, || 49), 49);
        assert_eq!(trial.unfinished().unwrap(), None);
        let ended = catch_unwind(AssertUnwindSafe(|| trial.of(i64::MAX, || panic!("poison"))));
        assert!(ended.is_err());
        assert_eq!(
            open("0123456789abcdef").unfinished().unwrap(),
            Some(i64::MAX)
        );
        assert_eq!(open("fedcba9876543210").unfinished().unwrap(), None);
        trial.clear();
        assert_eq!(trial.unfinished().unwrap(), None);
    }
}
