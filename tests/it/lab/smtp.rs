//! A raw SMTP client: every byte is the test's, every reply is kept as it came.

use std::{
    io::{BufRead, BufReader, ErrorKind, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

/// Longer than any timeout of ours that a test may meet.
const PATIENCE: Duration = Duration::from_mins(1);

/// One session.
pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    /// Connects, takes the greeting, says EHLO.
    pub fn connect(port: u16) -> Self {
        Self::connect_to((Ipv4Addr::LOCALHOST, port).into())
    }

    /// The same at any address.
    pub fn connect_to(address: SocketAddr) -> Self {
        let mut client = Self::greeted_at(address).expect("an SMTP server");
        let reply = client.command("EHLO reporter.example");
        assert!(reply.starts_with("250"), "{reply}");
        client
    }

    /// Connects; `None` when nobody answers with 220.
    pub fn greeted(port: u16) -> Option<Self> {
        Self::greeted_at((Ipv4Addr::LOCALHOST, port).into())
    }

    fn greeted_at(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.set_write_timeout(Some(PATIENCE)).ok()?;
        stream.set_nodelay(true).ok()?;
        let mut client = Self {
            reader: BufReader::new(stream),
        };
        client.reply().starts_with("220").then_some(client)
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).expect("to send");
    }

    /// The last line of the next reply, without line end; empty when the server has gone.
    pub fn reply(&mut self) -> String {
        loop {
            let mut line = Vec::new();
            match self.reader.read_until(b'\n', &mut line) {
                // A server that hangs up while we send has said its last word unheard.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return String::new(),
                read => read.expect("a reply in time"),
            };
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if line.as_bytes().get(3) != Some(&b'-') {
                return line;
            }
        }
    }

    /// Sends one line, and takes its reply.
    pub fn command(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes());
        self.reply()
    }

    /// MAIL, which must be accepted.
    pub fn mail(&mut self) {
        self.mail_from("noreply@reporter.example");
    }

    /// MAIL from somebody.
    pub fn mail_from(&mut self, sender: &str) {
        let reply = self.command(&format!("MAIL FROM:<{sender}>"));
        assert!(reply.starts_with("250"), "{reply}");
    }

    /// RCPT of one plain address.
    pub fn rcpt(&mut self, address: &str) -> String {
        self.command(&format!("RCPT TO:<{address}>"))
    }

    /// DATA and the message, whose lines end in CRLF; the reply to its end.
    pub fn data(&mut self, message: &[u8]) -> String {
        let reply = self.command("DATA");
        assert!(reply.starts_with("354"), "{reply}");
        self.send(&stuffed(message));
        self.reply()
    }

    /// A whole transaction with one recipient: the last reply, which is the first that says no.
    pub fn try_submit(&mut self, recipient: &str, message: &[u8]) -> String {
        for (command, wanted) in [
            ("MAIL FROM:<noreply@reporter.example>", "250"),
            (&*format!("RCPT TO:<{recipient}>"), "250"),
            ("DATA", "354"),
        ] {
            let reply = self.command(command);
            if !reply.starts_with(wanted) {
                return reply;
            }
        }
        self.send(&stuffed(message));
        self.reply()
    }

    /// A whole transaction whose recipients must all be accepted.
    pub fn submit(&mut self, recipients: &[&str], message: &[u8]) -> String {
        self.mail();
        for recipient in recipients {
            let reply = self.rcpt(recipient);
            assert!(reply.starts_with("250"), "{recipient}: {reply}");
        }
        self.data(message)
    }
}

/// The message with dots doubled at line starts and the final dot (RFC 5321 section 4.5.2).
pub fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 5);
    for line in message.split_inclusive(|&byte| byte == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}
