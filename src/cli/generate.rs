//! `generate`, hidden: man pages and completions from the table of commands.

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::Cli;
use crate::telemetry::manual;

/// What to write, and where.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to write
    what: What,
    /// The folder to write it to
    dir: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    Man,
    Completions,
}

/// Writes the files.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(&args.dir)
        .with_context(|| format!("cannot make {}", args.dir.display()))?;
    match args.what {
        What::Man => man(&args.dir)?,
        What::Completions => {
            for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
                clap_complete::generate_to(shell, &mut Cli::command(), "rua-milter", &args.dir)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The commands, and those within them, under their names.
fn commands(program: &clap::Command) -> Vec<(String, &clap::Command)> {
    let shown = |command: &&clap::Command| !command.is_hide_set();
    let mut found = Vec::new();
    for command in program.get_subcommands().filter(shown) {
        let name = command.get_name();
        found.push((name.to_owned(), command));
        let within = command.get_subcommands().filter(shown);
        found.extend(within.map(|within| (format!("{name} {}", within.get_name()), within)));
    }
    found
}

/// One page of the program: the commands are part of it, as an operator looks for them in one
/// place. What the table of commands does not say (verdicts, files, signals) is written by hand,
/// as are the pages of the configuration and of the MTAs; that of the metrics comes from their
/// declarations. They go to `man8`, `man5` and `man7`, as
/// below a MANPATH.
fn man(dir: &std::path::Path) -> anyhow::Result<()> {
    let mut page = Vec::new();
    let command = Cli::command();
    let man = clap_mangen::Man::new(command.clone())
        .section("8")
        .manual("System administration")
        .source(format!("rua-milter {}", env!("CARGO_PKG_VERSION")));
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    writeln!(page, ".SH COMMANDS")?;
    for (name, command) in commands(&command) {
        writeln!(page, ".SS {name}")?;
        let about = command
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        writeln!(page, "{about}.")?;
        for argument in command.get_arguments().filter(|a| !a.is_global_set()) {
            let value = argument
                .get_value_names()
                .filter(|_| argument.get_action().takes_values())
                .and_then(|names| names.first());
            let name = match (argument.get_long(), value) {
                (Some(long), Some(value)) => format!("--{long} {value}"),
                (Some(long), None) => format!("--{long}"),
                (None, value) => {
                    value.map_or_else(|| argument.get_id().to_string(), ToString::to_string)
                }
            };
            if name == "--help" {
                continue;
            }
            let help = argument
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            writeln!(page, ".TP\n\\fB{}\\fR\n{help}", name.replace('-', "\\-"))?;
        }
    }
    page.extend_from_slice(include_bytes!("../../packaging/man/rua-milter.8.in"));
    let configuration = include_bytes!("../../packaging/man/rua-milter.toml.5").to_vec();
    let mtas = include_bytes!("../../packaging/man/rua-milter-mta.7").to_vec();
    for (section, name, page) in [
        ("man8", "rua-milter.8", page),
        ("man5", "rua-milter.toml.5", configuration),
        ("man7", "rua-milter-mta.7", mtas),
        ("man7", "rua-milter-metrics.7", manual::page().into_bytes()),
    ] {
        let dir = dir.join(section);
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let path = dir.join(name);
        std::fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
