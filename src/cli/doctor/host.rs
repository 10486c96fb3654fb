//! The machine: its clock, and the disk under the data directory.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::{sys::statvfs::statvfs, unistd::User};

use super::{check::Check, program};
use crate::{config::Config, data_dir, spool, store};

/// Asks the system whether its clock is kept.
pub fn clock() -> Check {
    let said = program::ask(
        "timedatectl",
        &["show", "--property=NTPSynchronized", "--value"],
    );
    let said = said.ok().filter(|said| said.succeeded);
    judge_clock(said.as_ref().map(|said| said.text.trim()))
}

fn judge_clock(synchronised: Option<&str>) -> Check {
    match synchronised {
        Some("yes") => Check::ok("time", "the system clock is synchronised"),
        Some("no") => Check::warning(
            "time",
            "the system clock is not synchronised: reports get wrong dates, and nothing old is \
             deleted while the clock is doubted",
            "run chrony or systemd-timesyncd",
        ),
        _ => Check::unknown(
            "time",
            "whether the system clock is synchronised is not known (timedatectl cannot tell)",
            "compare date -u with a clock that is right",
        ),
    }
}

/// The data directory, as it is.
struct Data {
    owner: String,
    mode: u32,
    uid: u32,
    /// Files of ours in it that belong to somebody else.
    foreign: Vec<PathBuf>,
}

/// Looks at the data directory and at the room on its disk.
pub fn disk(config: &Config) -> Vec<Check> {
    let dir = &config.data_dir;
    let data = match examine(dir) {
        Ok(data) => judge_data(dir, &data),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Check::warning(
            "data",
            format!("data_dir {} is not there yet", dir.display()),
            "start rua-milter by systemd, which makes it, or make it for its user with mode 0750",
        ),
        Err(error) => Check::unknown("data", format!("data_dir: {error}"), "run it as root"),
    };
    vec![data, room(dir, config.limits.min_free)]
}

fn examine(dir: &Path) -> io::Result<Data> {
    let meta = fs::metadata(dir)?;
    if !meta.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let mut foreign = Vec::new();
    for name in [spool::FILE, store::FILE, data_dir::LOCK, data_dir::ASKED] {
        match fs::metadata(dir.join(name)) {
            Ok(file) if file.uid() != meta.uid() => foreign.push(dir.join(name)),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let user = User::from_uid(meta.uid().into()).ok().flatten();
    Ok(Data {
        owner: user.map_or_else(|| meta.uid().to_string(), |user| user.name),
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        foreign,
    })
}

fn judge_data(dir: &Path, data: &Data) -> Check {
    let (at, owner, mode) = (dir.display(), &data.owner, data.mode);
    if let Some(file) = data.foreign.first() {
        return Check::problem(
            "data",
            format!(
                "{} does not belong to {owner}, who owns {at}",
                file.display()
            ),
            format!("chown -R {owner}: {at}"),
        );
    }
    if mode & 0o300 != 0o300 {
        return Check::problem(
            "data",
            format!("{owner} cannot write to its own {at} (mode {mode:04o})"),
            format!("chmod 0750 {at}"),
        );
    }
    if data.uid == 0 {
        return Check::warning(
            "data",
            format!(
                "{at} belongs to root: the service of the packages, which runs as rua-milter, cannot write there"
            ),
            format!("chown -R rua-milter: {at}"),
        );
    }
    if mode & 0o7 != 0 {
        return Check::warning(
            "data",
            format!("{at} is open to every local user (mode {mode:04o})"),
            format!("chmod 0750 {at}"),
        );
    }
    Check::ok("data", format!("{at} belongs to {owner}, mode {mode:04o}"))
}

/// The room on the disk of the nearest directory that is there.
fn room(dir: &Path, min_free: u64) -> Check {
    let there = dir.ancestors().find(|at| at.exists());
    let disk = there.and_then(|at| statvfs(at).ok());
    // What is kept for root does not count.
    judge_room(
        dir,
        disk.map(|disk| disk.blocks_available() * disk.fragment_size()),
        min_free,
    )
}

fn judge_room(dir: &Path, free: Option<u64>, min_free: u64) -> Check {
    let at = dir.display();
    let Some(free) = free else {
        return Check::unknown(
            "disk",
            format!("the disk of {at} does not tell its room"),
            "df",
        );
    };
    let says = format!(
        "{} MiB are free under {at}; below {} MiB (limits.min_free_bytes) senders hear 451",
        free >> 20,
        min_free >> 20
    );
    let next = "make room, or shorten [retention]";
    if free < min_free {
        Check::problem("disk", says, next)
    } else if free < min_free.saturating_mul(2) {
        Check::warning("disk", says, next)
    } else {
        Check::ok("disk", says)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::Health;

    #[test]
    fn only_a_clock_that_says_so_is_kept() {
        assert_eq!(judge_clock(Some("yes")).state, Health::Ok);
        assert_eq!(judge_clock(Some("no")).state, Health::Warning);
        assert_eq!(judge_clock(Some("")).state, Health::Unknown);
        assert_eq!(judge_clock(None).state, Health::Unknown);
    }

    #[test]
    fn the_room_is_judged_by_the_limit() {
        let state = |free| judge_room(Path::new("/data"), free, 256 << 20).state;
        assert_eq!(state(Some(1 << 30)), Health::Ok);
        assert_eq!(state(Some(300 << 20)), Health::Warning);
        assert_eq!(state(Some(255 << 20)), Health::Problem);
        assert_eq!(state(None), Health::Unknown);
    }

    #[test]
    fn a_data_directory_belongs_to_the_daemon_alone() {
        let state = |mode, uid, foreign: &[&str]| {
            let data = Data {
                owner: "rua-milter".into(),
                mode,
                uid,
                foreign: foreign.iter().map(PathBuf::from).collect(),
            };
            judge_data(Path::new("/data"), &data).state
        };
        assert_eq!(state(0o750, 900, &[]), Health::Ok);
        assert_eq!(state(0o755, 900, &[]), Health::Warning);
        assert_eq!(state(0o700, 0, &[]), Health::Warning);
        assert_eq!(state(0o550, 900, &[]), Health::Problem);
        assert_eq!(state(0o750, 900, &["/data/spool.sqlite"]), Health::Problem);
    }
}
