//! `import`: takes files in as if their mails had arrived.
//!
//! The mails go into the spool, as those of every door do. A running daemon then does the work;
//! when none runs, the command does it itself under the lock, by the same worker. Either way it
//! waits until its own mails are done, and tells what became of them.

use std::{
    collections::{HashSet, VecDeque},
    fmt::Display,
    future::Future,
    io::Write as _,
    path::PathBuf,
    pin::Pin,
    process::ExitCode,
    sync::Arc,
    time::{Instant, SystemTime},
};

use serde::Serialize;
use tokio::sync::mpsc;

use super::{
    escape,
    hand::{self, Hand, PATIENCE},
    load,
    progress::Progress,
    runtime,
};
use crate::{
    archive,
    config::Config,
    data_dir,
    intake::{
        self,
        examine::{Examined, Opinion},
        import,
    },
    limits::LOCK_LOOK,
    spool::{Envelope, NewEntry, Spool, SpoolError},
    store::{self, Reader},
    terms::{Door, Outcome, Rejection},
};

/// What to take in.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Mails (.eml, .eml.gz), mbox files, Maildirs, bare .xml, .gz and .zip reports, folders of these;
    /// `-` for standard input, such as the output of `postcat -bh -q ID`
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Print the totals as one JSON object
    #[arg(long)]
    json: bool,
}

/// Mails on their way to the disk at once: what one commit of the spool takes.
const UNDER_WAY: usize = crate::limits::SPOOL_BATCH;
/// Mails read ahead of the spool; each is at most the size limit.
const READ_AHEAD: usize = 4;
/// Characters of a file's name that are shown.
const NAME: usize = 512;

/// What the command did, in numbers.
#[derive(Debug, Default, Serialize)]
struct Totals {
    /// Mails and files read.
    mails: u64,
    /// Those that are in the spool, or were.
    spooled: u64,
    /// Reports counted now.
    stored: u64,
    /// Reports that were counted before.
    duplicates: u64,
    /// Reports kept beside an earlier one with the same key.
    revisions: u64,
    /// Messages that the reports counted now are about.
    messages: u64,
    /// Reports about domains that are not configured.
    foreign: u64,
    /// Failure reports about domains that take none.
    failure_reports_off: u64,
    /// Parts that cannot be used; their mails are parked.
    parked: u64,
    /// Mails and files in which nothing can be a report.
    not_a_report: u64,
    /// Files that could not be read, or are too large.
    unreadable: u64,
}

/// An entry on its way to the disk.
type Put = Pin<Box<dyn Future<Output = Result<i64, SpoolError>>>>;

