//! A hub over a store in memory with one device, whose event log forgets what is appended: the counts leave disks out.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use ferrohub_bus::LocalBus;
use ferrohub_core::clock::Clock;
use ferrohub_core::limits::Limits;
use ferrohub_core::metrics::Metrics;
use ferrohub_core::node::Connections;
use ferrohub_core::policies::{Policy, PolicySource};
use ferrohub_core::registry::{self, Authentication, Identity};
use ferrohub_core::store::{Change, Store as _, StoreError};
use ferrohub_core::telemetry::{Batch, EventLog, EventSettings, LostEvents, PartitionState, StoredEvent};
use ferrohub_core::{Hub, HubPorts, HubSettings};
use ferrohub_memory::MemoryStore;
use ferrohub_model::device::Device;
use ferrohub_model::{IdentityId, Rights, SharedAccessKey, Timestamp};
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

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// Forgets what is appended: a log in memory would become larger and larger.
struct NoLog;

#[async_trait]
impl EventLog for NoLog {
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
    fn lost_events(&self) -> &[LostEvents] {
        &[]
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
pub(crate) async fn start() -> anyhow::Result<Started> {
    // Fixed, because the length of a token depends on the key: its signature is percent-encoded.
    let key = SharedAccessKey::from_bytes(&[1; 32])?;
    let mut device = registry::apply_device(&IdentityId::parse(DEVICE)?, &Device::default(), None, NOW)
        .ok()
        .context("no identity")?;
    device.authentication = Authentication::Sas { primary: key.clone(), secondary: key.clone() };
    let store = MemoryStore::default();
    let create = Change::Create { identity: device.clone(), limit: 1 };
    if let Err(refused) = store.apply_group(create.into()).await? {
        bail!("the device is not created: {refused:?}");
    }
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
        store: Arc::new(store),
        events: Arc::new(NoLog),
        bus: Arc::new(LocalBus::new(connections.clone())),
        clock: Arc::new(FixedClock),
        connections: connections.clone(),
        files: None,
        containers: None,
    };
    let metrics = Metrics::register(&mut Registry::default());
    let hub = Hub::start(settings, ports, metrics).await?;
    Ok(Started { hub, connections, key, device })
}
