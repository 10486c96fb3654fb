//! gzip files, one after the other.

use std::io::{self, Write};

use flate2::{Compress, Compression, FlushCompress, Status};

use crate::limits::READ_CHUNK;

/// How far back a match may be: 2 to this power of bytes.
const WINDOW_BITS: u8 = 15;

/// A compressor of many files. To make one takes longer than to compress a small mail.
pub struct Gzip {
    compress: Compress,
    packed: Vec<u8>,
}

impl Gzip {
    pub fn new() -> Self {
        // A report is compressed already, and in base64: all levels come to the same within 2 %, of
        // which this takes half the time.
        Self {
            compress: Compress::new_gzip(Compression::fast(), WINDOW_BITS),
            packed: Vec::with_capacity(READ_CHUNK),
        }
    }

    /// Writes one file to `out`, which holds these pieces.
    pub fn write(&mut self, out: &mut impl Write, pieces: &[&[u8]]) -> io::Result<()> {
        self.compress.reset();
        self.packed.clear();
        for piece in pieces {
            self.add(piece, out)?;
        }
        while self.step(&[], FlushCompress::Finish, out)?.1 != Status::StreamEnd {}
        out.write_all(&self.packed)
    }

    fn add(&mut self, mut piece: &[u8], out: &mut impl Write) -> io::Result<()> {
        while !piece.is_empty() {
            let (taken, _) = self.step(piece, FlushCompress::None, out)?;
            piece = &piece[taken..];
        }
        Ok(())
    }

    /// Takes some of `piece`, and gives how much that was.
    fn step(
        &mut self,
        piece: &[u8],
        flush: FlushCompress,
        out: &mut impl Write,
    ) -> io::Result<(usize, Status)> {
        if self.packed.len() == self.packed.capacity() {
            out.write_all(&self.packed)?;
            self.packed.clear();
        }
        let before = self.compress.total_in();
        let status = self
            .compress
            .compress_vec(piece, &mut self.packed, flush)
            .map_err(io::Error::other)?;
        let taken = usize::try_from(self.compress.total_in() - before);
        Ok((taken.map_err(io::Error::other)?, status))
    }
}
