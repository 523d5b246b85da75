//! Tests of the SQLite store: its folder, schema, commits and restarts.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use common::open;
use ferrohub_conformance::changes::{create, try_create};
use ferrohub_conformance::samples::{id, identity};
use ferrohub_core::background::{LeaseOutcome, LeaseRequest, LeaseStore as _};
use ferrohub_core::cloud_to_device::{EnqueueOutcome, MessageStore as _, NewMessage};
use ferrohub_core::policies::{PolicyStore as _, StoredPolicy};
use ferrohub_core::registry::{DeviceCounts, DeviceFilter, RegistryStore as _};
use ferrohub_core::store::{Store as _, StoreError};
use ferrohub_core::twins::TwinStore as _;
use ferrohub_model::message::{Ack, MessageProperties};
use ferrohub_model::{Rights, SharedAccessKey, Timestamp};
use ferrohub_store::{OpenError, SqliteStore, StoreMetrics, read_policies};
use rusqlite::Connection;
use tempfile::tempdir;

fn policy() -> StoredPolicy {
    StoredPolicy {
        name: "owner".to_owned(),
        rights: Rights::ALL,
        primary_key: SharedAccessKey::from_bytes(&[1; 32]).unwrap(),
        secondary_key: SharedAccessKey::from_bytes(&[2; 32]).unwrap(),
    }
}

#[tokio::test]
async fn written_data_survives_a_restart() {
    let folder = tempdir().unwrap();
    let store = open(folder.path());
    create(&store, &identity("dev"), 10).await.unwrap();
    store.close().await;
    assert!(!folder.path().join("hub.db-wal").exists(), "closing removes the WAL");
    let store = open(folder.path());
    assert_eq!(store.identity(&id("dev")).await.unwrap().unwrap(), identity("dev"));
}

#[tokio::test]
async fn many_concurrent_writes_share_commits() {
    let folder = tempdir().unwrap();
    let metrics = StoreMetrics::default();
    let store = Arc::new(SqliteStore::open(folder.path(), metrics.clone()).unwrap());
    let creates: Vec<_> = (0..256)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { try_create(&*store, &identity(&format!("d{number}")), 1000).await })
        })
        .collect();
    for create in creates {
        create.await.unwrap().unwrap();
    }
    assert_eq!(metrics.writes.get(), 256);
    // The current-thread runtime fills the queue before it waits, so hardly any write has its own commit.
    assert!(metrics.commits.get() <= 256 / 20, "{} commits", metrics.commits.get());
    assert_eq!(store.devices(&DeviceFilter::default(), None, 1000).await.unwrap().len(), 256);
}

#[tokio::test]
async fn closing_completes_accepted_writes() {
    let folder = tempdir().unwrap();
    let store = Arc::new(open(folder.path()));
    let writes: Vec<_> = (0..100)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { try_create(&*store, &identity(&format!("d{number}")), 1000).await })
        })
        .collect();
    tokio::task::yield_now().await;
    store.close().await;
    let mut done = 0;
    for write in writes {
        match write.await.unwrap() {
            Ok(()) => done += 1,
            Err(error) => assert!(matches!(error, StoreError::Closed)),
        }
    }
    assert_eq!(open(folder.path()).devices(&DeviceFilter::default(), None, 1000).await.unwrap().len(), done);
}

#[tokio::test]
async fn a_folder_is_locked_by_one_hub() {
    let folder = tempdir().unwrap();
    let store = open(folder.path());
    let second = SqliteStore::open(folder.path(), StoreMetrics::default()).unwrap_err();
    assert!(matches!(second, OpenError::InUse { .. }), "{second}");
    store.close().await;
    open(folder.path());
}

#[tokio::test]
async fn a_file_of_the_first_version_is_migrated() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("hub.db");
    // The schema of the first version.
    let old = Connection::open(&file).unwrap();
    old.execute_batch(include_str!("../src/migrations/0001_identities.sql")).unwrap();
    old.execute_batch(
        "INSERT INTO identity VALUES ('dev', '', '17', 'one', 1, NULL, 0, 2, NULL, NULL, 0, NULL, '[]', NULL, 0, 0, NULL);
         PRAGMA application_id = 1179153762; PRAGMA user_version = 1",
    )
    .unwrap();
    drop(old);
    let store = open(folder.path());
    let (found, twin) = store.twin(&identity("dev").id).await.unwrap().unwrap();
    assert_eq!((found.generation_id.as_str(), twin.version()), ("17", 2));
    assert_eq!(store.device_counts().await.unwrap(), DeviceCounts { total: 1, disabled: 1 });
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_not_changed() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("hub.db");
    open(folder.path()).close().await;
    let raise = |version: u32| {
        Connection::open(&file).unwrap().pragma_update(None, "user_version", version).unwrap();
    };
    let known: u32 =
        Connection::open(&file).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    raise(99);
    let before = fs::read(&file).unwrap();
    let error = SqliteStore::open(folder.path(), StoreMetrics::default()).unwrap_err();
    assert!(matches!(error, OpenError::TooNew { found: 99, .. }), "{error}");
    assert!(matches!(read_policies(folder.path()).unwrap_err(), OpenError::TooNew { .. }));
    assert_eq!(fs::read(&file).unwrap(), before);
    raise(known);
    open(folder.path());
}

