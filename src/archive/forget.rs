//! Days that are old enough to go.

use std::fs;

use jiff::civil::Date;

use super::{Archive, ArchiveError, walk::digest_of};

impl Archive {
    /// Deletes up to `most` mails of a day and gives their number; with the last of them the directories
    /// go that are empty then. What a crash leaves is simply found again.
    pub fn forget(&self, day: Date, most: usize) -> Result<usize, ArchiveError> {
        let path = self.day(day);
        let mut gone = 0;
        for entry in fs::read_dir(&path).map_err(ArchiveError::io("list", &path))? {
            if gone == most {
                return Ok(gone);
            }
            let entry = entry.map_err(ArchiveError::io("list", &path))?;
            let name = entry.file_name();
            let digest = name.to_str().and_then(|name| {
                let name = name.strip_suffix(".tmp").unwrap_or(name);
                digest_of(name.strip_suffix(".eml.gz")?)
            });
            if digest.is_some() {
                let path = entry.path();
                fs::remove_file(&path).map_err(ArchiveError::io("delete", &path))?;
                gone += 1;
            }
        }
        for empty in path.ancestors().take(3) {
            // What somebody else has put there stays, and so does the way to it.
            if fs::remove_dir(empty).is_err() {
                break;
            }
        }
        Ok(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Mail, digest};

    #[test]
    fn a_day_goes_in_steps_with_the_directories_that_only_it_needed() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&dir.path().join("archive")).unwrap();
        // 2023-11-14 and 2023-11-15.
        let times = [1_700_000_000, 1_700_000_001, 1_700_000_002, 1_700_086_400];
        for (raw, arrived) in [b"a", b"b", b"c", b"d"].iter().zip(times) {
            let mail = Mail::new(*raw, String::new(), arrived);
            archive.put(&[mail]).unwrap();
        }
        let days = archive.days().unwrap();
        let torn = archive
            .day(days[0])
            .join(format!("{}.eml.gz.tmp", digest(b"e")));
        fs::write(torn, b"").unwrap();
        let steps = [2, 2, 2].map(|most| archive.forget(days[0], most).unwrap_or(99));
        assert_eq!(steps, [2, 2, 99], "the third finds no directory");
        assert_eq!(archive.days().unwrap(), days[1..]);
        let note = archive.day(days[1]).join("note");
        fs::write(&note, b"an operator's").unwrap();
        assert_eq!(archive.forget(days[1], 9).unwrap(), 1);
        assert!(note.exists());
        fs::remove_file(note).unwrap();
        assert_eq!(archive.forget(days[1], 9).unwrap(), 0);
        assert!(archive.days().unwrap().is_empty());
        assert!(!archive.root.join("2023").exists());
    }
}
