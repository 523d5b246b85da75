//! The instance id: a random id that all parts of a data folder share.
//!
//! `hub.db`, `events.db` and the folder for files belong together. An operator who restores only one of them, or
//! mixes those of two hubs, gets an error instead of a hub with lost files.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _};

use crate::data_folder::{create_private_file, create_private_folder};
use crate::database::{Database, EVENTS_DATABASE, HUB_DATABASE};
use crate::{OpenError, statements};

/// Name of the folder for uploaded files in the data folder.
const BLOBS_FOLDER: &str = "blobs";
/// Name of the file with the instance id in that folder.
const ID_FILE: &str = "instance";

/// Checks that a data folder without a store contains no data of an earlier hub.
pub(crate) fn check_new(folder: &Path) -> Result<(), OpenError> {
    let refused = |found| Err(OpenError::OldData { folder: folder.to_path_buf(), found });
    // SQLite would delete the WAL of a missing or empty database. If the database has no tables although it is not
    // empty, the WAL has no complete transaction: the power was cut during the first start.
    let wal = folder.join(format!("{}-wal", HUB_DATABASE.file_name));
    if Database::new(folder, &HUB_DATABASE).is_empty() && fs::metadata(wal).is_ok_and(|wal| wal.len() > 0) {
        return refused("a write-ahead log (hub.db-wal)");
    }
    if has_events(folder) {
        return refused("events (events.db)");
    }
    let files = folder.join(BLOBS_FOLDER).join("data");
    if fs::read_dir(files).is_ok_and(|mut entries| entries.next().is_some()) {
        return refused("uploaded files (blobs)");
    }
    Ok(())
}

/// Returns whether there is an event log that had an event. A file that cannot be read counts as one.
fn has_events(folder: &Path) -> bool {
    let database = Database::new(folder, &EVENTS_DATABASE);
    if database.is_empty() {
        return false;
    }
    let Ok(events) = database.open_reader() else { return true };
    match crate::schema::check(&events, &database) {
        Ok(0) => false,
        Ok(_) => statements::has_events(&events).unwrap_or(true),
        Err(_) => true,
    }
}

/// Returns the instance id of the hub. A store without an id adopts that of its event log or of its files, which it
/// had before it was restored from an older backup; otherwise it gets a new one.
pub(crate) fn of_hub(hub: &Connection, database: &Database<'_>) -> Result<String, OpenError> {
    let failed = |source| database.open_error(source);
    if let Some(id) = read(hub).map_err(failed)? {
        return Ok(id);
    }
    let folder = database.folder();
    let id = id_of_events(folder)
        .or_else(|| read_file(&id_file(folder)).ok().flatten())
        .map_or_else(new_id, Ok)?;
    write(hub, &id).map_err(failed)?;
    Ok(id)
}

fn id_of_events(folder: &Path) -> Option<String> {
    let database = Database::new(folder, &EVENTS_DATABASE);
    database.file().exists().then(|| read(&database.open_reader().ok()?).ok()?).flatten()
}

/// Checks that the event log belongs to the hub `id`. A log without an id is from an older version and gets it.
pub(crate) fn check_events(events: &Connection, database: &Database<'_>, id: &str) -> Result<(), OpenError> {
    let failed = |source| database.open_error(source);
    match read(events).map_err(failed)? {
        Some(found) if found != id => Err(OpenError::Foreign { path: database.file() }),
        Some(_) => Ok(()),
        None => write(events, id).map_err(failed),
    }
}

/// Creates the folder for files, and checks that it belongs to the hub `id`. A folder without an id gets it.
pub(crate) fn claim_blobs(folder: &Path, id: &str) -> Result<PathBuf, OpenError> {
    let failed = |source| OpenError::Folder { folder: folder.to_path_buf(), source };
    let path = folder.join(BLOBS_FOLDER);
    create_private_folder(&path).map_err(failed)?;
    let file = id_file(folder);
    match read_file(&file).map_err(failed)? {
        Some(found) if found != id => Err(OpenError::Foreign { path }),
        Some(_) => Ok(path),
        None => {
            let mut file = create_private_file(&file).map_err(failed)?;
            file.write_all(id.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
            Ok(path)
        }
    }
}

fn id_file(folder: &Path) -> PathBuf {
    folder.join(BLOBS_FOLDER).join(ID_FILE)
}

/// Returns the id in a file; `None` if the file does not exist or is empty, as after a crash.
fn read_file(file: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|id| !id.is_empty())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the id in a database; `None` if it has none.
pub(crate) fn read(db: &Connection) -> rusqlite::Result<Option<String>> {
    let has_table: bool =
        db.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'instance'", [], |row| row.get(0))?;
    if !has_table {
        return Ok(None);
    }
    db.query_row("SELECT id FROM instance", [], |row| row.get(0)).optional()
}

fn write(db: &Connection, id: &str) -> rusqlite::Result<()> {
    db.execute("INSERT INTO instance (id) VALUES (?)", [id]).map(drop)
}

/// Returns a new random id.
fn new_id() -> Result<String, OpenError> {
    let db = Connection::open_in_memory()
        .and_then(|db| db.query_row("SELECT lower(hex(randomblob(16)))", [], |row| row.get::<_, String>(0)));
    db.map_err(|source| OpenError::Database { file: PathBuf::from(":memory:"), source })
}
