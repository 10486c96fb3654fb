//! Programs of the system that know what we want to know. They are asked, for a bounded time, and
//! never told to change anything.

use std::{
    io::{self, ErrorKind, Read},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::limits;

/// How often it is looked whether a program that has said all has ended.
const LOOK: Duration = Duration::from_millis(2);

/// What a program wrote, and whether it succeeded.
pub struct Said {
    pub succeeded: bool,
    pub text: String,
    /// Whether it had anything to say on stderr.
    pub complained: bool,
}

/// Runs a program to its end, or for [`limits::DOCTOR_WAIT`].
pub fn ask(name: &str, arguments: &[&str]) -> io::Result<Said> {
    // Administrators' programs are not on the path of every user.
    let path = std::env::var("PATH").unwrap_or_default();
    let mut child = Command::new(name)
        .args(arguments)
        .env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin:/usr/bin"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let deadline = Instant::now() + limits::DOCTOR_WAIT;
    let text = listen(child.stdout.take());
    let complaint = listen(child.stderr.take());
    let heard = || {
        let left = deadline.saturating_duration_since(Instant::now());
        let text = text.recv_timeout(left).ok()?;
        let left = deadline.saturating_duration_since(Instant::now());
        Some((text, complaint.recv_timeout(left).ok()?))
    };
    let heard = heard();
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if heard.is_some() && Instant::now() < deadline => thread::sleep(LOOK),
            None => {
                child.kill()?;
                child.wait()?;
                return Err(ErrorKind::TimedOut.into());
            }
        }
    };
    let (text, complaint) = heard.ok_or(ErrorKind::TimedOut)?;
    Ok(Said {
        succeeded: status.success(),
        text: String::from_utf8_lossy(&text?).into_owned(),
        complained: !complaint?.is_empty(),
    })
}

/// Reads to the end, beside us: the thread ends with the program, or with us.
fn listen(from: Option<impl Read + Send + 'static>) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut text = Vec::new();
        let read = from.map_or(Ok(0), |from| {
            from.take(limits::DOCTOR_HEARD).read_to_end(&mut text)
        });
        // Nobody listens once the time is up.
        let _ = tell.send(read.map(|_| text));
    });
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_says_is_heard_and_one_that_is_not_there_is_told() {
        let said = ask("sh", &["-c", "echo heard; exit 1"]).expect("a shell");
        assert_eq!((said.succeeded, said.text.as_str()), (false, "heard\n"));
        assert!(!said.complained);
        let said = ask("sh", &["-c", "echo no >&2"]).expect("a shell");
        assert!(said.succeeded && said.complained);
        assert!(ask("no-such-program-anywhere", &[]).is_err());
    }
}
