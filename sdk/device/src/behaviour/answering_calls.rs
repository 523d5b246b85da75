//! Method calls and their responses.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::fake_hub::FakeHub;
use crate::{ErrorKind, MethodRequest, MethodResponse};

#[tokio::test(start_paused = true)]
async fn each_method_has_its_handler_and_unknown_ones_are_answered_404() {
    let mut hub = FakeHub::new();
    let client = hub.client();
    client.on_method("re boot/é", |request: MethodRequest| async move {
        assert_eq!(
            (request.name(), request.request_id(), request.payload_text()),
            ("re boot/é", "a1", "\"{\\\"n\\\":1}\"")
        );
        MethodResponse::new(200).payload(&request.payload_as::<String>().unwrap())
    });
    client.on_method("empty", |request: MethodRequest| async move {
        MethodResponse::new(-1).payload_json(request.payload_text())
    });
    let mut peer = hub.connected(&client).await;
    peer.call("a1", "re boot/é", "\"{\\\"n\\\":1}\"").await;
    assert!(peer.next_response().await.is("a1", 200, "\"{\\\"n\\\":1}\""));
    peer.call("a2", "empty", "").await;
    assert!(peer.next_response().await.is("a2", -1, "null"));
    peer.call("a3", "other", "1").await;
    let expected = r#"{"error":"MethodNotFound","message":"this device has no method \"other\""}"#;
    assert!(peer.next_response().await.is("a3", 404, expected));

    client.on_unhandled_method(|request: MethodRequest| async move {
        MethodResponse::new(404).payload(request.name())
    });
    peer.call("a4", "other", "1").await;
    assert!(peer.next_response().await.is("a4", 404, "\"other\""));
    assert!(client.remove_method("empty") && !client.remove_method("empty"));
    peer.call("a5", "empty", "1").await;
    assert!(peer.next_response().await.is("a5", 404, "\"empty\""));
}

