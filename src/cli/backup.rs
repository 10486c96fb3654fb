//! `rua-milter backup PATH`: a copy of the data directory that is one, while a daemon works on it.
//!
//! The order makes it whole. First the spool, then the report store, each as it was at one moment: a
//! mail that was stored in between is in both, and the arrival that the store has of it makes it
//! count once. Then the archive, where every mail is before its report is stored. Its files never
//! change, so they are linked where that can be and copied elsewhere. Last of all the store gets its
//! name: a backup that ended early has no `reports.sqlite`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;

use super::load;
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
    done.with_context(|| format!("the backup {} is not whole", to.display()))
        .map(|()| ExitCode::SUCCESS)
}

fn copy(from: &Path, to: &Path, no_archive: bool) -> anyhow::Result<()> {
    let spool_there = from.join(spool::FILE);
    if spool_there.exists() {
        spool::Reader::open(&spool_there)?.copy_to(&to.join(spool::FILE))?;
    }
    let unnamed = to.join(format!("{}.partial", store::FILE));
    store::Reader::open(&from.join(store::FILE))?.copy_to(&unnamed)?;
    if !no_archive && from.join(archive::FOLDER).exists() {
        let (linked, copied) =
            Archive::at(&from.join(archive::FOLDER)).copy_to(&to.join(archive::FOLDER))?;
        println!("{linked:>12} archived mails linked\n{copied:>12} archived mails copied");
    }
    let sync = || File::open(to)?.sync_all();
    sync()?;
    fs::rename(&unnamed, to.join(store::FILE))?;
    Ok(sync()?)
}
