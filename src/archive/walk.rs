//! Everything that is in the archive, day by day.

use std::{fs, path::Path, time::SystemTime};

use jiff::{
    civil::{Date, Time},
    tz::Offset,
};

use super::{Archive, ArchiveError, Digest};

const SECONDS_OF_A_DAY: i64 = 86_400;

/// A mail's name in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Of the raw mail.
    pub digest: Digest,
    /// When its file was written, UTC epoch seconds, held within the day of arrival.
    pub arrived: i64,
}

impl Archive {
    /// The days that have a directory, ascending.
    pub fn days(&self) -> Result<Vec<Date>, ArchiveError> {
        let mut days = Vec::new();
        for year in numbers(&self.root)? {
            let of_year = self.root.join(format!("{year:04}"));
            for month in numbers(&of_year)? {
                for day in numbers(&of_year.join(format!("{month:02}")))? {
                    let date = i8::try_from(month).ok().zip(i8::try_from(day).ok());
                    days.extend(date.and_then(|(month, day)| Date::new(year, month, day).ok()));
                }
            }
        }
        days.sort_unstable();
        Ok(days)
    }

    /// The mails of a day, in the order in which they were written; what has no name of ours is
    /// passed over.
    pub fn mails(&self, day: Date) -> Result<Vec<Found>, ArchiveError> {
        let path = self.day(day);
        let midnight = Offset::UTC.to_timestamp(day.to_datetime(Time::midnight()));
        let midnight = midnight.map_err(|_| ArchiveError::NotThere(path.clone()))?;
        let midnight = midnight.as_second();
        let mut mails = Vec::new();
        let failed = || ArchiveError::io("list", &path);
        for entry in fs::read_dir(&path).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let name = entry.file_name();
            let digest = name.to_str().and_then(|name| name.strip_suffix(".eml.gz"));
            let Some(digest) = digest.and_then(digest_of) else {
                continue;
            };
            let meta = entry.metadata().map_err(failed())?;
            // A file system without times says nothing about the order.
            let written = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let seconds = written
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs());
            let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
            let arrived = seconds.clamp(midnight, midnight + SECONDS_OF_A_DAY - 1);
            mails.push((written, Found { digest, arrived }));
        }
        mails.sort_unstable_by_key(|(written, found)| (*written, found.digest));
        Ok(mails.into_iter().map(|(_, found)| found).collect())
    }
}

/// The entries of a directory whose names are numbers.
fn numbers(path: &Path) -> Result<Vec<i16>, ArchiveError> {
    let failed = || ArchiveError::io("list", path);
    let mut numbers = Vec::new();
    for entry in fs::read_dir(path).map_err(failed())? {
        let name = entry.map_err(failed())?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.parse::<i16>().ok()));
    }
    Ok(numbers)
}

/// A digest as it shows itself.
pub(super) fn digest_of(text: &str) -> Option<Digest> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (n, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * n..2 * n + 2)?, 16).ok()?;
    }
    let digest = Digest(digest);
    // Its one spelling: neither capitals nor signs.
    (digest.to_string() == text).then_some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Mail;

    #[test]
    fn every_mail_is_found_under_its_day() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&dir.path().join("archive")).unwrap();
        assert_eq!(archive.days().unwrap(), []);
        let times = [1_700_000_000, 1_600_000_000, 1_700_000_001];
        for (raw, arrived) in [b"a", b"b", b"c"].iter().zip(times) {
            let mail = Mail::new(*raw, String::new(), arrived);
            archive.put(&[mail]).unwrap();
        }
        for other in ["notes", "2023/11/14/x.eml.gz", "2023/11/14/y.tmp"] {
            fs::write(archive.root.join(other), b"").unwrap();
        }
        let days = archive.days().unwrap();
        let names: Vec<_> = days.iter().map(Date::to_string).collect();
        assert_eq!(names, ["2020-09-13", "2023-11-14"]);
        let found = archive.mails(days[1]).unwrap();
        assert_eq!(found.len(), 2);
        for Found { digest, arrived } in found {
            // Written today, and so at the end of that day.
            assert_eq!(arrived, 1_700_006_399);
            assert!(archive.get(&digest, arrived).is_ok());
        }
    }
}
