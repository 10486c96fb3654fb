//! Mails and files as reporters and attackers make them, and what is found in them.

mod bounds;
mod containers;
mod damage;
mod failures;
mod parts;

use std::{
    fmt::Write as _,
    io::{Cursor, Write},
};

use flate2::{Compression, write::GzEncoder};
use zip::{ZipWriter, write::SimpleFileOptions};

use super::*;

const XML: &[u8] = b"<?xml version=\"1.0\"?><feedback></feedback>";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::best());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        if name.ends_with('/') {
            out.add_directory(*name, SimpleFileOptions::default())
                .unwrap();
        } else {
            out.start_file(*name, SimpleFileOptions::default()).unwrap();
            out.write_all(bytes).unwrap();
        }
    }
    out.finish().unwrap().into_inner()
}

fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for (at, group) in bytes.chunks(3).enumerate() {
        let mut word = [0; 4];
        word[1..=group.len()].copy_from_slice(group);
        let word = u32::from_be_bytes(word);
        for digit in 0..4 {
            let value = (word >> (18 - 6 * digit)) & 63;
            let digit = if digit > group.len() {
                b'='
            } else {
                DIGITS[value as usize]
            };
            out.push(char::from(digit));
        }
        if at % 19 == 18 {
            out.push_str("\r\n");
        }
    }
    out
}

/// A part with its content in base64.
fn attachment(kind: &str, bytes: &[u8]) -> String {
    format!(
        "Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n",
        encode(bytes)
    )
}

fn multipart(parts: &[String]) -> String {
    let mut mail =
        "Subject: x\r\nContent-Type: multipart/mixed;\r\n boundary=\"=_b\"\r\n\r\nhello\r\n"
            .to_owned();
    for part in parts {
        write!(mail, "--=_b\r\n{part}\r\n").unwrap();
    }
    mail + "--=_b--\r\n"
}

fn found(raw: &[u8]) -> Unpacked<'_> {
    documents(raw, &Bounds::default())
}

fn content(document: &Document<'_>) -> Result<Vec<u8>, Rejection> {
    let mut out = Vec::new();
    match document.open().read_to_end(&mut out) {
        Ok(_) => Ok(out),
        Err(error) => Err(Rejection::within(&error).expect("every error carries its reason")),
    }
}

type Parts<T> = Vec<(String, T)>;

/// Parts with their contents, and what was rejected.
fn all(raw: &[u8]) -> (Parts<Vec<u8>>, Parts<Rejection>) {
    let unpacked = found(raw);
    let documents = unpacked
        .documents
        .iter()
        .map(|document| (document.part.clone(), content(document).unwrap()))
        .collect();
    (documents, unpacked.rejected)
}

fn one(raw: &[u8]) -> Vec<u8> {
    let (mut documents, rejected) = all(raw);
    assert_eq!((documents.len(), &rejected[..]), (1, &[][..]));
    documents.remove(0).1
}

fn rejected(raw: &[u8]) -> Vec<Rejection> {
    let (documents, rejected) = all(raw);
    assert!(documents.is_empty());
    rejected
        .into_iter()
        .map(|(_, rejection)| rejection)
        .collect()
}
