//! A data folder with something of everything, and its backups.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use ferrohub_conformance::changes::create;
use ferrohub_conformance::samples::{batch, identity};
use ferrohub_core::files::{Blob, BlobIndex as _, StoredBlob};
use ferrohub_core::store::Store as _;
use ferrohub_core::telemetry::EventLog as _;
use ferrohub_model::Timestamp;
use ferrohub_model::file::BlobName;
use ferrohub_store::SqliteStore;
use ferrohub_store::backup::{self, BackupError, Created, Restored, Source, Target};
use tempfile::{TempDir, tempdir};

use crate::common::{open, open_events};

pub(crate) const SECRETS: [&str; 2] = ["tls/ca.key", "tls/ca.pem"];
pub(crate) const PARTITIONS: u16 = 4;

pub(crate) fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds)
}

/// Writes a file as the folder for files does: first the file, then its entry, then the old file is removed.
pub(crate) async fn put_file(store: &SqliteStore, name: &str, number: u64, content: &[u8]) {
    let data = store.claim_blobs_folder().unwrap().join("data");
    fs::create_dir_all(&data).unwrap();
    let file = format!("{number:032x}");
    let partial = data.join(format!("{file}.new"));
    File::create(&partial).unwrap().write_all(content).unwrap();
    fs::rename(partial, data.join(&file)).unwrap();
    let name = BlobName::new("dev", name).unwrap();
    let blob = Blob::written(name, content.len() as u64, [0; 16], Default::default(), seconds(1));
    match store.put_blob(&StoredBlob { blob, file }, &Default::default()).await.unwrap() {
        ferrohub_core::files::BlobWriteOutcome::Done(Some(old)) => {
            fs::remove_file(data.join(old.file)).unwrap()
        }
        ferrohub_core::files::BlobWriteOutcome::Done(None) => {}
        ferrohub_core::files::BlobWriteOutcome::Refused(_) => panic!("refused"),
    }
}

/// A data folder with a device, three events in one partition, a file and keys.
pub(crate) async fn data_folder() -> TempDir {
    let folder = tempdir().unwrap();
    let store = open(folder.path());
    let log = open_events(&store, PARTITIONS);
    create(&store, &identity("dev"), 10).await.unwrap();
    log.append(batch(1, "dev", 1000, &[b"0", b"1", b"2"])).await.unwrap();
    put_file(&store, "f.txt", 7, b"content").await;
    store.close().await;
    log.close().await;
    fs::create_dir(folder.path().join("tls")).unwrap();
    for secret in SECRETS {
        fs::write(folder.path().join(secret), secret).unwrap();
    }
    folder
}

pub(crate) fn try_back_up(folder: &Path, now: i64) -> Result<(Created, Vec<u8>), BackupError> {
    let temporary = tempdir().unwrap();
    let source = Source { folder, secrets: &SECRETS, hub_version: "0.1.0", now: seconds(now) };
    backup::create(&source, temporary.path(), Vec::new(), &mut |progress| {
        assert!(progress.done <= progress.total, "{progress:?}");
    })
}

pub(crate) fn back_up(folder: &Path, now: i64) -> Vec<u8> {
    try_back_up(folder, now).unwrap().1
}

pub(crate) fn try_restore(archive: &[u8], folder: &Path, now: i64) -> Result<Restored, BackupError> {
    let target = Target {
        folder,
        secrets: &SECRETS,
        now: seconds(now),
        cancel_jobs: false,
        bytes: Some(archive.len() as u64),
    };
    backup::restore(archive, &target, &mut |_| {})
}

pub(crate) fn restore(archive: &[u8], folder: &Path, now: i64) -> Restored {
    try_restore(archive, folder, now).unwrap()
}

/// The names of everything in a folder, except its lock.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != "hub.lock");
    names.sort();
    names
}
