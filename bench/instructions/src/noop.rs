//! A hub with a store that stores nothing: the hot paths do not use the store.

use std::sync::Arc;

use async_trait::async_trait;
use ferrohub_bus::LocalBus;
use ferrohub_core::auth::{Policy, PolicySource};
use ferrohub_core::blobs::{Blob, Condition};
use ferrohub_core::clock::Clock;
use ferrohub_core::connections::Connections;
use ferrohub_core::events::{Batch, EventLog, EventSettings, PartitionState, StoredEvent};
use ferrohub_core::limits::Limits;
use ferrohub_core::metrics::Metrics;
use ferrohub_core::registry::Identity;
use ferrohub_core::session::Session;
use ferrohub_core::store::{
    AbandonOutcome, Activity, BlobWriteOutcome, DeviceCounts, EnqueueOutcome, ExpiredMessage,
    FeedbackOptions, ModuleChange, NewMessage, NotificationLock, QueueEntry, QueuedNotification, Store,
    StoreError, StoredAuthority, StoredBlob, StoredFeedback, StoredMessage, StoredPolicy, StoredSigningKey,
    TwinChangeFn, TwinChangeOutcome, Upload, WriteOutcome,
};
use ferrohub_core::twins::TwinDocument;
use ferrohub_core::{Hub, HubPorts, HubSettings};
use ferrohub_model::file::{BlobName, FileNotification};
use ferrohub_model::message::FeedbackStatus;
use ferrohub_model::{DeviceId, IdentityId, Rights, SharedAccessKey, Timestamp};
use prometheus_client::registry::Registry;
use tokio::sync::watch;

/// The only policy of the hub.
pub(crate) const POLICY: &str = "service";

struct Noop;

impl Clock for Noop {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_seconds(1_800_000_000)
    }
}

#[async_trait]
impl Store for Noop {
    async fn create_identity(&self, _: &Identity, _: u64) -> Result<WriteOutcome, StoreError> {
        Err(StoreError::Closed)
    }
    async fn update_identity(&self, _: &Identity, _: &str) -> Result<WriteOutcome, StoreError> {
        Err(StoreError::Closed)
    }
    async fn create_device(&self, _: &Identity, _: &[Identity], _: u64) -> Result<WriteOutcome, StoreError> {
        Err(StoreError::Closed)
    }
    async fn update_device(
        &self,
        _: &Identity,
        _: &str,
        _: &ModuleChange,
    ) -> Result<WriteOutcome, StoreError> {
        Err(StoreError::Closed)
    }
    async fn delete_identity(&self, _: &IdentityId, _: Option<&str>) -> Result<WriteOutcome, StoreError> {
        Err(StoreError::Closed)
    }
    async fn device_counts(&self) -> Result<DeviceCounts, StoreError> {
        Ok(DeviceCounts { total: 0, disabled: 0 })
    }
    async fn identity(&self, _: &IdentityId) -> Result<Option<Identity>, StoreError> {
        Ok(None)
    }
    async fn identity_and_session(
        &self,
        _: &IdentityId,
    ) -> Result<Option<(Identity, Option<Session>)>, StoreError> {
        Ok(None)
    }
    async fn devices(&self, _: usize) -> Result<Vec<Identity>, StoreError> {
        Ok(Vec::new())
    }
    async fn modules(&self, _: &DeviceId) -> Result<Vec<Identity>, StoreError> {
        Ok(Vec::new())
    }
    async fn twin(&self, _: &IdentityId) -> Result<Option<(Identity, TwinDocument)>, StoreError> {
        Ok(None)
    }
    async fn change_twin(&self, _: &IdentityId, _: TwinChangeFn) -> Result<TwinChangeOutcome, StoreError> {
        Ok(TwinChangeOutcome::NotFound)
    }
    async fn save_session(&self, _: &IdentityId, _: Option<&Session>) -> Result<WriteOutcome, StoreError> {
        Err(StoreError::Closed)
    }
    async fn save_activity(&self, _: &[Activity]) -> Result<(), StoreError> {
        Ok(())
    }
    async fn mark_all_disconnected(&self, _: Timestamp) -> Result<u64, StoreError> {
        Ok(0)
    }
    async fn enqueue_message(&self, _: &NewMessage, _: u32) -> Result<EnqueueOutcome, StoreError> {
        Ok(EnqueueOutcome::NotFound)
    }
    async fn queued_messages(&self, _: &IdentityId) -> Result<Vec<QueueEntry>, StoreError> {
        Ok(Vec::new())
    }
    async fn messages(&self, _: &[u64]) -> Result<Vec<StoredMessage>, StoreError> {
        Ok(Vec::new())
    }
    async fn settle_messages(
        &self,
        _: &[u64],
        _: FeedbackStatus,
        _: FeedbackOptions,
    ) -> Result<u64, StoreError> {
        Ok(0)
    }
    async fn abandon_message(
        &self,
        _: u64,
        _: u32,
        _: FeedbackOptions,
    ) -> Result<AbandonOutcome, StoreError> {
        Ok(AbandonOutcome::NotFound)
    }
    async fn purge_messages(&self, _: &IdentityId, _: FeedbackOptions) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }
    async fn expired_messages(
        &self,
        _: Timestamp,
        _: (Timestamp, u64),
        _: usize,
    ) -> Result<Vec<ExpiredMessage>, StoreError> {
        Ok(Vec::new())
    }
    async fn next_expiry(&self, _: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }
    async fn feedback(&self, _: &[u64], _: usize) -> Result<Vec<StoredFeedback>, StoreError> {
        Ok(Vec::new())
    }
    async fn complete_feedback(&self, _: &[u64]) -> Result<(), StoreError> {
        Ok(())
    }
    async fn abandon_feedback(&self, _: &[u64], _: u32) -> Result<(), StoreError> {
        Ok(())
    }
    async fn expire_feedback(&self, _: Timestamp) -> Result<u64, StoreError> {
        Ok(0)
    }
    async fn begin_upload(&self, _: &Upload, _: Timestamp, _: u32) -> Result<WriteOutcome, StoreError> {
        Err(StoreError::Closed)
    }
    async fn upload(&self, _: &str) -> Result<Option<Upload>, StoreError> {
        Ok(None)
    }
    async fn end_upload(&self, _: &str, _: Option<&QueuedNotification>) -> Result<WriteOutcome, StoreError> {
        Err(StoreError::Closed)
    }
    async fn expire_uploads(&self, _: Timestamp, _: Timestamp) -> Result<Vec<Upload>, StoreError> {
        Ok(Vec::new())
    }
    async fn lock_next_file_notification(
        &self,
        _: Timestamp,
        _: &NotificationLock,
    ) -> Result<Option<FileNotification>, StoreError> {
        Ok(None)
    }
    async fn complete_file_notification(&self, _: &str, _: Timestamp) -> Result<WriteOutcome, StoreError> {
        Err(StoreError::Closed)
    }
    async fn abandon_file_notification(&self, _: &str, _: Timestamp) -> Result<WriteOutcome, StoreError> {
        Err(StoreError::Closed)
    }
    async fn expire_file_notifications(&self, _: Timestamp, _: u32) -> Result<u64, StoreError> {
        Ok(0)
    }
    async fn blob(&self, _: &BlobName) -> Result<Option<StoredBlob>, StoreError> {
        Ok(None)
    }
    async fn blobs(&self, _: Option<&str>, _: Option<&str>, _: usize) -> Result<Vec<Blob>, StoreError> {
        Ok(Vec::new())
    }
    async fn put_blob(&self, _: &StoredBlob, _: &Condition) -> Result<BlobWriteOutcome, StoreError> {
        Err(StoreError::Closed)
    }
    async fn delete_blob(&self, _: &BlobName, _: &Condition) -> Result<BlobWriteOutcome, StoreError> {
        Err(StoreError::Closed)
    }
    async fn blob_files(&self) -> Result<Vec<(String, BlobName)>, StoreError> {
        Ok(Vec::new())
    }
    async fn signing_keys(&self) -> Result<Vec<StoredSigningKey>, StoreError> {
        Ok(Vec::new())
    }
    async fn save_signing_key(&self, _: &StoredSigningKey, _: usize) -> Result<(), StoreError> {
        Ok(())
    }
    async fn policies(&self) -> Result<Vec<StoredPolicy>, StoreError> {
        Ok(Vec::new())
    }
    async fn save_policy(&self, _: &StoredPolicy) -> Result<(), StoreError> {
        Ok(())
    }
    async fn authorities(&self) -> Result<Vec<StoredAuthority>, StoreError> {
        Ok(Vec::new())
    }
    async fn save_authority(&self, _: &StoredAuthority) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }
    async fn delete_authority(&self, _: &str) -> Result<WriteOutcome, StoreError> {
        Err(StoreError::Closed)
    }
    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
    async fn close(&self) {}
}

