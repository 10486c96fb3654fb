//! The program: see `lib.rs` for the map.

use clap::Parser;
use rua_milter::cli::{self, Cli};

fn main() -> anyhow::Result<std::process::ExitCode> {
    cli::run(&Cli::parse())
}
