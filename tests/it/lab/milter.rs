//! The MTA's side of the milter protocol, as little of it as one mail needs: no option is agreed on,
//! so that each step has its answer.

use std::{
    io::{self, ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
};

use super::SOON;

/// What a milter says that has taken a mail and wants it to go no further.
pub const DISCARD: &str = "d";

/// One connection.
pub struct Milter(UnixStream);

impl Milter {
    /// Connects and agrees on nothing; an error when nobody is there, or goes away.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(SOON))?;
        stream.set_write_timeout(Some(SOON))?;
        let mut milter = Self(stream);
        let version = [0, 0, 0, 6];
        let actions = [0, 0, 1, 0xff];
        milter.ask(b'O', &[version, actions, [0; 4]].concat())?;
        milter.ask(b'C', b"mx.reporter.example\x004\0\x19192.0.2.25\0")?;
        milter.ask(b'H', b"mx.reporter.example\0")?;
        Ok(milter)
    }

    /// A mail for one recipient: the answer to its end, or the first before it that says no.
    pub fn submit(&mut self, recipient: &str, mail: &[u8]) -> io::Result<String> {
        let recipient = format!("<{recipient}>\0");
        let end = mail.windows(4).position(|four| four == b"\r\n\r\n");
        let (header, body) = mail.split_at(end.expect("a header") + 4);
        let header = String::from_utf8_lossy(header);
        let mut steps: Vec<(u8, Vec<u8>)> = vec![
            (b'M', b"<noreply@reporter.example>\0".to_vec()),
            (b'R', recipient.into_bytes()),
            (b'T', Vec::new()),
        ];
        for field in header.trim_end().split("\r\n") {
            let (name, value) = field.split_once(": ").expect("a field of one line");
            steps.push((b'L', format!("{name}\0{value}\0").into_bytes()));
        }
        steps.push((b'N', Vec::new()));
        steps.extend(body.chunks(65_535).map(|chunk| (b'B', chunk.to_vec())));
        for (command, data) in steps {
            let answer = self.ask(command, &data)?;
            if answer != "c" {
                return Ok(answer);
            }
        }
        self.ask(b'E', b"")
    }

    /// Sends a packet, and gives the answer: its letter, and its text if it has one.
    fn ask(&mut self, command: u8, data: &[u8]) -> io::Result<String> {
        let length = u32::try_from(1 + data.len()).expect("a short packet");
        let packet = [&length.to_be_bytes()[..], &[command], data].concat();
        self.0.write_all(&packet)?;
        loop {
            let mut length = [0; 4];
            self.0.read_exact(&mut length)?;
            let length = u32::from_be_bytes(length);
            if !(1..=1 << 20).contains(&length) {
                return Err(ErrorKind::InvalidData.into());
            }
            let mut answer = vec![0; length as usize];
            self.0.read_exact(&mut answer)?;
            // Progress is no answer yet.
            if answer != b"p" {
                let text = String::from_utf8_lossy(&answer);
                return Ok(text.trim_end_matches('\0').to_owned());
            }
        }
    }
}

/// One mail by a connection of its own; nothing when there was no answer.
pub fn submit(socket: &Path, recipient: &str, mail: &[u8]) -> Option<String> {
    Milter::connect(socket)
        .and_then(|mut milter| milter.submit(recipient, mail))
        .ok()
}
