//! Each identity has one connection: the newest.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::collections::HashMap;
use std::time::Duration;

use ferrohub_acceptance::{Device, Hub, Method, Script, Service, eventually, sas};
use serde_json::{Value, json};

/// Returns the values of one metric by label.
fn metric(hub: &Hub, name: &str) -> HashMap<String, i64> {
    let metrics = hub.metrics();
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(name));
    let values = lines.filter_map(|line| line.rsplit_once(' '));
    values.map(|(labels, value)| (labels.to_owned(), value.parse().unwrap())).collect()
}

#[test]
fn heavy_fifty_connections_race_for_one_device() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let password = sas::Token {
        resource: &format!("{}/devices/dev1", hub.name()),
        key: &identity.primary_key,
        expiry: sas::now() + 600,
        policy: None,
    };
    // The back end keeps about as many connections as it had concurrent calls: open them before counting files.
    let offline: Vec<_> =
        (0..10).map(|_| service.begin_invoke("dev1", Method::new("echo").connect_timeout(1))).collect();
    offline.into_iter().for_each(|pending| drop(pending.wait().unwrap_err()));
    let files_before = hub.open_files();
    let config = json!({
        "host": hub.name(), "device_id": "dev1", "password": password.sign(), "connections": 50, "seconds": 6,
    });
    let mut storm = Script::new(&hub, "takeover_storm.py").arg(config.to_string()).start();

    let mut outcomes: HashMap<String, i64> = HashMap::new();
    let mut calls = 0;
    let report = loop {
        let batch: Vec<_> = (0..10)
            .map(|number| {
                let echo = Method::new("echo").payload(number).connect_timeout(10).response_timeout(10);
                (number, service.begin_invoke("dev1", echo))
            })
            .collect();
        calls += batch.len() as i64;
        let connected = metric(&hub, "ferrohub_connections")[""];
        assert!((0..=1).contains(&connected), "{connected} connections of one device");
        for (number, pending) in batch {
            let outcome = match pending.wait() {
                Ok(answer) => {
                    assert_eq!((answer.status, answer.payload), (200, Value::from(number)));
                    "answered".to_owned()
                }
                Err(refusal) => refusal.http.error_code().to_owned(),
            };
            *outcomes.entry(outcome).or_default() += 1;
        }
        if let Some(line) = storm.try_next_line() {
            break serde_json::from_str::<Value>(&line).unwrap();
        }
    };
    eprintln!("{calls} calls: {outcomes:?}; {report}");
    assert_eq!(report["errors"], json!([]));
    assert!(report["taken_over"].as_u64().unwrap() > 50, "the connections competed: {report}");
    // Each call ended exactly once with an expected outcome, and the hub counted it once.
    let possible = ["answered", "ConnectionForcefullyClosedOnNewConnection", "DeviceNotOnline"];
    assert!(outcomes.keys().all(|outcome| possible.contains(&outcome.as_str())), "{outcomes:?}");
    assert_eq!(metric(&hub, "ferrohub_method_calls_total").values().sum::<i64>(), calls + 10);

    eventually("all connections, calls and files are closed", Duration::from_secs(10), || {
        let connections = metric(&hub, "ferrohub_connections")[""];
        let in_flight = metric(&hub, "ferrohub_calls_in_flight")[""];
        let files = hub.open_files();
        eprintln!("{connections} connections, {in_flight} calls, {files} files, {files_before} before");
        (connections == 0 && in_flight == 0 && files <= files_before + 8).then_some(())
    });
    let connects = metric(&hub, "ferrohub_connects_total").values().sum::<i64>();
    assert_eq!(metric(&hub, "ferrohub_disconnects_total").values().sum::<i64>(), connects);

    let _device = Device::with_identity(&identity).listen(&hub);
    assert_eq!(service.invoke("dev1", Method::new("echo").payload("calm")).unwrap().payload, "calm");
}

#[test]
fn a_newer_connection_takes_over_from_the_older_one() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let first = Device::with_identity(&identity).option("auto_connect", false).start(&hub);
    first.connect().unwrap();
    first.listen().unwrap();
    let pending = service.begin_invoke("dev1", Method::new("silence"));
    assert_eq!(first.next_request().name, "silence");
    let second = Device::with_identity(&identity).start(&hub);
    second.connect().unwrap();
    let refusal = pending.wait().unwrap_err();
    assert_eq!(refusal.http.error_code(), "ConnectionForcefullyClosedOnNewConnection");
    first.wait_until_connected(false, Duration::from_secs(10));
}
