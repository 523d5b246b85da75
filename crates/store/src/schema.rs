//! Migration of a database to this version's schema.

mod functions;

pub(crate) use functions::register as register_functions;

use rusqlite::{Connection, TransactionBehavior};

use crate::OpenError;
use crate::database::Database;

/// Migrates the database to this version's schema. Does not change a file of a newer version.
pub(crate) fn migrate(connection: &mut Connection, database: &Database<'_>) -> Result<(), OpenError> {
    let found = check(connection, database)?;
    let failed = |source| database.open_error(source);
    let spec = database.spec();
    let pending = spec.migrations.iter().skip(found as usize);
    if found > 0 && pending.len() > 0 {
        // An operator who waits for a large database should see why.
        let last = spec.migrations.len();
        tracing::info!(
            file = spec.file_name,
            version = found,
            last,
            "migrating the database to a new schema version"
        );
    }
    functions::register(connection).map_err(failed)?;
    for (version, migration) in (found + 1..).zip(pending) {
        // The tables and the schema version change in one transaction.
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        step.execute_batch(migration).map_err(failed)?;
        step.pragma_update(None, "application_id", spec.application_id).map_err(failed)?;
        step.pragma_update(None, "user_version", version).map_err(failed)?;
        step.commit().map_err(failed)?;
        tracing::info!(file = spec.file_name, version, "migrated the database to a new schema version");
    }
    Ok(())
}

/// Checks that the file is a Ferrohub database and not too new. Returns its schema version; 0 for an empty file.
pub(crate) fn check(connection: &Connection, database: &Database<'_>) -> Result<u32, OpenError> {
    let failed = |source| database.open_error(source);
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, u32>(0));
    let application = number("application_id").map_err(failed)?;
    let found = number("user_version").map_err(failed)?;
    let spec = database.spec();
    let known = spec.migrations.len() as u32;
    let tables: u32 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    if application != spec.application_id && (application != 0 || found != 0 || tables != 0) {
        return Err(OpenError::NotFerrohub { file: database.file() });
    }
    if found > known {
        return Err(OpenError::TooNew { folder: database.folder().to_path_buf(), found, known });
    }
    Ok(found)
}
