//! Checks that a database from an archive has the tables, indexes and triggers of its version and no others: a trigger of
//! another origin would run with the next write of the hub.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::error::{ArchiveError, BackupError};
use crate::OpenError;
use crate::database::{Database, DatabaseSpec};
use crate::failures::Condition;
use crate::{queries, schema};

/// Tables of SQLite itself, which `ANALYZE` makes.
const OF_SQLITE: [&str; 2] = ["sqlite_stat1", "sqlite_stat4"];

/// A table, index, view or trigger.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Object {
    kind: String,
    name: String,
    table: String,
    /// The statement that created it; `None` if SQLite did.
    sql: Option<String>,
}

/// Checks a database file with the schema version `version`, and its pages.
pub(super) fn check(db: &Connection, database: &Database<'_>, version: u32) -> Result<(), BackupError> {
    let failed = |source| corrupt(database.spec(), database.open_error(source));
    let file = database.spec().file_name;
    let found = objects(db).map_err(failed)?;
    let expected = expected(database, version)?;
    if let Some(unknown) = found.difference(&expected).find(|object| !is_allowed(object)) {
        let object = format!("the {} {}", unknown.kind, unknown.name);
        return Err(ArchiveError::Schema { file, object }.into());
    }
    if let Some(missing) = expected.difference(&found).next() {
        let object = format!("no {} {}", missing.kind, missing.name);
        return Err(ArchiveError::Schema { file, object }.into());
    }
    let reason: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if reason != "ok" {
        return Err(ArchiveError::Corrupt { file, reason }.into());
    }
    Ok(())
}

/// Converts an error of a database from an archive: a corrupt one makes the archive one that cannot be restored.
pub(super) fn corrupt(spec: &DatabaseSpec, error: OpenError) -> BackupError {
    match error {
        OpenError::Database { source, .. }
            if matches!(Condition::of(&source), Condition::Corrupt | Condition::NotADatabase) =>
        {
            ArchiveError::Corrupt { file: spec.file_name, reason: source.to_string() }.into()
        }
        other => other.into(),
    }
}

/// The indexes that the operator declares are created and dropped when the store opens.
fn is_allowed(object: &Object) -> bool {
    (object.kind == "index" && object.table == "twin" && queries::is_path_index(&object.name))
        || OF_SQLITE.contains(&object.name.as_str())
}

/// Returns what the migrations up to a version create.
fn expected(database: &Database<'_>, version: u32) -> Result<BTreeSet<Object>, OpenError> {
    let failed = |source| database.open_error(source);
    let db = Connection::open_in_memory().map_err(failed)?;
    schema::register_functions(&db).map_err(failed)?;
    for migration in database.spec().migrations.iter().take(version as usize) {
        db.execute_batch(migration).map_err(failed)?;
    }
    objects(&db).map_err(failed)
}

fn objects(db: &Connection) -> rusqlite::Result<BTreeSet<Object>> {
    db.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema")?
        .query_map([], |row| {
            Ok(Object { kind: row.get(0)?, name: row.get(1)?, table: row.get(2)?, sql: row.get(3)? })
        })?
        .collect()
}
