//! `check-config`: everything that `serve` does with the configuration, short of binding.

use std::{io::Write as _, path::Path, process::ExitCode};

use super::load;
use crate::intake::hook::Secrets;

/// Reads the configuration and says what it comes to.
pub fn run(path: &Path) -> anyhow::Result<ExitCode> {
    let config = load(path)?;
    config.hook.as_ref().map(Secrets::read).transpose()?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{}: ok, domains: {}",
        path.display(),
        config.domains.len()
    )?;
    let silent = config
        .domains
        .iter()
        .filter(|entry| config.domains.addresses_of(*entry).is_empty())
        .count();
    if silent > 0 {
        writeln!(
            out,
            "note: {silent} of them have no address of their own and there is no \
             recipients.template: their reports come only with other addresses or by import"
        )?;
    }
    Ok(ExitCode::SUCCESS)
}
