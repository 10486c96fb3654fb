//! What is compared: ourselves, the peer, and the floor.

use std::{collections::BTreeSet, ops::AddAssign};

use anyhow::{Context as _, bail, ensure};
use libdeflater::Decompressor;
use memchr::memmem;
use quick_xml::events::Event;
use rua_milter::{
    limits,
    report::{
        self, Record, Whole,
        aggregate::{self, Hints, Reading},
    },
    unpack::{self, Bounds, Document},
};

/// Rows and messages of a mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub records: u64,
    pub messages: u64,
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.messages += other.messages;
    }
}

/// A way from the bytes of a mail to its rows.
pub struct Reader {
    pub name: &'static str,
    pub read: fn(&[u8]) -> anyhow::Result<Sum>,
    /// The floor gives none.
    pub gives_rows: bool,
}

/// In the order in which ratios are taken.
pub const READERS: [Reader; 4] = [
    Reader {
        name: "read",
        read: ours,
        gives_rows: true,
    },
    Reader {
        name: "read-no-digest",
        read: without_digest,
        gives_rows: true,
    },
    Reader {
        name: "mail-auth",
        read: mail_auth,
        gives_rows: true,
    },
    Reader {
        name: "floor",
        read: floor,
        gives_rows: false,
    },
];

/// As the pipeline reads an entry of the spool.
fn ours(mail: &[u8]) -> anyhow::Result<Sum> {
    of_documents(mail, |document, hints| {
        match report::read(|| document.open(), hints, limits::BATCH_MEMORY) {
            Ok(Whole::Aggregate(whole)) => Ok(Sum {
                records: whole.report.records,
                messages: whole.report.messages,
            }),
            other => bail!("{other:?}"),
        }
    })
}

/// The same as it is read a second time, when its digest is known.
fn without_digest(mail: &[u8]) -> anyhow::Result<Sum> {
    of_documents(mail, |document, _| {
        let mut records = Vec::new();
        aggregate::records(document.open(), Reading::Strict, &mut |record| {
            records.push(record);
        })
        .map_err(|broken| anyhow::anyhow!("{broken}"))?;
        Ok(Sum {
            records: records.len() as u64,
            messages: records.iter().map(|record| record.count).sum(),
        })
    })
}

fn of_documents(
    mail: &[u8],
    mut read: impl FnMut(&Document, &Hints<'_>) -> anyhow::Result<Sum>,
) -> anyhow::Result<Sum> {
    let unpacked = unpack::documents(mail, &Bounds::default());
    ensure!(unpacked.rejected.is_empty(), "{:?}", unpacked.rejected);
    let mut sum = Sum::default();
    for document in &unpacked.documents {
        let hints = Hints {
            file_name: document.file_name.as_deref(),
            ..Hints::default()
        };
        sum += read(document, &hints)?;
    }
    Ok(sum)
}

/// With its input bounded as ours is.
fn mail_auth(mail: &[u8]) -> anyhow::Result<Sum> {
    let most = usize::try_from(limits::MAX_INFLATED)?;
    let report = mail_auth::report::Report::parse_rfc5322(mail, most)
        .map_err(|error| anyhow::anyhow!("{error:?}"))?;
    Ok(Sum {
        records: report.records().len() as u64,
        messages: report
            .records()
            .iter()
            .map(|record| u64::from(record.count()))
            .sum(),
    })
}

/// Base64, inflation into a buffer of the declared size, and the bare events of quick-xml from a
/// slice: what any reader by these means must do, knowing what the generator writes and checking
/// nothing.
fn floor(mail: &[u8]) -> anyhow::Result<Sum> {
    const ENCODING: &[u8] = b"Content-Transfer-Encoding: base64";
    let from = memmem::rfind(mail, ENCODING).context("no base64")?;
    let start = from + memmem::find(&mail[from..], b"\r\n\r\n").context("no body")? + 4;
    let end = memmem::find(&mail[start..], b"--").map_or(mail.len(), |at| start + at);
    let packed = base64_simd::forgiving_decode_to_vec(&mail[start..end])?;
    let (deflated, size) = match *packed {
        [0x1f, 0x8b, _, flags, ..] => {
            let name = &packed[10..];
            let named = flags & 8 != 0;
            let skip = memchr::memchr(0, name).filter(|_| named);
            let trailer = packed.len() - 8;
            let start = 10 + skip.map_or(0, |end| end + 1);
            (&packed[start..trailer], number(&packed, trailer + 4, 4))
        }
        _ => {
            let start = 30 + number(&packed, 26, 2) + number(&packed, 28, 2);
            let end = start + number(&packed, 18, 4);
            (&packed[start..end], number(&packed, 22, 4))
        }
    };
    let mut xml = vec![0; size];
    Decompressor::new().deflate_decompress(deflated, &mut xml)?;
    let mut reader = quick_xml::Reader::from_reader(&xml[..]);
    while !matches!(std::hint::black_box(reader.read_event()?), Event::Eof) {}
    Ok(Sum::default())
}

/// A little-endian number within `bytes`.
fn number(bytes: &[u8], at: usize, len: usize) -> usize {
    let digits = bytes[at..at + len].iter().rev();
    digits.fold(0, |number, &byte| number << 8 | usize::from(byte))
}

/// The policy domains and the records of all mails.
pub fn records(mails: &[Vec<u8>]) -> anyhow::Result<(BTreeSet<String>, Vec<Record>)> {
    let (mut domains, mut records) = (BTreeSet::new(), Vec::new());
    for mail in mails {
        of_documents(mail, |document, hints| {
            let report = aggregate::read(document.open(), Reading::Strict, hints, &mut |record| {
                records.push(record);
            })
            .map_err(|broken| anyhow::anyhow!("{broken}"))?;
            domains.insert(report.policy.domain.as_str().to_owned());
            Ok(Sum::default())
        })?;
    }
    Ok((domains, records))
}
