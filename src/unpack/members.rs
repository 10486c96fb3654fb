//! The directory of a zip file: which members can hold a report, and where they lie.

use std::io::Cursor;

use zip::{CompressionMethod, ZipArchive, result::ZipError};

use super::inflate::Member;
use crate::{limits::MAX_MEMBER_HEADERS, terms::Rejection};

/// A member that is worth a look.
pub(super) struct Entry {
    /// Its number in the directory, from 1.
    pub number: usize,
    pub name: String,
    pub member: Result<Member, Rejection>,
}

/// Reads the directory. Folders and what systems put beside files are left out.
pub(super) fn entries(bytes: &[u8], most: usize) -> Result<Vec<Entry>, Rejection> {
    // The crate reads all of the directory before it tells how long it is.
    if headers(bytes) > MAX_MEMBER_HEADERS {
        return Err(Rejection::TooLarge);
    }
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| reason(&error))?;
    if archive.len() > most {
        return Err(Rejection::TooLarge);
    }
    // The crate keeps one of several members of one name; a report must not hide another.
    if archive.has_duplicate_names() {
        return Err(Rejection::BadContainer);
    }
    let mut entries = Vec::new();
    for index in 0..archive.len() {
        let entry = match archive.by_index_raw(index) {
            Ok(file) => {
                let name = String::from_utf8_lossy(file.name_raw()).into_owned();
                if file.is_dir() || is_litter(&name) {
                    continue;
                }
                let start = file.data_start().unwrap_or(u64::MAX);
                let end = start.saturating_add(file.compressed_size());
                let method = file.compression();
                let member = if file.encrypted() {
                    Err(Rejection::UnsupportedContainer)
                } else if method == CompressionMethod::Deflated
                    || method == CompressionMethod::Stored
                {
                    place(start, end, bytes.len()).map(|(start, end)| Member {
                        start,
                        end,
                        deflated: method == CompressionMethod::Deflated,
                        crc: file.crc32(),
                    })
                } else {
                    Err(Rejection::UnsupportedContainer)
                };
                Entry {
                    number: index + 1,
                    name,
                    member,
                }
            }
            Err(error) => Entry {
                number: index + 1,
                name: String::new(),
                member: Err(reason(&error)),
            },
        };
        entries.push(entry);
    }
    Ok(entries)
}

/// How many members the directory can have (APPNOTE 4.3.12).
fn headers(bytes: &[u8]) -> usize {
    let signatures = bytes.windows(4).filter(|four| *four == b"PK\x01\x02");
    signatures.count()
}

/// The range of a member's bytes, if it lies within the file.
fn place(start: u64, end: u64, len: usize) -> Result<(usize, usize), Rejection> {
    let start = usize::try_from(start).map_err(|_| Rejection::BadContainer)?;
    let end = usize::try_from(end).map_err(|_| Rejection::BadContainer)?;
    if start <= end && end <= len {
        Ok((start, end))
    } else {
        Err(Rejection::BadContainer)
    }
}

/// Files that macOS and others add, and that no reporter means.
fn is_litter(name: &str) -> bool {
    let base = name.rsplit(['/', '\\']).next().unwrap_or_default();
    name.starts_with("__MACOSX/") || base.is_empty() || base.starts_with('.')
}

fn reason(error: &ZipError) -> Rejection {
    match error {
        ZipError::UnsupportedArchive(_)
        | ZipError::InvalidPassword
        | ZipError::CompressionMethodNotSupported(_) => Rejection::UnsupportedContainer,
        _ => Rejection::BadContainer,
    }
}
