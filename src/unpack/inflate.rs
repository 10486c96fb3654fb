//! Inflation as a stream, and the bound on what comes out of it.
//!
//! Nothing here believes a declared size. Errors of the formats leave as
//! [`Rejection::BadContainer`] inside the [`io::Error`], those of the bounds as
//! [`Rejection::TooLarge`].

use std::{
    borrow::Cow,
    io::{self, BufRead, BufReader, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::{
    Crc,
    bufread::{DeflateDecoder, GzDecoder, ZlibDecoder},
};

use super::transfer::{Base64, Encoding};
use crate::{limits::MAX_GZIP_MEMBERS, terms::Rejection};

/// One container around the bytes, from the outside in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Layer {
    Gzip,
    Zlib,
    Member(Member),
}

/// Where a zip member lies, and how it is packed. Only ever the outermost layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub start: usize,
    pub end: usize,
    pub deflated: bool,
    pub crc: u32,
}

/// Bytes with the containers around them. Cloning shares the bytes.
#[derive(Clone, Debug)]
pub(super) struct Source<'a> {
    pub bytes: Arc<Cow<'a, [u8]>>,
    pub encoding: Encoding,
    /// From the outside in, each with the account that its output is booked on: what lies
    /// between two containers may be as large as what comes out in the end.
    pub layers: Vec<(Layer, Account)>,
}

impl<'a> Source<'a> {
    pub(super) fn new(encoding: Encoding, bytes: Cow<'a, [u8]>) -> Self {
        Self {
            bytes: Arc::new(bytes),
            encoding,
            layers: Vec::new(),
        }
    }

    /// Whether the bytes are the content itself.
    pub(super) fn is_plain(&self) -> bool {
        self.encoding == Encoding::Plain && self.layers.is_empty()
    }

    /// The same with a copy of the bytes.
    pub(super) fn into_owned<'b>(self) -> Source<'b> {
        Source {
            bytes: Arc::new(Cow::Owned(self.bytes.to_vec())),
            encoding: self.encoding,
            layers: self.layers,
        }
    }

    /// The same bytes with one more container inside the others.
    pub(super) fn within(&self, layer: Layer, account: Account) -> Self {
        let mut layers = self.layers.clone();
        layers.push((layer, account));
        Self {
            bytes: Arc::clone(&self.bytes),
            encoding: self.encoding,
            layers,
        }
    }

    /// The innermost content, under the bounds of the mail.
    pub(super) fn open(&self) -> Box<dyn Read + '_> {
        let Some(((layer, account), outer)) = self.layers.split_last() else {
            return self.encoded();
        };
        let stream = outer
            .iter()
            .fold(self.encoded(), |stream, (layer, account)| {
                Box::new(BufReader::new(self.opened(*layer, account, stream)))
            });
        Box::new(self.opened(*layer, account, stream))
    }

    /// What lies within no container.
    fn encoded(&self) -> Box<dyn BufRead + '_> {
        match self.encoding {
            Encoding::Plain => Box::new(&self.bytes[..]),
            Encoding::Base64 => Box::new(Base64::new(&self.bytes)),
        }
    }

    fn opened<'s>(
        &'s self,
        layer: Layer,
        account: &'s Account,
        stream: Box<dyn BufRead + 's>,
    ) -> Bounded<'s, Box<dyn Read + 's>> {
        let inner: Box<dyn Read + 's> = match layer {
            Layer::Gzip => Box::new(Gunzip::new(stream)),
            Layer::Zlib => Box::new(ZlibDecoder::new(stream)),
            Layer::Member(member) => member.open(&self.bytes),
        };
        Bounded::new(inner, account)
    }
}

impl Member {
    fn open(self, archive: &[u8]) -> Box<dyn Read + '_> {
        let packed = archive.get(self.start..self.end).unwrap_or_default();
        if self.deflated {
            Box::new(Checked::new(DeflateDecoder::new(packed), self.crc))
        } else {
            Box::new(Checked::new(packed, self.crc))
        }
    }
}

