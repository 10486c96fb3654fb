//! A small file system of its own, which can be filled.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::Command,
};

/// A tmpfs, gone when it is dropped.
pub struct Disk {
    at: PathBuf,
}

impl Disk {
    /// Mounts one at a directory, which it makes. `options` as mount(8) takes them.
    pub fn mount(at: &Path, options: &str) -> Self {
        fs::create_dir_all(at).expect("a directory");
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(at)
            .output()
            .expect("mount(8)");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "this test must be allowed to mount a tmpfs: {said}"
        );
        Self { at: at.to_owned() }
    }

    /// Leaves about so many bytes free, to the page.
    pub fn fill(&self, leave: usize) {
        let mut file = File::create(self.ballast()).expect("a file");
        let full = loop {
            if let Err(error) = file.write_all(&[0; 4_096]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        let size = file.metadata().expect("a file").len();
        let size = size.saturating_sub(leave as u64) / 4_096 * 4_096;
        file.set_len(size).expect("to cut");
    }

    /// Takes away what filled it.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).expect("a file");
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, as a daemon may still have files open there.
        let unmounted = Command::new("umount").arg("-l").arg(&self.at).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.at.display());
        }
    }
}
