//! A database file in the data folder: opens its writing connection and its read-only connections.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::{OpenError, schema};

/// How long SQLite waits while another process, such as a backup, has the database locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A kind of database: its file name, application id and migrations.
#[derive(Debug)]
pub(crate) struct DatabaseSpec {
    /// Name of the file in the data folder.
    pub(crate) file_name: &'static str,
    /// SQLite's `application_id`, which marks the file as a Ferrohub database.
    pub(crate) application_id: u32,
    /// The migration at index `n` takes the schema from version `n` to `n + 1`. `user_version` is the current version.
    /// Never edit a released migration: append a new one, as `docs/how-to/add-a-migration.md` describes.
    pub(crate) migrations: &'static [&'static str],
}

/// The hub's state: identities and what belongs to them, shared access policies, certificate authorities, leases, import and
/// export jobs, and the index of stored files.
pub(crate) const HUB_DATABASE: DatabaseSpec = DatabaseSpec {
    file_name: "hub.db",
    application_id: u32::from_be_bytes(*b"FHub"),
    migrations: &[
        include_str!("migrations/0001_identities.sql"),
        include_str!("migrations/0002_twins.sql"),
        include_str!("migrations/0003_messages.sql"),
        include_str!("migrations/0004_files.sql"),
        include_str!("migrations/0005_statistics.sql"),
        include_str!("migrations/0006_instance.sql"),
        include_str!("migrations/0007_leases.sql"),
        include_str!("migrations/0008_queries.sql"),
        include_str!("migrations/0009_import_export.sql"),
        include_str!("migrations/0010_configurations.sql"),
        include_str!("migrations/0011_jobs.sql"),
    ],
};

/// The event log.
pub(crate) const EVENTS_DATABASE: DatabaseSpec = DatabaseSpec {
    file_name: "events.db",
    application_id: u32::from_be_bytes(*b"FHev"),
    migrations: &[
        include_str!("migrations/events/0001_log.sql"),
        include_str!("migrations/events/0002_instance.sql"),
        include_str!("migrations/events/0003_typed_properties.sql"),
        include_str!("migrations/events/0004_lost_events.sql"),
    ],
};

/// One database of a data folder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Database<'a> {
    folder: &'a Path,
    spec: &'static DatabaseSpec,
}

impl<'a> Database<'a> {
    pub(crate) fn new(folder: &'a Path, spec: &'static DatabaseSpec) -> Self {
        Self { folder, spec }
    }

    pub(crate) fn folder(&self) -> &'a Path {
        self.folder
    }

    pub(crate) fn spec(&self) -> &'static DatabaseSpec {
        self.spec
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join(self.spec.file_name)
    }

    /// Adds the file to an SQLite error.
    pub(crate) fn open_error(&self, source: rusqlite::Error) -> OpenError {
        OpenError::Database { file: self.file(), source }
    }

    /// Returns whether the file is missing or empty.
    pub(crate) fn is_empty(&self) -> bool {
        std::fs::metadata(self.file()).map_or(0, |file| file.len()) == 0
    }

    /// Returns whether the file is missing or has no tables.
    pub(crate) fn is_new(&self) -> bool {
        if self.is_empty() {
            return true;
        }
        // A database that cannot be read is not new: `open_for_writing` reports the error.
        self.open_reader()
            .and_then(|connection| schema::check(&connection, self))
            .is_ok_and(|version| version == 0)
    }

    /// Opens the writing connection, and migrates the database to this version's schema.
    pub(crate) fn open_for_writing(&self) -> Result<Connection, OpenError> {
        let to_open_error = |source| self.open_error(source);
        // SQLite creates the WAL with the mode of the database file, so the mode must be set before SQLite opens it.
        crate::data_folder::create_private_file(&self.file())
            .map_err(|source| OpenError::Folder { folder: self.file(), source })?;
        let mut connection =
            self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        schema::check(&connection, self)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(to_open_error)?;
        // In WAL mode, a commit survives a power loss only with FULL.
        connection.pragma_update(None, "synchronous", "FULL").map_err(to_open_error)?;
        connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024).map_err(to_open_error)?;
        // Deleting an identity also deletes its twin, messages, feedback and uploads.
        connection.pragma_update(None, "foreign_keys", true).map_err(to_open_error)?;
        schema::migrate(&mut connection, self)?;
        Ok(connection)
    }

    /// Opens `count` read-only connections.
    pub(crate) fn open_readers(&self, count: usize) -> Result<Vec<Connection>, OpenError> {
        (0..count).map(|_| self.open_reader()).collect()
    }

    /// Opens a read-only connection.
    pub(crate) fn open_reader(&self) -> Result<Connection, OpenError> {
        self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
    }

    fn connect(&self, flags: OpenFlags) -> Result<Connection, OpenError> {
        let open = || {
            let connection = Connection::open_with_flags(self.file(), flags)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update(None, "trusted_schema", false)?;
            connection.set_prepared_statement_cache_capacity(64);
            Ok(connection)
        };
        open().map_err(|source| self.open_error(source))
    }
}
