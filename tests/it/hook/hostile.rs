//! Whatever else may come to the hook: it has its answer, always in JSON, costs little, and leaves
//! nothing behind.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use rua_milter::limits;
use serde_json::json;

use super::{RUA, Site, USER, accept, is_discarded, report};
use crate::lab::{SOON, daemon::memory, hook, until};

#[test]
fn what_is_no_request_hears_why() {
    let site = Site::start();
    let deep = |open: &str| format!("{{\"other\":{}", open.repeat(10_000));
    let draft = json!({
        "stage": "data", "action": "accept", "envelope": { "from": "a", "to": ["b"] },
        "rawMessage": "", "senderAuth": {},
    });
    let mut lone = hook::data(&[RUA], &report("one")).to_string();
    lone = lone.replace("mx.reporter.example", "\\ud800");
    for (body, error) in [
        (String::new(), "the request is no JSON"),
        ("GET / HTTP/1.1".into(), "the request is no JSON"),
        ("{\"context\":".into(), "the request is no JSON"),
        (deep("["), "the request is nested too deep"),
        (deep("{\"a\":"), "the request is nested too deep"),
        (lone, "the request is not one of Stalwart's MTA hook"),
        (
            hook::stage("bdat", &[]).to_string(),
            "the request is not one of Stalwart's MTA hook",
        ),
        (
            hook::stage("data", &[]).to_string(),
            "the request is not one of Stalwart's MTA hook",
        ),
        (
            json!({ "context": { "stage": "rcpt" } }).to_string(),
            "the request is not one of Stalwart's MTA hook",
        ),
        (
            draft.to_string(),
            "the format of draft-degennaro-mta-hooks is not supported",
        ),
    ] {
        let (status, answer) = site.hook.post(body.clone());
        assert_eq!(
            (status, answer),
            (400, json!({ "error": error })),
            "{body:.60}"
        );
    }
    let (status, answer) = site.hook.get();
    assert_eq!(
        (status, answer),
        (405, json!({ "error": "a hook is called by POST" }))
    );
    is_discarded(&site.hook.submit(&[RUA], &report("one")));
    site.expect(1);
    assert!(!site.daemon.log().contains("panicked"));
}

/// A POST whose body is longer than anything sends, as chunks of this.
fn endless(port: u16, start: &str, chunk: &[u8]) -> std::io::Result<(TcpStream, u64)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(2 * SOON))?;
    stream.set_write_timeout(Some(SOON))?;
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    )?;
    write!(stream, "{:x}\r\n{start}\r\n", start.len())?;
    let mut sent = 0;
    while sent < 120 << 20 {
        write!(stream, "{:x}\r\n", chunk.len())?;
        stream.write_all(chunk)?;
        stream.write_all(b"\r\n")?;
        sent += chunk.len() as u64;
    }
    stream.write_all(b"0\r\n\r\n")?;
    Ok((stream, sent))
}

#[test]
fn what_is_too_long_is_not_kept() {
    const GROWTH_KIB: u64 = 64 << 10;
    let site = Site::with(|settings| {
        settings.limits = "min_free_bytes = 1048576\nmax_message_bytes = 1048576".into();
    });
    is_discarded(&site.hook.submit(&[RUA], &report("one")));
    let resident = memory(site.daemon.pid(), "VmRSS");
    let chunk = vec![b'x'; 65_536];
    let front = |to: &str| {
        let request = hook::data(&[to], &report("one")).to_string();
        let at = request.find("\"message\"").expect("a message");
        format!("{}\"message\":{{\"contents\":\"", &request[..at])
    };
    // JSON or not; for us, for nobody, for others.
    for (start, status) in [
        ("x".to_owned(), "413"),
        ("{\"context\":\"".to_owned(), "413"),
        (front(RUA), "413"),
        (front(USER), "200"),
    ] {
        let (mut stream, _) = endless(site.port, &start, &chunk).expect("heard to its end");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{start:.40}: {answer}"
        );
    }
    let grown = memory(site.daemon.pid(), "VmHWM").saturating_sub(resident);
    println!("{resident} KiB, at most {grown} KiB more");
    assert!(grown < GROWTH_KIB, "{resident} KiB, and {grown} KiB more");
}

#[test]
fn who_is_slow_is_cut_off_and_holds_up_nobody() {
    let site = Site::start();
    let port = site.port;
    let slow = thread::spawn(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the hook");
        let second = Some(Duration::from_secs(1));
        stream.set_read_timeout(second).expect("a timeout");
        stream
            .write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
            .expect("to send");
        let began = Instant::now();
        let mut answer = String::new();
        // A byte a second, until somebody has enough.
        while stream.read_to_string(&mut answer).is_err() && began.elapsed() < 3 * SOON {
            if stream.write_all(b" ").is_err() {
                break;
            }
        }
        (began.elapsed(), answer)
    });
    // Many that say nothing take places, and not all of them.
    let silent: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(("127.0.0.1", site.port)).expect("the hook"))
        .collect();
    let began = Instant::now();
    is_discarded(&site.hook.submit(&[RUA], &report("one")));
    assert_eq!(site.hook.submit(&[USER], &report("two")), accept());
    assert!(began.elapsed() < Duration::from_secs(5));
    let (took, heard) = slow.join().expect("a client");
    assert!(
        took < limits::HOOK_READ + Duration::from_secs(10),
        "{took:?}"
    );
    assert!(heard.starts_with("HTTP/1.1 408 "), "{heard}");
    drop(silent);
    site.expect(1);
    until("it still answers", SOON, || {
        site.hook.ask(&hook::stage("rcpt", &[RUA])) == accept()
    });
}
