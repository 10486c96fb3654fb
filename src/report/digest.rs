//! The digest of a document, taken as it is read.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use super::Digest;

/// SHA-256 over bytes whose CRLF are folded to LF, so that a relay's line ends change nothing.
#[derive(Default)]
pub(super) struct FoldedHash {
    hash: Sha256,
    folded: Vec<u8>,
    /// The last byte was CR, and is not hashed yet.
    pending: bool,
}

impl FoldedHash {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        if !self.pending && !bytes.contains(&b'\r') {
            return self.hash.update(bytes);
        }
        self.folded.clear();
        for &byte in bytes {
            if self.pending && byte != b'\n' {
                self.folded.push(b'\r');
            }
            self.pending = byte == b'\r';
            if !self.pending {
                self.folded.push(byte);
            }
        }
        self.hash.update(&self.folded);
    }

    pub(super) fn finish(mut self) -> Digest {
        if self.pending {
            self.hash.update(b"\r");
        }
        Digest(self.hash.finalize().into())
    }
}

/// A document's bytes, hashed on the way.
pub(super) struct Hashed<R> {
    input: R,
    hash: FoldedHash,
}

impl<R> Hashed<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            hash: FoldedHash::default(),
        }
    }

    /// The digest, after the end was reached.
    pub(super) fn finish(self) -> Digest {
        self.hash.finish()
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buf)?;
        self.hash.update(&buf[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(bytes: &[u8]) -> Digest {
        let mut hashed = Hashed::new(bytes);
        io::copy(&mut hashed, &mut io::sink()).unwrap();
        hashed.finish()
    }

    #[test]
    fn line_ends_do_not_change_the_digest() {
        let lf = "a\nb\n".repeat(20_000);
        let crlf = lf.replace('\n', "\r\n");
        assert_eq!(digest(lf.as_bytes()), digest(crlf.as_bytes()));
        assert_ne!(digest(b"a\rb"), digest(b"ab"));
        assert_ne!(digest(b"a\r"), digest(b"a"));
    }
}
