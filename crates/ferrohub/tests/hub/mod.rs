//! A hub in the process of the test, over a store and an event log in a folder.
#![allow(dead_code, reason = "not every test uses everything")]

use std::path::Path;
use std::sync::Arc;

use ferrohub_bus::LocalBus;
use ferrohub_core::clock::Clock;
use ferrohub_core::limits::Limits;
use ferrohub_core::metrics::Metrics;
use ferrohub_core::node::Connections;
use ferrohub_core::policies::{Policy, PolicySource};
use ferrohub_core::telemetry::EventSettings;
use ferrohub_core::{Hub, HubPorts, HubSettings, Operation, ServiceCaller};
use ferrohub_model::{DeviceId, Right, Rights, SharedAccessKey, Timestamp, sas};
use ferrohub_store::{SqliteEventLog, SqliteStore, StoreMetrics};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

pub(crate) const HOST: &str = "hub.example";
pub(crate) const NOW: Timestamp = Timestamp::from_unix_seconds(1_700_000_000);
/// When tokens expire.
pub(crate) const EXPIRY: Timestamp = Timestamp::from_unix_seconds(1_700_003_600);

pub(crate) struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// What a hub is started with. A test changes what it needs otherwise.
pub(crate) struct SetUp {
    pub(crate) settings: HubSettings,
    pub(crate) ports: HubPorts,
}

impl SetUp {
    pub(crate) fn new(folder: &Path, policies: Vec<Policy>) -> Self {
        let store = SqliteStore::open(folder, StoreMetrics::default()).unwrap();
        let events = SqliteEventLog::open(&store, 4, StoreMetrics::default()).unwrap();
        let connections = Arc::new(Connections::new(8));
        let settings = HubSettings {
            host: HOST.to_owned(),
            node: "node".to_owned(),
            limits: Limits::default(),
            policies,
            authorities: Vec::new(),
            entra: None,
            events: EventSettings::default(),
        };
        let ports = HubPorts {
            store: Arc::new(store),
            events: Arc::new(events),
            bus: Arc::new(LocalBus::new(connections.clone())),
            clock: Arc::new(FixedClock),
            connections,
            files: None,
            containers: None,
        };
        Self { settings, ports }
    }

    pub(crate) async fn start(self) -> Arc<Hub> {
        let metrics = Metrics::register(&mut Registry::default());
        Hub::start(self.settings, self.ports, metrics).await.unwrap()
    }
}

pub(crate) fn policy(name: &str, rights: &[Right], key: &SharedAccessKey) -> Policy {
    Policy {
        name: name.into(),
        rights: Rights::of(rights),
        primary_key: key.clone(),
        secondary_key: key.clone(),
        source: PolicySource::Configuration,
    }
}

/// Returns the holder of the policy with this name.
pub(crate) async fn service(hub: &Arc<Hub>, policy: &str, key: &SharedAccessKey) -> ServiceCaller {
    let token = sas::sign(HOST, key, Some(policy), EXPIRY);
    hub.authenticate_service(Some(&token), Operation::PutDevice).await.unwrap()
}

/// How a device or module with this key authenticates.
pub(crate) fn authentication(key: &SharedAccessKey) -> Value {
    json!({
        "type": "sas",
        "symmetricKey": { "primaryKey": key.to_base64(), "secondaryKey": key.to_base64() },
    })
}

/// Creates a device with this key.
pub(crate) async fn create_device(owner: &ServiceCaller, name: &str, key: &SharedAccessKey) {
    let device = json!({ "deviceId": name, "authentication": authentication(key) });
    let device = serde_json::from_value(device).unwrap();
    owner.put_device(&DeviceId::new(name).unwrap(), &device, None).await.unwrap();
}
