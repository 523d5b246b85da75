//! Makes a data folder from a backup.
//!
//! The members are written to a folder in the data folder, checked, and moved to their places, `hub.db` last. Until then, no
//! hub starts on the folder.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use ferrohub_model::Timestamp;
use rusqlite::Connection;
use serde::Serialize;

use super::archive::{ArchiveReader, Members};
use super::error::{ArchiveError, BackupError};
use super::format::{Header, Member};
use super::{Progress, catalogue, schema_objects, unfinished};
use crate::data_folder::{DataFolder, create_new_private_file, create_private_folder, sync_folder};
use crate::database::{Database, DatabaseSpec, EVENTS_DATABASE, HUB_DATABASE};
use crate::{OpenError, instance, schema, statements};

/// Size of the pieces that are written.
const CHUNK_BYTES: usize = 256 * 1024;

/// Where a backup is restored to.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The data folder, which must not exist or be empty.
    pub folder: &'a Path,
    /// The names of secret files that a backup may have.
    pub secrets: &'a [&'static str],
    /// The time of the restore.
    pub now: Timestamp,
    /// Whether jobs that had not ended are cancelled.
    pub cancel_jobs: bool,
    /// The size of the archive, if it is known, for the progress.
    pub bytes: Option<u64>,
}

/// What a restored data folder has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// The header of the archive.
    #[serde(flatten)]
    pub header: Header,
    /// When it was restored. Events that were lost are before, and new ones after this time.
    pub restored: Timestamp,
    /// The number of devices.
    pub devices: u64,
    /// The number of modules.
    pub modules: u64,
    /// The number of shared access policies that the hub stores.
    pub policies: u64,
    /// The number of stored files.
    pub files: u64,
    /// The number of events.
    pub events: u64,
    /// Cloud-to-device messages that wait. Those that were delivered after the backup are delivered again.
    pub messages: u64,
    /// Jobs that had not ended, also those that import or export. Unless they are cancelled, they go on, also with devices on which they have
    /// worked after the backup.
    pub unfinished_jobs: Vec<String>,
}

/// Restores an archive.
///
/// # Errors
/// [`BackupError`]. The folder is as it was then, except that it exists.
pub fn restore(
    input: impl Read,
    target: &Target<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Restored, BackupError> {
    let folder = target.folder;
    unfinished::clear(folder, target.secrets)?;
    let lock = DataFolder::open(folder)?;
    // Another restore may have come first.
    unfinished::clear(folder, target.secrets)?;
    let restoring = unfinished::path(folder);
    let result = extract(input, target, &restoring, progress)
        .and_then(|header| complete(header, target, &restoring))
        .and_then(|restored| put_in_place(folder, &restoring).map(|()| restored));
    if result.is_err() {
        // A folder with a store is complete, whatever failed after that.
        let _ = unfinished::clear(folder, target.secrets);
    }
    drop(lock);
    result
}

/// Writes the members of the archive to a folder.
fn extract(
    input: impl Read,
    target: &Target<'_>,
    to: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Header, BackupError> {
    for folder in ["", "blobs", "blobs/data"] {
        let folder = to.join(folder);
        create_private_folder(&folder).map_err(|source| BackupError::Write { file: folder, source })?;
    }
    let mut extraction =
        Extraction { to, found: Vec::new(), progress, done: 0, total: target.bytes.unwrap_or(0) };
    let header = ArchiveReader::read(
        io::BufReader::with_capacity(CHUNK_BYTES, input),
        target.secrets,
        &mut extraction,
    )?;
    for needed in [Member::Events, Member::Hub] {
        if !extraction.found.contains(&needed) {
            let name = if needed == Member::Hub { "hub.db" } else { "events.db" };
            return Err(ArchiveError::Missing(name).into());
        }
    }
    Ok(header)
}

struct Extraction<'a> {
    to: &'a Path,
    /// The databases that were found.
    found: Vec<Member>,
    progress: &'a mut dyn FnMut(Progress),
    done: u64,
    total: u64,
}

impl Members for Extraction<'_> {
    type Error = BackupError;

    fn header(&mut self, header: &Header) -> Result<(), BackupError> {
        let versions = header.schema_versions;
        for (spec, found, what) in [
            (&HUB_DATABASE, versions.hub, "the schema version of hub.db"),
            (&EVENTS_DATABASE, versions.events, "the schema version of events.db"),
        ] {
            let known = spec.migrations.len() as u32;
            if found > known {
                let hub_version = header.hub_version.clone();
                return Err(ArchiveError::TooNew { hub_version, what, found, known }.into());
            }
        }
        Ok(())
    }

    fn member(&mut self, member: &Member, bytes: u64, content: &mut dyn Read) -> Result<(), BackupError> {
        let path = self.to.join(member.to_string());
        let failed = |source| BackupError::Write { file: path.clone(), source };
        if let (Member::Secret(_), Some(parent)) = (member, path.parent()) {
            create_private_folder(parent).map_err(failed)?;
        }
        let mut file = match create_new_private_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(ArchiveError::Order(member.to_string()).into());
            }
            created => created.map_err(failed)?,
        };
        let mut buffer = vec![0; CHUNK_BYTES.min(usize::try_from(bytes).unwrap_or(CHUNK_BYTES).max(1))];
        loop {
            let read = match content.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
                read => read.map_err(ArchiveError::Read)?,
            };
            let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else { break };
            file.write_all(piece).map_err(failed)?;
            self.done += read as u64;
            (self.progress)(Progress { done: self.done, total: self.total.max(self.done) });
        }
        file.sync_all().map_err(failed)?;
        if matches!(member, Member::Events | Member::Hub) {
            self.found.push(member.clone());
        }
        Ok(())
    }
}

