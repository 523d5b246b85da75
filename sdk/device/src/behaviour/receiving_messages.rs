//! Messages from the cloud: completed by the application, or delivered again.

use std::time::Duration;

use ferrohub_mqtt::server::Event;
use ferrohub_mqtt::{PacketId, QoS};
use tokio::time::{sleep, timeout};

use super::fake_hub::{FakeHub, Peer, connecting, within_limit};
use crate::{DeviceClient, ErrorKind, Message, MessageStream, Timestamp};

const FILTER: &str = "devices/d1/messages/devicebound/#";
const TOPIC: &str = "devices/d1/messages/devicebound/";

async fn receiving(hub: &mut FakeHub) -> (DeviceClient, MessageStream, Peer) {
    let client = hub.client_without_methods(|b| b);
    let messages = client.messages();
    let connecting = connecting(&client);
    let (mut peer, _) = hub.connect().await;
    peer.accept(false).await;
    peer.take_subscribe_to(&[FILTER]).await;
    connecting.await.unwrap().unwrap();
    (client, messages, peer)
}

/// A message with an id, if there is one.
async fn send(peer: &mut Peer, id: &str, body: &str) -> PacketId {
    let bag = if id.is_empty() { String::new() } else { format!("%24.mid={id}") };
    peer.send(format!("{TOPIC}{bag}"), QoS::AtLeastOnce, body).await.unwrap()
}

async fn next(messages: &mut MessageStream) -> Message {
    within_limit("a message", messages.next()).await.unwrap()
}

async fn is_quiet(messages: &mut MessageStream) -> bool {
    timeout(Duration::from_secs(5), messages.next()).await.is_err()
}

async fn reconnected(hub: &mut FakeHub) -> Peer {
    let (mut peer, _) = hub.connect().await;
    peer.accept(true).await;
    peer
}

