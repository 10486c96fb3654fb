//! The commands.

pub mod escape;
pub mod inspect;

use clap::Parser;

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "rua-milter", version)]
pub enum Cli {
    /// Read reports without storing anything.
    Inspect(inspect::Args),
}

/// Runs a command.
pub fn run(cli: &Cli) -> anyhow::Result<std::process::ExitCode> {
    match cli {
        Cli::Inspect(args) => inspect::run(args),
    }
}
