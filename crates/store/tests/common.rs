//! Helpers of the store's tests.
#![allow(clippy::unwrap_used, dead_code, missing_docs, reason = "a test ends by panicking")]

use bytes::Bytes;
use ferrohub_core::registry::{Authentication, Identity};
use ferrohub_core::store::{Applied, Change, ChangeGroup, Refusal, Refused, Store, StoreError};
use ferrohub_core::telemetry::{AuthMethod, Batch, EventIdentity, EventSource, NewEvent};
use ferrohub_core::twins::{TwinChangeFn, TwinDocument};
use ferrohub_model::device::Status;
use ferrohub_model::{IdentityId, SharedAccessKey, Timestamp};
use ferrohub_store::{SqliteEventLog, SqliteStore, StoreMetrics};

pub(crate) fn open(folder: &std::path::Path) -> SqliteStore {
    SqliteStore::open(folder, StoreMetrics::default()).unwrap()
}

/// Opens the event log in the data folder of a store.
pub(crate) fn open_events(store: &SqliteStore, partitions: u16) -> SqliteEventLog {
    SqliteEventLog::open(store, partitions, StoreMetrics::default()).unwrap()
}

/// Applies a group of changes, and returns why it was refused.
pub(crate) async fn apply(store: &dyn Store, changes: Vec<Change>) -> Result<Applied, Refusal> {
    let outcome = store.apply_group(ChangeGroup(changes)).await.unwrap();
    outcome.map_err(|Refused { reason, .. }| reason)
}

pub(crate) async fn try_create(store: &dyn Store, identity: &Identity, limit: u64) -> Result<(), StoreError> {
    let create = Change::Create { identity: identity.clone(), limit };
    store.apply_group(create.into()).await.map(|outcome| assert_eq!(outcome, Ok(Applied::default())))
}

pub(crate) async fn create(store: &dyn Store, identity: &Identity, limit: u64) -> Result<(), Refusal> {
    apply(store, vec![Change::Create { identity: identity.clone(), limit }]).await.map(drop)
}

pub(crate) async fn update(store: &dyn Store, identity: &Identity, etag: &str) -> Result<(), Refusal> {
    let change = Change::Update { identity: identity.clone(), expected_etag: etag.to_owned() };
    apply(store, vec![change]).await.map(drop)
}

pub(crate) async fn delete(store: &dyn Store, id: &IdentityId, etag: Option<&str>) -> Result<(), Refusal> {
    let change = Change::Delete { id: id.clone(), expected_etag: etag.map(str::to_owned) };
    apply(store, vec![change]).await.map(drop)
}

pub(crate) async fn change_twin(
    store: &dyn Store,
    id: &IdentityId,
    change: TwinChangeFn,
) -> Result<(Identity, TwinDocument), Refusal> {
    let mut applied = apply(store, vec![Change::Twin { id: id.clone(), change }]).await?;
    assert_eq!(applied.twins.len(), 1);
    Ok(applied.twins.remove(0))
}

/// A batch of events with these bodies.
pub(crate) fn batch(partition: u16, from: &str, millis: i64, bodies: &[&[u8]]) -> Batch {
    let event = |body: &&[u8]| NewEvent { properties: "a=1".to_owned(), body: Bytes::copy_from_slice(body) };
    Batch {
        partition,
        source: EventSource::Telemetry,
        identity: EventIdentity {
            id: id(from),
            generation_id: "17".to_owned(),
            auth: Some(AuthMethod::Thumbprint),
        },
        now: Timestamp::from_unix_millis(millis),
        events: bodies.iter().map(event).collect(),
    }
}

pub(crate) fn id(text: &str) -> IdentityId {
    IdentityId::parse(text).unwrap()
}

/// An identity with every field set to a value other than its default.
pub(crate) fn identity(text: &str) -> Identity {
    Identity {
        id: id(text),
        generation_id: "17".to_owned(),
        etag: "one".to_owned(),
        status: Status::Disabled,
        status_reason: Some("in repair".to_owned()),
        status_updated: Timestamp::from_unix_millis(1_700_000_000_123),
        authentication: Authentication::Sas {
            primary: SharedAccessKey::from_bytes(&[1; 32]).unwrap(),
            secondary: SharedAccessKey::from_bytes(&[2; 16]).unwrap(),
        },
        iot_edge: true,
        device_scope: Some("ms-azure-iot-edge://edge-1".to_owned()),
        parent_scopes: vec!["ms-azure-iot-edge://\"a\"".to_owned(), "b\nc".to_owned()],
        managed_by: Some("IotEdge".to_owned()),
        connection_state_updated: Timestamp::from_unix_millis(5),
        last_activity: Timestamp::from_unix_millis(-62_135_596_800_000),
        messages: 0,
    }
}
