//! Each system call that one mail's life makes on our files fails in turn, or never comes to be as the
//! daemon is killed at it. What was acknowledged is stored once, what was not is stored once when it
//! comes again, no file is broken, and a daemon that runs and is not killed goes on by itself.

use std::{
    collections::BTreeMap, fmt, fs, os::unix::process::ExitStatusExt, path::Path,
    process::ExitStatus, sync::Mutex, thread,
};

use crate::lab::{
    RUA, SOON, aftermath,
    daemon::{Daemon, Settings, Stored},
    mails::Report,
    milter::{self, DISCARD},
    open_dir,
    strace::{self, Attached},
    trace, until,
};

/// What is tampered with.
const CALLS: &str = "openat,mkdir,pread64,pwrite64,write,fsync,fdatasync,syncfs,ftruncate,rename,\
                     unlink,sendto";
const KILL: &str = "signal=KILL";
/// Lives at a time; most of each is waiting.
const AT_A_TIME: usize = 6;
/// Tries that fail until the pause between them is longer than tokio keeps a thread without work (10 s).
const FEW: usize = 5;
/// One point in so many is in the sample: each fault in turn, at calls from all over.
const SAMPLE: usize = 13;

/// What becomes of a call. Reading changes nothing, so that a kill there shows nothing new.
fn faults(call: &str) -> &'static [&'static str] {
    match call {
        "pread64" => &["error=EIO"],
        // Of an answer it is only left whether it went out. The others would also hit what tokio says
        // to itself.
        "sendto" => &[KILL],
        _ => &[KILL, "error=EIO", "error=ENOSPC", "error=EINTR"],
    }
}

const ONE: Stored = Stored {
    reports: 1,
    messages: 1,
};

/// What is lived under strace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// From a running daemon's first word with the MTA to its orderly end.
    Mail,
    /// From the start of a daemon which finds a mail in the spool that another one took and was
    /// killed, to its orderly end.
    Recovery,
}

/// The n-th call of this name on a file, or on any socket, and what becomes of it.
#[derive(Clone)]
struct Point {
    life: Life,
    call: String,
    file: String,
    n: usize,
    fault: &'static str,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            life,
            call,
            file,
            n,
            fault,
        } = self;
        write!(f, "{life:?}: {call} {n} of {file}: {fault}")
    }
}

const SOCKET: &str = "a socket";

#[test]
fn one_call_in_many_fails_and_nothing_is_lost() {
    let sample: Vec<_> = points().into_iter().step_by(SAMPLE).collect();
    sweep(sample);
}

#[test]
#[ignore = "takes minutes"]
fn each_call_fails_and_nothing_is_lost() {
    sweep(points());
}

#[test]
fn a_report_store_that_opens_for_reading_only_is_opened_again() {
    let met = live_at(&Point {
        life: Life::Recovery,
        call: "openat".into(),
        file: "data/reports.sqlite".into(),
        // The first makes the file if it is not there.
        n: 2,
        fault: "error=EIO",
    });
    assert!(met.call);
}

fn sweep(points: Vec<Point>) {
    let (points, lived) = (Mutex::new(points.into_iter()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                let next = || points.lock().expect("the lock").next();
                while let Some(point) = next() {
                    // A panic tells the name of its thread.
                    let name = point.to_string();
                    let life = thread::Builder::new()
                        .name(name.clone())
                        .spawn_scoped(scope, move || live_at(&point));
                    let met = life.expect("a thread").join();
                    lived.lock().expect("the lock").push((name, met.ok()));
                }
            });
        }
    });
    let lived = lived.into_inner().expect("the lock");
    let names = |is: &dyn Fn(&Option<Met>) -> bool| -> Vec<&str> {
        let those = lived.iter().filter(|(_, met)| is(met));
        those.map(|(name, _)| name.as_str()).collect()
    };
    let failed = names(&|met| met.is_none());
    let unmet = names(&|met| met.as_ref().is_some_and(|met| !met.call));
    let stuck = names(&|met| met.as_ref().is_some_and(|met| met.for_ever));
    println!(
        "{} lives, of which these did not meet their call: {unmet:?}, these met it for ever: {stuck:?}",
        lived.len()
    );
    assert_eq!(failed, [""; 0]);
    // Threads share the calls, and not each time in the same way.
    assert!(unmet.len() * 5 < lived.len());
    assert!(stuck.len() * 20 < lived.len());
}

