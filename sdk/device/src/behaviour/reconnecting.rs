//! Reconnecting after a lost connection.

use std::time::Duration;

use ferrohub_mqtt::Refusal;
use tokio::time::{Instant, sleep};

use super::fake_hub::{FakeHub, within_limit};
use crate::{
    ConnectionStatus, DisconnectReason, ErrorKind, Jitter, MethodRequest, MethodResponse, RetryPolicy,
};

fn steady() -> RetryPolicy {
    RetryPolicy::default().initial_delay(Duration::from_secs(1)).jitter(Jitter::None)
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_with_its_connection_and_its_response_is_dropped() {
    let mut hub = FakeHub::new();
    let client = hub.client();
    let mut requests = client.method_requests();
    client.on_method("slow", |_| async {
        sleep(Duration::from_secs(5)).await;
        MethodResponse::new(200)
    });
    let mut peer = hub.connected(&client).await;
    peer.call("1", "slow", "1").await;
    peer.call("2", "taken", "1").await;
    let taken = requests.next().await.unwrap();
    peer.call("3", "waiting", "1").await;
    assert!(taken.is_pending());
    sleep(Duration::from_millis(10)).await;
    drop(peer);

    let mut peer = hub.serve().await;
    assert!(!taken.is_pending());
    assert_eq!(taken.respond(MethodResponse::new(200)).await.unwrap_err().kind(), ErrorKind::CallEnded);
    assert!(peer.is_quiet_for(Duration::from_secs(10)).await, "not even the slow handler's");
    // The hub may reuse a request id: this is another call, with its own response.
    peer.call("1", "new", "1").await;
    let request = requests.next().await.unwrap();
    assert_eq!(request.name(), "new", "the call that waited ended, too");
    let answering = tokio::spawn(async move { request.respond(MethodResponse::new(201)).await });
    assert!(peer.next_response().await.is("1", 201, "null"));
    answering.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_client_subscribes_again_only_without_a_session() {
    let mut hub = FakeHub::new();
    let client = hub.client();
    client.on_method("m", |_| async { MethodResponse::new(200) });
    drop(hub.connected(&client).await);
    let (mut peer, _) = hub.connect().await;
    peer.accept(true).await;
    assert!(peer.is_quiet_for(Duration::from_secs(10)).await, "the hub remembers");
    peer.call("1", "m", "1").await;
    assert_eq!(peer.next_response().await.status, 200);
    drop(peer);
    drop(hub.serve().await);
    // A new client does not know the subscriptions of the session.
    let mut hub = FakeHub::new();
    let client = hub.client();
    let connecting = super::fake_hub::connecting(&client);
    let (mut peer, _) = hub.connect().await;
    peer.accept(true).await;
    peer.take_subscribe().await;
    connecting.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_right_after_connack_is_not_lost() {
    let mut hub = FakeHub::new();
    let client = hub.client();
    client.on_method("early", |_| async { MethodResponse::new(200) });
    let connecting = super::fake_hub::connecting(&client);
    let (mut peer, _) = hub.connect().await;
    peer.accept(true).await;
    peer.call("1", "early", "1").await;
    peer.take_subscribe().await;
    assert!(peer.next_response().await.is("1", 200, "null"));
    connecting.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_response_without_puback_is_sent_again_as_a_duplicate() {
    let mut hub = FakeHub::new();
    let client = hub.client();
    let mut requests = client.method_requests();
    let mut peer = hub.connected(&client).await;
    peer.call("1", "m", "1").await;
    let request = requests.next().await.unwrap();
    let answering = tokio::spawn(async move { request.respond(MethodResponse::new(200)).await });
    let first = peer.next_response_without_puback().await;
    assert!(!first.dup);
    drop(peer);

    let (mut peer, _) = hub.connect().await;
    peer.accept(true).await;
    let second = peer.next_response_without_puback().await;
    assert!(second.dup && second.is("1", 200, "null") && second.packet_id == first.packet_id);
    assert!(!answering.is_finished());
    peer.acknowledge(second.packet_id).await;
    answering.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_client_retries_while_the_hub_is_unavailable_and_ends_when_unauthorized() {
    let mut hub = FakeHub::new();
    let client = hub.client_with(|b| b.retry(steady()));
    let mut status = client.status();
    drop(hub.connected(&client).await);
    let since = Instant::now();
    for seconds in [1, 3, 7] {
        hub.refuse(Refusal::ServerUnavailable).await;
        assert_eq!(since.elapsed().as_secs(), seconds);
    }
    let waiting = within_limit(
        "a wait",
        status.wait_for(|status| matches!(status, ConnectionStatus::WaitingToReconnect { .. })),
    )
    .await
    .unwrap();
    let ConnectionStatus::WaitingToReconnect { delay, cause } = waiting else { unreachable!() };
    assert_eq!((delay.as_secs(), cause.kind()), (8, ErrorKind::Unavailable));
    // A connection that is closed at once.
    drop(hub.incoming().await);
    hub.refuse(Refusal::NotAuthorized).await;
    let end = within_limit(
        "the end",
        status.wait_for(|status| matches!(status, ConnectionStatus::Disconnected { .. })),
    )
    .await
    .unwrap();
    let ConnectionStatus::Disconnected { reason: DisconnectReason::Failed(error) } = end else {
        panic!("{end:?}")
    };
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(hub.has_no_connection_for(Duration::from_secs(3600)).await);
    hub.connected(&client).await;
}

#[tokio::test(start_paused = true)]
async fn the_client_gives_up_after_the_configured_time() {
    let mut hub = FakeHub::new();
    let client = hub.client_with(|b| b.retry(steady().give_up_after(Duration::from_secs(10))));
    drop(hub.connected(&client).await);
    for _ in 0..3 {
        hub.refuse(Refusal::ServerUnavailable).await;
    }
    let ended = |status: &ConnectionStatus| {
        matches!(status, ConnectionStatus::Disconnected { reason: DisconnectReason::Failed(_) })
    };
    within_limit("the end", client.status().wait_for(ended)).await.unwrap();

    let client = hub.client_with(|b| b.retry(RetryPolicy::never()));
    drop(hub.connected(&client).await);
    within_limit("the end", client.status().wait_for(ended)).await.unwrap();
    assert!(hub.has_no_connection_for(Duration::from_secs(3600)).await);
}

#[tokio::test(start_paused = true)]
async fn a_silent_hub_is_detected() {
    let mut hub = FakeHub::new();
    let client = hub.client();
    let silent = hub.connected(&client).await;
    let since = Instant::now();
    // One keep-alive until the ping, half a minute for its response, at most half a second to reconnect.
    let peer = hub.serve().await;
    assert!((90..=91).contains(&since.elapsed().as_secs()), "{:?}", since.elapsed());
    drop((silent, peer));
}

#[tokio::test(start_paused = true)]
async fn disconnecting_ends_the_delay() {
    let mut hub = FakeHub::new();
    let client = hub.client_with(|b| b.retry(steady().initial_delay(Duration::from_secs(60))));
    drop(hub.connected(&client).await);
    within_limit(
        "a wait",
        client.status().wait_for(|status| matches!(status, ConnectionStatus::WaitingToReconnect { .. })),
    )
    .await
    .unwrap();
    client.disconnect().await;
    let requested = |status: &ConnectionStatus| {
        matches!(status, ConnectionStatus::Disconnected { reason: DisconnectReason::Requested })
    };
    assert!(requested(&client.status().current()));
    assert!(hub.has_no_connection_for(Duration::from_secs(3600)).await);
}

#[tokio::test(start_paused = true)]
async fn running_handlers_count_towards_the_limit_of_the_next_connection() {
    let mut hub = FakeHub::new();
    let client = hub.client_with(|b| b.max_concurrent_methods(1));
    client.on_method("slow", |request: MethodRequest| async move {
        sleep(Duration::from_secs(20)).await;
        drop(request);
        MethodResponse::new(200)
    });
    let mut peer = hub.connected(&client).await;
    peer.call("1", "slow", "1").await;
    sleep(Duration::from_millis(10)).await;
    drop(peer);
    let mut peer = hub.serve().await;
    peer.call("2", "slow", "1").await;
    assert_eq!(peer.next_response().await.status, 429);
    sleep(Duration::from_secs(20)).await;
    peer.call("3", "slow", "1").await;
    assert!(peer.next_response().await.is("3", 200, "null"));
}
