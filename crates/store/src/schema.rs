//! Which tables there are, and how an older file gets them.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::OpenError;
use crate::folder::database;

/// Marks the file as ours: `FHub`.
const APPLICATION_ID: u32 = u32::from_be_bytes(*b"FHub");

/// Each takes the schema from its index to the next; `user_version` counts those that ran.
/// What was released is never edited: a change is a new file at the end.
const MIGRATIONS: [&str; 3] = [
    include_str!("migrations/0001_identities.sql"),
    include_str!("migrations/0002_twins.sql"),
    include_str!("migrations/0005_statistics.sql"),
];

/// Brings the database to this version's schema. A file of a newer version is left untouched.
pub(crate) fn migrate(connection: &mut Connection, folder: &Path) -> Result<(), OpenError> {
    let found = check(connection, folder)?;
    let failed = |source| OpenError::Database { file: database(folder), source };
    let pending = MIGRATIONS.iter().skip(found as usize);
    for (version, migration) in (found + 1..).zip(pending) {
        // The tables and the number that says they are there: both or neither.
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        step.execute_batch(migration).map_err(failed)?;
        step.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
        step.pragma_update(None, "user_version", version).map_err(failed)?;
        step.commit().map_err(failed)?;
        tracing::info!(version, "the database was brought to a new schema");
    }
    Ok(())
}

/// Whether the file is ours and not too new; the version of its schema, 0 for an empty one.
pub(crate) fn check(connection: &Connection, folder: &Path) -> Result<u32, OpenError> {
    let failed = |source| OpenError::Database { file: database(folder), source };
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, u32>(0));
    let application = number("application_id").map_err(failed)?;
    let found = number("user_version").map_err(failed)?;
    let known = MIGRATIONS.len() as u32;
    let tables: u32 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    if application != APPLICATION_ID && (application != 0 || found != 0 || tables != 0) {
        return Err(OpenError::Foreign { file: database(folder) });
    }
    if found > known {
        return Err(OpenError::TooNew { folder: folder.to_path_buf(), found, known });
    }
    Ok(found)
}
