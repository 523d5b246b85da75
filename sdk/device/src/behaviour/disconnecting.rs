//! Graceful disconnect.

use std::time::Duration;

use ferrohub_mqtt::server::Event;
use tokio::time::{Instant, sleep};

use super::fake_hub::{FakeHub, connecting, within_limit};
use crate::{ConnectionStatus, DeviceClient, DisconnectReason, ErrorKind, MethodRequest, MethodResponse};

fn with_wait(client: DeviceClient) -> DeviceClient {
    client.on_method("wait", |request: MethodRequest| async move {
        sleep(Duration::from_secs(request.payload_as().unwrap())).await;
        MethodResponse::new(200)
    });
    client
}

#[tokio::test(start_paused = true)]
async fn handlers_finish_before_disconnect_is_sent() {
    let mut hub = FakeHub::new();
    let client = with_wait(hub.client());
    let mut peer = hub.connected(&client).await;
    peer.call("1", "wait", "5").await;
    sleep(Duration::from_millis(10)).await;
    let since = Instant::now();
    let leaving = tokio::spawn({
        let client = client.clone();
        async move { client.disconnect().await }
    });
    peer.take_unsubscribe().await;
    assert!(peer.next_response().await.is("1", 200, "null"));
    assert_eq!(peer.next().await, Event::Disconnect);
    assert!(peer.try_next().await.is_none());
    leaving.await.unwrap();
    assert_eq!(since.elapsed().as_millis(), 4990);
    assert!(matches!(
        client.status().current(),
        ConnectionStatus::Disconnected { reason: DisconnectReason::Requested }
    ));
    client.disconnect().await;
    hub.connected(&client).await;
}

#[tokio::test(start_paused = true)]
async fn the_shutdown_timeout_limits_a_disconnect() {
    let mut hub = FakeHub::new();
    let client = with_wait(hub.client_with(|b| b.shutdown_timeout(Duration::from_secs(2))));
    let mut requests = client.method_requests();
    let mut peer = hub.connected(&client).await;
    peer.call("1", "wait", "50").await;
    peer.call("2", "other", "1").await;
    let request = requests.next().await.unwrap();
    let since = Instant::now();
    let leaving = tokio::spawn({
        let client = client.clone();
        async move { client.disconnect().await }
    });
    peer.take_unsubscribe().await;
    assert_eq!(peer.next().await, Event::Disconnect);
    leaving.await.unwrap();
    assert_eq!(since.elapsed().as_secs(), 2);
    assert_eq!(request.respond(MethodResponse::new(200)).await.unwrap_err().kind(), ErrorKind::CallEnded);
}

#[tokio::test(start_paused = true)]
async fn connecting_while_disconnecting_waits() {
    let mut hub = FakeHub::new();
    let client = with_wait(hub.client());
    let mut peer = hub.connected(&client).await;
    peer.call("1", "wait", "5").await;
    sleep(Duration::from_millis(10)).await;
    let leaving = tokio::spawn({
        let client = client.clone();
        async move { client.disconnect().await }
    });
    peer.take_unsubscribe().await;
    let again = connecting(&client);
    assert!(peer.next_response().await.is("1", 200, "null"));
    assert_eq!(peer.next().await, Event::Disconnect);
    drop(peer);
    leaving.await.unwrap();
    let _peer = hub.serve().await;
    again.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dropped_client_disconnects_gracefully() {
    let mut hub = FakeHub::new();
    let client = hub.client();
    let mut requests = client.method_requests();
    let mut status = client.status();
    let mut peer = hub.connected(&client).await;
    drop(client);
    peer.take_unsubscribe().await;
    assert_eq!(peer.next().await, Event::Disconnect);
    assert!(within_limit("the end", requests.next()).await.is_none());
    while within_limit("the end", status.next()).await.is_some() {}
}
