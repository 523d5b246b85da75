//! Services that wait for feedback and file notifications: they are woken when there is something, and get it once.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends by panicking")]

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ferrohub_bus::LocalBus;
use ferrohub_core::clock::Clock;
use ferrohub_core::cloud_to_device::{FeedbackBatch, Settlement};
use ferrohub_core::limits::Limits;
use ferrohub_core::metrics::Metrics;
use ferrohub_core::node::Connections;
use ferrohub_core::policies::{Policy, PolicySource};
use ferrohub_core::telemetry::EventSettings;
use ferrohub_core::{Credentials, Hub, HubPorts, HubSettings, Operation, ServiceCaller};
use ferrohub_model::message::{MessageProperties, SystemProperty};
use ferrohub_model::{DeviceId, HubError, Rights, SharedAccessKey, Timestamp, sas};
use ferrohub_store::{SqliteEventLog, SqliteStore, StoreMetrics};
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const HOST: &str = "hub.example";
/// Long, because test machines are busy.
const SOON: Duration = Duration::from_secs(20);
/// Enough for a waiter to look once more.
const A_WHILE: Duration = Duration::from_millis(300);

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Timestamp::from_unix_millis(i64::try_from(since.as_millis()).unwrap())
    }
}

struct World {
    hub: Arc<Hub>,
    owner: ServiceCaller,
    key: SharedAccessKey,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path(), StoreMetrics::default()).unwrap();
        let events = SqliteEventLog::open(&store, 4, StoreMetrics::default()).unwrap();
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
            limits,
            policies: vec![policy],
            authorities: Vec::new(),
            entra: None,
            events: EventSettings::default(),
        };
        let clock = Arc::new(SystemClock);
        let expiry = clock.now().plus_millis(3_600_000);
        let ports = HubPorts {
            store: Arc::new(store),
            events: Arc::new(events),
            bus: Arc::new(LocalBus::new(connections.clone())),
            clock,
            connections,
            files: None,
        };
        let hub = Hub::start(settings, ports, Metrics::register(&mut Registry::default())).await.unwrap();
        let hub = Arc::new(hub);
        let token = sas::sign(HOST, &key, Some("owner"), expiry);
        let owner = hub.authenticate_service(Some(&token), Operation::PutDevice).await.unwrap();
        let keys = json!({ "primaryKey": key.to_base64(), "secondaryKey": key.to_base64() });
        let device = json!({ "deviceId": "d", "authentication": { "type": "sas", "symmetricKey": keys } });
        let device = serde_json::from_value(device).unwrap();
        owner.put_device(&DeviceId::new("d").unwrap(), &device, None).await.unwrap();
        Self { hub, owner, key, _folder: folder }
    }

    /// Sends a message that asks for feedback, and completes it.
    async fn complete_message(&self, message_id: &str) {
        let mut properties = MessageProperties::default();
        for (property, value) in [
            (SystemProperty::To, "/devices/d/messages/devicebound"),
            (SystemProperty::Ack, "full"),
            (SystemProperty::MessageId, message_id),
        ] {
            properties.system.insert(property, value.to_owned());
        }
        self.owner.send_message(properties, "x".into()).await.unwrap();
        let expiry = SystemClock.now().plus_millis(3_600_000);
        let token = sas::sign(&format!("{HOST}/devices/d"), &self.key, None, expiry);
        let credentials = Credentials { token: Some(&token), certificate: None };
        let id = DeviceId::new("d").unwrap().into();
        let device = self.hub.authenticate_device(&id, credentials, Operation::ReceiveMessage).await.unwrap();
        let locked = device.receive_message().await.unwrap().unwrap();
        device.settle_message(&locked.token.to_string(), Settlement::Complete).await.unwrap();
    }

    fn wait_for_feedback(&self) -> JoinHandle<Result<FeedbackBatch, HubError>> {
        let owner = self.owner.clone();
        tokio::spawn(async move { owner.next_feedback().await })
    }
}

fn feedback_limits(delay: Duration, lock: Duration) -> Limits {
    let mut limits = Limits::default();
    limits.messages.feedback.delay = delay;
    limits.messages.feedback.lock = lock;
    limits
}

fn ids(batch: &FeedbackBatch) -> Vec<&str> {
    batch.records.iter().map(|record| record.original_message_id.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_service_is_woken_by_new_released_and_abandoned_feedback() {
    let world = World::new(feedback_limits(Duration::ZERO, Duration::from_secs(300))).await;
    let waiting = world.wait_for_feedback();
    tokio::time::sleep(A_WHILE).await;
    assert!(!waiting.is_finished());
    world.complete_message("1").await;
    let batch = timeout(SOON, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(ids(&batch), ["1"]);
    let waiting = world.wait_for_feedback();
    tokio::time::sleep(A_WHILE).await;
    assert!(!waiting.is_finished(), "it is locked");
    world.owner.release_feedback(batch.token).unwrap();
    let again = timeout(SOON, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!((ids(&again), again.delivery_count), (vec!["1"], 0), "a release does not count");
    let waiting = world.wait_for_feedback();
    world.owner.settle_feedback(&again.token.to_string(), Settlement::Abandon).await.unwrap();
    let again = timeout(SOON, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!((ids(&again), again.delivery_count), (vec!["1"], 1));
    world.owner.settle_feedback(&again.token.to_string(), Settlement::Complete).await.unwrap();
    // A release after that has no effect.
    world.owner.release_feedback(again.token).unwrap();
    let waiting = world.wait_for_feedback();
    tokio::time::sleep(A_WHILE).await;
    assert!(!waiting.is_finished(), "nothing is left");
    // A waiter that gives up takes nothing with it.
    waiting.abort();
    world.complete_message("2").await;
    let batch = timeout(SOON, world.wait_for_feedback()).await.unwrap().unwrap().unwrap();
    assert_eq!(ids(&batch), ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_service_gets_feedback_when_its_delay_or_a_lock_is_over() {
    let second = Duration::from_secs(1);
    let world = World::new(feedback_limits(second, second)).await;
    world.complete_message("1").await;
    world.complete_message("2").await;
    let batch = timeout(SOON, world.wait_for_feedback()).await.unwrap().unwrap().unwrap();
    assert_eq!(ids(&batch), ["1", "2"], "they waited for each other");
    let again = timeout(SOON, world.wait_for_feedback()).await.unwrap().unwrap().unwrap();
    assert_eq!(ids(&again), ["1", "2"]);
    assert_ne!(again.token, batch.token);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_waiting_services_gets_each_batch() {
    let world = World::new(feedback_limits(Duration::ZERO, Duration::from_secs(300))).await;
    let mut waiting: Vec<_> = (0..4).map(|_| world.wait_for_feedback()).collect();
    tokio::time::sleep(A_WHILE).await;
    for number in 0..3 {
        world.complete_message(&number.to_string()).await;
        tokio::time::sleep(A_WHILE).await;
    }
    tokio::time::sleep(A_WHILE).await;
    let (finished, left): (Vec<_>, Vec<_>) = waiting.drain(..).partition(JoinHandle::is_finished);
    assert_eq!(left.len(), 1, "three batches for four waiters");
    let mut received = Vec::new();
    for batch in finished {
        received.extend(ids(&batch.await.unwrap().unwrap()).into_iter().map(str::to_owned));
    }
    received.sort_unstable();
    assert_eq!(received, ["0", "1", "2"]);
}
