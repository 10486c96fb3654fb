//! `serve`: the daemon.

use std::{path::Path, process::ExitCode};

use super::{load, runtime};

/// Runs until SIGTERM or SIGINT.
pub fn run(path: &Path) -> anyhow::Result<ExitCode> {
    let config = load(path)?;
    crate::data_dir::enter(&config.data_dir)?;
    let runtime = runtime()?;
    let ended = runtime.block_on(crate::serve::run(path, config));
    // What still blocks (a store on a dying disk) must not keep us: the spool has it all.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    ended?;
    Ok(ExitCode::SUCCESS)
}
