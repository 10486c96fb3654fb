//! A log that nobody reads, or can be written no more.

use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::Command,
};

use super::Place;
use crate::lab::{SOON, daemon::Settings, until};

/// A named pipe as the daemon's output, opened here so that it never ends, and not waited for.
fn pipe(path: &Path, settings: &mut Settings) -> File {
    const O_NONBLOCK: i32 = 0o4000;
    let made = Command::new("mkfifo").arg(path).status().expect("mkfifo");
    assert!(made.success());
    let script = format!("exec \"$@\" >{} 2>&1", path.display());
    settings.under = ["sh", "-c", &script, "sh"].map(Into::into).into();
    let mut options = File::options();
    options.read(true).write(true).custom_flags(O_NONBLOCK);
    options.open(path).expect("a pipe")
}

fn would_block<T>(result: std::io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let mut pipe_end = None;
    let mut place = Place::with(|settings, dir| {
        pipe_end = Some(pipe(&dir.join("log"), settings));
    });
    let mut pipe = pipe_end.expect("a pipe");
    until("it is full", SOON, || would_block(pipe.write(&[b'x'; 512])));
    for n in 0..20 {
        place.take(&format!("unheard-{n}"));
    }
    place.pass();
    place.daemon.signal("HUP");
    place.expect(20);

    let mut heard = Vec::new();
    let mut read = |pipe: &mut File| {
        let mut some = [0; 4_096];
        while let Ok(length) = pipe.read(&mut some) {
            heard.extend_from_slice(&some[..length]);
        }
        String::from_utf8_lossy(&heard).into_owned()
    };
    read(&mut pipe);
    place.take("heard");
    until("that is heard, and how many were not", SOON, || {
        let text = read(&mut pipe);
        text.contains("lines are missing here") && text.contains("report_id=\"heard\"")
    });
    // The end comes, too, with the pipe full once more.
    until("it is full", SOON, || would_block(pipe.write(&[b'x'; 512])));
    place.take("last");
    place.expect(22);
    place.stop();
}

#[test]
fn a_log_whose_reader_has_gone_holds_up_nothing() {
    let mut pipe_end = None;
    let mut place = Place::with(|settings, dir| {
        pipe_end = Some(pipe(&dir.join("log"), settings));
    });
    place.take("heard");
    drop(pipe_end);
    for n in 0..5 {
        place.take(&format!("unheard-{n}"));
    }
    place.expect(6);
    place.stop();
}
