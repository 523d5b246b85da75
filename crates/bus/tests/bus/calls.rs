//! Method calls: each ends exactly once, wherever the device is.

use std::time::Duration;

use bytes::Bytes;
use ferrohub_core::close_reason::CloseReason;
use ferrohub_core::node::{Answer, CallEnd, MethodReply, Selector};
use ferrohub_core::session::Subscription;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::nodes::{Nodes, id, next_request, over_each_adapter, reboot};

const METHODS: &[Subscription] = &[Subscription::Methods];

over_each_adapter! {
    a_call_reaches_the_device_and_returns_its_response
    a_call_waits_until_the_device_is_connected
    a_call_to_a_device_that_is_not_connected_ends
    a_call_without_a_response_times_out
    a_call_that_its_caller_drops_is_cancelled
    a_call_ends_with_the_connection_of_its_device
    a_device_with_too_many_calls_refuses_more
}

fn call(nodes: &Nodes, connect_seconds: u64) -> JoinHandle<Result<MethodReply, CallEnd>> {
    let bus = nodes.here.bus.clone();
    tokio::spawn(async move { bus.call(&id("d"), reboot(connect_seconds)).await })
}

fn reply() -> MethodReply {
    MethodReply { status: 207, payload: Bytes::from_static("\"é\"".as_bytes()) }
}

async fn a_call_reaches_the_device_and_returns_its_response(nodes: Nodes) {
    let device = nodes.there.connect("d", METHODS);
    let calling = call(&nodes, 0);
    let request = next_request(&device).await;
    assert_eq!((request.name.as_str(), request.payload.as_deref()), ("reboot", Some(&b"{\"delay\":1}"[..])));
    assert_eq!(device.answer(request.request_id, Ok(reply())), Answer::Delivered);
    assert_eq!(calling.await.unwrap(), Ok(reply()));
}

async fn a_call_waits_until_the_device_is_connected(nodes: Nodes) {
    let calling = call(&nodes, 10);
    sleep(Duration::from_secs(9)).await;
    let device = nodes.there.connect("d", METHODS);
    let request = next_request(&device).await;
    device.answer(request.request_id, Ok(reply()));
    assert_eq!(calling.await.unwrap(), Ok(reply()));
}

async fn a_call_to_a_device_that_is_not_connected_ends(nodes: Nodes) {
    nodes.there.connect("other", METHODS);
    nodes.there.connect("d", &[]);
    for connect_seconds in [0, 10] {
        assert_eq!(call(&nodes, connect_seconds).await.unwrap(), Err(CallEnd::NotOnline));
    }
}

async fn a_call_without_a_response_times_out(nodes: Nodes) {
    let device = nodes.there.connect("d", METHODS);
    let calling = call(&nodes, 0);
    let request = next_request(&device).await;
    assert_eq!(calling.await.unwrap(), Err(CallEnd::TimedOut));
    assert_eq!(device.answer(request.request_id, Ok(reply())), Answer::NoSuchCall);
}

async fn a_call_that_its_caller_drops_is_cancelled(nodes: Nodes) {
    let device = nodes.there.connect("d", METHODS);
    let calling = call(&nodes, 0);
    let request = next_request(&device).await;
    calling.abort();
    assert!(calling.await.unwrap_err().is_cancelled());
    // The other node hears of it, too.
    sleep(Duration::from_secs(1)).await;
    assert_eq!(device.answer(request.request_id, Ok(reply())), Answer::NoSuchCall);
}

async fn a_call_ends_with_the_connection_of_its_device(nodes: Nodes) {
    for (reason, end) in [
        (CloseReason::TakenOver, CallEnd::TakenOver),
        (CloseReason::FaultInjected, CallEnd::FaultInjected),
        (CloseReason::Lost, CallEnd::Disconnected),
    ] {
        let device = nodes.there.connect("d", METHODS);
        let calling = call(&nodes, 0);
        next_request(&device).await;
        nodes.here.bus.disconnect(&Selector::Identity(id("d")), reason).await;
        assert_eq!(calling.await.unwrap(), Err(end));
    }
}

async fn a_device_with_too_many_calls_refuses_more(nodes: Nodes) {
    let device = nodes.there.connect("d", METHODS);
    let calling: Vec<_> = (0..8).map(|_| call(&nodes, 0)).collect();
    for _ in &calling {
        next_request(&device).await;
    }
    assert_eq!(call(&nodes, 0).await.unwrap(), Err(CallEnd::TooManyInFlight));
}
