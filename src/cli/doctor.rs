//! `doctor`: looks at a running or intended installation as an operator would, and says what to do.
//!
//! Each look is a gathering, with a bound on its time, and a judgement of what was gathered, which is
//! pure. Nothing is changed: no mail is sent, no file written, no setting made. What cannot be
//! looked at is unknown, which is no problem.

mod check;
mod host;
mod listen;
mod network;
mod postfix;
mod program;
mod reach;
mod smtp;

use std::{
    collections::HashSet,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use serde::Serialize;

use super::{escape, load, progress::Progress, runtime};
use crate::{
    config::{Config, ListenAddress, Peer, address::Recipient},
    limits, telemetry,
    terms::Health,
};
use check::Check;
use postfix::Postfix;

/// Where an MTA is looked for that nobody named.
const SMTP: &str = "127.0.0.1:25";
/// Characters of a sentence, which may quote an MTA.
const SENTENCE: usize = 500;

/// Where to look.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where Postfix is configured [default: as postconf finds it]
    #[arg(long, value_name = "DIR")]
    postfix_config: Option<PathBuf>,
    /// The MTA that is asked whether it takes our addresses [default: Postfix's smtpd, or 127.0.0.1:25]
    #[arg(long, value_name = "HOST:PORT")]
    smtp: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Looks at everything; the exit code says whether there is a problem.
pub fn run(args: &Args, path: &Path) -> anyhow::Result<ExitCode> {
    let config = load(path)?;
    telemetry::install_crypto();
    let mut checks = vec![Check::ok(
        "config",
        format!("{}: domains: {}", path.display(), config.domains.len()),
    )];
    let doing = Progress::doing("looking");
    checks.extend(runtime()?.block_on(look(args, &config))?);
    drop(doing);
    let out = &mut io::BufWriter::new(io::stdout().lock());
    if args.json {
        show_json(out, &checks)?;
    } else {
        show(out, &checks)?;
    }
    out.flush()?;
    let amiss = checks.iter().any(|check| check.state == Health::Problem);
    Ok(ExitCode::from(u8::from(amiss)))
}

async fn look(args: &Args, config: &Config) -> anyhow::Result<Vec<Check>> {
    let addresses = addresses(config);
    let mut checks = listen::look(config).await;
    let dir = args.postfix_config.as_deref().map(absolute).transpose()?;
    let postfix = if config.listen.iter().any(|listen| listen.peer == Peer::Mta) {
        Postfix::find(dir.as_deref())
            .inspect_err(|unknown| checks.push(unknown.clone()))
            .ok()
    } else {
        None
    };
    match &postfix {
        Some(postfix) => checks.extend(postfix.look(config, &addresses)),
        None => checks.extend(modes(config)),
    }
    let found = postfix
        .as_ref()
        .and_then(|postfix| postfix.smtp_address(config));
    let certain = args.smtp.is_some() || found.is_some();
    let at = args
        .smtp
        .clone()
        .or(found)
        .unwrap_or_else(|| SMTP.to_owned());
    checks.extend(smtp::look(&at, certain, &config.node, &addresses).await);
    checks.extend(host::disk(config));
    checks.push(host::clock());
    checks.push(network::dns(config).await);
    checks.push(network::collector(&config.metrics).await);
    Ok(checks)
}

/// Postfix's tools want a whole path.
fn absolute(dir: &Path) -> anyhow::Result<String> {
    let dir = std::path::absolute(dir).context("--postfix-config")?;
    Ok(dir.display().to_string())
}

/// The sockets for whoever they are.
fn modes(config: &Config) -> Vec<Check> {
    let addresses = config.listen.iter().map(|listen| &listen.address);
    let look = |address: &ListenAddress| reach::look(address, Path::new("/"), None);
    addresses.filter_map(look).collect()
}

/// A few addresses of ours, of each host one first.
fn addresses(config: &Config) -> Vec<Recipient> {
    let domains = &config.domains;
    let mut all: Vec<_> = domains
        .iter()
        .flat_map(|entry| {
            let tls = entry.details.tls.iter().cloned();
            domains.addresses_of(entry).into_iter().chain(tls)
        })
        .filter(is_plain)
        .collect();
    all.sort_by(|a, b| (&a.host, &a.local).cmp(&(&b.host, &b.local)));
    all.dedup();
    let mut hosts = HashSet::new();
    let (first, rest): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|address| hosts.insert(address.host.clone()));
    first
        .into_iter()
        .chain(rest)
        .take(limits::DOCTOR_ADDRESSES)
        .collect()
}

/// Whether it can be said to an MTA, and to postmap, as it is.
fn is_plain(address: &Recipient) -> bool {
    let mut local = address.local.chars();
    local.all(|c| c.is_ascii_graphic() && !"()<>[]:;@\\,\"".contains(c))
}

/// A line for each check, and below it the next step.
fn show(out: &mut dyn Write, checks: &[Check]) -> io::Result<()> {
    for Check {
        about,
        state,
        says,
        next,
    } in checks
    {
        writeln!(
            out,
            "{state:<8} {about:<12} {}",
            escape::text(says, SENTENCE)
        )?;
        if let Some(next) = next {
            writeln!(out, "{:21} -> {}", "", escape::text(next, SENTENCE))?;
        }
    }
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    writeln!(
        out,
        "{} checks: {} problems, {} warnings, {} unknown",
        checks.len(),
        count(Health::Problem),
        count(Health::Warning),
        count(Health::Unknown)
    )
}

/// What `--json` prints.
#[derive(Serialize)]
struct Shown<'a> {
    checks: &'a [Check],
}

fn show_json(out: &mut dyn Write, checks: &[Check]) -> anyhow::Result<()> {
    let json = serde_json::to_string_pretty(&Shown { checks })?;
    Ok(writeln!(out, "{}", escape::json(&json))?)
}
