//! A restore that did not end: a data folder that has it must not be used as one.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::error::BackupError;
use crate::OpenError;
use crate::database::{EVENTS_DATABASE, HUB_DATABASE};

/// The folder in the data folder that a restore writes to. It stays until the data folder is complete.
const RESTORING: &str = "restoring";
/// What an empty folder may have: the lock of the hub, and what some file systems put there.
const IGNORED: [&str; 2] = ["hub.lock", "lost+found"];

/// Returns the folder in the data folder that a restore writes to.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join(RESTORING)
}

/// Checks that no restore of the data folder is unfinished.
pub(crate) fn check_finished(folder: &Path) -> Result<(), OpenError> {
    match fs::remove_dir(path(folder)) {
        // Empty: only its removal was missing.
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(_) => Err(OpenError::UnfinishedRestore { folder: folder.to_path_buf() }),
    }
}

/// Makes a folder ready for a restore: it must not exist, be empty, or have the rest of an unfinished restore, which is
/// removed. `secrets` are the names of secret files that a restore writes.
pub(super) fn clear(folder: &Path, secrets: &[&str]) -> Result<(), BackupError> {
    let failed = |source| OpenError::Folder { folder: folder.to_path_buf(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error).into()),
    };
    let names: Vec<OsString> =
        entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>().map_err(failed)?;
    let is = |name: &OsString, known: &str| name.as_os_str() == OsStr::new(known);
    let names: Vec<OsString> =
        names.into_iter().filter(|name| !IGNORED.iter().any(|ignored| is(name, ignored))).collect();
    if names.is_empty() {
        return Ok(());
    }
    let tops = secrets.iter().map(|secret| secret.split('/').next().unwrap_or(secret));
    let written: Vec<&str> = tops.chain([RESTORING, EVENTS_DATABASE.file_name, "blobs"]).collect();
    // The store is the last file that a restore puts in its place.
    let is_unfinished = names.iter().any(|name| is(name, RESTORING))
        && !names.iter().any(|name| is(name, HUB_DATABASE.file_name))
        && names.iter().all(|name| written.iter().any(|known| is(name, known)));
    if !is_unfinished {
        return Err(BackupError::NotEmpty { folder: folder.to_path_buf() });
    }
    // Its own folder last: until then, it is recognised as unfinished.
    let (last, others): (Vec<_>, Vec<_>) = names.iter().partition(|name| is(name, RESTORING));
    for name in others.into_iter().chain(last) {
        remove(&folder.join(name)).map_err(failed)?;
    }
    Ok(())
}

/// Removes a file or a folder with everything in it.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
