//! The archive: raw mails as they arrived, one gzip file each.
//!
//! `YYYY/MM/DD/<sha256 of the raw mail>.eml.gz` by the day of arrival, UTC. Within, before the
//! mail: one line that says how many bytes of envelope follow, then the envelope as lines that
//! look like header fields, so that `zcat` gives something a mail program opens, and [`get`]
//! gives back exactly what came.
//!
//! When [`put`] returns, every file is whole, under its final name, and on the disk with the
//! directories that lead to it. A file that was there and is whole is left alone, so work may be
//! redone. No name is made from anything but a digest and a date.
//!
//! One process writes (the owner of the data directory). It blocks; use `spawn_blocking`.
//!
//! [`put`]: Archive::put
//! [`get`]: Archive::get

mod copy;
mod forget;
mod gzip;
mod walk;

use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    ops::Range,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use jiff::{Timestamp, civil::Date, tz::Offset};
use sha2::{Digest as _, Sha256};

use self::gzip::Gzip;
use crate::{limits, report::Digest};
pub use walk::Found;

/// The directory within the data directory.
pub const FOLDER: &str = "archive";

/// The first line of every file, up to its number.
const HEAD: &str = "X-Rua-Milter-Envelope-Bytes: ";

/// The archive directory.
#[derive(Clone, Debug)]
pub struct Archive {
    root: PathBuf,
}

/// A mail to archive.
#[derive(Clone, Debug)]
pub struct Mail<'a> {
    digest: Digest,
    arrived: i64,
    envelope: String,
    raw: &'a [u8],
}

impl<'a> Mail<'a> {
    /// The mail as it came, with lines such as `X-Rua-Milter-Sender: <a@example.com>`, each ended, and
    /// when it came, UTC epoch seconds.
    pub fn new(raw: &'a [u8], envelope: String, arrived: i64) -> Self {
        Self {
            digest: digest(raw),
            arrived,
            envelope,
            raw,
        }
    }

    /// [`digest`] of the mail.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Bytes of the mail.
    pub fn size(&self) -> u64 {
        self.raw.len() as u64
    }
}

/// A mail from the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archived {
    /// As it was put.
    pub envelope: Vec<u8>,
    /// As it was put; its digest was checked.
    pub raw: Vec<u8>,
}

/// What the archive cannot do.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A file or directory could not be made, written, synced or read.
    #[error("cannot {doing} {path}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no such mail.
    #[error("the archive has no {0}")]
    NotThere(PathBuf),
    /// The file is not what its name says: damaged, or another's.
    #[error("{0} is damaged: its content is not what its name says")]
    Damaged(PathBuf),
    /// The time has no date.
    #[error("{0} is no time of arrival")]
    Time(i64),
}

impl ArchiveError {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            doing,
            path: path.into(),
            source,
        }
    }
}

/// The digest under which a raw mail is archived.
pub fn digest(raw: &[u8]) -> Digest {
    Digest(Sha256::digest(raw).into())
}

impl Archive {
    /// Takes the directory, which it makes if it is not there. Its parent must be.
    pub fn open(root: &Path) -> Result<Self, ArchiveError> {
        let archive = Self::at(root);
        make_directory(root)?;
        if let Some(parent) = root.parent().filter(|parent| *parent != Path::new("")) {
            sync(parent)?;
        }
        Ok(archive)
    }

    /// The directory for reading; makes nothing.
    pub fn at(root: &Path) -> Self {
        Self { root: root.into() }
    }

