//! The changes that the folder makes in the file system, so that tests can let them fail and lose power between them.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Changes of files and folders. Reads are not changes: the folder makes them itself. All calls block.
///
/// Bytes survive a power loss after [`FileSystem::sync_file`], names after [`FileSystem::sync_folder`] of their folder.
pub trait FileSystem: Send + Sync + 'static {
    /// Creates a file with mode 0600, which must not exist.
    ///
    /// # Errors
    /// Those of the operating system, like those of all functions here.
    fn create_file(&self, path: &Path) -> io::Result<File>;

    /// Appends to the file `path`, which is open as `file`.
    ///
    /// # Errors
    /// Those of the operating system. A part of the bytes may have been written.
    fn append(&self, path: &Path, file: &mut File, bytes: &[u8]) -> io::Result<()>;

    /// Syncs the bytes of the file `path`, which is open as `file`.
    ///
    /// # Errors
    /// Those of the operating system. The bytes may be lost then, even if a later sync succeeds.
    fn sync_file(&self, path: &Path, file: &File) -> io::Result<()>;

    /// Renames a file and replaces a file of the new name.
    ///
    /// # Errors
    /// Those of the operating system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// Those of the operating system.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Creates a folder with mode 0700, and those above it, if they do not exist.
    ///
    /// # Errors
    /// Those of the operating system.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty folder.
    ///
    /// # Errors
    /// Those of the operating system.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;

    /// Syncs the names in a folder.
    ///
    /// # Errors
    /// Those of the operating system.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

/// The file system of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemFiles;

impl FileSystem for SystemFiles {
    fn create_file(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    fn append(&self, _: &Path, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync_file(&self, _: &Path, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}
