//! Events: acknowledged, sent again, queued without a connection, refused.

use std::time::Duration;

use ferrohub_mqtt::Refusal;
use ferrohub_mqtt::server;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::fake_hub::{FakeHub, Peer, connecting};
use crate::{DeviceClient, Error, ErrorKind, Event, OfflinePolicy};

/// A client without methods, and its connection.
async fn connected(hub: &mut FakeHub, offline: OfflinePolicy) -> (DeviceClient, Peer) {
    let client = hub.client_without_methods(|b| b.offline(offline));
    let connecting = connecting(&client);
    let (mut peer, _) = hub.connect().await;
    peer.accept(false).await;
    connecting.await.unwrap().unwrap();
    (client, peer)
}

async fn next(hub: &mut FakeHub) -> Peer {
    let (mut peer, _) = hub.connect().await;
    peer.accept(true).await;
    peer
}

fn sending(client: &DeviceClient, body: &str) -> JoinHandle<Result<(), Error>> {
    let (client, event) = (client.clone(), Event::new(body.to_owned()));
    tokio::spawn(async move { client.send_event(event).await })
}

/// Sends these bodies, in this order.
async fn sending_all(client: &DeviceClient, bodies: &[&str]) -> Vec<JoinHandle<Result<(), Error>>> {
    let mut all = Vec::new();
    for body in bodies {
        all.push(sending(client, body));
        tokio::task::yield_now().await;
    }
    all
}

fn queue(max_messages: usize) -> OfflinePolicy {
    OfflinePolicy::queue(max_messages, 400 * 1024)
}