/// Checks what was extracted, migrates it, and begins a new generation of the event log.
fn complete(header: Header, target: &Target<'_>, restoring: &Path) -> Result<Restored, BackupError> {
    let versions = header.schema_versions;
    let hub = open(restoring, &HUB_DATABASE, versions.hub)?;
    let events = open(restoring, &EVENTS_DATABASE, versions.events)?;
    let hub_database = Database::new(restoring, &HUB_DATABASE);
    let events_database = Database::new(restoring, &EVENTS_DATABASE);
    let mixed = |error| match error {
        OpenError::Foreign { .. } => {
            BackupError::from(ArchiveError::Mixed("they have the ids of different hubs"))
        }
        other => other.into(),
    };
    let id = instance::of_hub(&hub, &hub_database)?;
    instance::check_events(&events, &events_database, &id).map_err(mixed)?;
    instance::claim_blobs(restoring, &id).map_err(mixed)?;
    check_files(&hub, &hub_database, &restoring.join("blobs/data"))?;
    let in_hub = |source| hub_database.open_error(source);
    let in_events = |source| events_database.open_error(source);
    // Nobody holds them any more.
    hub.execute_batch(
        "UPDATE lease SET holder = '', expiry = 0; UPDATE job SET holder = '', lease_expiry = 0;",
    )
    .map_err(in_hub)?;
    let change = events.unchecked_transaction().map_err(in_events)?;
    statements::skip_lost_events(&change, header.created, target.now).map_err(in_events)?;
    change.commit().map_err(in_events)?;
    let restored = contents(header, target.now, &hub, &events).map_err(in_hub)?;
    if target.cancel_jobs {
        statements::jobs::cancel_all_jobs(&hub, target.now).map_err(in_hub)?;
        statements::cancel_all_import_export_jobs(&hub, target.now).map_err(in_hub)?;
    }
    for (connection, database) in [(hub, &hub_database), (events, &events_database)] {
        let failed = |source| database.open_error(source);
        connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").map_err(failed)?;
        connection.close().map_err(|(_, source)| failed(source))?;
    }
    Ok(restored)
}

