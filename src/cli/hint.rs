//! The next step after an error whose own words do not say it.

use std::io::{self, ErrorKind};

use crate::{config::file::ConfigError, data_dir::DataDirError, store::StoreError};

/// What to do, where that can be said.
pub fn of(error: &anyhow::Error) -> Option<&'static str> {
    if let Some(StoreError::NotThere(_)) = error.downcast_ref() {
        return Some(
            "rua-milter doctor says whether reports can arrive; rua-milter import takes old ones in",
        );
    }
    let is_file = matches!(error.downcast_ref(), Some(ConfigError::Read { .. }))
        || error.is::<DataDirError>()
        || error.is::<StoreError>();
    let mut causes = error
        .chain()
        .filter_map(|it| it.downcast_ref::<io::Error>());
    match causes.next()?.kind() {
        ErrorKind::PermissionDenied if is_file => {
            Some("run it as root, who becomes the owner of the data, or as that owner")
        }
        ErrorKind::NotFound if error.is::<ConfigError>() => {
            Some("name it with --config FILE; rua-milter.toml(5) has the smallest useful one")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_ours_are_said_to_be_roots() {
        let denied = || io::Error::from(ErrorKind::PermissionDenied);
        let path = || "/etc/rua-milter/rua-milter.toml".into();
        let read = |source| ConfigError::Read {
            path: path(),
            source,
        };
        let step = |error: anyhow::Error| of(&error).unwrap_or_default();
        assert!(step(read(denied()).into()).starts_with("run it as root"));
        assert!(step(read(ErrorKind::NotFound.into()).into()).starts_with("name it"));
        assert_eq!(step(read(ErrorKind::IsADirectory.into()).into()), "");
        // Such as a port that only root may listen at.
        assert_eq!(step(denied().into()), "");
    }
}
