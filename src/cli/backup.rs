//! `rua-milter backup PATH`: a copy of the data directory that is one, while a daemon works on it.
//!
//! The order makes it whole. First the spool, then the report store, each as it was at one moment: a
//! mail that was stored in between is in both, and the arrival that the store has of it makes it
//! count once. Then the archive, where every mail is before its report is stored. Its files never
//! change, so they are linked where that can be and copied elsewhere. Last of all the store gets its
//! name: a backup that ended early has no `reports.sqlite`.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use serde::Serialize;

use super::{load, progress::Progress};
use crate::{
    archive::{self, Archive},
    data_dir, spool, store,
};

/// Options of `backup`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The directory to make
    path: PathBuf,
    /// Leave the archive out, whose files never change and can be copied by other means
    #[arg(long)]
    no_archive: bool,
    /// Print how many mails were archived as one JSON object
    #[arg(long)]
    json: bool,
}

/// Mails of the archive in the backup.
#[derive(Default, Serialize)]
struct Archived {
    linked: u64,
    copied: u64,
}

/// Runs the command.
pub fn run(args: &Args, config: &Path) -> anyhow::Result<ExitCode> {
    let config = load(config)?;
    let (from, to) = (&config.data_dir, &args.path);
    anyhow::ensure!(
        data_dir::has(from, store::FILE)?,
        "no report store in {}: there is nothing to back up, or data_dir is another",
        from.display()
    );
    data_dir::make_for_owner(to, from)?;
    data_dir::become_owner(from)?;
    let done = copy(from, to, args.no_archive);
    let done = done.with_context(|| format!("the backup {} is not whole", to.display()))?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&done)?)?;
    } else if !args.no_archive {
        let Archived { linked, copied } = done;
        writeln!(
            out,
            "{linked:>12} archived mails linked\n{copied:>12} archived mails copied"
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn copy(from: &Path, to: &Path, no_archive: bool) -> anyhow::Result<Archived> {
    let spool_there = from.join(spool::FILE);
    if spool_there.exists() {
        let _doing = Progress::doing("copying the spool");
        spool::Reader::open(&spool_there)?.copy_to(&to.join(spool::FILE))?;
    }
    let unnamed = to.join(format!("{}.partial", store::FILE));
    let doing = Progress::doing("copying the report store");
    store::Reader::open(&from.join(store::FILE))?.copy_to(&unnamed)?;
    drop(doing);
    let mut done = Archived::default();
    if !no_archive && from.join(archive::FOLDER).exists() {
        let bar = Progress::of("archived mails", None);
        let archive = Archive::at(&from.join(archive::FOLDER));
        (done.linked, done.copied) = archive.copy_to(&to.join(archive::FOLDER), || bar.add(1))?;
    }
    let sync = || File::open(to)?.sync_all();
    sync()?;
    fs::rename(&unnamed, to.join(store::FILE))?;
    sync()?;
    Ok(done)
}