    /// Archives a batch. On an error some of it may be there, whole; the batch is to be put
    /// again.
    pub fn put(&self, mails: &[Mail<'_>]) -> Result<(), ArchiveError> {
        let (mut seen, mut days) = (HashSet::new(), BTreeSet::new());
        let mut written = Vec::new();
        let mut gzip = Gzip::new();
        for mail in mails {
            let path = self.path(&mail.digest, mail.arrived)?;
            let day = path.parent().unwrap_or(&path);
            if !days.contains(day) {
                self.make_day(day)?;
                days.insert(day.to_owned());
            }
            // After a crash, what was renamed is there and needs only its directory synced.
            let is_there = !seen.insert(path.clone()) || read(&path, &mail.digest).is_ok();
            if !is_there {
                let temporary = path.with_extension("gz.tmp");
                let file = write(&temporary, mail, &mut gzip)?;
                written.push((temporary, path, file));
            }
        }
        self.sync_files(&written)?;
        for (temporary, path, _) in &written {
            fs::rename(temporary, path).map_err(ArchiveError::io("rename to", path))?;
        }
        // From the day up to the root: any of them may be new, now or before a crash.
        let up = days.iter().flat_map(|day| day.ancestors().take(4));
        let directories: BTreeSet<&Path> = up.collect();
        directories.into_iter().rev().try_for_each(sync)
    }

    /// Reads a mail back and checks it.
    pub fn get(&self, digest: &Digest, arrived: i64) -> Result<Archived, ArchiveError> {
        read(&self.path(digest, arrived)?, digest)
    }

    /// Where a mail is, or would be.
    fn path(&self, digest: &Digest, arrived: i64) -> Result<PathBuf, ArchiveError> {
        let time = Timestamp::from_second(arrived).map_err(|_| ArchiveError::Time(arrived))?;
        let day = self.day(Offset::UTC.to_datetime(time).date());
        Ok(day.join(format!("{digest}.eml.gz")))
    }

    /// The directory of a day.
    fn day(&self, date: Date) -> PathBuf {
        let day = format!("{:04}/{:02}/{:02}", date.year(), date.month(), date.day());
        self.root.join(day)
    }

    /// Makes the directories down to a day's.
    fn make_day(&self, day: &Path) -> Result<(), ArchiveError> {
        let up = day.ancestors().take_while(|path| *path != self.root);
        let up: Vec<&Path> = up.collect();
        up.into_iter().rev().try_for_each(make_directory)
    }

    /// Brings the content of files to the disk: a few one by one, many together.
    fn sync_files(&self, written: &[(PathBuf, PathBuf, File)]) -> Result<(), ArchiveError> {
        if written.len() > limits::ARCHIVE_SINGLE_SYNCS {
            // Since Linux 5.8 this reports failed writes, as fsync does.
            let (_, _, any) = &written[0];
            return nix::unistd::syncfs(any)
                .map_err(io::Error::from)
                .map_err(ArchiveError::io("sync the file system of", &self.root));
        }
        written.iter().try_for_each(|(temporary, _, file)| {
            file.sync_all().map_err(ArchiveError::io("sync", temporary))
        })
    }
}

fn make_directory(path: &Path) -> Result<(), ArchiveError> {
    match DirBuilder::new().mode(0o750).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made.map_err(ArchiveError::io("make", path)),
    }
}

fn sync(path: &Path) -> Result<(), ArchiveError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(ArchiveError::io("sync", path))
}

/// Writes a whole file under a name that nobody reads; the next try begins it anew.
fn write(path: &Path, mail: &Mail<'_>, gzip: &mut Gzip) -> Result<File, ArchiveError> {
    let mut write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        let (head, envelope) = (head(&mail.envelope), mail.envelope.as_bytes());
        gzip.write(&mut file, &[head.as_bytes(), envelope, mail.raw])?;
        Ok(file)
    };
    write().map_err(ArchiveError::io("write", path))
}

fn read(path: &Path, digest: &Digest) -> Result<Archived, ArchiveError> {
    let file = File::open(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => ArchiveError::NotThere(path.into()),
        _ => ArchiveError::io("open", path)(e),
    })?;
    let mut content = Vec::new();
    MultiGzDecoder::new(file)
        .take(limits::MAX_ARCHIVED)
        .read_to_end(&mut content)
        .map_err(|e| match e.kind() {
            // What the decoder says of bytes that are no gzip, or end too early.
            io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::UnexpectedEof => ArchiveError::Damaged(path.into()),
            _ => ArchiveError::io("read", path)(e),
        })?;
    split(content)
        .filter(|archived| self::digest(&archived.raw) == *digest)
        .ok_or_else(|| ArchiveError::Damaged(path.into()))
}

/// Takes the envelope off.
fn split(mut content: Vec<u8>) -> Option<Archived> {
    let envelope = envelope(&content)?;
    let raw = content.split_off(envelope.end);
    Some(Archived {
        envelope: content.split_off(envelope.start),
        raw,
    })
}

/// A mail with its envelope as the archive has them, not compressed.
pub fn write_plain(out: &mut dyn Write, envelope: &str, raw: &[u8]) -> io::Result<()> {
    out.write_all(head(envelope).as_bytes())?;
    out.write_all(envelope.as_bytes())?;
    out.write_all(raw)
}

/// The line before the envelope.
fn head(envelope: &str) -> String {
    format!("{HEAD}{}\r\n", envelope.len())
}

