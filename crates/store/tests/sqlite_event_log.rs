//! Tests of the SQLite event log: its file, partitions and restarts.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use common::{open, open_events};
use ferrohub_conformance::samples::batch;
use ferrohub_core::store::Store;
use ferrohub_core::telemetry::EventLog;
use ferrohub_model::Timestamp;
use ferrohub_store::{OpenError, SqliteEventLog, SqliteStore, StoreMetrics};
use rusqlite::Connection;
use tempfile::tempdir;

#[tokio::test]
async fn sequence_numbers_and_times_continue_after_a_restart_even_if_the_log_is_empty() {
    let folder = tempdir().unwrap();
    let store = open(folder.path());
    let log = open_events(&store, 2);
    log.append(batch(1, "dev", 9000, &[b"a", b"b"])).await.unwrap();
    log.remove_oldest(Timestamp::from_unix_millis(i64::MAX), u64::MAX).await.unwrap();
    log.close().await;
    store.close().await;
    let store = open(folder.path());
    let log = open_events(&store, 2);
    assert_eq!(*log.head(1).unwrap().borrow(), 2);
    log.append(batch(1, "dev", 1, &[b"c"])).await.unwrap();
    let events = log.read(1, 0, 10, usize::MAX).await.unwrap();
    assert_eq!((events[0].sequence, events[0].enqueued.unix_millis()), (2, 9000));
}

#[tokio::test]
async fn the_number_of_partitions_cannot_change() {
    let folder = tempdir().unwrap();
    let store = open(folder.path());
    for wanted in [0, 1, 33] {
        let error = SqliteEventLog::open(&store, wanted, StoreMetrics::default()).unwrap_err();
        assert!(matches!(error, OpenError::Partitions { found: 0, .. }), "{error}");
    }
    open_events(&store, 32).close().await;
    let error = SqliteEventLog::open(&store, 4, StoreMetrics::default()).unwrap_err();
    assert!(matches!(error, OpenError::Partitions { found: 32, wanted: 4, .. }), "{error}");
    assert!(error.to_string().contains("has 32 partitions, which cannot be changed"), "{error}");
    open_events(&store, 32);
}

#[tokio::test]
async fn the_log_is_private_and_keeps_the_data_folder_locked() {
    let folder = tempdir().unwrap();
    let store = open(folder.path());
    let log = open_events(&store, 4);
    log.append(batch(0, "dev", 0, &[b"x"])).await.unwrap();
    for name in ["events.db", "events.db-wal"] {
        let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    store.close().await;
    let second = SqliteStore::open(folder.path(), StoreMetrics::default()).unwrap_err();
    assert!(matches!(second, OpenError::InUse { .. }), "the log keeps the folder locked: {second}");
    assert!(matches!(
        SqliteEventLog::open(&store, 4, StoreMetrics::default()).unwrap_err(),
        OpenError::Closed
    ));
    log.close().await;
    assert!(!folder.path().join("events.db-wal").exists(), "closing removes the WAL");
    open(folder.path());
}

#[tokio::test]
async fn a_newer_or_foreign_file_is_refused() {
    let folder = tempdir().unwrap();
    let store = open(folder.path());
    open_events(&store, 4).close().await;
    let file = folder.path().join("events.db");
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = SqliteEventLog::open(&store, 4, StoreMetrics::default()).unwrap_err();
    assert!(matches!(error, OpenError::TooNew { found: 99, known: 4, .. }), "{error}");
    fs::remove_file(&file).unwrap();
    Connection::open(&file).unwrap().execute_batch("CREATE TABLE notes (text)").unwrap();
    let error = SqliteEventLog::open(&store, 4, StoreMetrics::default()).unwrap_err();
    assert!(matches!(error, OpenError::NotFerrohub { .. }), "{error}");
}

#[tokio::test]
async fn many_concurrent_appends_share_commits() {
    let folder = tempdir().unwrap();
    let store = open(folder.path());
    let metrics = StoreMetrics::default();
    let log = Arc::new(SqliteEventLog::open(&store, 4, metrics.clone()).unwrap());
    let appends: Vec<_> = (0..256_u16)
        .map(|number| {
            let log = log.clone();
            tokio::spawn(async move { log.append(batch(number % 4, "dev", 0, &[b"x"])).await })
        })
        .collect();
    for append in appends {
        append.await.unwrap().unwrap();
    }
    assert_eq!(metrics.writes.get(), 256);
    assert!(metrics.commits.get() <= 256 / 20, "{} commits", metrics.commits.get());
}

/// Events of all schema versions in one log: retention takes off what each of them added.
#[tokio::test]
async fn retention_counts_the_sizes_of_events_of_every_version() {
    let folder = tempdir().unwrap();
    let fixture = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/events-0003.db");
    fs::copy(fixture, folder.path().join("events.db")).unwrap();
    fs::copy(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hub-0007.db"),
        folder.path().join("hub.db"),
    )
    .unwrap();
    let log = open_events(&open(folder.path()), 2);
    log.append(batch(1, "dev", 0, &[b"new"])).await.unwrap();
    while log.remove_oldest(Timestamp::from_unix_millis(i64::MAX), u64::MAX).await.unwrap() > 0 {}
    let sizes: Vec<_> = log.state().await.unwrap().iter().map(|state| state.bytes).collect();
    assert_eq!(sizes, [0, 0]);
}
