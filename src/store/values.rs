//! Our values as SQLite's, and back.

use std::net::IpAddr;

use serde::{Serialize, Serializer as _};
use sha2::{Digest as _, Sha256};

use crate::report::{ReportKey, Stated};

/// An address as the BLOB of its octets.
pub(super) enum Octets {
    V4([u8; 4]),
    V6([u8; 16]),
}

impl From<IpAddr> for Octets {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => Self::V6(address.octets()),
        }
    }
}

impl rusqlite::ToSql for Octets {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        let octets: &[u8] = match self {
            Self::V4(octets) => octets,
            Self::V6(octets) => octets,
        };
        Ok(octets.into())
    }
}

/// A number as SQLite holds it. [`crate::limits::MAX_MESSAGES`] lies far below the end; what a bug
/// would clip here, the comparison after the last record finds.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Reads a number that [`integer`] wrote.
pub(super) fn unsigned(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// Reads an address that [`Octets`] wrote.
pub(super) fn address(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<IpAddr> {
    let octets = row.get_ref(column)?.as_blob()?;
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .map_err(|wrong| {
            let blob = rusqlite::types::Type::Blob;
            rusqlite::Error::FromSqlConversionFailure(column, blob, wrong.into())
        })
}

/// Reads a closed word that we wrote.
pub(super) fn word<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    row: &rusqlite::Row<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|unknown: T::Err| {
        let text_type = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(column, text_type, unknown.into())
    })
}

/// The word, or what stood in its place; NULL when nothing did.
pub(super) fn stated<T: Copy>(value: &Stated<T>, as_str: fn(T) -> &'static str) -> Option<&str> {
    match value {
        Stated::Not => None,
        Stated::Known(word) => Some(as_str(*word)),
        Stated::Other(text) => Some(text),
    }
}

/// A JSON array with one value for each item, `None` without any.
pub(super) fn packed<'a, T, R: Serialize>(
    items: &'a [T],
    value: impl Fn(&'a T) -> R,
) -> Option<String> {
    if items.is_empty() {
        return None;
    }
    let mut json = Vec::with_capacity(128);
    serde_json::Serializer::new(&mut json)
        .collect_seq(items.iter().map(value))
        .expect("texts and tuples of texts have a JSON form");
    Some(String::from_utf8(json).expect("JSON is UTF-8"))
}

/// SHA-256 over the fields of a key, each under its length, so that no two keys look alike.
pub(super) fn digest_of(key: &ReportKey) -> [u8; 32] {
    let mut digest = Sha256::new();
    for text in [
        key.kind.as_str(),
        &key.org_name,
        &key.report_id,
        key.domain.as_str(),
    ] {
        digest.update((text.len() as u64).to_be_bytes());
        digest.update(text);
    }
    digest.update(key.begin.to_be_bytes());
    digest.update(key.end.to_be_bytes());
    digest.finalize().into()
}
