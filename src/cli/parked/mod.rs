//! `rua-milter parked …`: mail that was taken and could not be used.
//!
//! `list` and `show` only read. `retry` gives mail to the pipeline again: to the daemon's, or, when
//! none runs, to its own, and waits for what becomes of it; 0 says that nothing of it is parked any
//! more. `export` writes one mail with the envelope lines that the archive has, so that `import`
//! takes it back. `drop` forgets the mails that are named, and says so in the log.

mod change;
mod show;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;

use super::{
    escape, id, load, print,
    rows::{Rows, minute},
};
use crate::{
    config::Config,
    data_dir,
    spool::{self, Envelope, Filter, Network, ParkedEntry, Reader},
    terms::Rejection,
};

/// Options of `parked`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    pub action: Action,
}

/// What is done.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Action {
    /// List parked mail, oldest first
    List(List),
    /// Show one parked mail: what is known of it, and how it begins
    Show(Show),
    /// Try parked mail again
    Retry(Retry),
    /// Write one parked mail as it arrived, with its envelope; import takes it back
    Export(Export),
    /// Forget parked mail for good
    Drop(Drop),
}

/// What is listed.
#[derive(Clone, Debug, clap::Args)]
pub struct List {
    /// Only mail with this reason
    #[arg(long, value_parser = reason)]
    reason: Option<Rejection>,
    /// Only mail from this client network, or from that of an address
    #[arg(long, value_name = "NETWORK")]
    network: Option<Network>,
    /// Only mail that arrived more than DAYS days ago
    #[arg(long, value_name = "DAYS")]
    older_than: Option<u32>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// What is shown.
#[derive(Clone, Debug, clap::Args)]
pub struct Show {
    /// The mail's number, as `parked list` has it
    #[arg(value_parser = id)]
    id: i64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which mail is tried again.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// These, by the numbers that `parked list` has
    #[arg(value_name = "ID", value_parser = id)]
    ids: Vec<i64>,
    /// All for which another try may be of use
    #[arg(long)]
    all: bool,
    /// The same of those with this reason
    #[arg(long, value_parser = reason)]
    reason: Option<Rejection>,
}

/// What is tried again, and how it is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Retry {
    #[command(flatten)]
    which: Which,
    /// Print one JSON object a line, for each part of each mail
    #[arg(long)]
    json: bool,
}

/// What is exported.
#[derive(Clone, Debug, clap::Args)]
pub struct Export {
    /// The mail's number, as `parked list` has it
    #[arg(value_parser = id)]
    id: i64,
    /// Write to this new file instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What is dropped.
#[derive(Clone, Debug, clap::Args)]
pub struct Drop {
    /// The mails' numbers, as `parked list` has them
    #[arg(required = true, value_name = "ID", value_parser = id)]
    ids: Vec<i64>,
}

fn reason(text: &str) -> Result<Rejection, String> {
    text.parse()
        .map_err(|_| "not a reason; rua-milter(8) lists them".to_owned())
}

/// Runs the command.
pub fn run(action: Action, config: &Path) -> anyhow::Result<ExitCode> {
    let config = load(config)?;
    match action {
        Action::List(args) => {
            let reader = reader(&config)?;
            print(|out| list(args, &reader, out))
        }
        Action::Show(args) => {
            let reader = reader(&config)?;
            print(|out| show::run(&args, &reader, &config, out))
        }
        Action::Retry(args) => change::retry(args, config),
        Action::Export(args) => change::export(&args, &config),
        Action::Drop(args) => change::forget(args.ids, &config),
    }
}

/// The spool, for commands that only read; a daemon may run beside them.
fn reader(config: &Config) -> anyhow::Result<Reader> {
    data_dir::become_owner(&config.data_dir)?;
    let path = config.data_dir.join(spool::FILE);
    anyhow::ensure!(
        data_dir::has(&config.data_dir, spool::FILE)?,
        "no spool at {}: nothing was taken yet, or data_dir is another",
        path.display()
    );
    Ok(Reader::open(&path)?)
}

fn entry(id: i64, reader: &Reader) -> anyhow::Result<ParkedEntry> {
    reader
        .parked_entry(id)?
        .with_context(|| format!("there is no parked mail {id}"))
}

fn list(args: List, reader: &Reader, out: &mut dyn Write) -> anyhow::Result<()> {
    let filter = Filter {
        reason: args.reason,
        network: args.network,
        before: args.older_than.map(|days| now() - i64::from(days) * 86_400),
    };
    if args.json {
        return reader.parked(&filter, |entry| {
            let json = serde_json::to_string(&entry)?;
            Ok(writeln!(out, "{}", escape::json(&json))?)
        });
    }
    let header = &[
        "id",
        "arrived",
        "reason",
        "at byte",
        "bytes",
        "host",
        "recipient",
    ];
    let mut rows = Rows::new(out, header);
    reader
        .parked(&filter, |entry| Ok(rows.add(row(&entry))?))
        .and_then(|()| Ok(rows.end("Nothing is parked.")?))
}

fn row(entry: &ParkedEntry) -> [String; 7] {
    [
        entry.id.to_string(),
        minute(entry.arrived),
        entry.reason.clone(),
        entry.at_byte.map(|at| at.to_string()).unwrap_or_default(),
        entry.bytes.to_string(),
        host(&entry.envelope),
        recipients(&entry.envelope),
    ]
}

/// The sender's host; the door where there is none.
fn host(envelope: &Envelope) -> String {
    match envelope.client {
        Some(ip) if envelope.client_name.is_empty() => ip.to_string(),
        Some(ip) => format!("{} [{ip}]", envelope.client_name),
        None => envelope.door.to_string(),
    }
}

/// The first address of ours, and how many others there are.
fn recipients(envelope: &Envelope) -> String {
    let first = envelope.recipients.first().cloned().unwrap_or_default();
    match envelope.recipients.len() {
        0 | 1 => first,
        all => format!("{first} and {} more", all - 1),
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let secs = since.unwrap_or(Duration::ZERO).as_secs();
    i64::try_from(secs).unwrap_or(i64::MAX)
}
