//! Microsoft's clients go and come back: to renew a token, after a restart of the hub. No call is lost.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::collections::HashSet;
use std::time::{Duration, Instant};

use ferrohub_acceptance::{Client, Device, Hub, Method, Service};
use serde_json::{Value, json};

/// The client renews a token two minutes before it expires.
const RENEWS_EVERY: u64 = 5;
const TOKEN_SECONDS: u64 = 120 + RENEWS_EVERY;

/// A stream of calls while the device renews its token five times: each is answered, with its own answer,
/// and the device sees each once.
#[track_caller]
fn five_renewals(client: Client, websockets: bool) {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::of(&service.create_device("dev1"))
        .client(client)
        .option("sastoken_ttl", TOKEN_SECONDS)
        .option("websockets", websockets)
        .listen(&hub);
    let connects = || {
        let metrics = hub.metrics();
        let line = metrics.lines().find(|line| line.starts_with("ferrohub_connects_total"));
        line.and_then(|line| line.rsplit_once(' ')).map_or(0, |(_, count)| count.parse().unwrap())
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut sent = 0_u64;
    while connects() < 6 {
        assert!(Instant::now() < deadline, "the device connected only {} times", connects());
        // Quick ones, and ones that are at work when the device goes.
        let slow = Method::new("answer")
            .payload(json!({ "seconds": 1.5, "status": 200, "payload": sent }))
            .connect_timeout(20);
        let at_work = sent.is_multiple_of(20).then(|| (sent, service.begin_invoke("dev1", slow)));
        for _ in 0..20 {
            sent += 1;
            let echo = Method::new("echo").payload(sent).connect_timeout(20);
            let answer = service.invoke("dev1", echo).expect("an answer");
            assert_eq!((answer.status, answer.payload), (200, Value::from(sent)));
        }
        if let Some((number, pending)) = at_work {
            let answer = pending.wait().expect("an answer to the slow call");
            assert_eq!((answer.status, answer.payload), (200, Value::from(number)));
        }
    }
    let requests = device.requests();
    let ids: HashSet<&str> = requests.iter().map(|request| request.request_id.as_str()).collect();
    assert_eq!(ids.len(), requests.len(), "no request came twice");
    let echoed: Vec<u64> = requests.iter().filter_map(|request| request.payload.as_u64()).collect();
    assert_eq!(echoed, (1..=sent).collect::<Vec<_>>(), "each call came once");
    assert!(hub.metrics().contains("ferrohub_stray_method_answers_total 0\n"), "no answer came twice");
}

#[test]
fn five_renewals_lose_no_call() {
    five_renewals(Client::Sync, false);
}

#[test]
fn five_renewals_of_the_asynchronous_client_on_a_web_socket_lose_no_call() {
    five_renewals(Client::Async, true);
}

/// Nobody subscribes again, and still the device hears calls.
#[track_caller]
fn restart(client: Client, websockets: bool) {
    let mut hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::of(&service.create_device("dev1"))
        .client(client)
        .option("connection_retry_interval", 1)
        .option("websockets", websockets)
        .listen(&hub);
    for round in 0..3 {
        let echo = Method::new("echo").payload(round).connect_timeout(60);
        assert_eq!(service.invoke("dev1", echo).expect("an answer").payload, Value::from(round));
        assert_eq!(device.next_request().payload, Value::from(round));
        match round {
            0 => assert!(hub.stop().success(), "the hub stops with exit code 0"),
            _ => hub.kill(),
        }
        hub.start_again();
    }
    let echo = Method::new("echo").payload("after all").connect_timeout(60);
    assert_eq!(service.invoke("dev1", echo).expect("an answer").payload, "after all");
    let log = hub.log();
    assert!(log.contains("session_present=true"), "the session outlived the hub: {log}");
}

#[test]
fn a_device_comes_back_by_itself_after_the_hub_restarts_or_dies() {
    restart(Client::Sync, false);
}

#[test]
fn a_device_on_a_web_socket_comes_back_by_itself_after_the_hub_restarts_or_dies() {
    restart(Client::Async, true);
}

#[test]
fn a_device_that_disconnects_and_connects_again_still_listens() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::of(&service.create_device("dev1")).listen(&hub);
    device.disconnect();
    let refusal = service.invoke("dev1", Method::new("echo")).unwrap_err();
    assert_eq!(refusal.http.error_code(), "DeviceNotOnline");
    device.connect().unwrap();
    let echo = Method::new("echo").payload("again");
    assert_eq!(service.invoke("dev1", echo).expect("an answer").payload, "again");
}

#[test]
fn a_token_that_expires_during_the_connection_ends_it() {
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
    device.listen().expect("the token is still good");
    device.wait_until_connected(true, Duration::from_secs(10));
    device.wait_until_connected(false, Duration::from_secs(10));
    assert!(hub.log().contains("reason=\"expired\""), "{}", hub.log());
}