#[tokio::test(start_paused = true)]
async fn an_event_is_sent_when_the_hub_has_acknowledged_it() {
    let mut hub = FakeHub::new();
    let (client, mut peer) = connected(&mut hub, OfflinePolicy::default()).await;
    let event = Event::text("hot").message_id("1").property("alarm", "yes & no");
    let one = tokio::spawn({
        let client = client.clone();
        async move { client.send_event(event).await }
    });
    let sent = peer.event().await;
    assert_eq!(
        sent.topic,
        "devices/d1/messages/events/%24.mid=1&%24.ct=text%2Fplain&%24.ce=utf-8&alarm=yes%20%26%20no"
    );
    assert_eq!((sent.body.as_str(), sent.dup), ("hot", false));
    sleep(Duration::from_secs(1)).await;
    assert!(!one.is_finished());
    peer.acknowledge(sent.packet_id).await;
    one.await.unwrap().unwrap();
    // An event with QoS 0 is not acknowledged.
    client.send_event(Event::new("cold").at_most_once()).await.unwrap();
    let sent = peer.event().await;
    assert_eq!((sent.body.as_str(), sent.packet_id), ("cold", None));
    let large = client.send_event(Event::new(vec![0; 256 * 1024 + 1])).await.unwrap_err();
    assert_eq!(large.kind(), ErrorKind::TooLarge);
    let not_connected = hub.client_without_methods(|b| b);
    assert_eq!(not_connected.send_event(Event::new("x")).await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn events_without_an_acknowledgement_are_sent_again_in_order() {
    let mut hub = FakeHub::new();
    let (client, mut peer) = connected(&mut hub, OfflinePolicy::default()).await;
    let all = sending_all(&client, &["a", "b", "c"]).await;
    let (a, b, c) = (peer.event().await, peer.event().await, peer.event().await);
    peer.acknowledge(b.packet_id).await;
    drop(peer);
    let later = sending(&client, "later");
    hub.refuse(Refusal::ServerUnavailable).await;
    let mut peer = next(&mut hub).await;
    for (before, body) in [(Some(a), "a"), (Some(c), "c"), (None, "later")] {
        let sent = peer.take_event().await;
        assert_eq!((sent.body.as_str(), sent.dup), (body, before.is_some()));
        assert!(before.is_none_or(|before| before.packet_id == sent.packet_id));
    }
    for sent in all {
        sent.await.unwrap().unwrap();
    }
    later.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_in_events_and_in_bytes() {
    let mut hub = FakeHub::new();
    let (client, peer) = connected(&mut hub, queue(3)).await;
    drop(peer);
    client.status().wait_for(|status| !status.is_connected()).await.unwrap();
    let waiting = sending_all(&client, &["1", "2", "3"]).await;
    let since = Instant::now();
    let full = client.send_event(Event::new("4")).await.unwrap_err();
    assert_eq!((full.kind(), full.is_retryable()), (ErrorKind::QueueFull, true));
    assert_eq!(since.elapsed(), Duration::ZERO, "at once");
    let mut peer = next(&mut hub).await;
    for body in ["1", "2", "3"] {
        assert_eq!(peer.take_event().await.body, body);
    }
    for sent in waiting {
        sent.await.unwrap().unwrap();
    }
    // Unacknowledged events count, too.
    let large = "x".repeat(200 * 1024);
    let all = sending_all(&client, &[&large]).await;
    let sent = peer.event().await;
    assert_eq!(client.send_event(Event::new(large)).await.unwrap_err().kind(), ErrorKind::QueueFull);
    peer.acknowledge(sent.packet_id).await;
    all.into_iter().next().unwrap().await.unwrap().unwrap();
    let again = sending(&client, "again");
    peer.take_event().await;
    again.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn many_events_are_in_flight_up_to_the_limit() {
    let mut hub = FakeHub::new();
    let (client, mut peer) = connected(&mut hub, queue(50)).await;
    let all = tokio::spawn({
        let client = client.clone();
        let events = (0..200).map(|number: u32| Event::new(number.to_string()));
        async move { client.send_events(events).await }
    });
    let mut unacknowledged = Vec::new();
    for number in 0..32 {
        let sent = peer.event().await;
        assert_eq!(sent.body, number.to_string());
        unacknowledged.push(sent.packet_id);
    }
    assert!(peer.is_quiet_for(Duration::from_secs(5)).await, "so many and no more");
    for packet_id in unacknowledged {
        peer.acknowledge(packet_id).await;
    }
    for number in 32..200 {
        assert_eq!(peer.take_event().await.body, number.to_string());
    }
    all.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_a_queue_a_lost_connection_is_an_error() {
    let mut hub = FakeHub::new();
    let (client, mut peer) = connected(&mut hub, OfflinePolicy::Fail).await;
    let cut = sending(&client, "cut");
    peer.event().await;
    drop(peer);
    let error = cut.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Connection, true));
    let error = client.send_event(Event::new("offline")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Offline, true));
    let mut peer = next(&mut hub).await;
    assert!(peer.is_quiet_for(Duration::from_secs(10)).await, "nothing is sent again");
    let online = sending(&client, "online");
    assert_eq!(peer.take_event().await.body, "online");
    online.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_event_is_sent_even_if_its_future_is_dropped() {
    let mut hub = FakeHub::new();
    let (client, mut peer) = connected(&mut hub, OfflinePolicy::default()).await;
    let dropped = sending(&client, "dropped");
    tokio::task::yield_now().await;
    dropped.abort();
    assert_eq!(peer.take_event().await.body, "dropped");
    let next = sending(&client, "next");
    assert_eq!(peer.take_event().await.body, "next");
    next.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn disconnecting_sends_queued_events() {
    let mut hub = FakeHub::new();
    let (client, mut peer) = connected(&mut hub, OfflinePolicy::default()).await;
    let bodies: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let all = sending_all(&client, &bodies).await;
    let leaving = tokio::spawn({
        let client = client.clone();
        async move { client.disconnect().await }
    });
    tokio::task::yield_now().await;
    for body in bodies {
        assert_eq!(peer.take_event().await.body, body);
    }
    assert_eq!(peer.next().await, server::Event::Disconnect);
    leaving.await.unwrap();
    for sent in all {
        sent.await.unwrap().unwrap();
    }
    assert_eq!(client.send_event(Event::new("late")).await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn events_that_are_left_at_the_end_fail() {
    let mut hub = FakeHub::new();
    let (client, mut peer) = connected(&mut hub, OfflinePolicy::default()).await;
    let (sent, waiting) = (sending(&client, "sent"), sending(&client, "waiting"));
    peer.event().await;
    drop(peer);
    hub.refuse(Refusal::NotAuthorized).await;
    assert_eq!(sent.await.unwrap().unwrap_err().kind(), ErrorKind::Unauthorized);
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Unauthorized);
    // A disconnect is limited by the shutdown time-out.
    let reconnecting = connecting(&client);
    let (mut peer, _) = hub.connect().await;
    peer.accept(false).await;
    reconnecting.await.unwrap().unwrap();
    let sent = sending(&client, "never acknowledged");
    peer.event().await;
    let since = Instant::now();
    client.disconnect().await;
    assert_eq!(since.elapsed().as_secs(), 30);
    assert_eq!(sent.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_the_hub_always_refuses_does_not_block_the_others() {
    let mut hub = FakeHub::new();
    let (client, mut peer) = connected(&mut hub, OfflinePolicy::default()).await;
    let (poison, good) = (sending(&client, "poison"), sending(&client, "good"));
    for _ in 0..9 {
        assert_eq!(peer.event().await.body, "poison");
        drop(peer);
        peer = next(&mut hub).await;
    }
    assert!(!poison.is_finished());
    peer.event().await;
    drop(peer);
    assert_eq!(poison.await.unwrap().unwrap_err().kind(), ErrorKind::Rejected);
    let mut peer = next(&mut hub).await;
    assert_eq!(peer.take_event().await.body, "good");
    good.await.unwrap().unwrap();
    // A connection that is lost later is not caused by the event.
    let patient = sending(&client, "patient");
    for _ in 0..20 {
        assert_eq!(peer.event().await.body, "patient");
        sleep(Duration::from_secs(11)).await;
        drop(peer);
        peer = next(&mut hub).await;
    }
    peer.take_event().await;
    patient.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failing_hub_does_not_empty_the_queue() {
    let mut hub = FakeHub::new();
    let (client, mut peer) = connected(&mut hub, OfflinePolicy::default()).await;
    let all: Vec<_> = ["1", "2", "3"].map(|body| sending(&client, body)).into();
    // A hub that accepts no event, and sometimes refuses connections as unavailable.
    for number in 0..40 {
        assert_eq!(peer.event().await.body, "1");
        drop(peer);
        if number % 5 == 0 {
            hub.refuse(Refusal::ServerUnavailable).await;
        }
        peer = next(&mut hub).await;
    }
    assert!(all.iter().all(|sent| !sent.is_finished()));
    // Without such refusals the first event fails after ten connections, and the next after twenty more.
    drop(peer);
    hub.refuse(Refusal::ServerUnavailable).await;
    for number in 0..29 {
        peer = next(&mut hub).await;
        assert_eq!(peer.event().await.body, if number < 10 { "1" } else { "2" }, "{number}");
        drop(peer);
    }
    let finished: Vec<bool> = all.iter().map(|sent| sent.is_finished()).collect();
    assert_eq!(finished, [true, false, false]);
    let mut peer = next(&mut hub).await;
    for body in ["2", "3"] {
        assert_eq!(peer.take_event().await.body, body);
    }
    for (sent, taken) in all.into_iter().zip([false, true, true]) {
        assert_eq!(sent.await.unwrap().is_ok(), taken);
    }
}

/// A continuous stream of events does not delay a renewal, and the renewal loses no event.
#[tokio::test(start_paused = true)]
async fn a_renewal_carries_unacknowledged_events_over() {
    let mut hub = FakeHub::new();
    let client = hub.client_with(|b| b.token_ttl(Duration::from_secs(100)));
    let mut old = hub.connected(&client).await;
    let since = Instant::now();
    let stuck = sending(&client, "stuck");
    let before = old.event().await;
    let sender = tokio::spawn({
        let client = client.clone();
        async move {
            for number in 0..2000_u32 {
                client.send_event(Event::new(number.to_string())).await.unwrap();
                sleep(Duration::from_millis(50)).await;
            }
        }
    });
    let mut received = Vec::new();
    loop {
        match old.next().await {
            server::Event::Publish(publish) => {
                received.push(String::from_utf8(publish.payload.to_vec()).unwrap());
                old.acknowledge(publish.packet_id).await;
            }
            server::Event::Unsubscribe(unsubscribe) => {
                old.unsuback(unsubscribe.packet_id).await;
                break;
            }
            event => panic!("{event:?}"),
        }
    }
    assert!((84..=87).contains(&since.elapsed().as_secs()), "{:?}", since.elapsed());
    let (mut peer, _) = hub.connect().await;
    drop(old);
    peer.accept(true).await;
    let again = peer.take_event().await;
    assert_eq!((again.body.as_str(), again.dup, again.packet_id), ("stuck", true, before.packet_id));
    peer.take_subscribe().await;
    stuck.await.unwrap().unwrap();
    for _ in 0..100 {
        received.push(peer.take_event().await.body);
    }
    let expected: Vec<String> = (0..received.len()).map(|number| number.to_string()).collect();
    assert!(received == expected, "each once, in order");
    sender.abort();
}
