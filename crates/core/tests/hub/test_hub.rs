//! A hub over memory adapters, whose wall clock follows tokio's paused time.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ferrohub_bus::LocalBus;
use ferrohub_core::clock::Clock as _;
use ferrohub_core::connections::{ConnectRefusal, ConnectRequest};
use ferrohub_core::files::{BlobEndpoint, FileStorage, FolderLimits};
use ferrohub_core::limits::Limits;
use ferrohub_core::metrics::Metrics;
use ferrohub_core::node::Connections;
use ferrohub_core::policies::{Policy, PolicySource};
use ferrohub_core::telemetry::EventSettings;
use ferrohub_core::{
    ConnectedDevice, Credentials, DeviceCaller, Hub, HubPorts, HubSettings, Operation, ServiceCaller,
};
use ferrohub_memory::{MemoryBlobFolder, MemoryEventLog, MemoryStore, VirtualClock};
use ferrohub_model::device::Device;
use ferrohub_model::{DeviceId, IdentityId, ModuleId, Right, Rights, SharedAccessKey, Timestamp, sas};
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::time::sleep;

pub(crate) const HOST: &str = "hub.example";
/// The time at which a test starts.
pub(crate) const START: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
/// When tokens expire: long after the end of every test.
pub(crate) const EXPIRY: Timestamp = Timestamp::from_unix_seconds(4_000_000_000);
/// The policy with all rights.
const OWNER: &str = "owner";

/// A hub, and what survives when it ends.
pub(crate) struct TestHub {
    pub(crate) hub: Arc<Hub>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) events: Arc<MemoryEventLog>,
    /// The files stay the same when the hub ends.
    pub(crate) files: Arc<MemoryBlobFolder>,
    pub(crate) clock: VirtualClock,
    configure: fn(&mut HubSettings),
}

impl TestHub {
    /// Starts a hub with the default settings, and an empty store.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    /// Starts a hub whose settings `configure` changes.
    pub(crate) async fn start_with(configure: fn(&mut HubSettings)) -> Self {
        let (store, events) = (MemoryStore::default(), MemoryEventLog::new(4));
        let clock = VirtualClock::starting_at(START);
        let files = files(clock.clone());
        Self::start_over(Arc::new(store), Arc::new(events), Arc::new(files), clock, configure).await
    }

    async fn start_over(
        store: Arc<MemoryStore>,
        events: Arc<MemoryEventLog>,
        files: Arc<MemoryBlobFolder>,
        clock: VirtualClock,
        configure: fn(&mut HubSettings),
    ) -> Self {
        let mut settings = HubSettings {
            host: HOST.to_owned(),
            node: "node".to_owned(),
            limits: Limits::default(),
            policies: vec![policy(OWNER, &Right::ALL)],
            authorities: Vec::new(),
            entra: None,
            events: EventSettings::default(),
        };
        configure(&mut settings);
        let connections = Arc::new(Connections::new(8));
        let ports = HubPorts {
            store: store.clone(),
            events: events.clone(),
            bus: Arc::new(LocalBus::new(connections.clone())),
            clock: Arc::new(clock.clone()),
            connections,
            files: Some(FileStorage::Folder(files.clone())),
            containers: None,
        };
        let metrics = Metrics::register(&mut Registry::default());
        let hub = Hub::start(settings, ports, metrics).await.unwrap();
        Self { hub, store, events, files, clock, configure }
    }

    /// Ends the hub and starts it again.
    pub(crate) async fn restart(self) -> Self {
        self.hub.drain().await;
        self.hub.close().await;
        self.crash().await
    }

