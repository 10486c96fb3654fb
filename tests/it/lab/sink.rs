//! An SMTP server that takes everything and remembers it: what the others received.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// One message as it came, dots unstuffed.
#[derive(Clone, Debug)]
pub struct Delivered {
    pub recipients: Vec<String>,
    pub data: Vec<u8>,
}

/// The server; it ends when it is dropped.
pub struct Sink {
    port: u16,
    received: Arc<Mutex<Vec<Delivered>>>,
    ending: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Sink {
    /// Listens on a loopback port.
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let ending = Arc::new(AtomicBool::new(false));
        let (into, end) = (Arc::clone(&received), Arc::clone(&ending));
        let acceptor = thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let into = Arc::clone(&into);
                // Ends with its connection, or after the read timeout.
                thread::spawn(move || serve(stream, &into));
            }
        });
        Self {
            port,
            received,
            ending,
            acceptor: Some(acceptor),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Every message so far.
    pub fn received(&self) -> Vec<Delivered> {
        self.received.lock().expect("the lock").clone()
    }

    /// Every recipient so far, sorted.
    pub fn recipients(&self) -> Vec<String> {
        let mut all: Vec<_> = self
            .received()
            .into_iter()
            .flat_map(|mail| mail.recipients)
            .collect();
        all.sort();
        all
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// One connection, to its end; errors end it.
fn serve(mut stream: TcpStream, into: &Mutex<Vec<Delivered>>) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
    let Ok(clone) = stream.try_clone() else {
        return;
    };
    let mut lines = BufReader::new(clone);
    let mut recipients = Vec::new();
    let mut line = Vec::new();
    if stream.write_all(b"220 sink\r\n").is_err() {
        return;
    }
    while read_line(&mut lines, &mut line) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        let verb = text.get(..4).unwrap_or_default().to_ascii_uppercase();
        let reply = match verb.as_str() {
            "RCPT" => {
                let address = text.split(['<', '>']).nth(1).unwrap_or_default();
                recipients.push(address.to_owned());
                "250 ok"
            }
            "DATA" => {
                if stream.write_all(b"354 go on\r\n").is_err() {
                    return;
                }
                let Some(data) = read_data(&mut lines) else {
                    return;
                };
                into.lock().expect("the lock").push(Delivered {
                    recipients: std::mem::take(&mut recipients),
                    data,
                });
                "250 taken"
            }
            "QUIT" => "221 bye",
            _ => "250 ok",
        };
        if stream.write_all(format!("{reply}\r\n").as_bytes()).is_err() {
            return;
        }
    }
}

fn read_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> bool {
    line.clear();
    from.read_until(b'\n', line).is_ok_and(|read| read > 0)
}

fn read_data(from: &mut impl BufRead) -> Option<Vec<u8>> {
    let (mut data, mut line) = (Vec::new(), Vec::new());
    while read_line(from, &mut line) {
        match line.strip_prefix(b".") {
            Some(b"\r\n") => return Some(data),
            Some(rest) => data.extend_from_slice(rest),
            None => data.extend_from_slice(&line),
        }
    }
    None
}
