//! What an interrupted restore leaves, and which folders a restore accepts.

use std::fs;

use ferrohub_store::backup::BackupError;
use ferrohub_store::{OpenError, SqliteStore, StoreMetrics};
use tempfile::tempdir;

use crate::common::open;
use crate::fixture::{back_up, data_folder, names, restore, try_back_up, try_restore};

#[tokio::test]
async fn a_folder_that_is_not_empty_is_left_as_it_is() {
    let folder = data_folder().await;
    let archive = back_up(folder.path(), 100);
    let before = fs::read(folder.path().join("hub.db")).unwrap();
    let error = try_restore(&archive, folder.path(), 200).unwrap_err();
    assert!(matches!(error, BackupError::NotEmpty { .. }), "{error}");
    assert!(error.to_string().contains("--compare-with"), "{error}");
    assert_eq!(fs::read(folder.path().join("hub.db")).unwrap(), before);
    let other = tempdir().unwrap();
    fs::write(other.path().join("notes.txt"), "mine").unwrap();
    assert!(matches!(try_restore(&archive, other.path(), 200), Err(BackupError::NotEmpty { .. })));
    assert_eq!(names(other.path()), ["notes.txt"]);
}

#[tokio::test]
async fn no_hub_starts_on_an_unfinished_restore_and_a_restore_begins_anew() {
    let folder = data_folder().await;
    let archive = back_up(folder.path(), 100);
    // As if it was killed after the event log was in its place.
    let target = tempdir().unwrap();
    for rest in ["restoring", "blobs/data", "tls"] {
        fs::create_dir_all(target.path().join(rest)).unwrap();
    }
    for rest in ["restoring/hub.db", "events.db", "blobs/data/00000000000000000000000000000008"] {
        fs::write(target.path().join(rest), "half").unwrap();
    }
    let error = SqliteStore::open(target.path(), StoreMetrics::default()).unwrap_err();
    assert!(matches!(error, OpenError::UnfinishedRestore { .. }), "{error}");
    restore(&archive, target.path(), 200);
    assert_eq!(names(target.path()), ["blobs", "events.db", "hub.db", "tls"]);
    assert_eq!(names(&target.path().join("blobs/data")), ["00000000000000000000000000000007"]);
    open(target.path());

    // As if it was killed before its last step.
    fs::create_dir(target.path().join("restoring")).unwrap();
    open(target.path());
    assert!(!target.path().join("restoring").exists());
    // Another folder of that name is not the rest of a restore.
    fs::create_dir(target.path().join("restoring")).unwrap();
    fs::write(target.path().join("restoring/x"), "").unwrap();
    assert!(matches!(try_restore(&archive, target.path(), 200), Err(BackupError::NotEmpty { .. })));
}

#[tokio::test]
async fn a_folder_without_a_hub_has_no_backup() {
    let folder = tempdir().unwrap();
    for file in [None, Some("hub.db"), Some("events.db")] {
        if let Some(file) = file {
            fs::write(folder.path().join(file), "").unwrap();
        }
        let error = try_back_up(folder.path(), 1).unwrap_err();
        assert!(matches!(error, BackupError::Open(OpenError::NotInitialized { .. })), "{error}");
    }
}

#[tokio::test]
async fn a_file_that_is_missing_is_reported_and_its_entry_is_not_in_the_backup() {
    let folder = data_folder().await;
    fs::write(folder.path().join("blobs/data/00000000000000000000000000000007"), "cut").unwrap();
    let (created, archive) = try_back_up(folder.path(), 100).unwrap();
    assert_eq!((created.files, created.damaged_files), (0, 1));
    assert_eq!(created.damaged_names, ["dev/f.txt"]);
    let target = tempdir().unwrap();
    assert_eq!(restore(&archive, target.path(), 200).files, 0);
}
