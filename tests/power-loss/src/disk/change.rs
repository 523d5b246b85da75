//! Changes of a disk, and what can happen to them.

use std::io;
use std::path::Path;

/// A change of the disk. All paths are absolute.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// Creates a file, or does nothing if it exists.
    Create(&'a Path),
    /// Writes bytes into a file.
    Write {
        /// The file.
        path: &'a Path,
        /// Position of the first byte.
        offset: u64,
        /// The bytes.
        data: &'a [u8],
    },
    /// Sets the size of a file.
    Resize {
        /// The file.
        path: &'a Path,
        /// The new size in bytes.
        size: u64,
    },
    /// Syncs the bytes of a file.
    Sync {
        /// The file.
        path: &'a Path,
        /// Whether its folder is also synced.
        with_name: bool,
    },
    /// Creates a folder, or does nothing if it exists.
    CreateFolder(&'a Path),
    /// Renames a file. A file with the new name is replaced.
    Rename {
        /// The old path.
        from: &'a Path,
        /// The new path.
        to: &'a Path,
    },
    /// Removes a file or an empty folder.
    Remove(&'a Path),
    /// Syncs the names in a folder.
    SyncFolder(&'a Path),
}

impl Change<'_> {
    /// Returns the file whose bytes change or become safe.
    pub(super) fn written_file(&self) -> Option<&Path> {
        match *self {
            Self::Write { path, .. } | Self::Resize { path, .. } | Self::Sync { path, .. } => Some(path),
            _ => None,
        }
    }
}

/// What a disk does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Writes fail.
    Write,
    /// Writes that make a file longer, and new files, find no space.
    Full,
    /// Syncs fail. What they should have synced is partly lost, although it can still be read, and the next sync does
    /// not write it either: Linux marks such pages as clean.
    Sync,
}

/// Why a change was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// An I/O error, from a fault or because the power is off.
    Io,
    /// No space is left.
    Full,
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Io => Self::other("an I/O error of the simulated disk"),
            Failure::Full => io::ErrorKind::StorageFull.into(),
        }
    }
}

/// What a power loss leaves of the changes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survival {
    /// Nothing.
    Nothing,
    /// The changes before a random one, and some sectors of that one.
    Torn,
    /// A random part of all sectors and names, in any order.
    Random,
    /// Everything: only the process ended.
    Everything,
}

impl Survival {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Nothing, Self::Torn, Self::Random, Self::Everything];
}