#[test]
fn another_programs_database_is_refused() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("hub.db");
    Connection::open(&file).unwrap().execute_batch("CREATE TABLE notes (text)").unwrap();
    let error = SqliteStore::open(folder.path(), StoreMetrics::default()).unwrap_err();
    assert!(matches!(error, OpenError::NotFerrohub { .. }), "{error}");
    fs::write(&file, "this is not a database, but text that another program has written").unwrap();
    let error = SqliteStore::open(folder.path(), StoreMetrics::default()).unwrap_err();
    assert!(matches!(error, OpenError::Database { .. }), "{error}");
}

#[tokio::test]
async fn only_the_owner_may_read_the_data_folder() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("deep/data");
    let store = open(&data);
    store.save_policy(&policy()).await.unwrap();
    assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    let mut files = 0;
    for file in fs::read_dir(&data).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
        files += 1;
    }
    assert!(files >= 3, "the database, its WAL and the lock file");
}

#[tokio::test]
async fn policies_can_be_read_while_a_hub_runs_and_afterwards() {
    let folder = tempdir().unwrap();
    let missing = read_policies(folder.path()).unwrap_err();
    assert!(matches!(missing, OpenError::NotInitialized { .. }), "{missing}");
    let store = open(folder.path());
    store.save_policy(&policy()).await.unwrap();
    assert_eq!(read_policies(folder.path()).unwrap(), [policy()]);
    store.close().await;
    assert_eq!(read_policies(folder.path()).unwrap(), [policy()]);
}

#[tokio::test]
async fn a_corrupt_row_is_an_error_without_the_secret() {
    let folder = tempdir().unwrap();
    let store = open(folder.path());
    create(&store, &identity("dev"), 10).await.unwrap();
    Connection::open(folder.path().join("hub.db"))
        .unwrap()
        .execute("UPDATE identity SET primary_secret = 'no key'", [])
        .unwrap();
    let error = store.identity(&id("dev")).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
    assert!(!error.to_string().contains("no key"), "the message must not contain the secret: {error}");
}

#[tokio::test]
async fn messages_and_the_fences_of_leases_survive_a_restart() {
    let folder = tempdir().unwrap();
    let store = open(folder.path());
    create(&store, &identity("d"), 10).await.unwrap();
    let enqueue = async |store: &SqliteStore| {
        let now = Timestamp::from_unix_seconds(1);
        let message = NewMessage {
            id: id("d"),
            input: None,
            enqueued: now,
            expiry: now.plus_millis(1000),
            ack: Ack::None,
            properties: MessageProperties::default(),
            body: "x".into(),
        };
        match store.enqueue_messages(&[message], 50).await.unwrap()[..] {
            [EnqueueOutcome::Done(sequence)] => sequence,
            ref other => panic!("{other:?}"),
        }
    };
    let acquire = async |store: &SqliteStore, holder: &str| {
        let request = LeaseRequest {
            name: "work".to_owned(),
            holder: holder.to_owned(),
            now: Timestamp::from_unix_seconds(1),
            expiry: Timestamp::from_unix_seconds(10),
        };
        store.acquire_lease(&request).await.unwrap()
    };
    let sequence = enqueue(&store).await;
    assert_eq!(acquire(&store, "a").await, LeaseOutcome::Granted { fence: 1 });
    store.close().await;
    let store = open(folder.path());
    let queue = store.queued_messages(&id("d")).await.unwrap();
    assert_eq!(queue.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [sequence]);
    assert_eq!(store.identity(&id("d")).await.unwrap().unwrap().messages, 1);
    assert!(enqueue(&store).await > sequence);
    let until = Timestamp::from_unix_seconds(10);
    assert_eq!(acquire(&store, "b").await, LeaseOutcome::Held { holder: "a".to_owned(), until });
    assert_eq!(acquire(&store, "a").await, LeaseOutcome::Granted { fence: 2 });
}
