//! Files that an operator gives -> mails, one at a time.
//!
//! Knows single mails, mbox files (mboxrd quoting), Maildirs, bare reports, the compressed mails of an
//! archive, folders of all of these, and standard input as `-`. Memory is bounded by the limit on one mail, whatever the size
//! of an mbox. What cannot be read is reported in its place, and the walk goes on.

use std::{
    convert::Infallible,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;

use crate::limits::MBOX_PIECE;

/// How names of archived mails end; what else is compressed is a report.
const ARCHIVED: &[u8] = b".eml.gz";

/// One mail, or one bare report.
#[derive(Debug)]
pub struct Mail<'a> {
    /// The file as given; of a file found in a folder, that folder joined with the path below it.
    pub path: &'a Path,
    /// Which message of an mbox file, from 1.
    pub number: Option<u64>,
    /// Its bytes, or why there are none.
    pub content: Result<Vec<u8>, Unreadable>,
}

/// Why a file or a message gives no mail.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The file or folder cannot be read.
    #[error("cannot read")]
    Io(#[source] io::Error),
    /// Larger than the limit on one mail.
    #[error("larger than the limit on one mail")]
    TooLarge,
}

/// Gives every mail below `path` to `on`, files of a folder in the order of their names. Stops at
/// the first error of `on`.
pub fn mails<E>(
    path: &Path,
    max_bytes: usize,
    on: &mut dyn FnMut(Mail<'_>) -> Result<(), E>,
) -> Result<(), E> {
    if path == Path::new("-") {
        return stream(path, io::stdin().lock(), max_bytes, on);
    }
    // What is given by name is followed; links within folders are not, as they may form circles.
    match fs::metadata(path) {
        Ok(about) if about.is_dir() => folder(path, max_bytes, on),
        Ok(_) => file(path, max_bytes, on),
        Err(error) => unreadable(path, error, on),
    }
}

/// Bytes of all files that [`mails`] would read below `path`; 0 where that cannot be told.
pub fn size(path: &Path) -> u64 {
    let mut bytes = 0;
    // What cannot be read has no size; `mails` will say why.
    let _ = files::<Infallible>(path, &mut |file, found| {
        if found.is_ok() {
            bytes += fs::metadata(file).map_or(0, |about| about.len());
        }
        Ok(())
    });
    bytes
}

fn folder<E>(
    path: &Path,
    max_bytes: usize,
    on: &mut dyn FnMut(Mail<'_>) -> Result<(), E>,
) -> Result<(), E> {
    files(path, &mut |path, found| match found {
        Ok(()) => file(path, max_bytes, on),
        Err(error) => unreadable(path, error, on),
    })
}

/// Gives every file below `path`, or why a folder cannot be listed, to `on`.
fn files<E>(
    path: &Path,
    on: &mut impl FnMut(&Path, io::Result<()>) -> Result<(), E>,
) -> Result<(), E> {
    let mut waiting = vec![path.to_owned()];
    while let Some(path) = waiting.pop() {
        match listing(&path) {
            Err(error) => on(&path, Err(error))?,
            // The last one pushed comes first.
            Ok(Some(below)) => waiting.extend(below.into_iter().rev()),
            Ok(None) => on(&path, Ok(()))?,
        }
    }
    Ok(())
}

/// The entries of a folder by name; `None` if it is a file.
fn listing(path: &Path) -> io::Result<Option<Vec<PathBuf>>> {
    // Links were left out where the folder was listed; the one given by name is followed.
    if !fs::metadata(path)?.is_dir() {
        return Ok(None);
    }
    let mut below = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() || kind.is_file() {
            below.push(entry.path());
        }
    }
    let has = |name: &str| below.contains(&path.join(name));
    if has("cur") && has("new") {
        // A Maildir: mails are in `cur` and `new`, its subfolders start with a dot, and all else
        // is the server's own.
        below.retain(|entry| {
            let name = entry.file_name().unwrap_or_default();
            name == "cur"
                || name == "new"
                || name.as_encoded_bytes().starts_with(b".") && entry.is_dir()
        });
    }
    below.sort();
    Ok(Some(below))
}

fn file<E>(
    path: &Path,
    max_bytes: usize,
    on: &mut dyn FnMut(Mail<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let name = path.as_os_str().as_encoded_bytes();
    match File::open(path) {
        Ok(file) if name.ends_with(ARCHIVED) => {
            let mail = BufReader::new(MultiGzDecoder::new(BufReader::new(file)));
            stream(path, mail, max_bytes, on)
        }
        Ok(file) => stream(path, BufReader::new(file), max_bytes, on),
        Err(error) => unreadable(path, error, on),
    }
}

fn unreadable<E>(
    path: &Path,
    error: io::Error,
    on: &mut dyn FnMut(Mail<'_>) -> Result<(), E>,
) -> Result<(), E> {
    on(Mail {
        path,
        number: None,
        content: Err(Unreadable::Io(error)),
    })
}

/// One open file: an mbox if it starts as one, else one mail.
fn stream<E>(
    path: &Path,
    mut input: impl BufRead,
    max_bytes: usize,
    on: &mut dyn FnMut(Mail<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut start = Vec::new();
    if let Err(error) = input.by_ref().take(5).read_to_end(&mut start) {
        return unreadable(path, error, on);
    }
    if start == b"From " {
        return mbox(path, input, max_bytes, on);
    }
    let mut raw = start;
    let most = (max_bytes as u64).saturating_add(1);
    let rest = most.saturating_sub(raw.len() as u64);
    if let Err(error) = input.take(rest).read_to_end(&mut raw) {
        return unreadable(path, error, on);
    }
    let content = if raw.len() > max_bytes {
        Err(Unreadable::TooLarge)
    } else {
        Ok(raw)
    };
    on(Mail {
        path,
        number: None,
        content,
    })
}

/// An mbox file behind its first `From `: a message ends where a blank line and `From ` follow.
fn mbox<E>(
    path: &Path,
    mut input: impl BufRead,
    max_bytes: usize,
    on: &mut dyn FnMut(Mail<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut message = Message::default();
    let mut number = 1;
    let mut line = Vec::new();
    // The rest of the first `From ` line is still in front of us.
    let mut within_from = true;
    let mut at_start = false;
    let mut after_blank = false;
    loop {
        line.clear();
        if let Err(error) = input.by_ref().take(MBOX_PIECE).read_until(b'\n', &mut line) {
            return unreadable(path, error, on);
        }
        if line.is_empty() {
            return message.give(path, number, on);
        }
        if at_start && after_blank && line.starts_with(b"From ") {
            message.give(path, number, on)?;
            number += 1;
            message = Message::default();
            within_from = true;
        }
        if !within_from {
            message.add(unquoted(&line, at_start), max_bytes);
        }
        let ended = line.ends_with(b"\n");
        after_blank = at_start && matches!(&line[..], b"\n" | b"\r\n");
        within_from &= !ended;
        at_start = ended;
    }
}

/// mboxrd puts one more `>` in front of every line that is `From ` behind any number of `>`.
fn unquoted(line: &[u8], at_start: bool) -> &[u8] {
    let marks = line.iter().take_while(|&&byte| byte == b'>').count();
    if at_start && marks > 0 && line[marks..].starts_with(b"From ") {
        &line[1..]
    } else {
        line
    }
}

/// A message of an mbox as far as it came.
#[derive(Default)]
struct Message {
    raw: Vec<u8>,
    too_large: bool,
}

impl Message {
    fn add(&mut self, line: &[u8], max_bytes: usize) {
        // The blank line before the next `From ` may be one too many.
        if self.too_large || self.raw.len() + line.len() > max_bytes.saturating_add(2) {
            self.too_large = true;
            self.raw = Vec::new();
        } else {
            self.raw.extend_from_slice(line);
        }
    }

    fn give<E>(
        mut self,
        path: &Path,
        number: u64,
        on: &mut dyn FnMut(Mail<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        // The blank line in front of the next message is the mbox's, not the mail's.
        for blank in [&b"\r\n\r\n"[..], b"\n\n"] {
            if self.raw.ends_with(blank) {
                self.raw.truncate(self.raw.len() - blank.len() / 2);
                break;
            }
        }
        let content = if self.too_large {
            Err(Unreadable::TooLarge)
        } else {
            Ok(self.raw)
        };
        on(Mail {
            path,
            number: Some(number),
            content,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn read(path: &Path) -> Vec<(PathBuf, Option<u64>, Option<Vec<u8>>)> {
        let mut found = Vec::new();
        let result: Result<(), Infallible> = mails(path, 100_000, &mut |mail| {
            found.push((mail.path.to_owned(), mail.number, mail.content.ok()));
            Ok(())
        });
        result.unwrap();
        found
    }

    #[test]
    fn an_archived_mail_is_inflated_as_far_as_a_mail_may_be_large() {
        let dir = tempfile::tempdir().unwrap();
        let read_one = |mail: &[u8]| {
            let path = dir.path().join("0a.eml.gz");
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            io::Write::write_all(&mut gzip, mail).unwrap();
            fs::write(&path, gzip.finish().unwrap()).unwrap();
            read(&path).pop().unwrap().2
        };
        assert_eq!(read_one(b"A: 1\n\nx").as_deref(), Some(&b"A: 1\n\nx"[..]));
        assert_eq!(read_one(&vec![b'x'; 1_000_000]), None);
    }

    #[test]
    fn an_mbox_is_split_and_unquoted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mbox");
        let long = "x".repeat(70_000);
        fs::write(
            &path,
            format!(
                "From a@example Mon\nA: 1\n\n>From here\n>>From there\n> From\nFrom inside\n\n\
                 From b@example Tue\nB: 2\n\n{long}From \n\nFrom c@example Wed\nC: 3\n\n{long}{long}\n\n\
                 From d@example Thu\nD: 4\n\nend\n"
            ),
        )
        .unwrap();
        let found = read(&path);
        let texts: Vec<_> = found
            .iter()
            .map(|(_, number, raw)| {
                (
                    number.unwrap(),
                    raw.as_ref()
                        .map(|raw| String::from_utf8_lossy(raw).into_owned()),
                )
            })
            .collect();
        assert_eq!(
            texts[0],
            (
                1,
                Some("A: 1\n\nFrom here\n>From there\n> From\nFrom inside\n".to_owned())
            )
        );
        assert_eq!(texts[1], (2, Some(format!("B: 2\n\n{long}From \n"))));
        assert_eq!(texts[2], (3, None), "larger than the limit");
        assert_eq!(texts[3], (4, Some("D: 4\n\nend\n".to_owned())));
    }

    #[test]
    fn a_folder_is_walked_by_name_and_a_maildir_is_known() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "box/cur",
            "box/new",
            "box/tmp",
            "box/.sub/cur",
            "box/.sub/new",
            "zoo",
        ] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        for name in [
            "box/cur/2",
            "box/new/1",
            "box/tmp/3",
            "box/index",
            "box/.sub/cur/4",
            "zoo/b",
            "a",
        ] {
            fs::write(dir.path().join(name), "A: 1\n\n").unwrap();
        }
        let names: Vec<_> = read(dir.path())
            .into_iter()
            .map(|(path, ..)| {
                path.strip_prefix(dir.path())
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert_eq!(
            names,
            ["a", "box/.sub/cur/4", "box/cur/2", "box/new/1", "zoo/b"]
        );
    }

    #[test]
    fn what_cannot_be_read_is_told_in_its_place() {
        let found = read(Path::new("/no/such/file"));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].2, None);
    }
}
