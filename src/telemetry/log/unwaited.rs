//! An output that is never waited for.
//!
//! Who reads standard error (a pipe, the journal) may have stopped, and mail must not stop with it. A
//! line that finds no room is lost; how many were is said once there is room again.

use std::{
    io::{self, Write},
    os::fd::AsFd,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::config::LogFormat;

/// Bytes that a pipe takes without waiting when it takes any (`PIPE_BUF`, pipe(7)).
const PIECE: usize = 4_096;

/// Takes whole lines, one for each [`write`](Write::write).
#[derive(Debug)]
pub struct Unwaited<W> {
    out: W,
    format: LogFormat,
    /// Lines of which no word was said yet.
    lost: u64,
    /// The last line has no end.
    cut: bool,
}

impl<W: Write + AsFd> Unwaited<W> {
    pub fn new(out: W, format: LogFormat) -> Self {
        Self {
            out,
            format,
            lost: 0,
            cut: false,
        }
    }

    /// Whether all of it went out.
    fn put(&mut self, line: &[u8]) -> bool {
        let end: &[u8] = if self.cut { b"\n" } else { b"" };
        for piece in end.chunks(PIECE).chain(line.chunks(PIECE)) {
            if !self.has_room() || self.out.write_all(piece).is_err() {
                return false;
            }
            self.cut = !piece.ends_with(b"\n");
        }
        true
    }

    fn has_room(&self) -> bool {
        let mut fds = [PollFd::new(self.out.as_fd(), PollFlags::POLLOUT)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    fn tell_of_lost(&mut self) -> bool {
        let lost = self.lost;
        if lost == 0 {
            return true;
        }
        let text = "lines are missing here: nobody read them";
        let notice = match self.format {
            LogFormat::Text => format!(" WARN rua_milter: {lost} {text}\n"),
            LogFormat::Json => {
                format!("{{\"level\":\"WARN\",\"message\":\"{text}\",\"lost\":{lost}}}\n")
            }
        };
        let told = self.put(notice.as_bytes());
        if told {
            self.lost = 0;
        }
        told
    }
}

impl<W: Write + AsFd> Write for Unwaited<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if !(self.tell_of_lost() && self.put(line)) {
            self.lost = self.lost.saturating_add(1);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, PipeWriter, Read, pipe};

    use super::*;

    /// Writes until nothing more goes in, and says how much did; whatever stays blocked fails the test
    /// by its time.
    fn filled(format: LogFormat, line: &str) -> (PipeReader, Unwaited<PipeWriter>, u64) {
        let (reader, writer) = pipe().unwrap();
        let mut out = Unwaited::new(writer, format);
        let mut whole = 0;
        while out.lost < 3 {
            assert_eq!(out.write(line.as_bytes()).unwrap(), line.len());
            whole += u64::from(out.lost == 0);
        }
        (reader, out, whole)
    }

    #[test]
    fn what_nobody_reads_is_lost_and_their_number_is_said() {
        for (format, notice) in [
            (
                LogFormat::Text,
                " WARN rua_milter: 3 lines are missing here",
            ),
            (LogFormat::Json, "{\"level\":\"WARN\",\"message\":\"lines"),
        ] {
            // Longer than a piece, so that one of them is cut.
            let line = format!("{}\n", "x".repeat(PIECE * 3 / 2));
            let (mut reader, mut out, whole) = filled(format, &line);
            let mut some = vec![0; usize::try_from(whole).unwrap() * line.len()];
            reader.read_exact(&mut some).unwrap();
            out.write_all(b"last\n").unwrap();
            drop(out);
            let mut rest = String::new();
            reader.read_to_string(&mut rest).unwrap();
            let mut lines: Vec<_> = rest.lines().collect();
            assert_eq!(lines.pop(), Some("last"));
            assert!(lines.pop().unwrap().starts_with(notice), "{rest}");
            // What was cut, on a line of its own.
            assert!(lines.len() <= 1, "{rest}");
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure() {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let mut out = Unwaited::new(writer, LogFormat::Text);
        out.write_all(b"line\n").unwrap();
        assert_eq!(out.lost, 1);
    }
}
