//! Jobs over power losses: the hub works on a job while the power is cut again and again. The change of a twin and the end of
//! its row are one commit, each twin is changed once, and the job ends.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ferrohub_bus::LocalBus;
use ferrohub_core::jobs::{JobPhase, JobStore as _, JobWork, NewJob, StoredJob};
use ferrohub_core::limits::Limits;
use ferrohub_core::metrics::Metrics;
use ferrohub_core::node::Connections;
use ferrohub_core::policies::{Policy, PolicySource};
use ferrohub_core::store::Store as _;
use ferrohub_core::telemetry::EventSettings;
use ferrohub_core::twins::TwinStore as _;
use ferrohub_core::{Hub, HubPorts, HubSettings, Operation, ServiceCaller};
use ferrohub_memory::{MemoryEventLog, VirtualClock};
use ferrohub_model::{DeviceId, IdentityId, JobId, Right, Rights, SharedAccessKey, Timestamp, sas};
use ferrohub_power_loss::{Disk, Random, Survival, each_seed, install_vfs, seeds};
use ferrohub_store::{SqliteStore, StoreMetrics};
use prometheus_client::registry::Registry;
use serde_json::json;

const DEVICES: usize = 12;
/// Devices that are changed in one commit, so that a job needs several.
const AT_THE_SAME_TIME: usize = 3;
const HOST: &str = "hub.example";
/// Most changes of the disk in one life; a whole job makes fewer than twice as many.
const MAX_CHANGES: u64 = 60;
/// Lives after which the power stays on.
const LIVES: usize = 6;
const SEEDS: u64 = 20;
/// Time in which a hub ends a job.
const LIMIT: Duration = Duration::from_secs(30);

fn key() -> SharedAccessKey {
    SharedAccessKey::from_bytes(b"0123456789abcdef").unwrap()
}

fn device(number: usize) -> IdentityId {
    DeviceId::new(&format!("d{number}")).unwrap().into()
}

fn job_id() -> JobId {
    JobId::new("j").unwrap()
}

/// Starts a hub over a store. `None` if the power is off.
async fn start(disk: &Disk, store: &Arc<SqliteStore>) -> Option<Arc<Hub>> {
    let mut limits = Limits::default();
    limits.jobs.concurrent_devices = AT_THE_SAME_TIME;
    let settings = HubSettings {
        host: HOST.to_owned(),
        node: "node".to_owned(),
        limits,
        policies: vec![Policy {
            name: "owner".into(),
            primary_key: key(),
            secondary_key: key(),
            rights: Rights::of(&Right::ALL),
            source: PolicySource::Configuration,
        }],
        authorities: Vec::new(),
        entra: None,
        events: EventSettings::default(),
    };
    let connections = Arc::new(Connections::new(1));
    let ports = HubPorts {
        store: store.clone(),
        events: Arc::new(MemoryEventLog::new(1)),
        bus: Arc::new(LocalBus::new(connections.clone())),
        clock: Arc::new(VirtualClock::starting_at(Timestamp::from_unix_seconds(1_800_000_000))),
        connections,
        files: None,
        containers: None,
    };
    match Hub::start(settings, ports, Metrics::register(&mut Registry::default())).await {
        Ok(hub) => Some(hub),
        Err(error) => {
            assert!(disk.is_off(), "the hub does not start: {error}");
            None
        }
    }
}

async fn service(hub: &Arc<Hub>) -> ServiceCaller {
    let token = sas::sign(HOST, &key(), Some("owner"), Timestamp::from_unix_seconds(4_000_000_000));
    hub.authenticate_service(Some(&token), Operation::PutDevice).await.unwrap()
}

/// Creates the devices and the job, which is not begun. The power is on.
async fn prepare(disk: &Disk) {
    let store = Arc::new(SqliteStore::open(disk.root(), StoreMetrics::default()).unwrap());
    let hub = start(disk, &store).await.unwrap();
    let service = service(&hub).await;
    for number in 0..DEVICES {
        let device = DeviceId::new(&format!("d{number}")).unwrap();
        let body = serde_json::from_value(json!({ "deviceId": device.as_str() })).unwrap();
        service.put_device(&device, &body, None).await.unwrap();
    }
    let change = json!({ "tags": { "floor": 1 }, "properties": { "desired": { "fan": 1 } } });
    let job = NewJob {
        id: job_id(),
        work: JobWork::Twin(serde_json::from_value(change).unwrap()),
        condition: "*".to_owned(),
        start: None,
        max_seconds: 3600,
    };
    service.create_job(job).await.unwrap();
    hub.drain().await;
    hub.close().await;
}