/// Opens an extracted database for writing, and migrates it.
fn open(folder: &Path, spec: &'static DatabaseSpec, version: u32) -> Result<Connection, BackupError> {
    let database = Database::new(folder, spec);
    let reader = database.open_reader()?;
    let found = schema::check(&reader, &database).map_err(|error| schema_objects::corrupt(spec, error))?;
    if found != version || found == 0 {
        return Err(ArchiveError::Mixed("a database has another schema version than the header says").into());
    }
    schema_objects::check(&reader, &database, found)?;
    drop(reader);
    Ok(database.open_for_writing()?)
}

/// Checks that the files are those in the catalogue.
fn check_files(hub: &Connection, database: &Database<'_>, data: &Path) -> Result<(), BackupError> {
    const DIFFERENT: ArchiveError = ArchiveError::Mixed("the files are not those in the catalogue of hub.db");
    let failed = |source| BackupError::Read { file: data.to_path_buf(), source };
    let mut in_catalogue = 0_u64;
    let mut after = String::new();
    loop {
        let page = catalogue::page(hub, &after).map_err(|source| database.open_error(source))?;
        let Some(last) = page.last() else { break };
        after = last.name.clone();
        for entry in page {
            in_catalogue += 1;
            let is_there = super::format::is_blob_file(&entry.file)
                && fs::metadata(data.join(&entry.file)).is_ok_and(|file| file.len() == entry.bytes);
            if !is_there {
                return Err(DIFFERENT.into());
            }
        }
    }
    let mut found = 0_u64;
    for entry in fs::read_dir(data).map_err(failed)? {
        entry.map_err(failed)?;
        found += 1;
    }
    if found == in_catalogue { Ok(()) } else { Err(DIFFERENT.into()) }
}

fn contents(
    header: Header,
    restored: Timestamp,
    hub: &Connection,
    events: &Connection,
) -> rusqlite::Result<Restored> {
    let count = |db: &Connection, query: &str| {
        db.query_row(query, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
    };
    let mut jobs = hub.prepare(
        "SELECT id FROM job WHERE phase < 3 UNION ALL SELECT id FROM import_export_job WHERE ended IS NULL",
    )?;
    let unfinished_jobs = jobs.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(Restored {
        devices: count(hub, "SELECT devices FROM registry_size")?,
        modules: count(hub, "SELECT count(*) FROM identity WHERE module_id <> ''")?,
        policies: count(hub, "SELECT count(*) FROM policy")?,
        files: count(hub, "SELECT count(*) FROM blob")?,
        events: count(events, "SELECT count(*) FROM event")?,
        messages: count(hub, "SELECT messages FROM registry_size")?,
        unfinished_jobs,
        restored,
        header,
    })
}

/// Moves everything to its place, the store last.
fn put_in_place(folder: &Path, restoring: &Path) -> Result<(), BackupError> {
    let failed = |file: &Path| {
        let file: PathBuf = file.to_path_buf();
        move |source| BackupError::Write { file, source }
    };
    for database in [EVENTS_DATABASE.file_name, HUB_DATABASE.file_name] {
        let path = restoring.join(database);
        File::open(&path).and_then(|file| file.sync_all()).map_err(failed(&path))?;
    }
    let blobs = restoring.join("blobs/data");
    sync_folder(&blobs).map_err(failed(&blobs))?;
    let hub = restoring.join(HUB_DATABASE.file_name);
    for entry in fs::read_dir(restoring).map_err(failed(restoring))? {
        let entry = entry.map_err(failed(restoring))?;
        if entry.path() != hub {
            if entry.path().is_dir() {
                sync_folder(&entry.path()).map_err(failed(&entry.path()))?;
            }
            let to = folder.join(entry.file_name());
            fs::rename(entry.path(), &to).map_err(failed(&to))?;
        }
    }
    sync_folder(folder).map_err(failed(folder))?;
    let to = folder.join(HUB_DATABASE.file_name);
    fs::rename(&hub, &to).map_err(failed(&to))?;
    fs::remove_dir(restoring).map_err(failed(restoring))?;
    sync_folder(folder).map_err(failed(folder))
}