#[tokio::test(start_paused = true)]
async fn a_message_is_acknowledged_when_the_application_completes_it() {
    let mut hub = FakeHub::new();
    let (_client, mut messages, mut peer) = receiving(&mut hub).await;
    let topic = "devices/d1/messages/devicebound/%24.mid=m%201&%24.to=%2Fdevices%2Fd1%2Fmessages%2FdeviceBound\
                 &%24.cid=c&%24.ct=application%2Fjson&%24.exp=2027-01-01T00%3A00%3A00Z&iothub-ack=full&colour=r%26d";
    let first = peer.send(topic, QoS::AtLeastOnce, "[1]").await.unwrap();
    let second = send(&mut peer, "2", "two").await;
    let (one, two) = (next(&mut messages).await, next(&mut messages).await);
    assert_eq!((one.message_id(), one.correlation_id()), (Some("m 1"), Some("c")));
    assert_eq!(
        (one.content_type(), one.expiry()),
        (Some("application/json"), Timestamp::parse("2027-01-01T00:00:00Z"))
    );
    assert_eq!((one.property("colour"), one.properties().len()), (Some("r&d"), 1));
    assert_eq!((one.json::<Vec<u8>>().unwrap(), two.text().unwrap(), one.input()), (vec![1], "two", None));
    assert_eq!(one.json::<u8>().unwrap_err().kind(), ErrorKind::InvalidPayload);
    assert!(peer.is_quiet_for(Duration::from_secs(5)).await, "nothing is acknowledged yet");
    two.complete().unwrap();
    assert_eq!(peer.next().await, Event::PubAck(second));
    one.complete().unwrap();
    assert_eq!(peer.next().await, Event::PubAck(first));
    // A message with QoS 0 needs no PUBACK.
    peer.send(TOPIC, QoS::AtMostOnce, "\u{1}").await;
    next(&mut messages).await.complete().unwrap();
    assert!(peer.is_quiet_for(Duration::from_secs(5)).await);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_message_is_delivered_again() {
    let mut hub = FakeHub::new();
    let (_client, mut messages, mut peer) = receiving(&mut hub).await;
    send(&mut peer, "1", "read").await;
    drop(next(&mut messages).await);
    send(&mut peer, "2", "unread").await;
    assert!(peer.is_quiet_for(Duration::from_secs(5)).await);
    drop(peer);
    let mut peer = reconnected(&mut hub).await;
    let again = [send(&mut peer, "1", "read").await, send(&mut peer, "2", "unread").await];
    for packet_id in again {
        next(&mut messages).await.complete().unwrap();
        assert_eq!(peer.next().await, Event::PubAck(packet_id));
    }
    assert!(is_quiet(&mut messages).await, "not twice from before and after");
}

#[tokio::test(start_paused = true)]
async fn a_message_of_an_ended_connection_is_completed_on_the_next() {
    let mut hub = FakeHub::new();
    let (_client, mut messages, mut peer) = receiving(&mut hub).await;
    for id in ["1", "2", ""] {
        send(&mut peer, id, "x").await;
    }
    let (one, two, nameless) =
        (next(&mut messages).await, next(&mut messages).await, next(&mut messages).await);
    drop(peer);
    let (mut peer, _) = hub.connect().await;
    // Completed without a connection, before the hub has delivered it again.
    one.complete().unwrap();
    assert_eq!(nameless.complete().unwrap_err().kind(), ErrorKind::LockLost);
    peer.accept(true).await;
    let (first, second) = (send(&mut peer, "1", "x").await, send(&mut peer, "2", "x").await);
    let third = send(&mut peer, "", "x").await;
    assert_eq!(peer.next().await, Event::PubAck(first));
    let again = next(&mut messages).await;
    assert_eq!(again.message_id(), None, "only the one without an id is seen again");
    again.complete().unwrap();
    assert_eq!(peer.next().await, Event::PubAck(third));
    two.complete().unwrap();
    assert_eq!(peer.next().await, Event::PubAck(second));
    // A packet identifier of an old connection is not acknowledged on a new one.
    send(&mut peer, "", "y").await;
    let old = next(&mut messages).await;
    drop(peer);
    let mut peer = reconnected(&mut hub).await;
    send(&mut peer, "9", "another").await;
    let another = next(&mut messages).await;
    assert_eq!(old.complete().unwrap_err().kind(), ErrorKind::LockLost);
    assert!(peer.is_quiet_for(Duration::from_secs(5)).await);
    drop(another);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_loses_no_message() {
    let mut hub = FakeHub::new();
    let client = hub.client_with(|b| b.token_ttl(Duration::from_secs(100)));
    let mut old = hub.connected(&client).await;
    let mut messages = client.messages();
    old.take_subscribe_to(&[FILTER]).await;
    send(&mut old, "1", "held").await;
    let held = next(&mut messages).await;
    old.take_unsubscribe().await;
    let (mut peer, _) = hub.connect().await;
    // A message that the client never receives.
    send(&mut old, "2", "unseen").await;
    drop(old);
    peer.accept(true).await;
    peer.take_subscribe().await;
    let (first, second) = (send(&mut peer, "1", "held").await, send(&mut peer, "2", "unseen").await);
    let unseen = next(&mut messages).await;
    assert_eq!(unseen.text().unwrap(), "unseen");
    unseen.complete().unwrap();
    assert_eq!(peer.next().await, Event::PubAck(second));
    held.complete().unwrap();
    assert_eq!(peer.next().await, Event::PubAck(first));
}

#[tokio::test(start_paused = true)]
async fn disconnecting_acknowledges_completed_messages() {
    let mut hub = FakeHub::new();
    let (client, mut messages, mut peer) = receiving(&mut hub).await;
    let packet_id = send(&mut peer, "1", "x").await;
    next(&mut messages).await.complete().unwrap();
    let leaving = tokio::spawn({
        let client = client.clone();
        async move { client.disconnect().await }
    });
    assert_eq!(peer.next().await, Event::PubAck(packet_id));
    assert_eq!(peer.next().await, Event::Disconnect);
    leaving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn unread_messages_stay_at_the_hub() {
    let mut hub = FakeHub::new();
    let (client, mut messages, mut peer) = receiving(&mut hub).await;
    for number in 0..70 {
        send(&mut peer, &number.to_string(), "x").await;
    }
    sleep(Duration::from_secs(1)).await;
    for _ in 0..64 {
        next(&mut messages).await.complete().unwrap();
    }
    assert!(is_quiet(&mut messages).await);
    // Without a stream: the next stream receives it.
    drop(messages);
    send(&mut peer, "waiting", "x").await;
    sleep(Duration::from_secs(1)).await;
    let mut messages = client.messages();
    assert_eq!(next(&mut messages).await.message_id(), Some("waiting"));
    let _second = client.messages();
    assert!(within_limit("the end", messages.next()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_module_receives_messages_at_its_inputs() {
    let mut hub = FakeHub::new();
    let client = hub.client_without_methods(|b| b.module("m"));
    let mut messages = client.messages();
    let connecting = connecting(&client);
    let (mut peer, _) = hub.connect().await;
    peer.accept(false).await;
    peer.take_subscribe_to(&["devices/d1/modules/m/inputs/#"]).await;
    connecting.await.unwrap().unwrap();
    let topic = "devices/d1/modules/m/inputs/in%2F1/%24.mid=1&a=b";
    let packet_id = peer.send(topic, QoS::AtLeastOnce, "x").await.unwrap();
    let message = next(&mut messages).await;
    assert_eq!((message.input(), message.property("a")), (Some("in/1"), Some("b")));
    message.complete().unwrap();
    assert_eq!(peer.next().await, Event::PubAck(packet_id));
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_refuses_the_subscription_ends_the_stream() {
    let mut hub = FakeHub::new();
    let client = hub.client_without_methods(|b| b);
    let mut messages = client.messages();
    let connecting = connecting(&client);
    let (mut peer, _) = hub.connect().await;
    peer.accept(false).await;
    peer.refuse_subscribe_to(&[FILTER]).await;
    connecting.await.unwrap().unwrap();
    assert!(within_limit("the end", messages.next()).await.is_none());
}
