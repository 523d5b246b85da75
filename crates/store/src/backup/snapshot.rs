//! One moment of both databases, copied to files of their own.
//!
//! A read transaction in WAL mode sees the last commit before it and never makes a writer wait. While it is open, SQLite
//! cannot reuse the WAL, which grows by what is written meanwhile; so it is closed once the copy is complete.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::Progress;
use super::error::BackupError;
use super::format::SchemaVersions;
use crate::database::{Database, DatabaseSpec, EVENTS_DATABASE, HUB_DATABASE};
use crate::{OpenError, schema};

/// Pages that are copied between two reports of progress: 4 MiB with SQLite's default size.
const STEP_PAGES: i32 = 1024;

/// Copies of both databases in a folder for temporary files.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) hub: PathBuf,
    pub(super) events: PathBuf,
    pub(super) versions: SchemaVersions,
}

/// A database in a read transaction.
struct Reading<'a> {
    connection: Connection,
    database: Database<'a>,
    version: u32,
    bytes: u64,
}

impl<'a> Reading<'a> {
    fn begin(folder: &'a Path, spec: &'static DatabaseSpec) -> Result<Self, OpenError> {
        let database = Database::new(folder, spec);
        if database.is_empty() {
            return Err(OpenError::NotInitialized { folder: folder.to_path_buf() });
        }
        let connection = database.open_reader()?;
        let failed = |source| database.open_error(source);
        connection.execute_batch("BEGIN").map_err(failed)?;
        // The first read begins the transaction.
        let version = schema::check(&connection, &database)?;
        if version == 0 {
            return Err(OpenError::NotInitialized { folder: folder.to_path_buf() });
        }
        let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        let pages = number("page_count").map_err(failed)?;
        let page_bytes = number("page_size").map_err(failed)?;
        let bytes = (pages * page_bytes).unsigned_abs();
        Ok(Self { connection, database, version, bytes })
    }

    /// Copies the database as it was when the transaction began.
    fn copy(&self, to: &Path, progress: &mut dyn FnMut(u64)) -> Result<(), BackupError> {
        let written = |source| BackupError::Write { file: to.to_path_buf(), source };
        crate::data_folder::create_private_file(to).map_err(written)?.set_len(0).map_err(written)?;
        let copied = |source| self.copy_error(to, source);
        let mut copy = Connection::open(to).map_err(copied)?;
        // It is worthless until it is complete.
        copy.pragma_update(None, "journal_mode", "OFF").map_err(copied)?;
        copy.pragma_update(None, "synchronous", "OFF").map_err(copied)?;
        let backup = Backup::new(&self.connection, &mut copy).map_err(copied)?;
        loop {
            let step = backup.step(STEP_PAGES).map_err(copied)?;
            let state = backup.progress();
            let done = u64::try_from(state.pagecount - state.remaining).unwrap_or(0);
            let all = u64::try_from(state.pagecount).unwrap_or(0).max(1);
            progress(self.bytes / all * done.min(all));
            match step {
                StepResult::Done => break,
                StepResult::Busy | StepResult::Locked => {
                    std::thread::sleep(std::time::Duration::from_millis(10))
                }
                _ => {}
            }
        }
        drop(backup);
        copy.close().map_err(|(_, source)| copied(source))
    }

    /// An error of the copy is most likely one of the file that is written.
    fn copy_error(&self, to: &Path, source: rusqlite::Error) -> BackupError {
        match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => {
                BackupError::Write { file: to.to_path_buf(), source: std::io::ErrorKind::StorageFull.into() }
            }
            _ => self.database.open_error(source).into(),
        }
    }
}

/// Copies both databases to `to`, as they are at one moment.
pub(super) fn take(
    folder: &Path,
    to: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Snapshot, BackupError> {
    // The events first: what they report is in the store then.
    let events = Reading::begin(folder, &EVENTS_DATABASE)?;
    let hub = Reading::begin(folder, &HUB_DATABASE)?;
    let snapshot = Snapshot {
        hub: to.join(HUB_DATABASE.file_name),
        events: to.join(EVENTS_DATABASE.file_name),
        versions: SchemaVersions { hub: hub.version, events: events.version },
    };
    let total = hub.bytes + events.bytes;
    hub.copy(&snapshot.hub, &mut |done| progress(Progress { done, total }))?;
    let of_hub = hub.bytes;
    drop(hub);
    events.copy(&snapshot.events, &mut |done| progress(Progress { done: of_hub + done, total }))?;
    Ok(snapshot)
}