/// Where in `content` the envelope is that [`write_plain`] wrote before a mail; the mail is behind it.
pub fn envelope(content: &[u8]) -> Option<Range<usize>> {
    let rest = content.strip_prefix(HEAD.as_bytes())?;
    let line = rest.split(|byte| *byte == b'\n').next()?;
    let length: usize = std::str::from_utf8(line).ok()?.trim_end().parse().ok()?;
    let begin = HEAD.len() + line.len() + 1;
    let end = begin.checked_add(length)?;
    (end <= content.len()).then_some(begin..end)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// 2023-11-14, 22:13:20 UTC.
    const ARRIVED: i64 = 1_700_000_000;
    const ENVELOPE: &str = "X-Rua-Milter-Sender: <a@example.com>\r\n";

    fn archive() -> (tempfile::TempDir, Archive) {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&dir.path().join("archive")).unwrap();
        (dir, archive)
    }

    fn mail(raw: &[u8]) -> Mail<'_> {
        Mail::new(raw, ENVELOPE.to_owned(), ARRIVED)
    }

    fn files(archive: &Archive) -> Vec<PathBuf> {
        let entries = fs::read_dir(archive.root.join("2023/11/14")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn a_mail_comes_back_as_it_was_put() {
        let (_dir, archive) = archive();
        // It does not get smaller, and is written in several pieces.
        let noise: Vec<u8> = (0..20_000_u32)
            .flat_map(|n| digest(&n.to_be_bytes()).0)
            .collect();
        // A mail that begins like our own lines, and one of nothing.
        for raw in [
            &b"X-Rua-Milter-Envelope-Bytes: 3\r\nabc\0\xff\r\n.\r\n"[..],
            b"",
            &noise,
        ] {
            let mail = mail(raw);
            archive.put(std::slice::from_ref(&mail)).unwrap();
            let back = archive.get(&mail.digest, ARRIVED + 60).unwrap();
            assert_eq!(back.raw, raw);
            assert_eq!(back.envelope, ENVELOPE.as_bytes());
            let path = archive.path(&mail.digest, ARRIVED).unwrap();
            assert!(path.ends_with(format!("2023/11/14/{}.eml.gz", mail.digest)));
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&path), 0o600);
            assert_eq!(mode(path.parent().unwrap()) & 0o027, 0);
        }
    }

    #[test]
    fn a_batch_leaves_whole_files_and_nothing_else() {
        let (_dir, archive) = archive();
        let raws: Vec<_> = (0..20_u8).map(|n| vec![n; 5_000]).collect();
        let mut mails: Vec<_> = raws.iter().map(|raw| mail(raw)).collect();
        // The same mail twice in a batch is one file.
        mails.push(mails[3].clone());
        archive.put(&mails).unwrap();
        archive.put(&[]).unwrap();
        for mail in &mails {
            assert_eq!(archive.get(&mail.digest, ARRIVED).unwrap().raw, mail.raw);
        }
        assert_eq!(files(&archive).len(), 20);
    }

    #[test]
    fn a_file_that_is_there_and_whole_is_left_alone() {
        let (_dir, archive) = archive();
        let first = mail(b"a mail");
        archive.put(std::slice::from_ref(&first)).unwrap();
        let again = Mail {
            envelope: "X-Rua-Milter-Sender: <b@example.com>\r\n".to_owned(),
            ..first.clone()
        };
        archive.put(&[again]).unwrap();
        let back = archive.get(&first.digest, ARRIVED).unwrap();
        assert_eq!(back.envelope, ENVELOPE.as_bytes());
    }

    #[test]
    fn a_torn_temporary_file_is_never_read_and_is_written_over() {
        let (_dir, archive) = archive();
        let mail = mail(b"a mail that a crash cut short");
        let path = archive.path(&mail.digest, ARRIVED).unwrap();
        archive.make_day(path.parent().unwrap()).unwrap();
        fs::write(path.with_extension("gz.tmp"), b"\x1f\x8b\x08 torn").unwrap();
        let get = || archive.get(&mail.digest, ARRIVED);
        assert!(matches!(get().unwrap_err(), ArchiveError::NotThere(_)));
        archive.put(std::slice::from_ref(&mail)).unwrap();
        assert_eq!(get().unwrap().raw, mail.raw);
        assert_eq!(files(&archive), [path]);
    }

    #[test]
    fn a_damaged_file_is_not_believed_and_is_replaced() {
        let (_dir, archive) = archive();
        let (one, other) = (mail(b"one mail"), mail(b"another mail"));
        archive.put(&[one.clone(), other.clone()]).unwrap();
        let path = archive.path(&one.digest, ARRIVED).unwrap();
        let get = || archive.get(&one.digest, ARRIVED);
        let whole = fs::read(&path).unwrap();
        let others = fs::read(archive.path(&other.digest, ARRIVED).unwrap()).unwrap();
        for damage in [&whole[..whole.len() - 9], b"no gzip", b"", &others] {
            fs::write(&path, damage).unwrap();
            assert!(matches!(get().unwrap_err(), ArchiveError::Damaged(_)));
            archive.put(std::slice::from_ref(&one)).unwrap();
            assert_eq!(get().unwrap().raw, one.raw);
        }
    }

    #[test]
    fn a_time_without_a_date_is_no_time_of_arrival() {
        let (_dir, archive) = archive();
        let never = archive.get(&digest(b"one"), i64::MAX);
        assert!(matches!(never.unwrap_err(), ArchiveError::Time(_)));
    }
}
