//! Backups of a data folder in one file, and data folders from backups.
//!
//! [`create`] reads the folder beside a running hub: read transactions on both databases are one moment, and files never
//! change once they have their name. [`restore`] trusts nothing in an archive: it accepts only members that a backup has,
//! and compares every byte with the checksums before the folder gets a store. [`compare`] tells what a restored folder
//! has that its hub had revoked or deleted since.
//!
//! The format is in `format.rs`, `archive.rs` writes and reads it.

mod archive;
mod catalogue;
mod compare;
mod create;
mod error;
mod format;
mod restore;
mod schema_objects;
mod snapshot;
mod unfinished;

pub use archive::{ArchiveReader, ArchiveWriter, Members};
pub use compare::{Comparison, Found, compare};
pub use create::{Created, Source, create};
pub use error::{ArchiveError, BackupError};
pub use format::{FORMAT, Header, MAX_HEADER_BYTES, MAX_SECRET_BYTES, Member, SchemaVersions};
pub use restore::{Restored, Target, restore};

pub(crate) use unfinished::check_finished;

/// How far a backup or a restore is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The bytes that are done.
    pub done: u64,
    /// All bytes, as far as is known.
    pub total: u64,
}
