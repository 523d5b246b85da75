//! The stored files of a backup: those in the catalogue of its copy of `hub.db`.
//!
//! A running hub may delete or replace a file after the databases were copied. The copy then gets the newer entry of the
//! catalogue, or none, so that the copy and the files of a backup always agree.

use std::fs::File;
use std::io;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::format::is_blob_file;
use crate::OpenError;
use crate::database::{Database, HUB_DATABASE};

/// Entries that are read at once.
const PAGE: usize = 1000;
/// How often a file that is replaced again and again is looked up.
const MAX_LOOK_UPS: usize = 10;

/// The schema version since which there are files.
const FIRST_VERSION: u32 = 4;

/// An entry of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) file: String,
    pub(super) bytes: u64,
}

/// What became of an entry.
pub(super) enum Opened {
    /// The file, and the entry that it has now.
    File(File, Entry),
    /// The file was deleted meanwhile.
    Deleted,
    /// The file is missing, or has another size, although the hub has not deleted it.
    Damaged,
}

/// The catalogue of a copy, and that of the hub it was copied from.
pub(super) struct Catalogue<'a> {
    copy: Connection,
    /// Adds the file to an error.
    database: Database<'a>,
    live: Connection,
    has_files: bool,
}

impl<'a> Catalogue<'a> {
    /// Opens the catalogue of the copy in `copies`, and of the hub in `folder`.
    pub(super) fn open(copies: &'a Path, folder: &Path, version: u32) -> Result<Self, OpenError> {
        let database = Database::new(copies, &HUB_DATABASE);
        let failed = |source| database.open_error(source);
        let copy = Connection::open(database.file()).map_err(failed)?;
        copy.pragma_update(None, "synchronous", "OFF").map_err(failed)?;
        let live = Database::new(folder, &HUB_DATABASE).open_reader()?;
        Ok(Self { copy, database, live, has_files: version >= FIRST_VERSION })
    }

    /// Returns the number and the bytes of all files.
    pub(super) fn size(&self) -> Result<(u64, u64), OpenError> {
        if !self.has_files {
            return Ok((0, 0));
        }
        let size = self.copy.query_row("SELECT count(*), coalesce(sum(bytes), 0) FROM blob", [], |row| {
            Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, i64>(1)?.unsigned_abs()))
        });
        size.map_err(|source| self.database.open_error(source))
    }

    /// Returns the entries after a name.
    pub(super) fn page(&self, after: &str) -> Result<Vec<Entry>, OpenError> {
        if !self.has_files {
            return Ok(Vec::new());
        }
        page(&self.copy, after).map_err(|source| self.database.open_error(source))
    }

    /// Opens the file of an entry. Changes the copy if the hub has deleted or replaced it meanwhile.
    pub(super) fn open_file(&self, data: &Path, mut entry: Entry) -> Result<Opened, OpenError> {
        let failed = |source| self.database.open_error(source);
        for _ in 0..MAX_LOOK_UPS {
            match open(data, &entry) {
                Ok(Some(file)) => return Ok(Opened::File(file, entry)),
                Ok(None) => {}
                Err(source) => return Err(OpenError::Folder { folder: data.join(&entry.file), source }),
            }
            // The hub removes the entry before the file.
            let Some(now) = self.look_up(&entry.name).map_err(failed)? else {
                self.forget(&entry).map_err(failed)?;
                return Ok(Opened::Deleted);
            };
            if now == entry {
                break;
            }
            entry = now;
        }
        self.forget(&entry).map_err(failed)?;
        Ok(Opened::Damaged)
    }

    /// Reads the entry that the hub has now, and writes it to the copy.
    fn look_up(&self, name: &str) -> rusqlite::Result<Option<Entry>> {
        let row = self
            .live
            .prepare_cached("SELECT file, bytes, etag, modified, properties FROM blob WHERE name = ?")?
            .query_row([name], |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, i64>(1)?,
                    row.get::<_, String>(2)?,
                    row.get::<_, i64>(3)?,
                    row.get::<_, String>(4)?,
                ))
            })
            .optional()?;
        let Some((file, bytes, etag, modified, properties)) = row else { return Ok(None) };
        self.copy
            .prepare_cached(
                "UPDATE blob SET file = ?, bytes = ?, etag = ?, modified = ?, properties = ? WHERE name = ?",
            )?
            .execute(params![file, bytes, etag, modified, properties, name])?;
        Ok(Some(Entry { name: name.to_owned(), file, bytes: bytes.unsigned_abs() }))
    }

    fn forget(&self, entry: &Entry) -> rusqlite::Result<()> {
        self.copy.prepare_cached("DELETE FROM blob WHERE name = ?")?.execute([&entry.name]).map(drop)
    }

    /// Writes the changes to the copy.
    pub(super) fn close(self) -> Result<(), OpenError> {
        self.copy.close().map_err(|(_, source)| self.database.open_error(source))
    }
}

/// Opens a file. `None` if it does not exist or has another size.
fn open(data: &Path, entry: &Entry) -> io::Result<Option<File>> {
    if !is_blob_file(&entry.file) {
        return Ok(None);
    }
    let file = match File::open(data.join(&entry.file)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let is_whole = file.metadata()?.len() == entry.bytes;
    Ok(is_whole.then_some(file))
}

/// Reads entries of a catalogue in the order of their names.
pub(super) fn page(db: &Connection, after: &str) -> rusqlite::Result<Vec<Entry>> {
    db.prepare_cached("SELECT name, file, bytes FROM blob WHERE name > ? ORDER BY name LIMIT ?")?
        .query_map(params![after, PAGE as i64], |row| {
            Ok(Entry { name: row.get(0)?, file: row.get(1)?, bytes: row.get::<_, i64>(2)?.unsigned_abs() })
        })?
        .collect()
}
