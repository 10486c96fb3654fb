//! The commands: one file each. Help, man page and completions come from the table here.

mod backup;
mod check_config;
mod doctor;
pub mod drift;
mod escape;
mod export;
mod generate;
mod hand;
mod hint;
mod import;
mod inspect;
mod parked;
mod progress;
mod replay;
mod reports;
mod rows;
mod serve;
mod show;
mod summary;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::{
    archive,
    config::{
        Config,
        file::{self, ConfigError},
    },
    data_dir,
    domain::Domain,
    drift::webhook::BadSecret,
    intake::hook::SecretError,
    store,
    telemetry::TelemetryError,
};

/// Takes DMARC reports out of the mail stream, keeps, parses and watches them.
#[derive(Debug, Parser)]
#[command(name = "rua-milter", version, about, max_term_width = 100, after_help = FIRST_STEPS)]
struct Cli {
    /// The configuration file [default: /etc/rua-milter/rua-milter.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

/// For who has just installed it.
const FIRST_STEPS: &str = "\
First steps:
  Say what is yours in /etc/rua-milter/rua-milter.toml, and attach the MTA: rua-milter(8) and the
  guides, /usr/share/doc/rua-milter/guides. Then:
    rua-milter check-config    is the configuration right?
    rua-milter doctor          does all of it fit together, the MTA's settings included?
    rua-milter import PATH     take in the reports that a mailbox has
    rua-milter summary         what do they say?
    rua-milter drift           does DNS say what is meant?
  To look at one report, or at one record, nothing needs to be set up:
    rua-milter inspect FILE
    rua-milter drift example.com";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the milter and everything behind it, until SIGTERM; SIGHUP reloads the configuration
    Serve,
    /// Read the configuration as `serve` does, and say what is wrong with it
    CheckConfig,
    /// Look at the installation and what surrounds it, and say what is wrong and what to do
    Doctor(doctor::Args),
    /// Take mails and report files in, as if they had arrived
    Import(import::Args),
    /// Read reports and show what is in them, storing nothing; needs no configuration
    Inspect(inspect::Args),
    /// Show what the stored reports say
    Summary(summary::Args),
    /// List stored reports
    Reports(reports::Args),
    /// Show one stored report, or its mail
    Show(show::Args),
    /// Write the records of stored reports for other programs
    Export(export::Args),
    /// Read the archive and the parked mails again with this version's parser
    Replay(replay::Args),
    /// Look at mail that was taken and could not be used, try it again, export or drop it
    Parked(parked::Args),
    /// Copy the data directory while the daemon works on it
    Backup(backup::Args),
    /// Look the published DMARC records up and show what is amiss
    Drift(drift::Args),
    /// Write man pages or completions
    #[command(hide = true)]
    Generate(generate::Args),
}

/// Runs the command of the process's arguments.
pub fn run() -> anyhow::Result<ExitCode> {
    let Cli { config, command } = Cli::parse();
    let path = config.as_deref().unwrap_or(Path::new(file::DEFAULT_PATH));
    match command {
        Command::Serve => serve::run(path),
        Command::CheckConfig => check_config::run(path),
        Command::Doctor(args) => doctor::run(&args, path),
        Command::Import(args) => import::run(&args, path),
        Command::Inspect(args) => {
            // Needs none; the limits of one that is named are taken.
            let config = config.as_deref().map(load).transpose()?;
            inspect::run(
                &args,
                config.map(|config| config.limits).unwrap_or_default(),
            )
        }
        Command::Summary(args) => {
            let (_, reader) = reader(path)?;
            print(|out| summary::run(&args, &reader, out))
        }
        Command::Reports(args) => {
            let (_, reader) = reader(path)?;
            print(|out| reports::run(args, &reader, out))
        }
        Command::Replay(args) => replay::run(args, path),
        Command::Backup(args) => backup::run(&args, path),
        Command::Parked(args) => parked::run(args.action, path),
        Command::Export(args) => {
            let (_, reader) = reader(path)?;
            print(|out| export::run(args, &reader, out))
        }
        Command::Show(args) => {
            let (config, reader) = reader(path)?;
            let archive = config.data_dir.join(archive::FOLDER);
            print(|out| show::run(&args, &reader, &archive, out))
        }
        Command::Drift(args) if args.history => {
            let (config, reader) = reader(path)?;
            print(|out| drift::history::run(&args, &config, &reader, now(), out))
        }
        Command::Drift(args) if args.reported => {
            let (config, reader) = reader(path)?;
            print(|out| drift::reported::run(&args, &config, &reader, now(), out))
        }
        Command::Drift(args) => {
            // Nagios reads the first line and the exit code, whatever has happened.
            let nagios = args.format == drift::Format::Nagios;
            match look_up(args, config.as_deref()) {
                Err(error) if nagios => {
                    println!(
                        "DRIFT UNKNOWN - {}",
                        escape::text(&format!("{error:#}"), 512)
                    );
                    Ok(ExitCode::from(3))
                }
                done => done,
            }
        }
        Command::Generate(args) => generate::run(&args),
    }
}