/// A gzip stream of one or more members, as RFC 1952 section 2.2 allows.
///
/// Bytes after the last member are ignored: some reporters add CRLF or zeros, which strict
/// readers refuse (Mimecast).
struct Gunzip<R: BufRead> {
    member: Option<GzDecoder<R>>,
    members: usize,
}

impl<R: BufRead> Gunzip<R> {
    fn new(inner: R) -> Self {
        Self {
            member: Some(GzDecoder::new(inner)),
            members: 1,
        }
    }
}

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while let Some(mut member) = self.member.take() {
            match member.read(buf) {
                Ok(0) if !buf.is_empty() => {
                    let mut rest = member.into_inner();
                    if rest.fill_buf()?.first() == Some(&0x1f) {
                        if self.members >= MAX_GZIP_MEMBERS {
                            return Err(Rejection::TooLarge.into());
                        }
                        self.members += 1;
                        self.member = Some(GzDecoder::new(rest));
                    }
                }
                // What follows the last member was no member.
                Err(error)
                    if self.members > 1
                        && member.header().is_none()
                        && Rejection::within(&error).is_none() => {}
                result => {
                    self.member = Some(member);
                    return result;
                }
            }
        }
        Ok(0)
    }
}

/// Compares the checksum of what came out with the declared one at the end.
struct Checked<R> {
    inner: R,
    crc: Crc,
    declared: u32,
}

impl<R: Read> Checked<R> {
    fn new(inner: R, declared: u32) -> Self {
        Self {
            inner,
            crc: Crc::new(),
            declared,
        }
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buf)?;
        self.crc.update(&buf[..count]);
        if count == 0 && !buf.is_empty() && self.crc.sum() != self.declared {
            return Err(Rejection::BadContainer.into());
        }
        Ok(count)
    }
}

/// What a mail's documents have put out so far, and how much they may.
#[derive(Clone, Debug)]
pub(super) struct Account {
    per_document: u64,
    total: u64,
    spent: Arc<AtomicU64>,
    /// How far this document was ever read: reading it again costs the mail nothing more.
    furthest: Arc<AtomicU64>,
}

impl Account {
    pub(super) fn new(per_document: u64, total: u64) -> Self {
        Self {
            per_document,
            total,
            spent: Arc::default(),
            furthest: Arc::default(),
        }
    }

    /// For another document of the same mail.
    pub(super) fn another(&self) -> Self {
        Self {
            furthest: Arc::default(),
            ..self.clone()
        }
    }

    /// Books that a reader of this document is at `position`. What was read before is read again
    /// for nothing, even when nothing is left: a bomb keeps no report beside it from its second
    /// reading.
    fn book(&self, position: u64) -> io::Result<()> {
        let new = position.saturating_sub(self.furthest.load(Ordering::Relaxed));
        let spend = |spent: u64| spent.checked_add(new).filter(|spent| *spent <= self.total);
        let order = Ordering::Relaxed;
        if position > self.per_document || self.spent.fetch_update(order, order, spend).is_err() {
            return Err(Rejection::TooLarge.into());
        }
        self.furthest.fetch_max(position, Ordering::Relaxed);
        Ok(())
    }
}

/// A document's content under the bounds of its mail.
pub(super) struct Bounded<'a, R> {
    inner: R,
    account: &'a Account,
    position: u64,
}

impl<'a, R: Read> Bounded<'a, R> {
    pub(super) fn new(inner: R, account: &'a Account) -> Self {
        Self {
            inner,
            account,
            position: 0,
        }
    }
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buf) {
            Ok(count) => {
                self.position += count as u64;
                self.account.book(self.position)?;
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) if Rejection::within(&error).is_some() => Err(error),
            // Everything is in memory: what fails here is the format, never a device.
            Err(_) => Err(Rejection::BadContainer.into()),
        }
    }
}
