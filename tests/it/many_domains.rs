//! A million domains: loaded soon, held in little memory, and replaced while mail comes in.

use std::{
    fmt::Write as _,
    fs,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use crate::lab::{
    SOON,
    daemon::{Daemon, Settings, cpu_secs, memory, release},
    mails::Report,
    milter::{DISCARD, Milter},
    open_dir, until,
};

const DOMAINS: usize = 1_000_000;
/// Seconds of CPU from the start of the program until mail is taken: of the time itself, whoever
/// shares the processor takes some.
const LOADED_SECS: f64 = 3.0;
const MOST_KIB: u64 = 250 << 10;
/// The longest that a mail may wait for its answer during a reload, on a busy machine.
const ANSWERED: Duration = Duration::from_secs(1);

/// A report about one of the domains, and its address.
fn report(domain: &str) -> (String, Vec<u8>) {
    let to = format!("{domain}@reports.example");
    let mail = Report::new("many", domain, &[1]).google(&to);
    (to, mail)
}

#[test]
fn a_million_domains_load_at_once_and_are_replaced_without_a_pause() {
    let dir = open_dir();
    let address = format!("unix:{}/rua.sock", dir.path().display());
    let mut list = String::new();
    for n in 0..DOMAINS {
        let _ = writeln!(list, "customer-{n}.example");
    }
    fs::write(dir.path().join("list"), &list).expect("to write");
    let mut settings = Settings::new(&dir.path().join("data"));
    settings.program = release();
    settings.listen = vec![address.clone()];
    settings.recipients += "\ntemplate = \"{domain}@reports.example\"";
    settings.domain_files = vec!["list".into()];
    // Their records are watched, as they are by default; nobody answers.
    settings.dns = "servers = [\"127.0.0.1:9\"]".into();
    let mut daemon = Daemon::stopped(&dir.path().join("rua-milter.toml"), &settings);
    let began = Instant::now();
    daemon.restart();
    let (loaded, loaded_secs) = (began.elapsed(), cpu_secs(daemon.pid()));

    let mut session = Milter::dial(&address, "192.0.2.25").expect("the daemon");
    let mut bring = |domain: &str| {
        let (to, mail) = report(domain);
        session.submit(&to, &mail).expect("an answer")
    };
    assert_eq!(bring("customer-999999.example"), DISCARD);
    assert!(bring("late.example").starts_with("y550"));
    until("what was brought is stored", SOON, || {
        daemon.spool("new").is_empty()
    });
    let most = memory(daemon.pid(), "VmHWM");
    println!("loaded in {loaded:?}, {loaded_secs} s of CPU, {most} KiB");

    fs::write(dir.path().join("list"), list + "late.example\n").expect("to write");
    let going = AtomicBool::new(true);
    let longest = thread::scope(|scope| {
        let longest = scope.spawn(|| honest(&address, &going));
        daemon.signal("HUP");
        until("the new list is in use", SOON, || {
            bring("late.example") == DISCARD
        });
        going.store(false, SeqCst);
        longest.join().expect("an honest session")
    });
    let reloaded = memory(daemon.pid(), "VmHWM");
    println!("reloaded: an answer took {longest:?} at most; {reloaded} KiB");
    assert!(loaded_secs < LOADED_SECS, "{loaded_secs} s");
    assert!(most < MOST_KIB, "{most} KiB");
    assert!(reloaded < 2 * MOST_KIB, "{reloaded} KiB");
    assert!(longest < ANSWERED, "{longest:?}");
}

/// Mail after mail until it is told to end; the longest time for one.
fn honest(address: &str, going: &AtomicBool) -> Duration {
    let mut session = Milter::dial(address, "192.0.2.26").expect("the daemon");
    let (to, mail) = report("customer-1.example");
    let mut longest = Duration::ZERO;
    while going.load(SeqCst) {
        let began = Instant::now();
        assert_eq!(session.submit(&to, &mail).expect("an answer"), DISCARD);
        longest = longest.max(began.elapsed());
    }
    longest
}