/// Domains can be looked up on any machine; one that is configured is compared with what it wants.
fn look_up(args: drift::Args, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    let default = Path::new(file::DEFAULT_PATH);
    // Whoever may not read it, or wrote it wrong, is not to hear that all is well.
    let is_optional = config.is_none() && !args.domains.is_empty();
    let loaded = if is_optional && matches!(default.try_exists(), Ok(false)) {
        None
    } else {
        Some(load(config.unwrap_or(default))?)
    };
    let reader = loaded.as_ref().and_then(findings);
    let out = &mut std::io::stdout();
    runtime()?.block_on(drift::run(args, loaded.as_ref(), reader.as_ref(), out))
}

/// The store, if there is one: a lookup says much without it.
fn findings(config: &Config) -> Option<store::Reader> {
    let path = config.data_dir.join(store::FILE);
    let opened = match path.try_exists() {
        Ok(false) => return None,
        Ok(true) => reader_of(config),
        Err(error) => Err(error.into()),
    };
    opened
        .inspect_err(|error| {
            let path = path.display();
            eprintln!("rua-milter: what was found in reports is left out: {path}: {error:#}");
        })
        .ok()
}

/// The exit code of a failure: 2 for what an operator wrote, 1 for what the work came to.
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    let telemetry = error.downcast_ref::<TelemetryError>();
    let usage = error.is::<ConfigError>()
        || error.is::<SecretError>()
        || error.is::<BadSecret>()
        || telemetry.is_some_and(TelemetryError::is_setting);
    ExitCode::from(if usage { 2 } else { 1 })
}

/// What to do about a failure, where its own words do not say it.
pub fn next_step(error: &anyhow::Error) -> Option<&'static str> {
    hint::of(error)
}

fn load(path: &Path) -> anyhow::Result<Config> {
    Ok(file::load(path)?)
}

/// The store, for commands that only read; a daemon may run beside them.
fn reader(path: &Path) -> anyhow::Result<(Config, store::Reader)> {
    let config = load(path)?;
    let reader = reader_of(&config)?;
    Ok((config, reader))
}

fn reader_of(config: &Config) -> anyhow::Result<store::Reader> {
    data_dir::become_owner(&config.data_dir)?;
    Ok(store::Reader::open(&config.data_dir.join(store::FILE))?)
}

/// UTC epoch seconds.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(now.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}

/// Lets a command write to standard output, in large pieces.
fn print(command: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    command(&mut out)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Reads the number of a report or of a mail.
fn id(text: &str) -> Result<i64, String> {
    text.parse()
        .map_err(|_| "not a number; the lists have it in front".to_owned())
}

fn domain(text: &str) -> Result<Domain, String> {
    Domain::parse(text).ok_or_else(|| "not a domain name".to_owned())
}

/// A runtime for commands that wait for something.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        // A session is little work between waits, which more threads wake each other for; the MTA
        // needs the rest of the processor. (What takes time has threads of its own.)
        .worker_threads((cores / 2).max(1))
        .enable_all()
        .build()
        .context("cannot start the runtime")
}
