//! A tap on the wire between an MTA and the milter: which commands the MTA sent.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

/// Listens on TCP, passes everything on to a unix socket and back; it ends when it is dropped.
pub struct Tap {
    port: u16,
    commands: Arc<Mutex<String>>,
    ending: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Tap {
    pub fn start(behind: &Path) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let commands = Arc::new(Mutex::new(String::new()));
        let ending = Arc::new(AtomicBool::new(false));
        let (into, end, behind) = (
            Arc::clone(&commands),
            Arc::clone(&ending),
            behind.to_owned(),
        );
        let acceptor = thread::spawn(move || {
            while let Ok((mta, _)) = listener.accept() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                pass(mta, &behind, Arc::clone(&into));
            }
        });
        Self {
            port,
            commands,
            ending,
            acceptor: Some(acceptor),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The command letters so far, macros (D) left out.
    pub fn commands(&self) -> String {
        self.commands.lock().expect("the lock").clone()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// Both directions of one connection; each thread ends with the connection.
fn pass(mta: TcpStream, behind: &PathBuf, into: Arc<Mutex<String>>) {
    let Ok(milter) = UnixStream::connect(behind) else {
        return;
    };
    let _ = mta.set_nodelay(true);
    let (Ok(mut mta_out), Ok(mut milter_in)) = (mta.try_clone(), milter.try_clone()) else {
        return;
    };
    thread::spawn(move || {
        let _ = std::io::copy(&mut milter_in, &mut mta_out);
        let _ = mta_out.shutdown(Shutdown::Both);
    });
    let (mut mta, mut milter) = (mta, milter);
    thread::spawn(move || {
        while let Some(frame) = frame(&mut mta) {
            let command = char::from(frame[4]);
            if command != 'D' {
                into.lock().expect("the lock").push(command);
            }
            if milter.write_all(&frame).is_err() {
                break;
            }
        }
        let _ = milter.shutdown(Shutdown::Both);
    });
}

/// One packet: four octets of length, a letter, its data.
fn frame(from: &mut impl Read) -> Option<Vec<u8>> {
    let mut frame = vec![0; 4];
    from.read_exact(&mut frame).ok()?;
    let length = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]);
    if !(1..=1 << 20).contains(&length) {
        return None;
    }
    frame.resize(4 + length as usize, 0);
    from.read_exact(&mut frame[4..]).ok()?;
    Some(frame)
}
