//! Makes a backup: copies the databases, then writes the archive.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write};
use std::path::Path;

use ferrohub_model::Timestamp;
use serde::Serialize;

use super::archive::ArchiveWriter;
use super::catalogue::{Catalogue, Opened};
use super::error::BackupError;
use super::format::{FORMAT, Header, MAX_SECRET_BYTES, Member};
use super::snapshot::Snapshot;
use super::{Progress, snapshot};
use crate::data_folder::create_private_file;

/// The names of damaged files that are kept for the report.
const MAX_NAMED: usize = 20;
/// How often the files with keys and certificates are read until they stay the same.
const MAX_SECRET_READS: usize = 20;

/// What is backed up.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The data folder.
    pub folder: &'a Path,
    /// The names of secret files in it, such as `tls/ca.key`. Those that do not exist are left out.
    pub secrets: &'a [&'static str],
    /// The version of Ferrohub that makes the backup.
    pub hub_version: &'a str,
    /// When the backup begins.
    pub now: Timestamp,
}

/// What a backup contains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Created {
    /// The header of the archive.
    #[serde(flatten)]
    pub header: Header,
    /// The number of stored files.
    pub files: u64,
    /// The bytes of all members.
    pub bytes: u64,
    /// Files that are in the catalogue of the hub and missing in its folder. They are not in the backup.
    pub damaged_files: u64,
    /// The first of them.
    pub damaged_names: Vec<String>,
}

/// Writes a backup to `output`. `temporary` is an empty folder for the copies of the databases.
///
/// # Errors
/// [`BackupError`]. What was written is not a backup then.
pub fn create<W: Write>(
    source: &Source<'_>,
    temporary: &Path,
    output: W,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Created, W), BackupError> {
    let Snapshot { hub, events, versions } = snapshot::take(source.folder, temporary, progress)?;
    let catalogue = Catalogue::open(temporary, source.folder, versions.hub)?;
    let header = Header {
        format: FORMAT,
        hub_version: source.hub_version.to_owned(),
        created: source.now,
        schema_versions: versions,
    };
    let checksums = temporary.join("SHA256SUMS");
    let checksums = create_private_file(&checksums)
        .and_then(|file| file.set_len(0).map(|()| file))
        .map_err(|source| BackupError::Write { file: checksums, source })?;
    let archive = ArchiveWriter::new(output, io::BufWriter::new(checksums), &header)
        .map_err(|source| BackupError::Output { source })?;
    let total = catalogue.size()?.1 + length(&hub)? + length(&events)?;
    let mut writing = Writing { archive, done: 0, total, progress };
    for (name, content) in secrets(source)? {
        writing.append(&Member::Secret(name), content.len() as u64, &mut &content[..])?;
    }
    let mut created = Created { header, files: 0, bytes: 0, damaged_files: 0, damaged_names: Vec::new() };
    write_files(source, &catalogue, &mut writing, &mut created)?;
    catalogue.close()?;
    for (member, copy) in [(Member::Events, &events), (Member::Hub, &hub)] {
        let bytes = length(copy)?;
        writing.append(&member, bytes, &mut open(copy)?)?;
        // From here on, its room is free again.
        std::fs::remove_file(copy).map_err(|source| BackupError::Write { file: copy.clone(), source })?;
    }
    created.bytes = writing.done;
    let read_back = |lines: io::BufWriter<File>| {
        let mut lines = lines.into_inner()?;
        lines.seek(SeekFrom::Start(0))?;
        Ok(BufReader::new(lines))
    };
    let output = writing.archive.finish(read_back).map_err(|source| BackupError::Output { source })?;
    Ok((created, output))
}

/// The archive while it is written.
struct Writing<'a, W: Write, S: Write> {
    archive: ArchiveWriter<W, S>,
    done: u64,
    total: u64,
    progress: &'a mut dyn FnMut(Progress),
}

impl<W: Write, S: Write> Writing<'_, W, S> {
    fn append(&mut self, member: &Member, bytes: u64, content: &mut dyn io::Read) -> Result<(), BackupError> {
        let Self { archive, done, total, progress } = self;
        let mut report = |read: u64| {
            *done += read;
            progress(Progress { done: *done, total: (*total).max(*done) });
        };
        archive.append(member, bytes, content, &mut report).map_err(|source| BackupError::Output { source })
    }
}

fn write_files<W: Write, S: Write>(
    source: &Source<'_>,
    catalogue: &Catalogue<'_>,
    writing: &mut Writing<'_, W, S>,
    created: &mut Created,
) -> Result<(), BackupError> {
    let blobs = source.folder.join("blobs");
    let instance = blobs.join("instance");
    match std::fs::read(&instance) {
        Ok(id) => writing.append(&Member::BlobsInstance, id.len() as u64, &mut &id[..])?,
        // No hub with this folder for files has run yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(BackupError::Read { file: instance, source }),
    }
    let data = blobs.join("data");
    let mut after = String::new();
    loop {
        let page = catalogue.page(&after)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.name.clone();
        for entry in page {
            let name = entry.name.clone();
            match catalogue.open_file(&data, entry)? {
                Opened::File(mut file, entry) => {
                    writing.append(&Member::Blob(entry.file), entry.bytes, &mut file)?;
                    created.files += 1;
                }
                Opened::Deleted => {}
                Opened::Damaged => {
                    created.damaged_files += 1;
                    if created.damaged_names.len() < MAX_NAMED {
                        created.damaged_names.push(name);
                    }
                }
            }
        }
    }
}

/// Reads the files with keys and certificates until two reads are equal: they belong together, and the hub may be replacing
/// them.
fn secrets(source: &Source<'_>) -> Result<Vec<(&'static str, Vec<u8>)>, BackupError> {
    let mut before = read_secrets(source)?;
    for _ in 0..MAX_SECRET_READS {
        std::thread::sleep(std::time::Duration::from_millis(10));
        let now = read_secrets(source)?;
        if now == before {
            return Ok(now);
        }
        before = now;
    }
    Err(BackupError::SecretsChange)
}

fn read_secrets(source: &Source<'_>) -> Result<Vec<(&'static str, Vec<u8>)>, BackupError> {
    let mut found = Vec::new();
    for name in source.secrets {
        let file = source.folder.join(name);
        let mut content = Vec::new();
        let read = File::open(&file).and_then(|file| file.take(MAX_SECRET_BYTES).read_to_end(&mut content));
        match read {
            Ok(_) => found.push((*name, content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(BackupError::Read { file, source }),
        }
    }
    Ok(found)
}

fn open(file: &Path) -> Result<File, BackupError> {
    File::open(file).map_err(|source| BackupError::Read { file: file.to_path_buf(), source })
}

fn length(file: &Path) -> Result<u64, BackupError> {
    let length = std::fs::metadata(file).map(|file| file.len());
    length.map_err(|source| BackupError::Read { file: file.to_path_buf(), source })
}
