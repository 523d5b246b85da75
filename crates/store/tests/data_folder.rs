//! The parts of a data folder belong together: a missing, older or foreign part is recognised and nothing is lost.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

mod common;

use std::fs;
use std::path::Path;

use common::{open, open_events};
use ferrohub_conformance::samples::batch;
use ferrohub_core::store::Store as _;
use ferrohub_core::telemetry::EventLog as _;
use ferrohub_store::{OpenError, SqliteEventLog, SqliteStore, StoreMetrics};
use tempfile::tempdir;

/// Makes a data folder with an event and, if wanted, an uploaded file.
async fn used_folder(folder: &Path, with_event: bool, with_file: bool) {
    let store = open(folder);
    let log = open_events(&store, 4);
    let blobs = store.claim_blobs_folder().unwrap();
    fs::create_dir_all(blobs.join("data")).unwrap();
    if with_event {
        log.append(batch(0, "dev", 1, &[b"event"])).await.unwrap();
    }
    if with_file {
        fs::write(blobs.join("data/file"), "content").unwrap();
    }
    store.close().await;
    log.close().await;
}

fn open_error(folder: &Path) -> OpenError {
    SqliteStore::open(folder, StoreMetrics::default()).unwrap_err()
}

#[tokio::test]
async fn a_new_store_beside_old_events_or_files_is_refused_and_nothing_changes() {
    for (with_event, with_file, found) in
        [(true, false, "events (events.db)"), (false, true, "uploaded files (blobs)"), (true, true, "events")]
    {
        for is_empty in [false, true] {
            let data = tempdir().unwrap();
            used_folder(data.path(), with_event, with_file).await;
            let (hub, events) = (data.path().join("hub.db"), data.path().join("events.db"));
            let stored = fs::read(&events).unwrap();
            fs::remove_file(&hub).unwrap();
            if is_empty {
                fs::write(&hub, "").unwrap();
            }
            for _ in 0..2 {
                let error = open_error(data.path());
                assert!(matches!(error, OpenError::OldData { .. }), "{error}");
                let text = error.to_string();
                assert!(text.contains(found) && text.contains("nothing was changed"), "{text}");
                assert_eq!((hub.exists(), fs::read(&events).unwrap() == stored), (is_empty, true));
                assert_eq!(data.path().join("blobs/data/file").exists(), with_file);
            }
        }
    }
}

#[tokio::test]
async fn a_new_store_beside_a_log_without_events_is_allowed() {
    let data = tempdir().unwrap();
    used_folder(data.path(), false, false).await;
    fs::remove_file(data.path().join("hub.db")).unwrap();
    let store = open(data.path());
    let _ = open_events(&store, 4);
    store.claim_blobs_folder().unwrap();
}

#[tokio::test]
async fn the_write_ahead_log_of_a_missing_store_is_kept() {
    let data = tempdir().unwrap();
    fs::write(data.path().join("hub.db-wal"), "pages").unwrap();
    let error = open_error(data.path());
    assert!(error.to_string().contains("hub.db-wal"), "{error}");
    assert_eq!(fs::read(data.path().join("hub.db-wal")).unwrap(), b"pages");
}

#[tokio::test]
async fn events_and_files_of_another_hub_are_refused() {
    let (one, two) = (tempdir().unwrap(), tempdir().unwrap());
    used_folder(one.path(), true, true).await;
    used_folder(two.path(), true, true).await;
    for file in ["events.db", "blobs/instance"] {
        fs::copy(one.path().join(file), two.path().join(file)).unwrap();
    }
    let store = open(two.path());
    let errors = [
        SqliteEventLog::open(&store, 4, StoreMetrics::default()).map(drop).unwrap_err(),
        store.claim_blobs_folder().map(drop).unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains("belongs to another hub"), "{error}");
    }
}

#[tokio::test]
async fn a_folder_of_an_older_version_gets_a_common_id() {
    let data = tempdir().unwrap();
    let copy_fixture = |fixture: &str, file: &str| {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture);
        fs::copy(fixture, data.path().join(file)).unwrap();
    };
    // The last versions without a common id.
    copy_fixture("hub-0005.db", "hub.db");
    copy_fixture("events-0001.db", "events.db");
    fs::create_dir_all(data.path().join("blobs/data")).unwrap();
    fs::write(data.path().join("blobs/data/file"), "content").unwrap();
    for _ in 0..2 {
        let store = open(data.path());
        let log = open_events(&store, 2);
        store.claim_blobs_folder().unwrap();
        store.close().await;
        log.close().await;
    }
    // A backup of the store from before the upgrade still belongs to the events and files.
    for rest in ["hub.db-wal", "hub.db-shm"] {
        let _ = fs::remove_file(data.path().join(rest));
    }
    copy_fixture("hub-0005.db", "hub.db");
    let store = open(data.path());
    let _ = open_events(&store, 2);
    store.claim_blobs_folder().unwrap();
}
