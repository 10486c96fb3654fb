//! What is no MTA at the milter's socket: it costs little, it takes nothing along when it goes, and
//! the MTA beside it is served meanwhile.

use std::{
    fs,
    io::ErrorKind,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use crate::lab::{
    RUA, SOON,
    daemon::{Daemon, Settings, memory},
    free_port, holds_within,
    mails::{self, Report},
    milter::{self, DISCARD, Milter, Wire, packet},
    open_dir, until,
};

/// Connections of one kind at a time, on each socket.
const PEERS: usize = 60;
/// What they all may add to the memory of a daemon that has served an honest session.
const GROWTH_KIB: u64 = 24 << 10;
/// How long an honest mail may take beside them on a busy machine.
const ANSWERED: Duration = Duration::from_secs(5);

/// What no MTA says, after which the daemon hangs up at once.
fn refused() -> Vec<(&'static str, Vec<u8>)> {
    let garbage = |seed: u32| {
        let mut word = seed;
        let bytes = std::iter::repeat_with(|| {
            word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (word >> 24) as u8
        });
        bytes.take(65_536).collect::<Vec<u8>>()
    };
    let macros = b"x\0".repeat(10_000);
    vec![
        ("garbage", [&[0x80][..], &garbage(1)].concat()),
        ("text", b"EHLO mx.reporter.example\r\n".to_vec()),
        (
            "HTTP",
            b"GET /metrics HTTP/1.1\r\nHost: mx\r\n\r\n".to_vec(),
        ),
        (
            "TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        ),
        ("huge", [&[0xff; 4][..], b"B", &garbage(2)].concat()),
        ("large", [&[0, 4, 0, 1][..], b"B"].concat()),
        ("a long address", packet(b'R', &vec![b'a'; 65_536])),
        ("many macros", packet(b'D', &[b"C", &macros[..]].concat())),
        ("a stranger's letter", packet(b'z', b"?")),
        (
            "no letter",
            [packet(b'O', &[0; 3]), packet(b'O', b"")].concat(),
        ),
    ]
}

/// What is heard and comes to nothing; the daemon waits for more.
fn ignored() -> Vec<(&'static str, Vec<u8>)> {
    let body = packet(b'B', &vec![b'x'; 65_535]);
    vec![
        ("bodies before anything", body.repeat(20)),
        (
            "an end before MAIL",
            [packet(b'E', b""), packet(b'N', b"")].concat().repeat(100),
        ),
        ("aborts", packet(b'A', b"").repeat(1_000)),
    ]
}

/// What the daemon hangs up on after a while.
fn unfinished() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("silence", Vec::new()),
        ("half a length", vec![0, 0]),
        ("half a frame", [&[0, 4, 0, 0][..], b"B", b"half"].concat()),
    ]
}

struct Site {
    daemon: Daemon,
    addresses: [String; 2],
    _dir: tempfile::TempDir,
}

impl Site {
    fn start() -> Self {
        let dir = open_dir();
        let addresses = [
            format!("unix:{}/rua.sock", dir.path().display()),
            format!("inet:127.0.0.1:{}", free_port()),
        ];
        let mut settings = Settings::new(&dir.path().join("data"));
        settings.listen = addresses.to_vec();
        let daemon = Daemon::start(&dir.path().join("rua-milter.toml"), &settings);
        Self {
            daemon,
            addresses,
            _dir: dir,
        }
    }

    /// [`PEERS`] connections on each socket that have said this.
    fn peers(&self, said: &[u8]) -> Vec<Box<dyn Wire>> {
        let both = self.addresses.iter();
        both.flat_map(|address| (0..PEERS).map(move |_| address))
            .map(|address| {
                let mut peer = milter::dial(address).expect("a connection");
                // It may hang up in the middle.
                let _ = peer.write_all(said);
                peer
            })
            .collect()
    }

    /// What it has open.
    fn descriptors(&self) -> Vec<String> {
        let open = fs::read_dir(format!("/proc/{}/fd", self.daemon.pid()));
        let links = open.expect("a process").flatten();
        // Some may be closed meanwhile.
        let names = links.filter_map(|link| fs::read_link(link.path()).ok());
        names.map(|name| name.display().to_string()).collect()
    }
}

