//! Where the configuration's secrets lie: in files, and never in the configuration itself.

use std::path::{Path, PathBuf};

use super::file::Source;

impl Source<'_> {
    /// A relative name is that of a systemd credential (`LoadCredential=`), or of a file beside the
    /// configuration.
    pub(super) fn secret_file(&self, name: &Path) -> PathBuf {
        let credential = std::env::var_os("CREDENTIALS_DIRECTORY")
            .map(|folder| Path::new(&folder).join(name))
            .filter(|credential| credential.exists());
        let beside = || self.path.parent().unwrap_or(Path::new("")).join(name);
        credential.unwrap_or_else(beside)
    }
}
