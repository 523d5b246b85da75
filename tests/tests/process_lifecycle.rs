//! The process of the hub: shutdown, logs and metrics.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::fs::{self, File};
use std::time::{Duration, Instant};

use ferrohub_acceptance::{Device, Hub, Method, Service, eventually};
use serde_json::{Value, json};

#[test]
fn a_hub_that_shuts_down_waits_for_calls() {
    let mut hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).listen(&hub);
    let slow = Method::new("answer").payload(json!({ "seconds": 2, "status": 201, "payload": "done" }));
    let pending = service.begin_invoke("dev1", slow);
    assert_eq!(device.next_request().name, "answer");
    let begun = Instant::now();
    assert!(hub.stop().success(), "the exit code is 0");
    assert!(begun.elapsed() >= Duration::from_secs(1), "it waited for the call: {:?}", begun.elapsed());
    let answer = pending.wait().expect("the call is answered");
    assert_eq!((answer.status, answer.payload), (201, json!("done")));
    device.wait_until_connected(false, Duration::from_secs(10));
}

#[test]
fn a_shutdown_does_not_wait_longer_than_its_timeout() {
    let mut hub = Hub::builder().config("[limits]\nshutdown_timeout_seconds = 1").start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).listen(&hub);
    let pending = service.begin_invoke("dev1", Method::new("silence").response_timeout(60));
    assert_eq!(device.next_request().name, "silence");
    assert!(hub.stop().success());
    let refusal = pending.wait().unwrap_err();
    assert_eq!((refusal.http.status, refusal.http.error_code()), (503, "ServiceUnavailable"));
}

#[test]
fn a_second_sigterm_ends_the_hub_at_once() {
    let builder = Hub::builder().config("[limits]\nshutdown_timeout_seconds = 60");
    let log = builder.folder().join("output");
    let mut hub = builder.log_to(File::create(&log).unwrap()).start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).listen(&hub);
    let pending = service.begin_invoke("dev1", Method::new("silence").response_timeout(60));
    assert_eq!(device.next_request().name, "silence");
    let begun = Instant::now();
    let status = hub.stop_twice();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(status.code(), Some(130));
    let log = fs::read_to_string(&log).unwrap();
    assert!(log.ends_with("received a second stop signal: exiting now\n"), "{log}");
    assert!(pending.wait().is_err());
}

#[test]
fn payloads_are_logged_at_trace_only_and_secrets_never() {
    for (level, shows_payloads) in [("debug", false), ("trace", true)] {
        let hub = Hub::builder().config(&format!("[log]\nlevel = \"{level}\"\nformat = \"json\"")).start();
        let service = Service::owner(&hub);
        let identity = service.create_device("dev1");
        let device = Device::with_identity(&identity).listen(&hub);
        let _ = service.invoke("dev1", Method::new("echo").payload("secret-payload")).unwrap();
        device.disconnect();
        let log = hub.log();
        assert_eq!(log.contains("secret-payload"), shows_payloads, "{level}");
        let mut secrets = vec![identity.primary_key.as_str(), "sig=", "SharedAccessSignature"];
        let owner = hub.variable("IOTHUB_CONNECTION_STRING").rsplit_once("SharedAccessKey=").unwrap().1;
        secrets.push(owner);
        for secret in secrets {
            assert!(!log.contains(secret), "{secret} is in the log at {level}");
        }
        let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert_eq!(lines.len(), log.lines().count(), "every log line is JSON");
        let one = |message: &str| {
            let mut found = lines.iter().filter(|line| line["message"] == message);
            let line = found.next().unwrap_or_else(|| panic!("no line {message:?}"));
            assert!(found.next().is_none(), "more than one line {message:?}");
            line
        };
        assert_eq!(one("connected")["device"], "dev1");
        assert_eq!(one("disconnected")["reason"], "client_disconnect");
        let call = one("method call");
        assert_eq!((&call["method"], &call["outcome"]), (&json!("echo"), &json!("answered")));
        assert!(call["milliseconds"].is_u64(), "{call}");
    }
}

#[test]
fn calls_are_counted_by_outcome() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).listen(&hub);
    let _ = service.create_device("offline");
    let count = |outcome: &str| -> u64 {
        let start = format!("ferrohub_method_calls_total{{outcome=\"{outcome}\"}} ");
        let metrics = hub.metrics();
        metrics.lines().find_map(|line| line.strip_prefix(&start)).map_or(0, |count| count.parse().unwrap())
    };
    let _ = service.invoke("dev1", Method::new("echo")).unwrap();
    let _ = service.invoke("offline", Method::new("echo")).unwrap_err();
    let _ = service.invoke("nobody", Method::new("echo")).unwrap_err();
    let _ = service.invoke("dev1", Method::new("silence").response_timeout(5)).unwrap_err();
    let pending = service.begin_invoke("dev1", Method::new("silence"));
    for name in ["echo", "silence", "silence"] {
        assert_eq!(device.next_request().name, name);
    }
    device.kill();
    assert!(pending.wait().is_err());
    for (outcome, expected) in
        [("answered", 1), ("not_online", 1), ("refused", 1), ("timed_out", 1), ("disconnected", 1)]
    {
        assert_eq!(count(outcome), expected, "{outcome}: {}", hub.metrics());
    }
    // A caller that disconnects.
    let caller = Service::owner(&hub);
    let _pending = caller.begin_invoke("offline", Method::new("echo").connect_timeout(60));
    eventually("the call is in flight", Duration::from_secs(10), || {
        hub.metrics().contains("ferrohub_calls_in_flight 1\n").then_some(())
    });
    drop(caller);
    eventually("the call is cancelled", Duration::from_secs(10), || (count("cancelled") == 1).then_some(()));
}
