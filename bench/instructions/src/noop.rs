//! A hub whose store contains one device and forgets what is written: the counts leave the store out.

use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use ferrohub_bus::LocalBus;
use ferrohub_core::authorities::{AuthorityStore, DeleteAuthorityOutcome, StoredAuthority};
use ferrohub_core::background::{LeaseOutcome, LeaseRequest, LeaseStore};
use ferrohub_core::clock::Clock;
use ferrohub_core::cloud_to_device::{
    AbandonOutcome, EnqueueOutcome, ExpiredMessage, FeedbackOptions, MessageStore, NewMessage, QueueEntry,
    StoredFeedback, StoredMessage,
};
use ferrohub_core::connections::{Activity, ConnectionStore, SaveSessionOutcome};
use ferrohub_core::files::{
    BeginUploadOutcome, Blob, BlobIndex, BlobWriteOutcome, Condition, EndUploadOutcome,
    FileNotificationStore, NotificationLock, QueuedNotification, SettleNotificationOutcome, SigningKeyStore,
    StoredBlob, StoredSigningKey, Upload, UploadStore,
};
use ferrohub_core::limits::Limits;
use ferrohub_core::metrics::Metrics;
use ferrohub_core::node::Connections;
use ferrohub_core::policies::{Policy, PolicySource, PolicyStore, StoredPolicy};
use ferrohub_core::registry::{self, Authentication, DeviceCounts, DeviceFilter, Identity, RegistryStore};
use ferrohub_core::session::Session;
use ferrohub_core::store::{Applied, ChangeGroup, Refused, Store, StoreError};
use ferrohub_core::telemetry::{Batch, EventLog, EventSettings, PartitionState, StoredEvent};
use ferrohub_core::twins::{TwinDocument, TwinStore};
use ferrohub_core::{Hub, HubPorts, HubSettings};
use ferrohub_model::device::Device;
use ferrohub_model::file::{BlobName, FileNotification};
use ferrohub_model::message::FeedbackStatus;
use ferrohub_model::{DeviceId, IdentityId, ModuleId, Rights, SharedAccessKey, Timestamp};
use prometheus_client::registry::Registry;
use tokio::sync::watch;

/// The only policy of the hub.
pub(crate) const POLICY: &str = "service";

/// The id of the only device of the hub.
pub(crate) const DEVICE: &str = "bench-1";
/// The time of the hub's clock.
pub(crate) const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
/// An expiry for tokens.
pub(crate) const LATER: Timestamp = Timestamp::from_unix_seconds(4_000_000_000);

/// Contains only the device.
struct Noop(Identity);

impl Noop {
    fn find(&self, id: &IdentityId) -> Option<Identity> {
        (*id == self.0.id).then(|| self.0.clone())
    }
}

impl Clock for Noop {
    fn now(&self) -> Timestamp {
        NOW
    }
}

#[async_trait]
impl LeaseStore for Noop {
    async fn acquire_lease(&self, _: &LeaseRequest) -> Result<LeaseOutcome, StoreError> {
        Ok(LeaseOutcome::Granted { fence: 1 })
    }
    async fn renew_lease(&self, _: &str, _: u64, _: Timestamp) -> Result<bool, StoreError> {
        Ok(true)
    }
    async fn release_lease(&self, _: &str, _: u64) -> Result<bool, StoreError> {
        Ok(true)
    }
}

