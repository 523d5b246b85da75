//! A panic ends one operation, one request, one connection or one round of a background task. The hub goes on, a metric
//! counts it, and readiness names a task that is down.
//!
//! The event log and the clock of these tests panic where a test tells them to. Panics inside a write of the store are in
//! `crates/store/src/writer.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends by panicking")]

mod hub;

use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use ferrohub_core::clock::Clock;
use ferrohub_core::jobs::{JobPhase, JobWork, NewJob};
use ferrohub_core::metrics::counter;
use ferrohub_core::store::{Store, StoreError};
use ferrohub_core::telemetry::{Batch, EventLog, LostEvents, PartitionState, StoredEvent};
use ferrohub_core::{Hub, ServiceCaller};
use ferrohub_gateway::{AmqpLimits, GatewayLimits, GatewayMetrics, InMemoryGateway, MqttLimits};
use ferrohub_model::message::{MessageProperties, SystemProperty};
use ferrohub_model::{IdentityId, JobId, Right, SharedAccessKey, Timestamp, sas};
use ferrohub_mqtt::{Connect, Packet, PacketId, Publish, QoS, Utf8};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::watch;

use hub::{EXPIRY, HOST, NOW, SetUp, create_device, policy, service};

const DEVICE: &str = "d";

/// Where the event log panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Plant {
    Nowhere,
    /// When a head passes events on, in its own task.
    Partitions,
    /// In the append itself.
    Append,
    /// In the task that removes old events.
    State,
}

struct PlantedLog {
    log: Arc<dyn EventLog>,
    plant: Arc<AtomicU8>,
}

impl PlantedLog {
    fn reach(&self, place: Plant) {
        assert!(self.plant.load(Ordering::SeqCst) != place as u8, "planted: {place:?}");
    }
}

#[async_trait]
impl EventLog for PlantedLog {
    fn partitions(&self) -> u16 {
        self.reach(Plant::Partitions);
        self.log.partitions()
    }
    async fn append(&self, batch: Batch) -> Result<u64, StoreError> {
        self.reach(Plant::Append);
        self.log.append(batch).await
    }
    async fn append_all(&self, batches: Vec<Batch>) -> Result<(), StoreError> {
        self.log.append_all(batches).await
    }
    fn head(&self, partition: u16) -> Option<watch::Receiver<u64>> {
        self.log.head(partition)
    }
    fn lost_events(&self) -> &[LostEvents] {
        self.log.lost_events()
    }
    async fn read(
        &self,
        partition: u16,
        from: u64,
        max_events: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.log.read(partition, from, max_events, max_bytes).await
    }
    async fn state(&self) -> Result<Vec<PartitionState>, StoreError> {
        self.reach(Plant::State);
        self.log.state().await
    }
    async fn first_since(&self, partition: u16, time: Timestamp) -> Result<u64, StoreError> {
        self.log.first_since(partition, time).await
    }
    async fn remove_oldest(&self, time: Timestamp, max_bytes: u64) -> Result<u64, StoreError> {
        self.log.remove_oldest(time, max_bytes).await
    }
    async fn ping(&self) -> Result<(), StoreError> {
        self.log.ping().await
    }
    async fn close(&self) {
        self.log.close().await;
    }
}

/// A clock that panics once, when it was read some times.
struct PlantedClock {
    now: AtomicI64,
    /// The reads until the panic; negative for none.
    reads_left: AtomicI64,
}

impl Default for PlantedClock {
    fn default() -> Self {
        Self { now: AtomicI64::new(NOW.unix_millis()), reads_left: AtomicI64::new(-1) }
    }
}

impl Clock for PlantedClock {
    fn now(&self) -> Timestamp {
        let left = self.reads_left.fetch_sub(1, Ordering::SeqCst);
        assert!(left != 0, "planted: clock");
        Timestamp::from_unix_millis(self.now.load(Ordering::SeqCst))
    }
}

