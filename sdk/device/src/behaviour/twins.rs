//! The twin: requests, responses and desired patches.

use std::time::Duration;

use ferrohub_model::topic::{DESIRED_FILTER, METHODS_FILTER, TWIN_RESPONSES_FILTER};
use ferrohub_mqtt::server::Event;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::fake_hub::{FakeHub, Peer, connecting, within_limit};
use crate::{DesiredUpdate, DesiredUpdateStream, DeviceClient, Error, ErrorKind};

const BOTH: [&str; 2] = [TWIN_RESPONSES_FILTER, DESIRED_FILTER];

fn patching(client: &DeviceClient, value: u64) -> JoinHandle<Result<u64, Error>> {
    let client = client.clone();
    tokio::spawn(async move { client.patch_reported(&json!({ "n": value })).await })
}

/// A client without features, and its connection.
async fn connected(hub: &mut FakeHub) -> (DeviceClient, Peer) {
    let client = hub.client_without_methods(|b| b);
    let connecting = connecting(&client);
    let (mut peer, _) = hub.connect().await;
    peer.accept(false).await;
    connecting.await.unwrap().unwrap();
    assert!(peer.is_quiet_for(Duration::from_secs(10)).await, "what is not used is not subscribed to");
    (client, peer)
}

/// A client with a stream of desired updates that has received version 3.
async fn following(hub: &mut FakeHub) -> (DeviceClient, DesiredUpdateStream, Peer) {
    let (client, mut peer) = connected(hub).await;
    let mut updates = client.desired_updates();
    peer.take_subscribe_to(&BOTH).await;
    peer.expect_twin_read(r#"{"a":1,"$version":3}"#).await;
    expect_full(&mut updates, 3).await;
    (client, updates, peer)
}

async fn expect_full(updates: &mut DesiredUpdateStream, version: u64) {
    match within_limit("an update", updates.next()).await.unwrap() {
        DesiredUpdate::Full(section) => assert_eq!(section.version(), version),
        update => panic!("{update:?}"),
    }
}

async fn expect_patch(updates: &mut DesiredUpdateStream, version: u64) {
    match within_limit("an update", updates.next()).await.unwrap() {
        DesiredUpdate::Patch(section) => assert_eq!(section.version(), version),
        update => panic!("{update:?}"),
    }
}

async fn is_quiet(updates: &mut DesiredUpdateStream) -> bool {
    tokio::time::timeout(Duration::from_secs(5), updates.next()).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn a_twin_is_read_and_reported_to() {
    let mut hub = FakeHub::new();
    let (client, mut peer) = connected(&mut hub).await;
    let reading = tokio::spawn({
        let client = client.clone();
        async move { client.get_twin().await }
    });
    peer.take_subscribe_to(&[TWIN_RESPONSES_FILTER]).await;
    peer.expect_twin_read(r#"{"rate":5,"$version":4}"#).await;
    let twin = reading.await.unwrap().unwrap();
    assert_eq!((twin.desired.version(), twin.desired.get("rate")), (4, Some(&json!(5))));

    // Responses are matched to requests in any order.
    let (one, two) = (patching(&client, 1), patching(&client, 2));
    let (first, second) = (peer.twin_request().await, peer.twin_request().await);
    assert_eq!(first.patch.as_deref(), Some(r#"{"n":1}"#));
    peer.respond_twin(&second, 204, Some(8), "").await;
    assert_eq!(two.await.unwrap().unwrap(), 8);
    peer.respond_twin(&first, 204, Some(7), "").await;
    assert_eq!(one.await.unwrap().unwrap(), 7);

    let conditional = tokio::spawn({
        let client = client.clone();
        async move { client.patch_reported_if_version(&json!({}), 9).await }
    });
    let asked = peer.twin_request().await;
    assert_eq!(asked.if_version, Some(9));
    peer.respond_twin(&asked, 412, None, r#"{"errorCode":412001,"message":"it is 8"}"#).await;
    let error = conditional.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::PreconditionFailed, Some(412_001)));
    let array = client.patch_reported(&[1]).await.unwrap_err();
    assert_eq!(array.kind(), ErrorKind::InvalidInput);
}

#[tokio::test(start_paused = true)]
async fn a_missing_response_is_a_timeout_and_errors_have_kinds() {
    let mut hub = FakeHub::new();
    let (client, mut peer) = connected(&mut hub).await;
    let since = Instant::now();
    let late = patching(&client, 1);
    peer.take_subscribe_to(&[TWIN_RESPONSES_FILTER]).await;
    let asked = peer.twin_request().await;
    assert_eq!(late.await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(since.elapsed().as_secs(), 30);
    peer.respond_twin(&asked, 204, Some(2), "").await;
    for (status, kind, retryable) in [
        (400, ErrorKind::BadRequest, false),
        (429, ErrorKind::Throttled, true),
        (500, ErrorKind::Server, true),
        (404, ErrorKind::NotFound, false),
    ] {
        let patch = patching(&client, 1);
        let asked = peer.twin_request().await;
        peer.respond_twin(&asked, status, None, "").await;
        let error = patch.await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.is_retryable(), error.status()), (kind, retryable, Some(status)));
    }
    let broken = tokio::spawn({
        let client = client.clone();
        async move { client.get_twin().await }
    });
    let asked = peer.twin_request().await;
    peer.respond_twin(&asked, 200, None, "[]").await;
    assert_eq!(broken.await.unwrap().unwrap_err().kind(), ErrorKind::Protocol);
    // A request that was cancelled before it could be sent is not sent.
    drop(peer);
    let dropped = patching(&client, 99);
    tokio::task::yield_now().await;
    dropped.abort();
    let kept = patching(&client, 100);
    let (mut peer, _) = hub.connect().await;
    peer.accept(true).await;
    let asked = peer.twin_request().await;
    assert_eq!(asked.patch.as_deref(), Some(r#"{"n":100}"#));
    peer.respond_twin(&asked, 204, Some(3), "").await;
    assert_eq!(kept.await.unwrap().unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_refused_subscription_fails_requests_at_once() {
    let mut hub = FakeHub::new();
    let (client, mut peer) = connected(&mut hub).await;
    // Until then the task is idle.
    let patch = patching(&client, 1);
    let mut updates = client.desired_updates();
    sleep(Duration::from_secs(5)).await;
    peer.refuse_subscribe_to(&BOTH).await;
    assert_eq!(patch.await.unwrap().unwrap_err().kind(), ErrorKind::Rejected);
    assert!(within_limit("the end", updates.next()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn without_a_connection_requests_fail() {
    let mut hub = FakeHub::new();
    let client = hub.client_without_methods(|b| b);
    assert_eq!(client.get_twin().await.unwrap_err().kind(), ErrorKind::Closed);
    let attempt = connecting(&client);
    let peer = hub.incoming().await;
    let patch = patching(&client, 1);
    sleep(Duration::from_secs(1)).await;
    client.disconnect().await;
    assert_eq!(patch.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(attempt.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn requests_without_a_response_are_sent_again_in_order_on_the_next_connection() {
    let mut hub = FakeHub::new();
    let (client, mut peer) = connected(&mut hub).await;
    let (one, two) = (patching(&client, 1), patching(&client, 2));
    let conditional = tokio::spawn({
        let client = client.clone();
        async move { client.patch_reported_if_version(&json!({}), 1).await }
    });
    peer.take_subscribe_to(&[TWIN_RESPONSES_FILTER]).await;
    let before = [peer.twin_request().await, peer.twin_request().await, peer.twin_request().await];
    drop(peer);
    let lost = conditional.await.unwrap().unwrap_err();
    assert_eq!((lost.kind(), lost.is_retryable()), (ErrorKind::Connection, true), "it may have been made");
    let three = patching(&client, 3);
    let (mut peer, _) = hub.connect().await;
    peer.accept(false).await;
    peer.take_subscribe_to(&[TWIN_RESPONSES_FILTER]).await;
    for (value, patch) in [(1, one), (2, two), (3, three)] {
        let asked = peer.twin_request().await;
        assert_eq!(asked.patch, Some(format!(r#"{{"n":{value}}}"#)));
        assert!(before.iter().all(|before| before.request_id != asked.request_id));
        peer.respond_twin(&asked, 204, Some(value), "").await;
        assert_eq!(patch.await.unwrap().unwrap(), value);
    }
}

#[tokio::test(start_paused = true)]
async fn disconnecting_waits_for_responses() {
    let mut hub = FakeHub::new();
    let (client, mut peer) = connected(&mut hub).await;
    let patch = patching(&client, 1);
    peer.take_subscribe_to(&[TWIN_RESPONSES_FILTER]).await;
    let asked = peer.twin_request().await;
    let leaving = tokio::spawn({
        let client = client.clone();
        async move { client.disconnect().await }
    });
    assert!(peer.is_quiet_for(Duration::from_secs(5)).await);
    assert_eq!(client.get_twin().await.unwrap_err().kind(), ErrorKind::Closed);
    peer.respond_twin(&asked, 204, Some(2), "").await;
    assert_eq!(patch.await.unwrap().unwrap(), 2);
    assert_eq!(peer.next().await, Event::Disconnect);
    leaving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_stream_begins_with_the_full_section_and_continues_with_patches() {
    let mut hub = FakeHub::new();
    let (client, mut updates, mut peer) = following(&mut hub).await;
    let mut known = serde_json::Map::new();
    peer.desired(4, r#"{"a":null,"b":{"c":2},"$version":4}"#).await;
    let update = updates.next().await.unwrap();
    update.apply_to(&mut known);
    assert_eq!((update.version(), json!(known)), (4, json!({ "b": { "c": 2 } })));
    // A known version is not delivered again.
    peer.desired(4, r#"{"a":1,"$version":4}"#).await;
    peer.desired(2, r#"{"a":1,"$version":2}"#).await;
    assert!(is_quiet(&mut updates).await);
    // A second stream begins with the full section.
    let mut second = client.desired_updates();
    assert!(updates.next().await.is_none());
    peer.expect_twin_read(r#"{"$version":4}"#).await;
    expect_full(&mut second, 4).await;
    drop(second);
    peer.desired(5, "{}").await;
    assert!(peer.is_quiet_for(Duration::from_secs(100)).await, "no stream is open");
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_closed_and_no_older_version_follows() {
    let mut hub = FakeHub::new();
    let (_client, mut updates, mut peer) = following(&mut hub).await;
    peer.desired(5, r#"{"x":5}"#).await;
    let asked = peer.twin_request().await;
    peer.desired(6, r#"{"x":6}"#).await;
    // A read that is older than a later patch is delivered, and repeated.
    peer.respond_twin(&asked, 200, None, r#"{"desired":{"x":5,"$version":5},"reported":{"$version":1}}"#)
        .await;
    expect_full(&mut updates, 5).await;
    peer.expect_twin_read(r#"{"x":6,"$version":6}"#).await;
    expect_full(&mut updates, 6).await;
    peer.desired(7, r#"{"x":7}"#).await;
    expect_patch(&mut updates, 7).await;
    peer.desired(8, "no JSON").await;
    peer.expect_twin_read(r#"{"x":8,"$version":8}"#).await;
    expect_full(&mut updates, 8).await;
    assert!(peer.is_quiet_for(Duration::from_secs(100)).await);
}

#[tokio::test(start_paused = true)]
async fn after_missed_patches_the_full_section_is_delivered() {
    let mut hub = FakeHub::new();
    let (_client, mut updates, peer) = following(&mut hub).await;
    drop(peer);
    let (mut peer, _) = hub.connect().await;
    peer.accept(true).await;
    peer.expect_twin_read(r#"{"$version":9}"#).await;
    expect_full(&mut updates, 9).await;
    // Without missed patches nothing is delivered; without a session the client subscribes again.
    drop(peer);
    let (mut peer, _) = hub.connect().await;
    peer.accept(false).await;
    peer.take_subscribe_to(&BOTH).await;
    let asked = peer.twin_request().await;
    peer.desired(10, r#"{"new":1}"#).await;
    expect_patch(&mut updates, 10).await;
    peer.respond_twin(&asked, 200, None, r#"{"desired":{"$version":9},"reported":{"$version":1}}"#).await;
    assert!(is_quiet(&mut updates).await, "that one is old");
    peer.desired(11, "{}").await;
    expect_patch(&mut updates, 11).await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_read_of_the_twin_is_retried() {
    let mut hub = FakeHub::new();
    let (_client, mut updates, mut peer) = following(&mut hub).await;
    let since = Instant::now();
    peer.desired(5, "{}").await;
    for seconds in [0, 1, 3] {
        let asked = peer.twin_request().await;
        assert_eq!(since.elapsed().as_secs(), seconds);
        peer.respond_twin(&asked, 429, None, "").await;
    }
    // No response.
    peer.twin_request().await;
    peer.expect_twin_read(r#"{"$version":5}"#).await;
    assert_eq!(since.elapsed().as_secs(), 7 + 30 + 8);
    expect_full(&mut updates, 5).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_application_receives_the_full_section() {
    let mut hub = FakeHub::new();
    let (_client, mut updates, mut peer) = following(&mut hub).await;
    for version in 4..=68 {
        peer.desired(version, "{}").await;
    }
    peer.expect_twin_read(r#"{"$version":68}"#).await;
    peer.desired(69, "{}").await;
    sleep(Duration::from_secs(1)).await;
    expect_full(&mut updates, 68).await;
    expect_patch(&mut updates, 69).await;
}

#[tokio::test(start_paused = true)]
async fn a_renewal_keeps_requests_and_patches() {
    let mut hub = FakeHub::new();
    let client = hub.client_with(|b| b.token_ttl(Duration::from_secs(100)));
    let mut updates = client.desired_updates();
    let connecting = connecting(&client);
    let (mut old, _) = hub.connect().await;
    old.accept(false).await;
    old.take_subscribe_to(&[METHODS_FILTER, TWIN_RESPONSES_FILTER, DESIRED_FILTER]).await;
    connecting.await.unwrap().unwrap();
    old.expect_twin_read(r#"{"$version":1}"#).await;
    expect_full(&mut updates, 1).await;

    // A request that is never answered on the old connection, and one that is sent while it is drained.
    sleep(Duration::from_secs(80)).await;
    let one = patching(&client, 1);
    old.twin_request().await;
    old.take_unsubscribe().await;
    let two = patching(&client, 2);
    let (mut peer, _) = hub.connect().await;
    drop(old);
    peer.accept(true).await;
    peer.take_subscribe().await;
    let mut answered = 0;
    while answered < 3 {
        let asked = peer.twin_request().await;
        answered += 1;
        match &asked.patch {
            None => {
                let twin = r#"{"desired":{"$version":2},"reported":{"$version":1}}"#;
                peer.respond_twin(&asked, 200, None, twin).await;
            }
            Some(_) => peer.respond_twin(&asked, 204, Some(5), "").await,
        }
    }
    expect_full(&mut updates, 2).await;
    assert_eq!((one.await.unwrap().unwrap(), two.await.unwrap().unwrap()), (5, 5));
}
