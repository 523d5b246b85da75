//! A small file system that a test can fill.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A small file system in memory. Drop unmounts it.
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// Mounts a file system. Returns `None`, with a message, where the test may not mount one.
    #[must_use]
    pub fn mount(kibibytes: u32) -> Option<Self> {
        let folder = TempDir::new().expect("cannot create a folder for the test");
        let size = format!("size={kibibytes}k");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(folder.path()).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self { folder });
        }
        eprintln!("SKIPPED: this test needs the permission to mount a tmpfs; run it as root");
        None
    }

    /// Returns the folder of the file system.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Writes a file until the disk is full.
    pub fn fill(&self) {
        let mut filler = File::create(self.filler()).expect("a file");
        for size in [4096, 1] {
            while filler.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Removes the file that fills the disk.
    pub fn free(&self) {
        fs::remove_file(self.filler()).expect("cannot remove the file");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the hub may still be exiting.
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}
