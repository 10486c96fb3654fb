//! Whether a user may get to a unix socket, by the modes of what lies on the way. Access lists
//! are not looked at.

use std::{
    ffi::CString,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::unistd::{self, User};

use super::check::Check;
use crate::config::ListenAddress;

/// Who is to get there.
#[derive(Debug)]
pub struct Who {
    name: String,
    uid: u32,
    gids: Vec<u32>,
}

impl Who {
    /// A user with all of its groups; Postfix's processes have those of `mail_owner`.
    pub fn named(name: &str) -> Option<Self> {
        let user = User::from_name(name).ok()??;
        let groups = unistd::getgrouplist(&CString::new(name).ok()?, user.gid).ok()?;
        Some(Self {
            name: name.to_owned(),
            uid: user.uid.as_raw(),
            gids: groups.into_iter().map(unistd::Gid::as_raw).collect(),
        })
    }
}

/// A directory on the way, or the socket at its end.
#[derive(Debug)]
struct Step {
    path: PathBuf,
    mode: u32,
    uid: u32,
    gid: u32,
}

/// Looks whether `who` gets from `root`, to which it may be confined, to the socket. Nothing is said
/// of a socket that is not there.
pub fn look(address: &ListenAddress, root: &Path, who: Option<&Who>) -> Option<Check> {
    let ListenAddress::Unix { path, .. } = address else {
        return None;
    };
    match steps(root, path) {
        Ok(steps) => Some(judge(&steps, who)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Check::unknown(
            "socket",
            format!("{}: {error}", path.display()),
            "run it as root",
        )),
    }
}

/// The ways' parts from `root` on, the socket last.
fn steps(root: &Path, socket: &Path) -> io::Result<Vec<Step>> {
    let mut way: Vec<_> = socket
        .ancestors()
        .take_while(|at| at.starts_with(root))
        .collect();
    way.reverse();
    way.into_iter()
        .map(|path| {
            let meta = fs::metadata(path)?;
            Ok(Step {
                path: path.to_owned(),
                mode: meta.mode() & 0o7777,
                uid: meta.uid(),
                gid: meta.gid(),
            })
        })
        .collect()
}

fn judge(steps: &[Step], who: Option<&Who>) -> Check {
    let Some((socket, folders)) = steps.split_last() else {
        return Check::ok("socket", "is below no folder");
    };
    let path = socket.path.display();
    if let Some(who) = who {
        let closed = folders.iter().find(|folder| !may(who, folder, 0o1));
        if let Some(folder) = closed {
            return Check::problem(
                "socket",
                format!(
                    "{path}: the user {} may not enter {} (mode {:04o})",
                    who.name,
                    folder.path.display(),
                    folder.mode
                ),
                format!(
                    "chgrp {} {} && chmod g+x there",
                    who.name,
                    folder.path.display()
                ),
            );
        }
        // Connecting is writing (unix(7)).
        if !may(who, socket, 0o2) {
            return Check::problem(
                "socket",
                format!(
                    "{path}: the user {} may not write to it (mode {:04o})",
                    who.name, socket.mode
                ),
                format!(
                    "set group = \"{}\" and mode = \"0660\" in [[listen]], or give its folder that \
                     group and mode 2750; then restart rua-milter",
                    who.name
                ),
            );
        }
    }
    // What is closed above does not help a user who is let in by a group.
    if socket.mode & 0o2 != 0 && folders.iter().all(|folder| folder.mode & 0o1 != 0) {
        return Check::warning(
            "socket",
            format!(
                "{path}: every local user can make reports up (mode {:04o})",
                socket.mode
            ),
            "set mode = \"0660\" in [[listen]] and let the MTA's user in by the group",
        );
    }
    let whom = who.map_or_else(String::new, |who| format!(", {} gets there", who.name));
    Check::ok(
        "socket",
        format!("{path} has mode {:04o}{whom}", socket.mode),
    )
}

/// As the kernel decides: the first class that fits is the one that counts.
fn may(who: &Who, step: &Step, bit: u32) -> bool {
    let shift = if who.uid == 0 {
        return true;
    } else if who.uid == step.uid {
        6
    } else if who.gids.contains(&step.gid) {
        3
    } else {
        0
    };
    step.mode >> shift & bit != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::Health;

    const POSTFIX: u32 = 101;

    fn state(folder: (u32, u32, u32), socket: (u32, u32, u32)) -> Health {
        let step = |path: &str, (mode, uid, gid)| Step {
            path: path.into(),
            mode,
            uid,
            gid,
        };
        let steps = [
            step("/", (0o755, 0, 0)),
            step("/run/rua-milter", folder),
            step("/run/rua-milter/rua.sock", socket),
        ];
        let who = Who {
            name: "postfix".into(),
            uid: POSTFIX,
            gids: vec![POSTFIX, 7],
        };
        judge(&steps, Some(&who)).state
    }

    #[test]
    fn postfix_gets_to_the_socket_by_owner_group_or_all() {
        let ours = 900;
        for (folder, socket, expected) in [
            ((0o2750, ours, POSTFIX), (0o660, ours, POSTFIX), Health::Ok),
            ((0o750, ours, 7), (0o660, ours, 7), Health::Ok),
            ((0o755, ours, ours), (0o660, ours, POSTFIX), Health::Ok),
            // Everybody may write, and only the group gets there.
            ((0o750, ours, 7), (0o666, ours, ours), Health::Ok),
            ((0o755, ours, ours), (0o666, ours, ours), Health::Warning),
            ((0o755, ours, ours), (0o660, ours, ours), Health::Problem),
            ((0o750, ours, ours), (0o666, ours, ours), Health::Problem),
            // The owner's bits count for the owner, whatever others may.
            ((0o755, ours, ours), (0o066, POSTFIX, ours), Health::Problem),
        ] {
            assert_eq!(state(folder, socket), expected, "{folder:?} {socket:?}");
        }
    }
}