/// Checks that the rows of the job agree with the twins. Returns the job.
async fn check(store: &SqliteStore) -> StoredJob {
    let job = store.job(&job_id()).await.unwrap().unwrap();
    let open = store.open_job_devices(job.number, None, DEVICES + 1).await.unwrap();
    let has_rows = store.last_job_device(job.number).await.unwrap().is_some();
    assert_eq!((job.counts.running, job.counts.failed), (0, 0), "{job:?}");
    assert_eq!(job.counts.pending + job.counts.waiting, open.len() as u64, "{job:?}");
    let mut changed = 0;
    for number in 0..DEVICES {
        let id = device(number);
        let (_, twin) = store.twin(&id).await.unwrap().unwrap();
        let is_open = open.iter().any(|row| row.id == id);
        let values = json!([twin.tags.get("floor"), twin.desired.values.get("fan"), twin.desired.version]);
        if has_rows && !is_open {
            assert_eq!(values, json!([1, 1, 2]), "{id} has ended and is changed once");
            changed += 1;
        } else {
            assert_eq!(values, json!([null, null, 1]), "{id} has not ended and is not changed");
        }
    }
    assert_eq!(job.counts.completed, changed, "{job:?}");
    job
}

/// Runs the hub until the job has ended or the power is cut. Returns whether the job has ended. Counts in `partly` that the power
/// loss before has left a part of the job.
async fn live(disk: &Disk, partly: &AtomicU64) -> bool {
    let store = match SqliteStore::open(disk.root(), StoreMetrics::default()) {
        Ok(store) => Arc::new(store),
        Err(error) => {
            assert!(disk.is_off(), "the store does not open: {error}");
            return false;
        }
    };
    let job = check(&store).await;
    if (1..DEVICES as u64).contains(&job.counts.completed) {
        partly.fetch_add(1, Ordering::Relaxed);
    }
    let mut has_ended = job.phase == JobPhase::Completed;
    if has_ended {
        assert_eq!(job.counts.completed, DEVICES as u64);
    } else if let Some(hub) = start(disk, &store).await {
        let begun = Instant::now();
        while !has_ended && !disk.is_off() {
            assert!(begun.elapsed() < LIMIT, "the job does not end: {:?}", store.job(&job_id()).await);
            tokio::time::sleep(Duration::from_millis(1)).await;
            has_ended = store.job(&job_id()).await.unwrap().unwrap().phase == JobPhase::Completed;
        }
        drop(hub);
    }
    // A read sees only what is committed, but the answer to the commit may have been lost with the power.
    has_ended &= !disk.is_off();
    disk.cut_power();
    store.close().await;
    has_ended
}

#[test]
fn a_job_changes_each_twin_once_although_the_power_is_cut_again_and_again() {
    let partly = AtomicU64::new(0);
    each_seed(SEEDS, |seed| {
        let mut random = Random::new(seed);
        let disk = Arc::new(Disk::new(seed).unwrap());
        install_vfs(&disk);
        let run = |work: std::pin::Pin<Box<dyn Future<Output = bool> + '_>>| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(work)
        };
        run(Box::pin(async {
            prepare(&disk).await;
            true
        }));
        let mut lives = 0;
        loop {
            if lives < LIVES {
                disk.cut_power_after(1 + random.below(MAX_CHANGES));
            }
            lives += 1;
            let has_ended = run(Box::pin(live(&disk, &partly)));
            disk.lose_power(*random.pick(&Survival::ALL)).unwrap();
            if has_ended {
                break;
            }
        }
        // What the last life has ended is on the disk.
        assert!(run(Box::pin(live(&disk, &partly))), "the end of the job is lost");
    });
    let partly = partly.into_inner();
    eprintln!("the power was cut {partly} times in the middle of a job");
    assert!(partly > 0 || seeds(SEEDS).count() == 1, "no power loss was in the middle of a job");
}