    /// Starts a hub with what is stored now. The old one gets no chance to store anything.
    pub(crate) async fn crash(self) -> Self {
        let (store, events) = (Arc::new(self.store.reopened()), Arc::new(self.events.reopened()));
        Self::start_over(store, events, self.files.clone(), self.clock, self.configure).await
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns a service with all rights.
    pub(crate) async fn service(&self) -> ServiceCaller {
        let token = sas::sign(HOST, &key(), Some(OWNER), EXPIRY);
        self.hub.authenticate_service(Some(&token), Operation::PutDevice).await.unwrap()
    }

    /// Creates a device, or a module of an existing device.
    pub(crate) async fn create(&self, id: &str) {
        let key = key().to_base64();
        let authentication =
            json!({ "type": "sas", "symmetricKey": { "primaryKey": key, "secondaryKey": key } });
        let service = self.service().await;
        match id.split_once('/') {
            None => {
                let device = json!({ "deviceId": id, "authentication": authentication });
                let device = serde_json::from_value(device).unwrap();
                service.put_device(&DeviceId::new(id).unwrap(), &device, None).await.unwrap();
            }
            Some((device, module)) => {
                let body = serde_json::from_value(json!({ "authentication": authentication })).unwrap();
                let (device, module) = (DeviceId::new(device).unwrap(), ModuleId::new(module).unwrap());
                service.put_module(&device, &module, &body, None).await.unwrap();
            }
        }
    }

    /// Returns what a service sees of a device.
    pub(crate) async fn see(&self, device: &str) -> Device {
        self.service().await.get_device(&DeviceId::new(device).unwrap()).await.unwrap()
    }

    /// Returns a token of a device or module.
    pub(crate) fn token(&self, of: &str) -> String {
        sas::sign(&format!("{HOST}{}", id(of).resource_path()), &key(), None, EXPIRY)
    }

    /// Connects a device or module.
    pub(crate) async fn connect(&self, id: &str) -> ConnectedDevice {
        self.try_connect(id, false).await.unwrap()
    }

    /// Connects a device or module, which forgets its earlier sessions.
    pub(crate) async fn connect_clean(&self, id: &str) -> ConnectedDevice {
        self.try_connect(id, true).await.unwrap()
    }

    pub(crate) async fn try_connect(
        &self,
        name: &str,
        clean_session: bool,
    ) -> Result<ConnectedDevice, ConnectRefusal> {
        let (id, token) = (id(name), self.token(name));
        let request = ConnectRequest {
            id: &id,
            token: Some(&token),
            certificate: None,
            model_id: None,
            clean_session,
            protocol: "test",
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        };
        Ok(self.hub.authenticate_connect(&request).await?.attach().await?.device)
    }

    /// Returns a device or module that sends a request over HTTPS.
    pub(crate) async fn device(&self, name: &str) -> DeviceCaller {
        let token = self.token(name);
        let credentials = Credentials { token: Some(&token), certificate: None };
        self.hub.authenticate_device(&id(name), credentials, Operation::ReceiveMessage).await.unwrap()
    }

    /// Returns a token of the policy that expires after this time.
    pub(crate) fn service_token(&self, valid: Duration) -> String {
        let millis = i64::try_from(valid.as_millis()).unwrap();
        sas::sign(HOST, &key(), Some(OWNER), self.now().plus_millis(millis))
    }
}

/// The key of all policies, devices and modules.
pub(crate) fn key() -> SharedAccessKey {
    SharedAccessKey::from_bytes(&[7; 32]).unwrap()
}

/// A policy with these rights.
pub(crate) fn policy(name: &str, rights: &[Right]) -> Policy {
    Policy {
        name: name.into(),
        rights: Rights::of(rights),
        primary_key: key(),
        secondary_key: key(),
        source: PolicySource::Configuration,
    }
}

fn files(clock: VirtualClock) -> MemoryBlobFolder {
    let endpoint = BlobEndpoint {
        host: HOST.to_owned(),
        account: "account".to_owned(),
        container: "container".to_owned(),
        https: true,
    };
    let limits = FolderLimits { blob_bytes: 1 << 20, total_bytes: 1 << 24, device_bytes: 1 << 24 };
    MemoryBlobFolder::new(endpoint, limits, Arc::new(clock))
}

pub(crate) fn id(text: &str) -> IdentityId {
    IdentityId::parse(text).unwrap()
}

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn hours(hours: u64) -> Duration {
    Duration::from_secs(3600 * hours)
}

/// Returns whether a waiter that was notified has taken no longer than one that serves several notifications at once.
pub(crate) fn is_soon(took: Duration) -> bool {
    took <= Duration::from_millis(50)
}

/// Lets time pass, and then the hub do what is due.
pub(crate) async fn pass(time: Duration) {
    sleep(time).await;
    run_ready_tasks().await;
}

/// Runs all ready tasks. No time passes.
pub(crate) async fn run_ready_tasks() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