/// All of them, from a life of each kind in which nothing fails.
fn points() -> Vec<Point> {
    let mut points = Vec::new();
    for life in [Life::Mail, Life::Recovery] {
        let options = ["-s", "0", "-e", &format!("trace={CALLS}")].map(Into::into);
        let dir = open_dir();
        let trace = live(life, dir.path(), &options).trace;
        let mut counts: BTreeMap<(String, String), BTreeMap<String, usize>> = BTreeMap::new();
        for call in trace::read(&trace) {
            let file = if call.name == "sendto" {
                SOCKET
            } else if let Ok(file) = Path::new(&call.about).strip_prefix(dir.path()) {
                file.to_str().expect("UTF-8")
            } else {
                continue;
            };
            let threads = counts.entry((call.name, file.to_owned())).or_default();
            *threads.entry(call.thread).or_default() += 1;
        }
        for ((call, file), threads) in counts {
            let most = threads.into_values().max().unwrap_or_default();
            for n in 1..=most {
                points.extend(faults(&call).iter().map(|fault| Point {
                    life,
                    call: call.clone(),
                    file: file.clone(),
                    n,
                    fault,
                }));
            }
        }
    }
    points
}

/// How the fault of a life was met.
struct Met {
    /// At all.
    call: bool,
    /// By each thread, until the daemon was started anew.
    for_ever: bool,
}

fn live_at(point: &Point) -> Met {
    let Point { call, n, fault, .. } = point;
    let dir = open_dir();
    let mut options = vec![
        "-e".into(),
        format!("trace={call}"),
        "-e".into(),
        format!("inject={call}:{fault}:when={n}"),
    ];
    // strace counts the calls of each thread, and of these the ones on this file.
    if point.file != SOCKET {
        let file = dir.path().join(&point.file);
        options.extend(["-P".into(), file.display().to_string()]);
    }
    let lived = live(point.life, dir.path(), &options);
    let for_ever = lived.fails_for_ever;
    if *fault == KILL {
        let call = lived.end.signal() == Some(9);
        return Met { call, for_ever };
    }
    // One that is about to start may give up, and the service manager starts it again.
    let may_end = point.life == Life::Recovery;
    assert!(lived.survived || may_end, "it ended by itself");
    let injected = lived.trace.matches("(INJECTED)").count();
    assert!(
        !for_ever || injected >= FEW,
        "it fails by itself: {injected} faults"
    );
    Met {
        call: injected > 0,
        for_ever,
    }
}

struct Lived {
    trace: String,
    /// Whether the daemon ran until it was asked to end, and how it then did.
    survived: bool,
    /// Whether each try to store failed.
    fails_for_ever: bool,
    end: ExitStatus,
}

/// Lives under strace with these options, and a second time without.
fn live(life: Life, dir: &Path, options: &[String]) -> Lived {
    let (output, socket) = (dir.join("trace"), dir.join("rua.sock"));
    let mail = Report::new("sweep", "example.com", &[1]).google(RUA);
    let is_taken = || milter::submit(&socket, RUA, &mail).as_deref() == Some(DISCARD);
    let mut settings = Settings::new(&dir.join("data"));
    settings.listen = vec![format!("unix:{}", socket.display())];
    let mut daemon = Daemon::stopped(&dir.join("rua-milter.toml"), &settings);
    let archive = daemon.data().join("archive");
    // The databases are made, which takes hundreds of calls that no mail makes.
    if life == Life::Recovery {
        // Where the archive should be, nothing is worked on.
        fs::write(&archive, "").expect("to write");
    }
    daemon.restart();
    until("the databases are made", SOON, || {
        archive.is_dir() || daemon.log().contains("cannot open the report store")
    });
    let mut acknowledged = life == Life::Recovery;
    let attached = match life {
        Life::Mail => Some(Attached::to(daemon.pid(), &output, options)),
        Life::Recovery => {
            assert!(is_taken());
            daemon.kill();
            fs::remove_file(archive).expect("to remove");
            daemon.put_under(strace::command(&output, options));
            daemon.launch();
            daemon.hears("READY=1");
            None
        }
    };
    // An MTA comes again while there is somebody to come to.
    until("it is taken", SOON, || {
        acknowledged = acknowledged || is_taken();
        acknowledged || !daemon.is_running()
    });
    // strace counts the calls of each thread by itself, so that a call fails again on each one that
    // the work comes to. Once the pauses are longer than a thread lives without work, that is a new
    // one each time: what fails so often fails for ever, and is stored by who is started next.
    let tries = || daemon.log().matches("reports wait in the spool").count();
    let mut fails_for_ever = false;
    until("it is stored, or fails for ever", 4 * SOON, || {
        fails_for_ever = tries() > FEW;
        fails_for_ever || !daemon.is_running() || daemon.spool("new").is_empty()
    });
    let (pid, survived) = (daemon.pid(), daemon.is_running());
    if survived {
        daemon.signal("TERM");
    }
    let end = daemon.wait();
    let trace = match attached {
        Some(attached) => attached.trace(),
        None => strace::trace_of(pid, &output),
    };

    daemon.put_under(Vec::new());
    daemon.restart();
    assert!(acknowledged || is_taken(), "{}", daemon.log());
    daemon.expect_stored("example.com", ONE);
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    aftermath::assert_whole(daemon.data(), 1);
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
    Lived {
        trace,
        survived,
        fails_for_ever,
        end,
    }
}
