//! A connected device has the desired properties of the hub, however many services change them at once, and however the
//! notices of the changes reach its connection.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ferrohub_bus::LocalBus;
use ferrohub_core::bus::Bus;
use ferrohub_core::clock::Clock;
use ferrohub_core::close_reason::CloseReason;
use ferrohub_core::connections::ConnectRequest;
use ferrohub_core::limits::Limits;
use ferrohub_core::metrics::Metrics;
use ferrohub_core::node::{
    CallEnd, Connections, DesiredNotice, Invalidations, MethodReply, Outgoing, OutgoingCall, Selector, What,
};
use ferrohub_core::policies::{Policy, PolicySource};
use ferrohub_core::registry::IfMatch;
use ferrohub_core::session::{Session, Subscription};
use ferrohub_core::telemetry::EventSettings;
use ferrohub_core::{ConnectedDevice, Hub, HubPorts, HubSettings, Operation, ServiceCaller};
use ferrohub_memory::{MemoryEventLog, MemoryStore};
use ferrohub_model::twin::{Properties, TwinChange};
use ferrohub_model::{DeviceId, IdentityId, Rights, SharedAccessKey, Timestamp, sas};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_700_000_000);
const EXPIRY: Timestamp = Timestamp::from_unix_seconds(1_700_003_600);
const HOST: &str = "hub.example";

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// What happens to the notices of desired properties on their way.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// They arrive at once.
    Straight,
    /// They overtake each other.
    Disordered,
    /// The notice of this version is lost.
    Loses(u64),
}

struct TestBus {
    local: Arc<LocalBus>,
    way: Way,
    count: AtomicU64,
}

#[async_trait]
impl Bus for TestBus {
    async fn notify_desired(&self, target: &IdentityId, notice: DesiredNotice) {
        match self.way {
            Way::Loses(version) if version == notice.version => {}
            Way::Straight | Way::Loses(_) => self.local.notify_desired(target, notice).await,
            Way::Disordered => {
                let delay = self.count.fetch_add(1, Ordering::Relaxed) * 7 % 20;
                let (local, target) = (self.local.clone(), target.clone());
                tokio::spawn(async move {
                    sleep(Duration::from_millis(delay)).await;
                    local.notify_desired(&target, notice).await;
                });
            }
        }
    }

    async fn call(&self, target: &IdentityId, call: OutgoingCall) -> Result<MethodReply, CallEnd> {
        self.local.call(target, call).await
    }

    async fn notify_messages(&self, target: &IdentityId) {
        self.local.notify_messages(target).await;
    }

    async fn disconnect(&self, selector: &Selector, reason: CloseReason) {
        self.local.disconnect(selector, reason).await;
    }

    async fn invalidate(&self, what: What) {
        self.local.invalidate(what).await;
    }

    fn invalidations(&self) -> &Arc<Invalidations> {
        self.local.invalidations()
    }

    async fn announce_connection(&self, target: &IdentityId) {
        self.local.announce_connection(target).await;
    }

    async fn is_connected(&self, target: &IdentityId) -> bool {
        self.local.is_connected(target).await
    }

    async fn connected_devices(&self) -> u64 {
        self.local.connected_devices().await
    }
}

/// A hub with a device that is connected and subscribed to its desired properties.
struct World {
    owner: ServiceCaller,
    device: ConnectedDevice,
    id: IdentityId,
}

impl World {
    async fn new(way: Way) -> Self {
        let connections = Arc::new(Connections::new(8));
        let key = SharedAccessKey::generate();
        let policy = Policy {
            name: "owner".into(),
            rights: Rights::ALL,
            primary_key: key.clone(),
            secondary_key: key.clone(),
            source: PolicySource::Configuration,
        };
        let settings = HubSettings {
            host: HOST.to_owned(),
            node: "node".to_owned(),
            limits: Limits::default(),
            policies: vec![policy],
            authorities: Vec::new(),
            entra: None,
            events: EventSettings::default(),
        };
        let local = Arc::new(LocalBus::new(connections.clone()));
        let ports = HubPorts {
            store: Arc::new(MemoryStore::default()),
            events: Arc::new(MemoryEventLog::new(4)),
            bus: Arc::new(TestBus { local, way, count: AtomicU64::new(0) }),
            clock: Arc::new(FixedClock),
            connections,
            files: None,
            containers: None,
        };
        let hub = Hub::start(settings, ports, Metrics::register(&mut Registry::default())).await.unwrap();
        let resyncing = hub.clone();
        tokio::spawn(async move { resyncing.run_twin_resync().await });
        let token = sas::sign(HOST, &key, Some("owner"), EXPIRY);
        let owner = hub.authenticate_service(Some(&token), Operation::PutDevice).await.unwrap();
        let request = serde_json::from_value(json!({ "deviceId": "d" })).unwrap();
        owner.put_device(&DeviceId::new("d").unwrap(), &request, None).await.unwrap();
        let id = IdentityId::parse("d").unwrap();
        let connect = ConnectRequest {
            id: &id,
            token: Some(&token),
            certificate: None,
            model_id: None,
            clean_session: true,
            protocol: "test",
            peer: ([127, 0, 0, 1], 1).into(),
        };
        let device = hub.authenticate_connect(&connect).await.unwrap().attach().await.unwrap().device;
        let session = Session::default().with(Subscription::DesiredProperties, false);
        device.set_session(session, false).await.unwrap();
        Self { owner, device, id }
    }

