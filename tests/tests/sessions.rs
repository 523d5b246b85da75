//! Microsoft's clients reconnect to renew a token and after a restart of the hub. No call is lost.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::collections::HashSet;
use std::time::{Duration, Instant};

use ferrohub_acceptance::{Client, Device, Hub, Method, MethodResult, Service, ServiceException};
use serde_json::{Value, json};

/// The client renews a token two minutes before it expires.
const RENEWS_EVERY: u64 = 5;
const TOKEN_SECONDS: u64 = 120 + RENEWS_EVERY;

/// Sends a stream of calls while the device renews its token five times. Every call that reaches the device is answered
/// exactly once, also if the device disconnects during the call.
///
/// The client can send DISCONNECT at any time, and does not read requests that are in flight at that moment. The hub
/// does not send such a request again, because it cannot know that it was lost: that call ends with its time-out, as on
/// Azure. Our own device SDK avoids this, see `rust_sdks.rs`.
#[track_caller]
fn five_renewals(client: Client, websockets: bool) {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1"))
        .client(client)
        .option("sastoken_ttl", TOKEN_SECONDS)
        .option("websockets", websockets)
        .listen(&hub);
    let connects = || {
        let metrics = hub.metrics();
        let line = metrics.lines().find(|line| line.starts_with("ferrohub_connects_total"));
        line.and_then(|line| line.rsplit_once(' ')).map_or(0, |(_, count)| count.parse().unwrap())
    };
    let call = |name: &str, payload: Value| {
        service
            .begin_invoke("dev1", Method::new(name).payload(payload).connect_timeout(20).response_timeout(8))
    };
    let deadline = Instant::now() + Duration::from_secs(90);
    let mut sent: Vec<u64> = Vec::new();
    let mut lost: Vec<u64> = Vec::new();
    let mut record = |number: u64, answer: Result<MethodResult, ServiceException>| match answer {
        Ok(answer) => assert_eq!((answer.status, answer.payload), (200, Value::from(number))),
        Err(refusal) => {
            assert_eq!(refusal.http.error_code(), "GatewayTimeout", "{refusal:?}");
            lost.push(number);
        }
    };
    let mut number = 0;
    while connects() < 6 {
        assert!(Instant::now() < deadline, "the device connected only {} times", connects());
        // A slow call that runs while the device disconnects, and fast calls at the same time.
        number += 1;
        let slow = number;
        let slow_call = call("answer", json!({ "seconds": 1.5, "status": 200, "payload": slow }));
        for _ in 0..20 {
            number += 1;
            record(number, call("echo", number.into()).wait());
            sent.push(number);
        }
        record(slow, slow_call.wait());
        sent.push(slow);
    }
    let requests = device.requests();
    let mut seen: Vec<u64> = requests
        .iter()
        .filter_map(|request| request.payload.as_u64().or_else(|| request.payload["payload"].as_u64()))
        .collect();
    let ids: HashSet<&str> = requests.iter().map(|request| request.request_id.as_str()).collect();
    assert_eq!(ids.len(), requests.len(), "no request was received twice");
    let unseen: Vec<u64> = sent.iter().copied().filter(|number| !seen.contains(number)).collect();
    lost.sort_unstable();
    assert_eq!(lost, unseen, "only calls that did not reach the device were lost");
    eprintln!("{} calls, {} crossed a DISCONNECT", sent.len(), lost.len());
    assert!(lost.len() <= 5, "at most one per renewal: {lost:?}");
    seen.sort_unstable();
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "no call was received twice");
    assert!(
        hub.metrics().contains("ferrohub_unmatched_method_responses_total 0\n"),
        "no response was received twice"
    );
}

#[test]
fn five_token_renewals_lose_no_call_that_reached_the_device() {
    five_renewals(Client::Sync, false);
}

#[test]
fn five_token_renewals_of_the_asynchronous_client_on_websocket_lose_no_call_that_reached_the_device() {
    five_renewals(Client::Async, true);
}

/// Restarts the hub. The device receives calls without a new subscription.
#[track_caller]
fn restart(client: Client, websockets: bool) {
    let mut hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1"))
        .client(client)
        .option("connection_retry_interval", 1)
        .option("websockets", websockets)
        .listen(&hub);
    for round in 0..3 {
        let echo = Method::new("echo").payload(round).connect_timeout(60);
        assert_eq!(service.invoke("dev1", echo).expect("a response").payload, Value::from(round));
        assert_eq!(device.next_request().payload, Value::from(round));
        match round {
            0 => assert!(hub.stop().success(), "the hub stops with exit code 0"),
            _ => hub.kill(),
        }
        hub.start_again();
    }
    let echo = Method::new("echo").payload("after all").connect_timeout(60);
    assert_eq!(service.invoke("dev1", echo).expect("a response").payload, "after all");
    let log = hub.log();
    assert!(log.contains("session_present=true"), "the session survived the restart: {log}");
}

#[test]
fn a_device_reconnects_after_a_restart_or_crash_of_the_hub() {
    restart(Client::Sync, false);
}

#[test]
fn a_device_on_websocket_reconnects_after_a_restart_or_crash_of_the_hub() {
    restart(Client::Async, true);
}

#[test]
fn a_device_keeps_its_subscriptions_when_it_reconnects() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).listen(&hub);
    device.disconnect();
    let refusal = service.invoke("dev1", Method::new("echo")).unwrap_err();
    assert_eq!(refusal.http.error_code(), "DeviceNotOnline");
    device.connect().unwrap();
    let echo = Method::new("echo").payload("again");
    assert_eq!(service.invoke("dev1", echo).expect("a response").payload, "again");
}

#[test]
fn a_connection_ends_when_its_token_expires() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let token = ferrohub_acceptance::sas::Token {
        resource: &format!("{}/devices/dev1", hub.name()),
        key: &identity.primary_key,
        expiry: ferrohub_acceptance::sas::now() + 4,
        policy: None,
    };
    let device = Device::with_token(&token.sign()).start(&hub);
    device.listen().expect("the token is still valid");
    device.wait_until_connected(true, Duration::from_secs(10));
    device.wait_until_connected(false, Duration::from_secs(10));
    assert!(hub.log().contains("reason=\"expired\""), "{}", hub.log());
}