#[async_trait]
impl RegistryStore for Noop {
    async fn device_counts(&self) -> Result<DeviceCounts, StoreError> {
        Ok(DeviceCounts { total: 0, disabled: 0 })
    }
    async fn identity(&self, id: &IdentityId) -> Result<Option<Identity>, StoreError> {
        Ok(self.find(id))
    }
    async fn devices(
        &self,
        _: &DeviceFilter,
        _: Option<&DeviceId>,
        _: usize,
    ) -> Result<Vec<Identity>, StoreError> {
        Ok(Vec::new())
    }
    async fn modules(
        &self,
        _: &DeviceId,
        _: Option<&ModuleId>,
        _: usize,
    ) -> Result<Vec<Identity>, StoreError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl TwinStore for Noop {
    async fn twin(&self, id: &IdentityId) -> Result<Option<(Identity, TwinDocument)>, StoreError> {
        Ok(self.find(id).map(|identity| (identity, TwinDocument::default())))
    }
}

#[async_trait]
impl ConnectionStore for Noop {
    async fn identity_and_session(
        &self,
        id: &IdentityId,
    ) -> Result<Option<(Identity, Option<Session>)>, StoreError> {
        Ok(self.find(id).map(|identity| (identity, None)))
    }
    async fn save_session(
        &self,
        _: &IdentityId,
        _: Option<&Session>,
    ) -> Result<SaveSessionOutcome, StoreError> {
        Err(StoreError::Closed)
    }
    async fn save_activity(&self, _: &[Activity]) -> Result<(), StoreError> {
        Ok(())
    }
    async fn mark_all_disconnected(&self, _: &str, _: Timestamp) -> Result<u64, StoreError> {
        Ok(0)
    }
}

#[async_trait]
impl MessageStore for Noop {
    async fn enqueue_messages(&self, _: &[NewMessage], _: u32) -> Result<Vec<EnqueueOutcome>, StoreError> {
        Err(StoreError::Closed)
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
}

#[async_trait]
impl UploadStore for Noop {
    async fn begin_upload(&self, _: &Upload, _: Timestamp, _: u32) -> Result<BeginUploadOutcome, StoreError> {
        Err(StoreError::Closed)
    }
    async fn upload(&self, _: &str) -> Result<Option<Upload>, StoreError> {
        Ok(None)
    }
    async fn end_upload(
        &self,
        _: &str,
        _: Option<&QueuedNotification>,
    ) -> Result<EndUploadOutcome, StoreError> {
        Err(StoreError::Closed)
    }
    async fn expire_uploads(&self, _: Timestamp, _: Timestamp, _: usize) -> Result<Vec<Upload>, StoreError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl FileNotificationStore for Noop {
    async fn lock_next_file_notification(
        &self,
        _: Timestamp,
        _: &NotificationLock,
    ) -> Result<Option<FileNotification>, StoreError> {
        Ok(None)
    }
    async fn complete_file_notification(
        &self,
        _: &str,
        _: Timestamp,
    ) -> Result<SettleNotificationOutcome, StoreError> {
        Err(StoreError::Closed)
    }
    async fn abandon_file_notification(
        &self,
        _: &str,
        _: Timestamp,
    ) -> Result<SettleNotificationOutcome, StoreError> {
        Err(StoreError::Closed)
    }
    async fn expire_file_notifications(&self, _: Timestamp, _: u32) -> Result<u64, StoreError> {
        Ok(0)
    }
}

#[async_trait]
impl BlobIndex for Noop {
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
    async fn blob_files(
        &self,
        _: Option<&BlobName>,
        _: usize,
    ) -> Result<Vec<(String, BlobName)>, StoreError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl SigningKeyStore for Noop {
    async fn signing_keys(&self) -> Result<Vec<StoredSigningKey>, StoreError> {
        Ok(Vec::new())
    }
    async fn save_signing_key(
        &self,
        _: &StoredSigningKey,
        _: Option<Timestamp>,
        _: usize,
    ) -> Result<bool, StoreError> {
        Ok(true)
    }
}

#[async_trait]
impl PolicyStore for Noop {
    async fn policies(&self) -> Result<Vec<StoredPolicy>, StoreError> {
        Ok(Vec::new())
    }
    async fn save_policy(&self, _: &StoredPolicy) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl AuthorityStore for Noop {
    async fn authorities(&self) -> Result<Vec<StoredAuthority>, StoreError> {
        Ok(Vec::new())
    }
    async fn save_authority(&self, _: &StoredAuthority) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }
    async fn delete_authority(&self, _: &str) -> Result<DeleteAuthorityOutcome, StoreError> {
        Err(StoreError::Closed)
    }
}

#[async_trait]
impl Store for Noop {
    async fn apply(&self, _: Vec<ChangeGroup>) -> Result<Vec<Result<Applied, Refused>>, StoreError> {
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
        Ok(0)
    }
    async fn append_all(&self, _: Vec<Batch>) -> Result<(), StoreError> {
        Ok(())
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
    async fn remove_oldest(&self, _: Timestamp, _: u64) -> Result<u64, StoreError> {
        Ok(0)
    }
    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
    async fn close(&self) {}
}

/// A hub with one policy and one device.
pub(crate) struct Started {
    pub(crate) hub: Arc<Hub>,
    pub(crate) connections: Arc<Connections>,
    /// The key of the policy and of the device.
    pub(crate) key: SharedAccessKey,
    pub(crate) device: Identity,
}

/// Starts a hub.
pub(crate) async fn hub() -> anyhow::Result<Started> {
    // Fixed, because the length of a token depends on the key: its signature is percent-encoded.
    let key = SharedAccessKey::from_bytes(&[1; 32])?;
    let mut device = registry::apply_device(&IdentityId::parse(DEVICE)?, &Device::default(), None, NOW)
        .ok()
        .context("no identity")?;
    device.authentication = Authentication::Sas { primary: key.clone(), secondary: key.clone() };
    let limits = Limits::default();
    let connections = Arc::new(Connections::new(limits.in_flight_methods_per_device));
    let policy = Policy {
        name: POLICY.into(),
        rights: Rights::ALL,
        primary_key: key.clone(),
        secondary_key: key.clone(),
        source: PolicySource::Configuration,
    };
    let settings = HubSettings {
        host: "localhost".to_owned(),
        node: "node".to_owned(),
        limits,
        policies: vec![policy],
        authorities: Vec::new(),
        entra: None,
        events: EventSettings::default(),
    };
    let ports = HubPorts {
        store: Arc::new(Noop(device.clone())),
        events: Arc::new(Noop(device.clone())),
        bus: Arc::new(LocalBus::new(connections.clone())),
        clock: Arc::new(Noop(device.clone())),
        connections: connections.clone(),
        files: None,
    };
    let metrics = Metrics::register(&mut Registry::default());
    let hub = Hub::start(settings, ports, metrics).await?;
    Ok(Started { hub: Arc::new(hub), connections, key, device })
}
