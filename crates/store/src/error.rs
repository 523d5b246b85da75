//! The errors of opening a store and of its calls.

use std::io;
use std::path::{Path, PathBuf};

use crate::failures::describe;

/// Why a data folder could not be opened. Most messages name the remedy.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or a file in it cannot be created or read.
    #[error("cannot use the data folder {}: {source}{}", .folder.display(), remedy(.source))]
    Folder {
        /// The data folder.
        folder: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// Another process has locked the folder.
    #[error(
        "the data folder {} is locked by another hub; stop that hub, or choose another folder with --data-dir",
        .folder.display()
    )]
    InUse {
        /// The data folder.
        folder: PathBuf,
    },
    /// A newer version of Ferrohub wrote the folder.
    #[error(
        "the data folder {} was written by a newer version of Ferrohub (schema version {found}; this version \
         supports up to {known}); run the newer version, or restore a backup from before the upgrade",
        .folder.display()
    )]
    TooNew {
        /// The data folder.
        folder: PathBuf,
        /// The schema version of the file.
        found: u32,
        /// The newest schema version that this version supports.
        known: u32,
    },
    /// The file is an SQLite database of another program.
    #[error("{} is not a Ferrohub database; move it, or choose another folder with --data-dir", .file.display())]
    NotFerrohub {
        /// The file.
        file: PathBuf,
    },
    /// A restore of the folder was interrupted.
    #[error(
        "the data folder {} has an unfinished restore; run `ferrohub restore` with the backup again, which begins anew",
        .folder.display()
    )]
    UnfinishedRestore {
        /// The data folder.
        folder: PathBuf,
    },
    /// The store is missing, but the folder contains data of an earlier hub.
    #[error(
        "the store hub.db in {} is missing or empty, but the folder contains {found} of an earlier hub; nothing was \
         changed. Restore hub.db from a backup, if possible together with the other files of that backup. To begin \
         with a new hub instead, keep this folder and choose another with --data-dir",
        .folder.display()
    )]
    OldData {
        /// The data folder.
        folder: PathBuf,
        /// The data that was found.
        found: &'static str,
    },
    /// A part of the data folder belongs to another hub.
    #[error(
        "{} belongs to another hub than hub.db beside it; nothing in it was changed. Restore both from backups of the \
         same hub, or move {} to another folder",
        .path.display(), .path.display()
    )]
    Foreign {
        /// The event log, or the folder for files.
        path: PathBuf,
    },
    /// The event log has another number of partitions than requested, or the requested number is not allowed.
    #[error("{}", partitions_message(.file, *.found, *.wanted))]
    Partitions {
        /// The event log's file.
        file: PathBuf,
        /// The number of partitions in the file; 0 if it is new.
        found: u16,
        /// The requested number of partitions.
        wanted: u16,
    },
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
    /// No hub has used the folder yet.
    #[error("there is no hub in the data folder {}; start one with `ferrohub serve`", .folder.display())]
    NotInitialized {
        /// The data folder.
        folder: PathBuf,
    },
    /// SQLite failed.
    #[error("{}", describe(.source, .file))]
    Database {
        /// The file.
        file: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
}

fn partitions_message(file: &Path, found: u16, wanted: u16) -> String {
    match found {
        0 => format!("events.partitions must be 2 to 32, not {wanted}"),
        _ => format!(
            "{} has {found} partitions, which cannot be changed, but events.partitions is {wanted}; \
             set it to {found}",
            file.display()
        ),
    }
}

/// Returns the remedy for an error of the operating system, with a separator in front.
fn remedy(error: &io::Error) -> &'static str {
    use io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; free space on its file system",
        ErrorKind::PermissionDenied => {
            "; make it accessible for the hub's user, or choose another with --data-dir"
        }
        ErrorKind::ReadOnlyFilesystem => "; make its file system writable, or choose another with --data-dir",
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => "; choose a folder with --data-dir",
        _ => "",
    }
}
