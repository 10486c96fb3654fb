//! The MTA's side of the milter protocol, as little of it as one mail needs: no option is agreed on,
//! so that each step has its answer.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::Path,
};

use super::SOON;

/// What a milter says that has taken a mail and wants it to go no further.
pub const DISCARD: &str = "d";

/// Whom an MTA speaks for unless a test says otherwise.
const CLIENT: &str = "192.0.2.25";

/// A socket of either kind.
pub trait Wire: Read + Write + Send {}

impl<S: Read + Write + Send> Wire for S {}

/// Connects to an address as `[[listen]]` names it.
pub fn dial(address: &str) -> io::Result<Box<dyn Wire>> {
    if let Some(path) = address.strip_prefix("unix:") {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(2 * SOON))?;
        stream.set_write_timeout(Some(SOON))?;
        return Ok(Box::new(stream));
    }
    let stream = TcpStream::connect(address.trim_start_matches("inet:"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(2 * SOON))?;
    stream.set_write_timeout(Some(SOON))?;
    Ok(Box::new(stream))
}

/// One connection.
pub struct Milter(Box<dyn Wire>);

impl Milter {
    /// Connects and agrees on nothing; an error when nobody is there, or goes away.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        Self::dial(&format!("unix:{}", socket.display()), CLIENT)
    }

    /// The same at any address, for mail that this client brings to the MTA.
    pub fn dial(address: &str, client: &str) -> io::Result<Self> {
        let mut milter = Self(dial(address)?);
        let version = [0, 0, 0, 6];
        let actions = [0, 0, 1, 0xff];
        milter.ask(b'O', &[version, actions, [0; 4]].concat())?;
        milter.client(client)?;
        milter.ask(b'H', b"mx.reporter.example\0")?;
        Ok(milter)
    }

    /// The mail that follows comes from this client.
    fn client(&mut self, address: &str) -> io::Result<()> {
        let family = if address.contains(':') { '6' } else { '4' };
        let client = format!("mx.reporter.example\0{family}\0\x19{address}\0");
        self.ask(b'C', client.as_bytes())?;
        Ok(())
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

    /// Sends a packet that nothing answers.
    pub fn send(&mut self, command: u8, data: &[u8]) -> io::Result<()> {
        self.0.write_all(&packet(command, data))
    }

    /// Sends a packet, and gives the answer: its letter, and its text if it has one.
    fn ask(&mut self, command: u8, data: &[u8]) -> io::Result<String> {
        self.send(command, data)?;
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

/// A packet as it is on the wire.
pub fn packet(command: u8, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(1 + data.len()).expect("a short packet");
    [&length.to_be_bytes()[..], &[command], data].concat()
}

/// One mail by a connection of its own; nothing when there was no answer.
pub fn submit(socket: &Path, recipient: &str, mail: &[u8]) -> Option<String> {
    Milter::connect(socket)
        .and_then(|mut milter| milter.submit(recipient, mail))
        .ok()
}