/// A hub with one device.
struct World {
    hub: Arc<Hub>,
    gateway: InMemoryGateway,
    plant: Arc<AtomicU8>,
    clock: Arc<PlantedClock>,
    owner: ServiceCaller,
    store: Arc<dyn Store>,
    key: SharedAccessKey,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plant = Arc::new(AtomicU8::new(Plant::Nowhere as u8));
        let key = SharedAccessKey::generate();
        let mut set_up = SetUp::new(folder.path(), vec![policy("owner", &Right::ALL, &key)]);
        set_up.ports.events = Arc::new(PlantedLog { log: set_up.ports.events, plant: plant.clone() });
        let clock = Arc::<PlantedClock>::default();
        set_up.ports.clock = clock.clone();
        let store = set_up.ports.store.clone();
        let hub = set_up.start().await;
        let owner = service(&hub, "owner", &key).await;
        create_device(&owner, DEVICE, &key).await;
        let gateway = InMemoryGateway::new(hub.clone(), &limits(), GatewayMetrics::default());
        Self { hub, gateway, plant, clock, owner, store, key, _folder: folder }
    }

    fn plant(&self, place: Plant) {
        self.plant.store(place as u8, Ordering::SeqCst);
    }

    fn token(&self) -> String {
        sas::sign(&format!("{HOST}/devices/{DEVICE}"), &self.key, None, EXPIRY)
    }

    fn panics(&self, place: &'static str) -> u64 {
        counter(&self.hub.metrics().panics, place).get()
    }

    /// Sends an event over HTTPS. Returns the status line.
    async fn send_event(&self, stream: &mut DuplexStream) -> String {
        let request = format!(
            "POST /devices/{DEVICE}/messages/events?api-version=2021-04-12 HTTP/1.1\r\nHost: {HOST}\r\n\
             Authorization: {}\r\nContent-Length: 2\r\n\r\nhi",
            self.token()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let response = read(stream).await;
        String::from_utf8_lossy(&response).lines().next().unwrap_or_default().to_owned()
    }

    /// Connects the device over MQTT.
    async fn connect(&self) -> DuplexStream {
        let mut stream = self.gateway.connect_mqtt().await.unwrap();
        let username = format!("{HOST}/{DEVICE}/?api-version=2021-04-12");
        let connect = Packet::Connect(Box::new(Connect {
            client_id: DEVICE.try_into().unwrap(),
            clean_session: true,
            keep_alive: 240,
            username: Some(Utf8::try_from(username).unwrap()),
            password: Some(self.token().into()),
            will: None,
        }));
        stream.write_all(&encode(&connect)).await.unwrap();
        assert_eq!(read(&mut stream).await, b"\x20\x02\x00\x00", "CONNACK");
        stream
    }

    async fn wait_until(&self, mut condition: impl AsyncFnMut() -> bool) {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn encode(packet: &Packet) -> BytesMut {
    let mut bytes = BytesMut::new();
    ferrohub_mqtt::encode(packet, &mut bytes).unwrap();
    bytes
}

/// A telemetry message with QoS 1.
fn publish() -> BytesMut {
    encode(&Packet::Publish(Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: format!("devices/{DEVICE}/messages/events/").as_str().try_into().unwrap(),
        packet_id: Some(PacketId::FIRST),
        payload: Bytes::from_static(b"hi"),
    }))
}

/// Reads what has arrived; nothing if the stream is closed.
async fn read(stream: &mut DuplexStream) -> Vec<u8> {
    let mut buffer = vec![0; 4096];
    let length = stream.read(&mut buffer).await.unwrap();
    buffer.truncate(length);
    buffer
}

fn limits() -> GatewayLimits {
    GatewayLimits {
        connections: 100,
        unauthenticated_connections: 100,
        handshake_timeout: Duration::from_secs(10),
        amqp: AmqpLimits::new(Duration::from_secs(60), Duration::from_secs(60)),
        mqtt: MqttLimits { protocol: Arc::default(), write_timeout: Duration::from_secs(60) },
        http_body_bytes: 1024 * 1024,
        http_request_timeout: Duration::from_secs(60),
        https_write_timeout: Duration::from_secs(60),
        https_connections_per_caller: 100,
        amqp_connections_per_caller: 100,
        file_transfers: 100,
        file_transfers_per_device: 100,
        file_idle_timeout: Duration::from_secs(60),
    }
}

#[tokio::test]
async fn a_handler_that_panics_answers_500_and_its_connection_and_the_hub_go_on() {
    let world = World::new().await;
    let mut stream = world.gateway.connect_http().await.unwrap();
    world.plant(Plant::Partitions);
    assert_eq!(world.send_event(&mut stream).await, "HTTP/1.1 500 Internal Server Error");
    assert_eq!(world.panics("https"), 1);
    world.plant(Plant::Nowhere);
    assert_eq!(world.send_event(&mut stream).await, "HTTP/1.1 204 No Content");
    assert_eq!(world.hub.readiness().await, Ok(()), "a panic of a handler is no reason to be unready");
}

#[tokio::test]
async fn an_operation_that_panics_is_an_error_for_its_caller() {
    let world = World::new().await;
    let mut stream = world.gateway.connect_http().await.unwrap();
    world.plant(Plant::Append);
    assert_eq!(world.send_event(&mut stream).await, "HTTP/1.1 500 Internal Server Error");
    assert_eq!((world.panics("operation"), world.panics("https")), (1, 0));
    world.plant(Plant::Nowhere);
    assert_eq!(world.send_event(&mut stream).await, "HTTP/1.1 204 No Content");
}

#[tokio::test]
async fn an_mqtt_connection_that_panics_is_closed_and_its_device_is_not_connected_any_more() {
    let world = World::new().await;
    let mut stream = world.connect().await;
    world.plant(Plant::Partitions);
    stream.write_all(&publish()).await.unwrap();
    assert_eq!(read(&mut stream).await, b"", "the connection is closed without an acknowledgement");
    let metrics = world.hub.metrics();
    world.wait_until(async || metrics.connections.get() == 0).await;
    assert_eq!(world.panics("mqtt"), 1);
    assert_eq!(counter(&metrics.disconnects, "internal_error").get(), 1);
    world.plant(Plant::Nowhere);
    let mut stream = world.connect().await;
    stream.write_all(&publish()).await.unwrap();
    assert_eq!(read(&mut stream).await, b"\x40\x02\x00\x01", "PUBACK");
}

#[tokio::test]
async fn readiness_names_a_background_task_that_panics_until_it_works_again() {
    let world = World::new().await;
    let mut stream = world.gateway.connect_http().await.unwrap();
    assert_eq!(world.hub.readiness().await, Ok(()));
    world.plant(Plant::State);
    // Retention reads the state of the log when the first event arrives.
    assert_eq!(world.send_event(&mut stream).await, "HTTP/1.1 204 No Content");
    let seen = Mutex::new(String::new());
    world
        .wait_until(async || {
            let problems = world.hub.readiness().await.err().unwrap_or_default().concat();
            *seen.lock().unwrap() = problems.clone();
            problems.starts_with("the background task event retention is down: ")
        })
        .await;
    assert!(seen.lock().unwrap().contains("planted: State"), "{seen:?}");
    assert!(counter(&world.hub.metrics().failed_tasks, "event retention").get() >= 1);
    assert_eq!(world.send_event(&mut stream).await, "HTTP/1.1 204 No Content", "the hub goes on");
    world.plant(Plant::Nowhere);
    world
        .wait_until(async || {
            let problems = world.hub.readiness().await.err().unwrap_or_default().concat();
            problems.starts_with("the background task event retention was started again after a failure: ")
        })
        .await;
    world.hub.drain().await;
    world.hub.close().await;
}

#[tokio::test]
async fn a_message_expires_wherever_the_task_that_expires_it_panics() {
    let (id, mut failures) = (IdentityId::parse(DEVICE).unwrap(), 0);
    for reads in 0..8 {
        let world = World::new().await;
        let mut properties = MessageProperties::default();
        properties.system.insert(SystemProperty::To, format!("/devices/{DEVICE}/messages/deviceBound"));
        // The task wakes up when this time has passed.
        properties.system.insert(SystemProperty::Expiry, NOW.plus_millis(50).to_string());
        world.owner.send_message(properties, Bytes::new()).await.unwrap();
        world.clock.now.store(NOW.unix_millis() + 1000, Ordering::SeqCst);
        world.clock.reads_left.store(reads, Ordering::SeqCst);
        world.wait_until(async || world.store.queued_messages(&id).await.unwrap().is_empty()).await;
        failures += counter(&world.hub.metrics().failed_tasks, "message expiry").get();
    }
    assert!(failures > 1, "the clock was read while the task worked");
}

#[tokio::test]
async fn a_job_ends_wherever_a_task_that_runs_it_panics() {
    let mut failures = 0;
    for reads in 0..12 {
        let world = World::new().await;
        let change = serde_json::from_value(serde_json::json!({ "tags": { "a": 1 } })).unwrap();
        let job = NewJob {
            id: JobId::new("j").unwrap(),
            work: JobWork::Twin(change),
            condition: "*".to_owned(),
            start: None,
            max_seconds: 60,
        };
        let id = job.id.clone();
        world.owner.create_job(job).await.unwrap();
        world.clock.reads_left.store(reads, Ordering::SeqCst);
        world
            .wait_until(async || {
                let job = world.store.job(&id).await.unwrap().unwrap();
                job.phase == JobPhase::Completed && job.counts.completed == 1
            })
            .await;
        let (_, twin) = world.store.twin(&IdentityId::parse(DEVICE).unwrap()).await.unwrap().unwrap();
        assert_eq!(
            twin.updates, 2,
            "one change, although a panic was planted after {reads} reads of the clock"
        );
        failures += world.panics("job") + counter(&world.hub.metrics().failed_tasks, "jobs").get();
    }
    assert!(failures > 3, "{failures}: the clock was read while the tasks worked");
}
