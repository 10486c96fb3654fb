//! `serve`: the daemon.

use std::{path::Path, process::ExitCode};

use anyhow::Context as _;

use super::{load, runtime};
use crate::sockets::inherited::Inherited;

/// Runs until SIGTERM or SIGINT.
pub fn run(path: &Path) -> anyhow::Result<ExitCode> {
    let config = load(path)?;
    crate::data_dir::enter(&config.data_dir)?;
    // Before there are threads, as it changes the environment.
    let inherited = Inherited::from_env().context("cannot take the sockets that systemd opened")?;
    let runtime = runtime()?;
    let ended = runtime.block_on(crate::serve::run(path, config, inherited));
    // What still blocks (a store on a dying disk) must not keep us: the spool has it all.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    ended?;
    Ok(ExitCode::SUCCESS)
}