#[tokio::test(start_paused = true)]
async fn calls_are_answered_if_a_handler_fails_or_panics() {
    let mut hub = FakeHub::new();
    let client = hub.client();
    client.on_method("add", |request: MethodRequest| async move {
        let (a, b): (i64, i64) = request.payload_as()?;
        MethodResponse::new(200).payload(&(a + b))
    });
    client.on_method("panic", |request: MethodRequest| async move {
        assert!(request.name().is_empty(), "a panic of the test");
        MethodResponse::new(200)
    });
    client.on_method("fail", |_| async { Err::<MethodResponse, _>("stuck") });
    let mut peer = hub.connected(&client).await;
    peer.call("1", "panic", "1").await;
    let expected = r#"{"error":"NoAnswer","message":"the method \"panic\" ended without a response"}"#;
    assert!(peer.next_response().await.is("1", 500, expected));
    peer.call("2", "fail", "1").await;
    assert!(peer.next_response().await.is("2", 500, r#"{"error":"HandlerFailed","message":"stuck"}"#));
    peer.call("3", "add", "[1]").await;
    assert_eq!(peer.next_response().await.status, 400);
    peer.call("4", "add", "[1,2]").await;
    assert!(peer.next_response().await.is("4", 200, "3"));
}

#[tokio::test(start_paused = true)]
async fn calls_run_concurrently_up_to_the_limit() {
    let mut hub = FakeHub::new();
    let client = hub.client_with(|b| b.max_concurrent_methods(3));
    client.on_method("wait", |request: MethodRequest| async move {
        sleep(Duration::from_secs(request.payload_as().unwrap())).await;
        MethodResponse::new(200)
    });
    let mut peer = hub.connected(&client).await;
    let since = Instant::now();
    for (id, seconds) in [("1", "20"), ("2", "10"), ("3", "15"), ("4", "1")] {
        peer.call(id, "wait", seconds).await;
    }
    let expected =
        r#"{"error":"TooManyCalls","message":"the device has 3 open calls already; try again later"}"#;
    assert!(peer.next_response().await.is("4", 429, expected));
    assert_eq!(since.elapsed().as_secs(), 0);
    assert!(peer.next_response().await.is("2", 200, "null"));
    assert_eq!(since.elapsed().as_secs(), 10);
    peer.call("5", "wait", "1").await;
    assert!(peer.next_response().await.is("5", 200, "null"));
    assert!(peer.next_response().await.is("3", 200, "null"));
    assert!(peer.next_response().await.is("1", 200, "null"));
    assert_eq!(since.elapsed().as_secs(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_stream_receives_calls_without_a_handler() {
    let mut hub = FakeHub::new();
    let client = hub.client_with(|b| b.max_concurrent_methods(2));
    client.on_method("named", |_| async { MethodResponse::new(201) });
    client.on_unhandled_method(|_| async { MethodResponse::new(404) });
    let mut first = client.method_requests();
    let mut requests = client.method_requests();
    assert!(first.next().await.is_none(), "a second stream ends the first");
    let mut peer = hub.connected(&client).await;
    peer.call("1", "named", "1").await;
    assert!(peer.next_response().await.is("1", 201, "null"));

    peer.call("2", "a", "1").await;
    peer.call("3", "b", "1").await;
    let (a, b) =
        (requests.next().await.unwrap(), futures_util::StreamExt::next(&mut requests).await.unwrap());
    assert_eq!((a.name(), b.name()), ("a", "b"));
    peer.call("4", "c", "1").await;
    assert_eq!(peer.next_response().await.status, 429, "both are still worked on");
    drop(a);
    assert_eq!(peer.next_response().await.status, 500);

    let answering = tokio::spawn({
        let client = client.clone();
        async move { client.respond(b, MethodResponse::new(202)).await }
    });
    let answered = peer.next_response_without_puback().await;
    assert!(answered.is("3", 202, "null"));
    sleep(Duration::from_secs(1)).await;
    assert!(!answering.is_finished(), "the hub has not acknowledged it");
    peer.acknowledge(answered.packet_id).await;
    answering.await.unwrap().unwrap();

    drop(requests);
    peer.call("5", "d", "1").await;
    assert!(peer.next_response().await.is("5", 404, "null"));
}

#[tokio::test(start_paused = true)]
async fn the_client_subscribes_with_the_first_handler() {
    let mut hub = FakeHub::new();
    let client = hub.client_without_methods(|b| b);
    let connecting = super::fake_hub::connecting(&client);
    let (mut peer, _) = hub.connect().await;
    peer.accept(true).await;
    connecting.await.unwrap().unwrap();
    assert!(peer.is_quiet_for(Duration::from_secs(10)).await);
    client.on_method("late", |_| async { MethodResponse::new(200) });
    peer.take_subscribe().await;
    peer.call("1", "late", "1").await;
    assert!(peer.next_response().await.is("1", 200, "null"));
    client.on_method("later", |_| async { MethodResponse::new(200) });
    assert!(peer.is_quiet_for(Duration::from_secs(10)).await, "once is enough");
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_respond_before_it_returns() {
    let mut hub = FakeHub::new();
    let client = hub.client();
    let done = Arc::new(Notify::new());
    let told = done.clone();
    client.on_method("reboot", move |request: MethodRequest| {
        let done = told.clone();
        async move {
            assert!(request.is_pending());
            request.respond(MethodResponse::new(202)).await.unwrap();
            assert!(!request.is_pending());
            let again = request.respond(MethodResponse::new(203)).await.unwrap_err();
            assert_eq!(again.kind(), ErrorKind::CallEnded);
            done.notify_one();
            MethodResponse::new(200).payload(&json!("not sent"))
        }
    });
    let mut peer = hub.connected(&client).await;
    peer.call("1", "reboot", "null").await;
    assert!(peer.next_response().await.is("1", 202, "null"));
    assert!(peer.is_quiet_for(Duration::from_secs(10)).await);
    done.notified().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_delivered_twice_runs_once() {
    let mut hub = FakeHub::new();
    let client = hub.client();
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    client.on_method("count", move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        async {
            sleep(Duration::from_secs(1)).await;
            MethodResponse::new(200)
        }
    });
    let mut peer = hub.connected(&client).await;
    peer.call_at_least_once("1", "count").await;
    peer.call_at_least_once("1", "count").await;
    assert_eq!(peer.next_response().await.status, 200);
    assert!(peer.is_quiet_for(Duration::from_secs(10)).await);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}
