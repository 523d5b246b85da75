//! What can go wrong: when a store opens, and in each call.

use std::io;
use std::path::PathBuf;

use ferrohub_core::store::StoreError;

/// Why a data folder could not be opened. The texts say what to do next.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or a file in it cannot be made or read.
    #[error("cannot use the data folder {}: {source}", .folder.display())]
    Folder {
        /// The data folder.
        folder: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process has it open.
    #[error(
        "the data folder {} is held by another hub; stop that one, or give this one a folder of its own \
         with --data-dir",
        .folder.display()
    )]
    InUse {
        /// The data folder.
        folder: PathBuf,
    },
    /// A newer version of the hub wrote it.
    #[error(
        "the data folder {} was written by a newer version of Ferrohub (its schema is {found}, this version \
         knows {known}); run that version, or restore a backup from before",
        .folder.display()
    )]
    TooNew {
        /// The data folder.
        folder: PathBuf,
        /// The schema in the file.
        found: u32,
        /// The newest schema this version knows.
        known: u32,
    },
    /// There is an SQLite file of some other program in the place of the hub's.
    #[error("{} is not a Ferrohub database", .file.display())]
    NotFerrohub {
        /// The file.
        file: PathBuf,
    },
    /// The event log has another number of partitions, or would have one that is not allowed.
    #[error(
        "{} {}; events.partitions is {wanted}{}",
        .file.display(),
        if *.found == 0 { "is new".to_owned() } else { format!("has {found} partitions, which cannot be changed") },
        if *.found == 0 { ", and may be 2 to 32" } else { "" }
    )]
    Partitions {
        /// The log's file.
        file: PathBuf,
        /// How many it has; 0 if it is new.
        found: u16,
        /// How many were asked for.
        wanted: u16,
    },
    /// The store was closed before.
    #[error("the store is closed")]
    Closed,
    /// No hub has used the folder yet.
    #[error("there is no hub in the data folder {}; start one with `ferrohub serve`", .folder.display())]
    NotInitialized {
        /// The data folder.
        folder: PathBuf,
    },
    /// SQLite failed.
    #[error("cannot open the database {}: {source}", .file.display())]
    Database {
        /// The file.
        file: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

/// The error of a call, from SQLite's.
pub(crate) fn store_error(error: rusqlite::Error) -> StoreError {
    use rusqlite::Error;
    match error {
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::InvalidColumnType(..)
        | Error::Utf8Error(..) => StoreError::Corrupt(error.to_string()),
        other => StoreError::Failed(Box::new(other)),
    }
}
