//! A backup while it is written: a folder `FILE.partial` beside the file, which gets its name only when it is complete and
//! on the disk.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// The names of the files that a backup leaves in its folder if it is killed.
const FILES: [&str; 7] = ["archive", "hub.db", "hub.db-wal", "hub.db-shm", "events.db", "SHA256SUMS", "lock"];

/// Bytes after which the archive is synced. A sync of the whole archive at the end would make the commits of a hub on the
/// same disk wait.
const SYNC_BYTES: u64 = 32 << 20;

/// The archive while it is written: it is synced piece by piece.
pub(super) struct Archive {
    file: File,
    unsynced: u64,
}

impl Write for Archive {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.unsynced += written as u64;
        if self.unsynced >= SYNC_BYTES {
            self.file.sync_data()?;
            self.unsynced = 0;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The folder of a backup that is being written. Dropping it removes it.
pub(super) struct Partial {
    folder: PathBuf,
    target: PathBuf,
    /// The operating system releases the lock when the file closes, also after a crash.
    _lock: File,
}

impl Partial {
    /// Creates the folder for the backup `target`, or takes over that of a backup that was killed.
    pub(super) fn create(target: &Path) -> anyhow::Result<Self> {
        let mut name = target.file_name().context("the name of the backup is missing")?.to_owned();
        name.push(".partial");
        let folder = target.with_file_name(name);
        let cannot_write = || format!("cannot write {}", folder.display());
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_private(&folder) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => bail!(
                "{} exists, and is not the folder of an earlier backup of this user; remove it, or choose another file",
                folder.display()
            ),
            created => created.with_context(cannot_write)?,
        }
        let lock = create_file(&folder.join("lock"), false).with_context(cannot_write)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "another backup to {} is running; wait for its end, or choose another file",
                    target.display()
                )
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(cannot_write),
        }
        let partial = Self { folder, target: target.to_path_buf(), _lock: lock };
        partial.remove_files(&FILES[..FILES.len() - 1]);
        Ok(partial)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Creates the file for the archive, accessible only to its owner.
    pub(super) fn create_archive(&self) -> anyhow::Result<Archive> {
        let path = self.archive();
        let file = create_file(&path, true).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Archive { file, unsynced: 0 })
    }

    fn archive(&self) -> PathBuf {
        self.folder.join("archive")
    }

    /// Syncs the archive and gives it its name, unless there is a file of that name.
    pub(super) fn complete(self, archive: Archive) -> anyhow::Result<()> {
        let cannot_write = || format!("cannot write {}", self.target.display());
        archive.file.sync_all().with_context(cannot_write)?;
        match renameat_with(CWD, self.archive(), CWD, &self.target, RenameFlags::NOREPLACE) {
            // Some file systems cannot do both in one step.
            Err(Errno::INVAL | Errno::NOSYS) if !self.target.exists() => {
                fs::rename(self.archive(), &self.target).with_context(cannot_write)?;
            }
            renamed => renamed.map_err(io::Error::from).with_context(cannot_write)?,
        }
        let parent = match self.target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        match File::open(parent).and_then(|folder| folder.sync_all()) {
            // A folder that may be written but not read cannot be synced.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced.with_context(cannot_write),
        }
    }

    fn remove_files(&self, names: &[&str]) {
        for name in names {
            let _ = fs::remove_file(self.folder.join(name));
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // What cannot be removed now, the next backup to this file removes.
        self.remove_files(&FILES);
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Returns whether a folder is of this user and accessible to nobody else. In another one, links could lead elsewhere.
fn is_private(folder: &Path) -> bool {
    fs::symlink_metadata(folder).is_ok_and(|found| {
        let is_of_user = found.uid() == rustix::process::geteuid().as_raw();
        found.is_dir() && is_of_user && found.mode() & 0o077 == 0
    })
}

fn create_file(path: &Path, is_new: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    if is_new {
        options.create_new(true)
    } else {
        options.create(true).truncate(false)
    };
    options.open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_backup_has_its_name_only_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("b.tar");
        let partial = Partial::create(&target).unwrap();
        let archive = partial.create_archive().unwrap();
        assert!(Partial::create(&target).is_err_and(|error| error.to_string().contains("another backup")));
        assert!(!target.exists());
        partial.complete(archive).unwrap();
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_backup_that_was_killed_is_taken_over_and_one_that_fails_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("b.tar");
        let rest = folder.path().join("b.tar.partial");
        fs::create_dir(&rest).unwrap();
        fs::write(rest.join("archive"), "half").unwrap();
        fs::set_permissions(&rest, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(Partial::create(&target).is_err_and(|error| error.to_string().contains("is not the folder")));
        fs::set_permissions(&rest, fs::Permissions::from_mode(0o700)).unwrap();
        let partial = Partial::create(&target).unwrap();
        partial.create_archive().unwrap();
        drop(partial);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_appears_meanwhile_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("b.tar");
        let partial = Partial::create(&target).unwrap();
        let archive = partial.create_archive().unwrap();
        fs::write(&target, "other").unwrap();
        assert!(partial.complete(archive).is_err());
        assert_eq!(fs::read(&target).unwrap(), b"other");
    }
}
