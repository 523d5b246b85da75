//! The errors of backups and restores.

use std::io;
use std::path::PathBuf;

use crate::OpenError;

/// Why a backup or a restore failed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A part of the data folder cannot be read or written, or is not what it should be.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The archive is not one that can be restored.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A file cannot be read.
    #[error("cannot read {}: {source}", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}{}", .file.display(), remedy(.source))]
    Write {
        /// The file.
        file: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The archive cannot be written.
    #[error("cannot write the backup: {source}{}", remedy(.source))]
    Output {
        /// The operating system's error.
        source: io::Error,
    },
    /// The keys and certificates change faster than they can be read.
    #[error("the files with keys and certificates are being replaced; try again in a moment")]
    SecretsChange,
    /// The folder to restore into is in use.
    #[error(
        "the folder {} is not empty; a restore overwrites nothing. Stop the hub, move the folder aside (mv {} {}.old), and \
         pass --compare-with {}.old to see what the backup revives; or choose another folder with --data-dir",
        .folder.display(), .folder.display(), .folder.display(), .folder.display()
    )]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder to compare with is of another hub.
    #[error("{} has the data of another hub than the backup, so that a comparison says nothing", .folder.display())]
    OtherHub {
        /// The folder to compare with.
        folder: PathBuf,
    },
}

/// Why an archive cannot be restored. Nothing of it is in the data folder then.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be read.
    #[error("cannot read the backup: {0}")]
    Read(#[source] io::Error),
    /// It does not begin with a header.
    #[error("this is not a backup of Ferrohub: {0}")]
    NotABackup(&'static str),
    /// A newer version made it.
    #[error(
        "the backup was made by Ferrohub {hub_version}, which is newer: it has {what} {found}, and this version supports up to \
         {known}; restore it with that version or a later one"
    )]
    TooNew {
        /// The version of Ferrohub that made it.
        hub_version: String,
        /// What is newer.
        what: &'static str,
        /// Its version.
        found: u32,
        /// The newest version that this version supports.
        known: u32,
    },
    /// It ends too early.
    #[error(
        "the backup is not complete: it ends {0}; the command that made it, or a copy of the file, was interrupted"
    )]
    Incomplete(&'static str),
    /// A member is not one that a backup has.
    #[error("the backup has a member that no backup of this version has: {0:?}")]
    UnknownMember(String),
    /// A member is not a plain file.
    #[error("the member {0:?} of the backup is not a plain file")]
    NotAFile(String),
    /// A member is larger than it can be.
    #[error("the member {0} of the backup is too large")]
    TooLarge(String),
    /// A member is at a wrong place or there twice.
    #[error("the member {0} of the backup is at the wrong place, or there twice")]
    Order(String),
    /// A member is missing.
    #[error("the backup has no member {0}")]
    Missing(&'static str),
    /// The checksums do not match.
    #[error(
        "the backup is damaged: its content does not have the checksums in it. Run `sha256sum -c SHA256SUMS` in the unpacked \
         archive to see which files differ"
    )]
    Checksum,
    /// Data follows the last member.
    #[error("the backup has data after its end")]
    Trailing,
    /// The parts do not belong together.
    #[error("the parts of the backup do not belong together: {0}")]
    Mixed(&'static str),
    /// A database has tables, indexes or triggers that are not those of its version.
    #[error("the database {file} in the backup has {object}, which is not part of a database of Ferrohub")]
    Schema {
        /// The database.
        file: &'static str,
        /// What was found.
        object: String,
    },
    /// A database is corrupt.
    #[error("the database {file} in the backup is corrupt: {reason}")]
    Corrupt {
        /// The database.
        file: &'static str,
        /// What SQLite says.
        reason: String,
    },
}

/// Returns the remedy for an error of the operating system, with a separator in front.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free space there, or choose another place. A backup needs room for both databases twice, and for the files once"
        }
        io::ErrorKind::PermissionDenied => {
            "; run the command as the user of the hub, or choose another place"
        }
        io::ErrorKind::ReadOnlyFilesystem => "; choose a place that can be written",
        _ => "",
    }
}
