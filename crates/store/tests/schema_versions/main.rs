//! Every version of a database that was ever released can be opened, and its rows are found.
//!
//! A new migration needs a fixture: [`fixture`] says how it is made.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

mod fixture;
#[path = "../../src/schema/functions.rs"]
mod functions;

use std::fs;
use std::path::Path;

use ferrohub_core::background::{LeaseOutcome, LeaseRequest};
use ferrohub_core::jobs::{JobCounts, JobPhase};
use ferrohub_core::registry::{Authentication, DeviceCounts};
use ferrohub_core::session::Session;
use ferrohub_core::store::Store;
use ferrohub_core::telemetry::{EventLog, LostEvents, PropertyName, PropertyValue, StoredEvent};
use ferrohub_model::file::BlobName;
use ferrohub_model::import_export::JobStatus;
use ferrohub_model::message::SystemProperty;
use ferrohub_model::{DeviceId, IdentityId, JobId, Rights, SharedAccessKey, Timestamp};
use ferrohub_store::{SqliteEventLog, SqliteStore, StoreMetrics};
use fixture::{EVENTS, HUB, KINDS, Kind, row_count, schema, tables};
use rusqlite::{Connection, OpenFlags};
use tempfile::tempdir;

fn id(text: &str) -> IdentityId {
    IdentityId::parse(text).unwrap()
}

fn time(millis: i64) -> Timestamp {
    Timestamp::from_unix_millis(millis)
}

fn read_only(file: &Path) -> Connection {
    // The file is in WAL mode. `immutable` reads it without one.
    let uri = format!("file:{}?immutable=1", file.display());
    Connection::open_with_flags(uri, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI).unwrap()
}

/// Copies a fixture into a data folder.
fn copy(kind: Kind, version: usize, folder: &Path) {
    fs::copy(kind.fixture(version), folder.join(kind.file_name)).unwrap();
}