    async fn change(&self, patch: Value) -> u64 {
        let Value::Object(patch) = patch else { panic!("not an object: {patch}") };
        let change = TwinChange::desired(patch);
        let twin = self.owner.patch_twin(&self.id, change, IfMatch::Any).await.unwrap();
        desired(twin).1
    }

    /// Returns the desired properties as a service reads them, and their version.
    async fn desired(&self) -> (Properties, u64) {
        desired(self.owner.get_twin(&self.id).await.unwrap())
    }
}

fn desired(twin: ferrohub_model::twin::Twin) -> (Properties, u64) {
    without_annotations(twin.properties.unwrap().desired.unwrap())
}

/// Returns the properties, and their version.
fn without_annotations(mut section: Properties) -> (Properties, u64) {
    section.remove("$metadata");
    let version = section.remove("$version").unwrap().as_u64().unwrap();
    (section, version)
}

fn merge(target: &mut Properties, patch: Properties) {
    for (key, change) in patch {
        match change {
            Value::Null => drop(target.remove(&key)),
            change => drop(target.insert(key, change)),
        }
    }
}

/// What a device knows: its properties, and their version.
type Known = Arc<Mutex<(Properties, u64)>>;

/// Reads the twin of a device, and applies the patches that it is sent until its connection ends. Returns why it ended.
async fn follow(device: &ConnectedDevice) -> (Known, JoinHandle<CloseReason>) {
    let twin: Value = serde_json::from_slice(&device.get_own_twin().await.unwrap()).unwrap();
    let Value::Object(section) = twin["desired"].clone() else { panic!("{twin}") };
    let known: Known = Arc::new(Mutex::new(without_annotations(section)));
    let (of_device, connection) = (known.clone(), device.connection().clone());
    let following = tokio::spawn(async move {
        loop {
            match poll_fn(|cx| connection.poll_outgoing(cx)).await {
                Outgoing::Desired(notice) => {
                    let (patch, version) =
                        without_annotations(serde_json::from_slice(&notice.patch).unwrap());
                    let (properties, known_version) = &mut *of_device.lock().unwrap();
                    assert!(version > *known_version);
                    merge(properties, patch);
                    *known_version = version;
                }
                Outgoing::Close(reason) => return reason,
                _ => {}
            }
        }
    });
    (known, following)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_device_has_all_of_many_changes_at_once() {
    const SERVICES: u64 = 8;
    const CHANGES: u64 = 40;
    for way in [Way::Straight, Way::Disordered] {
        let world = Arc::new(World::new(way).await);
        world.change(json!({ "before": 1 })).await;
        let (known, _following) = follow(&world.device).await;
        let mut services = JoinSet::new();
        for service in 0..SERVICES {
            let (world, known) = (world.clone(), known.clone());
            services.spawn(async move {
                for number in 0..CHANGES {
                    let key = format!("k{}", (number + service) % 5);
                    let value = if number % 3 == 0 { Value::Null } else { json!([service, number]) };
                    let version = world.change(json!({ key: value })).await;
                    // Each service waits for its change, as a device with more than 32 pending ones is disconnected.
                    while known.lock().unwrap().1 < version {
                        assert_eq!(world.device.connection().close_reason(), None, "{way:?}");
                        sleep(Duration::from_millis(1)).await;
                    }
                }
            });
        }
        services.join_all().await;
        let expected = world.desired().await;
        assert_eq!(expected.1, 2 + SERVICES * CHANGES);
        assert_eq!(*known.lock().unwrap(), expected, "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_sent_all_properties_when_a_change_is_lost_and_then_disconnected() {
    let world = World::new(Way::Loses(4)).await;
    let (known, following) = follow(&world.device).await;
    for patch in [json!({ "a": 1, "b": 1 }), json!({ "c": 1 }), json!({ "a": 2, "d": 1 })] {
        world.change(patch).await;
    }
    // This one shows that the change before it is lost. What it removes the device is told, too.
    world.change(json!({ "b": null, "e": 1 })).await;
    assert_eq!(following.await.unwrap(), CloseReason::MissedTwinChange);
    let expected = world.desired().await;
    assert_eq!(*known.lock().unwrap(), expected);
}