/// Runs the command.
pub fn run(args: &Args, config: &std::path::Path) -> anyhow::Result<ExitCode> {
    let config = load(config)?;
    data_dir::enter(&config.data_dir)?;
    let totals = runtime()?.block_on(import(args, Arc::new(config)))?;
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &totals)?;
        writeln!(out)?;
    } else {
        print(&mut out, &totals)?;
    }
    // Whoever deletes what was taken in must be sure that it was: 0 says that all of it was.
    let left = totals.foreign + totals.failure_reports_off + totals.parked;
    let fine = left + totals.not_a_report + totals.unreadable == 0;
    Ok(if fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn import(args: &Args, config: Arc<Config>) -> anyhow::Result<Totals> {
    let (spool, writer) = hand::open_spool(&config)?;
    let mut hand = Hand::lend(&config, &spool)?;
    let mut totals = Totals::default();
    let (ids, names) = take_in(args, &config, &spool, &mut hand, &mut totals).await?;
    if let Some(&last) = ids.last() {
        // Whatever waits before ours is done as well: an import that was killed may have left it.
        hand.wait(1..=last).await?;
        outcomes(&config, spool.id(), (&ids, &names), &mut totals)?;
    }
    hand.rest().await?;
    drop(spool);
    writer.join();
    Ok(totals)
}

/// Puts everything that can be a report into the spool, in the order of the files, and gives
/// the entries' numbers, ascending, with the names of their files.
async fn take_in(
    args: &Args,
    config: &Arc<Config>,
    spool: &Spool,
    hand: &mut Hand,
    totals: &mut Totals,
) -> anyhow::Result<(Vec<i64>, Vec<String>)> {
    let (send, mut items) = mpsc::channel(READ_AHEAD);
    let (paths, limit) = (args.paths.clone(), config.limits.max_message);
    let judging = Arc::clone(config);
    let reading = tokio::task::spawn_blocking(move || {
        // An error of sending means that nobody listens any more.
        paths.iter().try_for_each(|path| {
            import::mails(path, limit, &mut |mail| {
                send.blocking_send(Item::of(mail, &judging)).map_err(drop)
            })
        })
    });
    let bar = progress(args);
    let mut under_way: VecDeque<(usize, Put)> = VecDeque::new();
    let mut bytes_under_way = 0;
    let (mut ids, mut names) = (Vec::new(), Vec::new());
    while let Some(item) = items.recv().await {
        bar.add(item.mail.as_ref().map_or(0, |(_, raw, _)| raw.len() as u64));
        let Some((name, entry)) = judge(item, totals, &bar) else {
            continue;
        };
        let size = entry.raw.len();
        // The spool answers for what it holds and for one largest mail more, so that is what
        // may be under way.
        while under_way.len() >= UNDER_WAY || bytes_under_way + size > limit {
            let Some((size, oldest)) = under_way.pop_front() else {
                break;
            };
            bytes_under_way -= size;
            ids.push(oldest.await?);
        }
        wait_for_room(spool, hand).await?;
        names.push(name);
        bytes_under_way += size;
        under_way.push_back((size, Box::pin(spool.put(entry))));
    }
    for (_, put) in under_way {
        ids.push(put.await?);
    }
    let _ = reading.await?;
    totals.spooled = ids.len() as u64;
    Ok((ids, names))
}

/// Waits until the spool has room, for which whoever works on it cares; only the operator can
/// if it is parked mail or the disk that leaves none, so that is said.
async fn wait_for_room(spool: &Spool, hand: &mut Hand) -> anyhow::Result<()> {
    let since = Instant::now();
    let mut is_said = false;
    while spool.state().room("").is_err() {
        if !is_said && since.elapsed() > PATIENCE {
            eprintln!("waiting: the spool or its disk is full");
            is_said = true;
        }
        hand.check().await?;
        tokio::time::sleep(LOCK_LOOK).await;
    }
    Ok(())
}

/// A mail on its way from the reading thread, which also looks into it.
struct Item {
    name: String,
    mail: Result<(Envelope, Vec<u8>, Examined), String>,
}

impl Item {
    fn of(mail: import::Mail<'_>, config: &Config) -> Self {
        let path = mail.path.display();
        let name = match mail.number {
            Some(number) => format!("{path} message {number}"),
            None => path.to_string(),
        };
        let mail = match mail.content {
            Ok(raw) => {
                let (envelope, raw) = unwrapped(raw);
                let examined = intake::examine(&raw, config);
                Ok((envelope, raw, examined))
            }
            Err(unreadable) => Err(match std::error::Error::source(&unreadable) {
                Some(cause) => format!("{unreadable}: {cause}"),
                None => unreadable.to_string(),
            }),
        };
        Self { name, mail }
    }
}

/// What is put into the spool of one item, if anything; the rest is told and counted here.
fn judge(item: Item, totals: &mut Totals, bar: &Progress) -> Option<(String, NewEntry)> {
    totals.mails += 1;
    let name = item.name;
    let tell = |why: &dyn Display| {
        bar.aside(|| eprintln!("{}: {why}", escape::text(&name, NAME)));
    };
    let (envelope, raw, examined) = match item.mail {
        Ok(mail) => mail,
        Err(error) => {
            tell(&error);
            totals.unreadable += 1;
            return None;
        }
    };
    match examined.opinion {
        Opinion::NotAReport => {
            tell(&Rejection::NotAReport);
            totals.not_a_report += 1;
            return None;
        }
        Opinion::Foreign => {
            let domain = examined.head.and_then(|head| head.domain);
            let domain = domain.map_or_else(String::new, |domain| format!(" {domain}"));
            tell(&format_args!("{}{domain}", Rejection::ForeignDomain));
            totals.foreign += 1;
            return None;
        }
        Opinion::FailureReportsOff => {
            tell(&Rejection::FailureReportsOff);
            totals.failure_reports_off += 1;
            return None;
        }
        Opinion::Ours | Opinion::CannotTell => {}
    }
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let entry = NewEntry {
        envelope,
        arrived: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        raw,
        parked: None,
    };
    Some((name, entry))
}

/// Takes off the lines that the archive and `parked export` put before a mail, and gives what the MTA
/// knew of it. The door is ours: it is an operator who brings it now.
fn unwrapped(mut raw: Vec<u8>) -> (Envelope, Vec<u8>) {
    let Some(lines) = archive::envelope(&raw) else {
        return (Envelope::of(Door::Import), raw);
    };
    let known = Envelope::of_lines(&raw[lines.clone()]);
    raw.drain(..lines.end);
    let envelope = known.map_or_else(
        || Envelope::of(Door::Import),
        |known| Envelope {
            door: Door::Import,
            ..known
        },
    );
    (envelope, raw)
}

/// Asks the store what became of our entries.
fn outcomes(
    config: &Config,
    spool: &str,
    (ids, names): (&[i64], &[String]),
    totals: &mut Totals,
) -> anyhow::Result<()> {
    let reader = Reader::open(&config.data_dir.join(store::FILE))?;
    let name = |id: &i64| {
        let name = ids.binary_search(id).ok().and_then(|at| names.get(at));
        name.map_or_else(String::new, |name| escape::text(name, NAME))
    };
    let mut told = HashSet::new();
    for arrival in reader.outcomes(&config.node, spool, ids)? {
        told.insert(arrival.spool_id);
        match arrival.outcome {
            Outcome::Stored => {
                totals.stored += 1;
                totals.messages += arrival.report.map_or(0, |report| report.messages);
            }
            Outcome::Duplicate => totals.duplicates += 1,
            Outcome::Revision => totals.revisions += 1,
            Outcome::Parked => {
                let reason = arrival.rejection.map_or("", Rejection::as_str);
                eprintln!(
                    "{}: part {}: {reason}",
                    name(&arrival.spool_id),
                    arrival.part
                );
                match arrival.rejection {
                    Some(Rejection::ForeignDomain) => totals.foreign += 1,
                    Some(Rejection::FailureReportsOff) => totals.failure_reports_off += 1,
                    _ => totals.parked += 1,
                }
            }
        }
    }
    // Parked because it ended the program, or worked on by a daemon of another `node`.
    for id in ids.iter().filter(|id| !told.contains(*id)) {
        eprintln!("{}: what became of it is not on record", name(id));
        totals.parked += 1;
    }
    Ok(())
}

fn progress(args: &Args) -> Progress {
    // What comes by standard input has no known end.
    let known = Progress::is_watched() && !args.paths.iter().any(|path| path.as_os_str() == "-");
    Progress::of_bytes(known.then(|| args.paths.iter().map(|path| import::size(path)).sum()))
}

fn print(out: &mut impl std::io::Write, totals: &Totals) -> std::io::Result<()> {
    for (what, number) in [
        ("mails and files read", totals.mails),
        ("reports stored", totals.stored),
        ("  messages they count", totals.messages),
        ("reports known before", totals.duplicates),
        ("revisions kept, not counted", totals.revisions),
        ("reports about other domains", totals.foreign),
        ("failure reports that are off", totals.failure_reports_off),
        ("parked", totals.parked),
        ("no report", totals.not_a_report),
        ("unreadable", totals.unreadable),
    ] {
        writeln!(out, "{number:>12} {what}")?;
    }
    Ok(())
}
