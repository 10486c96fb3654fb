//! Stalwart 0.15 as a milter client, byte for byte: a connection for each stage, each of which tells
//! all from the beginning; the whole message as its body; accept taken for continue.

use std::{
    io::{self, ErrorKind},
    time::Duration,
};

use super::{
    hook::{fields, split},
    milter::{Wire, dial, packet},
};

/// What Stalwart offers: every action but one, and to leave out HELO and the end of the header.
const ACTIONS: u32 = 0xff;
const STEPS: u32 = 0x42;

/// Stages at which the milter is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stages {
    Data,
    RcptAndData,
}

/// What the sender hears and what is queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Answers to each RCPT.
    pub rcpts: Vec<String>,
    /// The answer to the end of the message; empty when there was nobody to send it to.
    pub end: String,
    /// Who gets the message; nobody when it was discarded or refused.
    pub queued: Vec<String>,
}

/// A mail for these recipients, asked about at these stages.
pub fn submit(address: &str, stages: Stages, to: &[&str], mail: &[u8]) -> io::Result<Outcome> {
    let mut outcome = Outcome {
        rcpts: Vec::new(),
        end: String::new(),
        queued: Vec::new(),
    };
    let mut taken = Vec::new();
    for to in to {
        taken.push(to.to_lowercase());
        let answer = match stages {
            Stages::Data => Answer::go_on(),
            Stages::RcptAndData => connection(address, &taken, None)?,
        };
        if answer.is_no() {
            taken.pop();
        }
        outcome.rcpts.push(answer.smtp());
    }
    if taken.is_empty() {
        return Ok(outcome);
    }
    let answer = connection(address, &taken, Some(mail))?;
    outcome.end = answer.smtp();
    if !answer.is_no() && answer.verdict != "d" {
        taken.retain(|to| !answer.removed.contains(to));
        outcome.queued = taken;
    }
    Ok(outcome)
}

/// How a connection ended.
struct Answer {
    /// The letter, and its text if it has one.
    verdict: String,
    removed: Vec<String>,
}

impl Answer {
    fn go_on() -> Self {
        Self {
            verdict: "c".into(),
            removed: Vec::new(),
        }
    }

    fn is_no(&self) -> bool {
        ["y", "r", "t"].contains(&&self.verdict[..1])
    }

    /// As it is passed on.
    fn smtp(&self) -> String {
        match self.verdict.split_at(1) {
            ("c" | "a" | "d", _) => "250 2.0.0".into(),
            ("y", reply) => reply.into(),
            (verdict, _) => panic!("{verdict}"),
        }
    }
}

/// One connection, which tells all that is known so far.
fn connection(address: &str, to: &[String], mail: Option<&[u8]>) -> io::Result<Answer> {
    let mut peer = Peer(dial(address)?);
    peer.negotiate()?;
    let macros = "{daemon_name}\0smtp\0j\0mx.reports.example\0{client_addr}\x00192.0.2.25\0\
                  {client_port}\x0041234\0{client_ptr}\0mx.reporter.example\0";
    peer.macros(b'C', macros)?;
    // The name is that of HELO.
    let client = b"mx.reporter.example\x004\xa1\x12192.0.2.25\0";
    let mut steps = vec![
        (b'C', client.to_vec()),
        (b'H', b"mx.reporter.example\0".to_vec()),
    ];
    steps.push((b'M', b"<noreply@reporter.example>\0".to_vec()));
    steps.extend(to.iter().map(|to| (b'R', format!("<{to}>\0").into_bytes())));
    if let Some(mail) = mail {
        steps.push((b'T', Vec::new()));
        let (header, _) = split(mail);
        for (name, value) in fields(header) {
            // What is no UTF-8 is empty.
            let value = std::str::from_utf8(value).unwrap_or_default().trim();
            let field = [name, b"\0", value.as_bytes(), b"\0"].concat();
            steps.push((b'L', field));
        }
        steps.push((b'N', Vec::new()));
        // All of the message, and its last line without an end.
        let whole = mail.strip_suffix(b"\r\n").unwrap_or(mail);
        steps.extend(whole.chunks(65_535).map(|piece| (b'B', piece.to_vec())));
        steps.push((b'E', Vec::new()));
    }
    let mut answer = Answer::go_on();
    for (command, data) in steps {
        match command {
            b'M' => peer.macros(b'M', "{mail_addr}\0noreply@reporter.example\0")?,
            b'R' => peer.macros(b'R', "{rcpt_addr}\0x\0")?,
            _ => {}
        }
        answer = peer.ask(command, &data)?;
        let last = command == b'E';
        // Accept is taken for continue.
        if answer.is_no() || !last && !["c", "a"].contains(&&*answer.verdict) {
            break;
        }
    }
    peer.send(b'Q', b"")?;
    Ok(answer)
}

struct Peer(Box<dyn Wire>);

impl Peer {
    fn negotiate(&mut self) -> io::Result<()> {
        let offer = [6, ACTIONS, STEPS].map(u32::to_be_bytes).concat();
        self.send(b'O', &offer)?;
        let answer = self.packet()?;
        let word = |n: usize| {
            let bytes = answer.get(1 + 4 * n..5 + 4 * n).expect("three words");
            u32::from_be_bytes(bytes.try_into().expect("four bytes"))
        };
        assert_eq!(answer[0], b'O');
        assert_eq!(answer.len(), 13, "no macros are asked for");
        assert!((2..=6).contains(&word(0)));
        assert_eq!(
            (word(1) & !ACTIONS, word(2) & !STEPS),
            (0, 0),
            "more than is offered"
        );
        Ok(())
    }

    fn macros(&mut self, stage: u8, macros: &str) -> io::Result<()> {
        self.send(b'D', &[&[stage], macros.as_bytes()].concat())
    }

    fn send(&mut self, command: u8, data: &[u8]) -> io::Result<()> {
        self.0.write_all(&packet(command, data))
    }

    fn ask(&mut self, command: u8, data: &[u8]) -> io::Result<Answer> {
        self.send(command, data)?;
        let mut removed = Vec::new();
        loop {
            let answer = self.packet()?;
            let text = String::from_utf8_lossy(&answer[1..]);
            let text = text.trim_end_matches('\0');
            match answer[0] {
                b'p' => {}
                b'-' => removed.push(text.trim_matches(['<', '>']).to_owned()),
                letter => {
                    let verdict = format!("{}{text}", char::from(letter));
                    return Ok(Answer { verdict, removed });
                }
            }
        }
    }

    fn packet(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if !(1..=1 << 20).contains(&length) {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut packet = vec![0; length as usize];
        self.0.read_exact(&mut packet)?;
        Ok(packet)
    }
}

/// What an ordinary mail may take: each step that is not answered would take longer.
pub const ORDINARY: Duration = Duration::from_secs(1);
