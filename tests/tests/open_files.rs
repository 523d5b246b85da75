//! A hub that may open few files: connections cannot take those that its databases and uploads need.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ferrohub_acceptance::{Device, Hub, Method, Service, Storage, eventually};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(30);

/// Opens connections that send nothing, in place of those that the hub closes, until it is dropped.
struct Flood {
    stop: &'static AtomicBool,
    thread: Option<thread::JoinHandle<()>>,
}

impl Flood {
    /// Opens `count` connections at once, then further ones.
    fn start(hub: &Hub, count: usize) -> Self {
        let stop: &'static AtomicBool = Box::leak(Box::default());
        let name = hub.name().to_owned();
        let connect =
            move |port| TcpStream::connect((name.as_str(), port)).expect("a connection in the backlog");
        let mut open: Vec<_> = (0..count).map(|n| connect([8883, 443][n % 2])).collect();
        let thread = thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                open.push(connect(8883));
                thread::sleep(Duration::from_millis(100));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let joined = self.thread.take().expect("the thread of the flood").join();
        assert!(joined.is_ok() || thread::panicking(), "the flood went on");
    }
}

/// Returns the lines of the log that are not information.
fn complaints(hub: &Hub) -> Vec<String> {
    let log = hub.log();
    log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).map(str::to_owned).collect()
}

#[test]
fn a_flood_takes_no_files_from_devices_uploads_and_databases() {
    let hub = Hub::builder()
        .config("[limits]\nhandshake_timeout_seconds = 60\n[files]\nmax_transfers_per_device = 100")
        .max_open_files(256)
        .start();
    let service = Service::owner(&hub);
    let storage = Storage::start(&hub);
    let identity = service.create_device("dev1");
    let _flood = Flood::start(&hub, 400);
    eventually("unauthenticated connections are evicted", LIMIT, || {
        hub.metrics().contains("ferrohub_rejected_sockets_total{outcome=\"evicted\"}").then_some(())
    });
    let device = Device::with_identity(&identity).listen(&hub);
    for number in 0..20 {
        let answer = service.invoke("dev1", Method::new("echo").payload(number)).expect("a response");
        assert_eq!(answer.payload, number);
        let _ = service.create_device(&format!("new-{number}"));
    }
    // Several uploads in blocks, which take several files each.
    let info = device.storage_info("file.bin").unwrap();
    let upload =
        json!({ "url": info.url(), "bytes": 3_000_000, "seed": 1, "single_put": 1000, "block": 100_000 });
    let sent = storage.call("upload", &upload).unwrap();
    assert_eq!(storage.download(&info.url()).unwrap(), sent["sha256"]);
    let complaints = complaints(&hub);
    let [warning] = &complaints[..] else { panic!("one warning: {complaints:?}") };
    for part in ["256", "limits.connections", "1000000", "LimitNOFILE=", "ulimit -n"] {
        assert!(warning.contains(part), "{part}: {warning}");
    }
    assert!(hub.open_files() < 256);
}

#[test]
fn a_hub_that_runs_out_of_files_evicts_unauthenticated_connections() {
    let hub = Hub::builder().config("[limits]\nhandshake_timeout_seconds = 60").start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    // The limit becomes lower than the one that the hub found when it started.
    let limit = hub.open_files() + 50;
    let pid = hub.process_id().to_string();
    let lowered =
        Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={limit}:{limit}")]).status();
    assert!(lowered.is_ok_and(|status| status.success()), "prlimit");
    let _flood = Flood::start(&hub, 150);
    let failures = || hub.metric("ferrohub_accept_failures_total", "out_of_files");
    eventually("the hub has no more files", LIMIT, || (failures() > 3.0).then_some(()));
    let _device = Device::with_identity(&identity).listen(&hub);
    let answer = service.invoke("dev1", Method::new("echo").payload("ok")).expect("a response");
    assert_eq!(answer.payload, "ok");
    let warnings: Vec<_> =
        complaints(&hub).into_iter().filter(|line| line.contains("cannot accept connections")).collect();
    let [warning] = &warnings[..] else { panic!("one warning: {warnings:?}") };
    assert!(warning.contains("LimitNOFILE=") && warning.contains("out_of_files"), "{warning}");
}

#[test]
fn an_unauthenticated_connection_gives_up_its_socket() {
    let hub = Hub::builder()
        .config(
            "[limits]\nconnections = 20\nunauthenticated_connections = 100\nhandshake_timeout_seconds = 60",
        )
        .start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let _flood = Flood::start(&hub, 50);
    let evicted = || hub.metric("ferrohub_rejected_sockets_total", "evicted");
    eventually("unauthenticated connections are evicted", LIMIT, || (evicted() > 3.0).then_some(()));
    let _device = Device::with_identity(&identity).listen(&hub);
    let answer = service.invoke("dev1", Method::new("echo").payload("ok")).expect("a response");
    assert_eq!(answer.payload, "ok");
    assert_eq!(hub.metric("ferrohub_rejected_sockets_total", "too_many_sockets"), 0.0);
}

#[test]
fn a_hub_without_enough_files_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let serve = ferrohub_acceptance::program();
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 40 && exec \"$@\"", "sh"])
        .arg(serve.get_program())
        .args(["serve", "--data-dir"])
        .arg(folder.path().join("data"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in ["40 files", "LimitNOFILE=", "ulimit -n"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!folder.path().join("data").exists(), "nothing was created");
}