#[async_trait]
impl EventLog for Noop {
    fn partitions(&self) -> u16 {
        4
    }
    async fn append(&self, _: Batch) -> Result<u64, StoreError> {
        Err(StoreError::Closed)
    }
    async fn append_all(&self, _: Vec<Batch>) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }
    fn head(&self, _: u16) -> Option<watch::Receiver<u64>> {
        None
    }
    async fn read(&self, _: u16, _: u64, _: usize, _: usize) -> Result<Vec<StoredEvent>, StoreError> {
        Ok(Vec::new())
    }
    async fn state(&self) -> Result<Vec<PartitionState>, StoreError> {
        Ok(Vec::new())
    }
    async fn first_since(&self, _: u16, _: Timestamp) -> Result<u64, StoreError> {
        Ok(0)
    }
    async fn trim(&self, _: Timestamp, _: u64) -> Result<u64, StoreError> {
        Ok(0)
    }
    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
    async fn close(&self) {}
}

/// Starts a hub. Returns it with its connections and the key of its policy.
pub(crate) async fn hub() -> anyhow::Result<(Hub, Arc<Connections>, SharedAccessKey)> {
    let limits = Limits::default();
    let connections = Arc::new(Connections::new(limits.in_flight_methods_per_device));
    let key = SharedAccessKey::generate();
    let policy = Policy {
        name: POLICY.into(),
        rights: Rights::ALL,
        primary_key: key.clone(),
        secondary_key: SharedAccessKey::generate(),
        source: PolicySource::Configuration,
    };
    let settings = HubSettings {
        host: "localhost".to_owned(),
        limits,
        policies: vec![policy],
        authorities: Vec::new(),
        entra: None,
        events: EventSettings::default(),
    };
    let ports = HubPorts {
        store: Arc::new(Noop),
        events: Arc::new(Noop),
        bus: Arc::new(LocalBus::new(connections.clone())),
        clock: Arc::new(Noop),
        connections: connections.clone(),
        files: None,
    };
    let metrics = Metrics::register(&mut Registry::default());
    let hub = Hub::start(settings, ports, metrics).await?;
    Ok((hub, connections, key))
}