#[test]
fn every_migration_has_a_fixture() {
    let missing: Vec<String> = KINDS.into_iter().flat_map(Kind::missing).collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
#[ignore = "makes the fixtures of new migrations"]
fn make_missing_fixtures() {
    for kind in KINDS {
        for version in kind.versions().filter(|version| !kind.fixture(*version).exists()) {
            kind.make(version);
        }
    }
}

#[test]
fn a_fixture_has_the_schema_of_its_migrations_and_rows_in_every_table() {
    for kind in KINDS {
        for version in kind.versions() {
            let db = read_only(&kind.fixture(version));
            let changed = "a released migration must not change: append a new one";
            assert_eq!(
                schema(&db),
                kind.schema_of(version),
                "{} version {version}: {changed}",
                kind.file_name
            );
            let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
            assert_eq!(found, version as i64);
            for table in tables(&db) {
                assert!(row_count(&db, &table) > 0, "{} version {version}: {table} is empty", kind.file_name);
            }
        }
    }
}

#[tokio::test]
async fn this_version_opens_every_earlier_pair_of_databases_and_finds_their_rows() {
    for hub in HUB.versions() {
        for events in EVENTS.versions() {
            let folder = tempdir().unwrap();
            copy(HUB, hub, folder.path());
            copy(EVENTS, events, folder.path());
            let store = SqliteStore::open(folder.path(), StoreMetrics::default()).unwrap();
            let log = SqliteEventLog::open(&store, 2, StoreMetrics::default()).unwrap();
            identities_are_found(&store, hub).await;
            twins_are_found(&store, hub).await;
            messages_are_found(&store, hub).await;
            files_are_found(&store, hub).await;
            leases_are_found(&store, hub).await;
            secrets_are_found(&store, hub).await;
            jobs_are_found(&store, hub).await;
            configurations_are_found(&store, hub).await;
            scheduled_jobs_are_found(&store, hub).await;
            events_are_found(&log, events).await;
            store.close().await;
            log.close().await;
            for kind in KINDS {
                nothing_is_lost(
                    kind,
                    if kind.file_name == HUB.file_name { hub } else { events },
                    folder.path(),
                );
            }
        }
    }
}

/// Checks that the migrations left a sound database with as many rows as the fixture.
fn nothing_is_lost(kind: Kind, version: usize, folder: &Path) {
    let (before, after) = (read_only(&kind.fixture(version)), read_only(&folder.join(kind.file_name)));
    let sound: String = after.pragma_query_value(None, "integrity_check", |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    let newest = *kind.versions().end();
    assert_eq!(schema(&after), kind.schema_of(newest), "{} from version {version}", kind.file_name);
    for table in tables(&before) {
        assert_eq!(row_count(&after, &table), row_count(&before, &table), "{table} from version {version}");
    }
}

async fn identities_are_found(store: &dyn Store, version: usize) {
    let (pump, session) = store.identity_and_session(&id("pump-1")).await.unwrap().unwrap();
    assert_eq!((pump.generation_id.as_str(), pump.iot_edge), ("638000000000000001", true));
    assert_eq!(pump.parent_scopes, ["ms-azure-iot-edge://site-2"]);
    assert!(matches!(pump.authentication, Authentication::Sas { .. }));
    assert_eq!(session, Some(Session::from_bits(5)));
    assert_eq!(pump.messages, u32::from(version >= 3));
    let modules = store.modules(&DeviceId::new("pump-1").unwrap(), None, 100).await.unwrap();
    assert_eq!(
        modules.iter().map(|module| module.managed_by.as_deref()).collect::<Vec<_>>(),
        [Some("IotEdge")]
    );
    let repaired = store.identity(&id("pump-2")).await.unwrap().unwrap();
    assert_eq!(repaired.status_reason.as_deref(), Some("in repair"));
    assert!(matches!(repaired.authentication, Authentication::SelfSigned { .. }));
    assert_eq!(store.device_counts().await.unwrap(), DeviceCounts { total: 2, disabled: 1 });
    let policies = store.policies().await.unwrap();
    assert_eq!((policies.len(), policies[0].rights), (1, Rights::ALL));
    let authorities = store.authorities().await.unwrap();
    assert_eq!((authorities.len(), authorities[0].verification_code.as_deref()), (1, Some("7A6F")));
    let connected = store.mark_all_disconnected("node", time(1_800_000_000_000)).await.unwrap();
    assert_eq!(connected, u64::from(version >= 5));
}

async fn twins_are_found(store: &dyn Store, version: usize) {
    let (_, twin) = store.twin(&id("pump-1")).await.unwrap().unwrap();
    let (_, module) = store.twin(&id("pump-1/filter")).await.unwrap().unwrap();
    if version < 2 {
        assert_eq!((twin.desired.values.len(), module.desired.values.len()), (0, 0));
        return;
    }
    assert_eq!(twin.model_id, "dtmi:com:example:Pump;1");
    assert_eq!((twin.desired.version, twin.reported.version, twin.updates), (2, 3, 4));
    assert_eq!(serde_json::to_string(&twin.desired.values).unwrap(), r#"{"speed":3}"#);
    assert_eq!(serde_json::to_string(&module.desired.values).unwrap(), r#"{"mesh":0.5}"#);
    // Version 8 gives all times one width.
    let times = [&twin.desired, &twin.reported].map(|section| section.metadata["$lastUpdated"].clone());
    assert_eq!(times, ["2023-11-14T22:13:20.0000000Z", "2023-11-14T22:13:21.0000000Z"]);
}

async fn messages_are_found(store: &dyn Store, version: usize) {
    let queue = store.queued_messages(&id("pump-1")).await.unwrap();
    let input = store.queued_messages(&id("pump-1/filter")).await.unwrap();
    let feedback = store.feedback(0, 10).await.unwrap();
    if version < 3 {
        assert_eq!((queue.len(), input.len(), feedback.len()), (0, 0, 0));
        return;
    }
    assert_eq!((queue[0].sequence, input[0].sequence, input[0].is_input), (7, 8, true));
    let messages = store.messages(&[7, 8]).await.unwrap();
    assert_eq!((&messages[0].message.body[..], messages[0].delivery_count), (&b"start"[..], 2));
    assert_eq!(messages[1].message.input.as_deref(), Some("rinse"));
    assert_eq!((feedback.len(), feedback[0].sequence, feedback[0].delivery_count), (1, 3, 1));
}

async fn files_are_found(store: &dyn Store, version: usize) {
    if version < 4 {
        assert!(store.blob_files(None, 100).await.unwrap().is_empty());
        return;
    }
    let upload = store.upload("upload-1").await.unwrap().unwrap();
    assert_eq!(upload.blob, BlobName::parse("pump-1/log.txt").unwrap());
    let blob = store.blob(&BlobName::parse("pump-1/photo.png").unwrap()).await.unwrap().unwrap();
    assert_eq!((blob.file.as_str(), blob.blob.bytes), ("0123456789abcdef0123456789abcdef", 5));
    assert_eq!(blob.blob.properties.get("content-type").map(String::as_str), Some("image/png"));
    assert_eq!(store.signing_keys().await.unwrap().len(), 1);
    let notifications = store.file_notifications(time(1_800_000_000_000), 0, 9).await.unwrap();
    let notification = &notifications[0].notification;
    assert_eq!((notification.blob_name.as_str(), notification.blob_size_in_bytes), ("pump-1/photo.png", 5));
}

async fn leases_are_found(store: &dyn Store, version: usize) {
    let of_another_node = LeaseRequest {
        name: "file-maintenance".to_owned(),
        holder: "node-2".to_owned(),
        now: time(1_799_999_999_999),
        expiry: time(1_800_000_100_000),
    };
    let outcome = store.acquire_lease(&of_another_node).await.unwrap();
    if version < 7 {
        assert_eq!(outcome, LeaseOutcome::Granted { fence: 1 });
        return;
    }
    assert_eq!(outcome, LeaseOutcome::Held { holder: "node-1".to_owned(), until: time(1_800_000_000_000) });
    let later = LeaseRequest { now: time(1_800_000_000_000), ..of_another_node };
    assert_eq!(store.acquire_lease(&later).await.unwrap(), LeaseOutcome::Granted { fence: 5 });
}

async fn secrets_are_found(store: &dyn Store, version: usize) {
    let candidate = SharedAccessKey::generate();
    let stored = SharedAccessKey::from_bytes(b"0123456789abcdef0123456789abcdef").unwrap();
    let expected = if version < 8 { candidate.clone() } else { stored };
    assert_eq!(store.continuation_key(&candidate).await.unwrap(), expected);
    assert_eq!(store.continuation_key(&SharedAccessKey::generate()).await.unwrap(), expected);
}

async fn jobs_are_found(store: &dyn Store, version: usize) {
    let jobs = store.import_export_jobs(10).await.unwrap();
    if version < 9 {
        assert_eq!(jobs, []);
        return;
    }
    let [running, failed] = &jobs[..] else { panic!("{jobs:?}") };
    assert_eq!((running.status, failed.status), (JobStatus::Running, JobStatus::Failed));
    assert_eq!((failed.run, failed.failure.as_deref()), (2, Some("The blob was changed.")));
    assert_eq!((failed.ended, running.ended), (Some(time(1_700_000_060_000)), None));
    assert_eq!((running.progress.offset, running.progress.settled), (50, [1, 0]));
    assert_eq!(running.request.output_container, "https://a/c?sig=x");
    assert_eq!(store.import_export_errors(&running.id, 0, 9).await.unwrap(), ["{\"deviceId\":\"d\"}"]);
    assert_eq!(store.deferred_lines(&running.id, 0, 9).await.unwrap()[0].number, 2);
}

async fn configurations_are_found(store: &dyn Store, version: usize) {
    let configurations = store.configurations().await.unwrap();
    let (_, twin) = store.twin(&id("pump-1")).await.unwrap().unwrap();
    if version < 10 {
        assert!(configurations.is_empty() && twin.configured.is_empty());
        return;
    }
    let stored = &configurations[0];
    assert_eq!((stored.id.as_str(), stored.number, stored.revision), ("fan-speed", 3, 4));
    assert_eq!(
        (stored.configuration.priority, twin.configured.paths["speed"].as_str()),
        (Some(7), "fan-speed")
    );
    assert_eq!(store.sweep_position().await.unwrap(), DeviceId::new("pump-1").ok());
}

async fn scheduled_jobs_are_found(store: &dyn Store, version: usize) {
    let job = store.job(&JobId::new("reboot-1").unwrap()).await.unwrap();
    if version < 11 {
        assert_eq!(job, None);
        return;
    }
    let job = job.unwrap();
    assert_eq!((job.number, job.phase, job.definition.condition.as_str()), (3, JobPhase::Running, "*"));
    let counts = JobCounts { pending: 1, waiting: 0, running: 1, completed: 1, failed: 0 };
    assert_eq!(job.counts, counts);
    let open = store.open_job_devices(3, None, 9).await.unwrap();
    assert_eq!(open.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["pump-1/filter"]);
    assert_eq!(store.next_job("node-1", &[]).await.unwrap(), Some(time(0)));
    assert_eq!(store.next_job("node-2", &[]).await.unwrap(), Some(time(1_800_000_000_000)));
}

async fn events_are_found(log: &SqliteEventLog, version: usize) {
    let first = log.read(0, 0, 10, usize::MAX).await.unwrap();
    assert_eq!((first.len(), &first[0].body[..]), (1, &br#"{"speed":2}"#[..]));
    assert_eq!(typed(&first[0]), [(PropertyName::Application("a"), PropertyValue::String("1"))]);
    let second = log.read(1, 0, 10, usize::MAX).await.unwrap();
    assert_eq!(typed(&second[0]), []);
    assert_eq!(typed(&second[1]), [(PropertyName::Application("b"), PropertyValue::String("2"))]);
    let states = log.state().await.unwrap();
    if version < 3 {
        assert_eq!(second.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((states[0].bytes, states[1].bytes), (142, 270));
        assert_eq!((*log.head(0).unwrap().borrow(), *log.head(1).unwrap().borrow()), (1, 3));
        return;
    }
    let message_id = (PropertyName::System(SystemProperty::MessageId), PropertyValue::Ulong(7));
    assert_eq!(typed(&second[2]), [message_id, (PropertyName::Application("n"), PropertyValue::Int(-2))]);
    assert_eq!((second.len(), second[2].sequence, &second[2].body[..]), (3, 3, &b"third"[..]));
    assert_eq!((states[0].bytes, states[1].bytes), (142, 422));
    let lost: Vec<LostEvents> = if version < 4 {
        Vec::new()
    } else {
        vec![LostEvents {
            partition: 1,
            sequences: 4..4096,
            backup: time(1_700_000_000_004),
            restored: time(1_700_000_000_005),
        }]
    };
    assert_eq!(log.lost_events(), lost);
    let next = if version < 4 { 4 } else { 4096 };
    assert_eq!((states[1].last, states[1].next, *log.head(1).unwrap().borrow()), (Some(3), next, next));
}

fn typed(event: &StoredEvent) -> Vec<(PropertyName<'_>, PropertyValue<'_>)> {
    event.properties.iter().collect()
}