/// Whether the daemon has hung up, as it must.
fn hung_up(peer: &mut dyn Wire) -> bool {
    match peer.read(&mut [0; 64]) {
        Ok(0) => true,
        Ok(_) => hung_up(peer),
        // Unread bytes of ours were thrown away.
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// Mail after mail by one session until it is told to end; the longest time for one.
fn honest(address: &str, going: &AtomicBool) -> Duration {
    let mut session = Milter::dial(address, "192.0.2.25").expect("a session");
    let mail = Report::new("honest", "example.com", &[1]).google(RUA);
    let mut longest = Duration::ZERO;
    while going.load(SeqCst) {
        let began = Instant::now();
        assert_eq!(session.submit(RUA, &mail).expect("an answer"), DISCARD);
        longest = longest.max(began.elapsed());
    }
    longest
}

#[test]
fn whoever_is_no_mta_costs_little_and_leaves_nothing_behind() {
    let site = Site::start();
    // The first mail of each socket makes what stays.
    let going = AtomicBool::new(false);
    for address in &site.addresses {
        honest(address, &going);
        let mut session = Milter::dial(address, "192.0.2.25").expect("a session");
        let mail = mails::attached(RUA, &vec![b'x'; 1 << 20]);
        assert!(session.submit(RUA, &mail).is_ok());
    }
    until("the spool is worked through", SOON, || {
        site.daemon.spool("new").is_empty()
    });
    let (descriptors, resident) = (site.descriptors(), memory(site.daemon.pid(), "VmRSS"));

    going.store(true, SeqCst);
    let longest = thread::scope(|scope| {
        let address = &site.addresses[0];
        let session = scope.spawn(|| honest(address, &going));
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| assail(&site)));
        going.store(false, SeqCst);
        let longest = session.join().expect("an honest session");
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        longest
    });
    println!("an honest mail was answered within {longest:?}");
    assert!(longest < ANSWERED, "{longest:?}");

    let mut open = Vec::new();
    let closed = holds_within(SOON, || {
        open = site.descriptors();
        open.len() <= descriptors.len()
    });
    assert!(closed, "{open:#?} instead of {descriptors:#?}");
    let grown = memory(site.daemon.pid(), "VmHWM").saturating_sub(resident);
    println!("{resident} KiB, at most {grown} KiB more");
    assert!(grown < GROWTH_KIB, "{resident} KiB, and {grown} KiB more");
    let log = site.daemon.log();
    assert!(!log.contains("panicked"), "{log}");
    let other_lines = log.lines().filter(|line| !line.contains(": mail ")).count();
    assert!(other_lines < 20, "{log}");
}

fn assail(site: &Site) {
    for (what, said) in refused() {
        for mut peer in site.peers(&said) {
            assert!(hung_up(&mut *peer), "{what}");
        }
    }
    for (what, said) in ignored() {
        let peers = site.peers(&said);
        assert!(site.daemon.is_running(), "{what}");
        drop(peers);
    }
    in_the_middle(site);
    let mut peers: Vec<_> = unfinished()
        .iter()
        .flat_map(|(what, said)| site.peers(said).into_iter().map(move |peer| (*what, peer)))
        .collect();
    for (what, peer) in &mut peers {
        assert!(hung_up(&mut **peer), "{what}");
    }
}

/// Sessions that break their own order, and go on as if nothing had been; or go away.
fn in_the_middle(site: &Site) {
    for address in &site.addresses {
        for n in 0..PEERS {
            let mut session = Milter::dial(address, "192.0.2.25").expect("a session");
            session.send(b'B', &vec![b'x'; 65_535]).expect("heard");
            let mail = mails::ordinary(RUA);
            let answer = session.submit(RUA, &mail).expect("an answer");
            assert!(answer.starts_with("y550"), "{answer}");
            session
                .send(b'M', b"<a@reporter.example>\0")
                .expect("heard");
            session
                .send(b'R', b"<rua@reports.example>\0")
                .expect("heard");
            session.send(b'B', &vec![b'x'; n * 1_000]).expect("heard");
        }
    }
}
