//! Tests of the client and server state machines together.

use std::time::Duration;

use bytes::Bytes;
use ferrohub_mqtt::{ProtocolError, QoS, Refusal, SendError, SubscribeCode, client, server};

use crate::pair::Pair;

#[test]
fn client_and_server_connect_subscribe_and_exchange_messages() {
    let mut pair = Pair::new(60);
    pair.drive();
    assert_eq!(pair.client_events, [client::Event::Connected { session_present: false }]);

    let subscribed = pair.client.subscribe(&[("t/#", QoS::ExactlyOnce)]).unwrap();
    let sent = pair.client.publish("up", QoS::AtLeastOnce, Bytes::from_static(b"1")).unwrap().unwrap();
    pair.drive();
    let answered = pair.server.publish(format_args!("t/{}", 7), QoS::AtLeastOnce, b"2").unwrap().unwrap();
    pair.drive();
    let unsubscribed = pair.client.unsubscribe(&["t/#"]).unwrap();
    pair.client.publish("up", QoS::AtMostOnce, Bytes::from_static(b"3")).unwrap();
    pair.drive();
    pair.client.disconnect();
    pair.drive();

    let [_, suback, puback, client::Event::Publish(message), unsuback] = &pair.client_events[..] else {
        panic!("{:?}", pair.client_events)
    };
    let codes = vec![SubscribeCode::Granted(QoS::AtLeastOnce)];
    assert_eq!(*suback, client::Event::SubAck { packet_id: subscribed, codes });
    assert_eq!(*puback, client::Event::PubAck(sent));
    assert_eq!((&*message.topic, &message.payload[..]), ("t/7", &b"2"[..]));
    assert_eq!(*unsuback, client::Event::UnsubAck(unsubscribed));

    let last: Vec<_> = pair.server_events.iter().rev().take(4).collect();
    assert!(matches!(last[..], [
        server::Event::Disconnect,
        server::Event::Publish(_),
        server::Event::Unsubscribe(_),
        server::Event::PubAck(packet_id),
    ] if *packet_id == answered));
    assert_eq!((pair.client_error, pair.server_error), (None, None));
    assert_eq!((pair.client.poll_timeout(), pair.server.poll_timeout()), (None, None));
}

#[test]
fn a_refusal_closes_both_ends() {
    let mut pair = Pair::new(60);
    pair.refusal = Some(Refusal::ServerUnavailable);
    pair.drive();
    assert_eq!(pair.client_events, [client::Event::Refused(Refusal::ServerUnavailable)]);
    assert!(pair.client.is_closed() && pair.server.is_closed());
    assert!(!pair.step());
}

#[test]
fn an_idle_connection_only_sends_pings() {
    for keep_alive in [1, 60, 1177] {
        let mut pair = Pair::connected(keep_alive);
        let week = Duration::from_secs(7 * 24 * 3600);
        let mut steps = 0;
        while pair.elapsed() < week {
            assert!(pair.step());
            steps += 1;
        }
        // A server timer that is already set is not moved by pings, so it fires occasionally in addition to the
        // client's timer.
        assert!(steps <= 2 * week.as_secs() / u64::from(keep_alive) + 2);
        assert!(pair.client.is_connected() && pair.server.is_connected());
        assert_eq!((pair.client_events, pair.server_events), (vec![], vec![]));
    }
}

#[test]
fn a_keep_alive_over_the_maximum_expires_at_the_maximum() {
    let mut pair = Pair::connected(1800);
    while pair.server_error.is_none() {
        assert!(pair.step());
    }
    assert_eq!(pair.server_error, Some(ProtocolError::KeepAliveTimeout));
    assert_eq!(pair.elapsed(), Duration::from_secs(1767));
}

#[test]
fn both_ends_detect_a_network_failure() {
    let mut pair = Pair::connected(60);
    pair.network_down = true;
    while pair.step() {}
    assert_eq!(pair.client_error, Some(ProtocolError::PingTimeout));
    assert_eq!(pair.server_error, Some(ProtocolError::KeepAliveTimeout));
    assert_eq!(pair.elapsed(), Duration::from_secs(90));
}

#[test]
fn both_ends_time_out_if_no_bytes_arrive() {
    let mut pair = Pair::new(60);
    pair.network_down = true;
    while pair.step() {}
    assert_eq!(pair.client_error, Some(ProtocolError::ConnectTimeout));
    assert_eq!(pair.server_error, Some(ProtocolError::ConnectTimeout));
    assert_eq!(pair.elapsed(), Duration::from_secs(60));
}

#[test]
fn unacknowledged_messages_arrive_after_a_reconnect() {
    let mut pair = Pair::connected(60);
    pair.client.publish("a", QoS::AtLeastOnce, Bytes::from_static(b"1")).unwrap();
    pair.drive();
    pair.network_down = true;
    let lost = pair.client.publish("a", QoS::AtLeastOnce, Bytes::from_static(b"2")).unwrap();
    pair.client.publish("a", QoS::AtMostOnce, Bytes::from_static(b"not resent")).unwrap();
    let also_lost = pair.client.publish("b", QoS::AtLeastOnce, Bytes::from_static(b"3")).unwrap();
    while pair.step() {}
    pair.server_events.clear();
    pair.client_events.clear();

    pair.reconnect(60);
    pair.drive();
    let messages = pair.server_events.iter().filter_map(|event| match event {
        server::Event::Publish(publish) => Some((publish.dup, publish.packet_id, &publish.payload[..])),
        _ => None,
    });
    let messages: Vec<_> = messages.collect();
    assert_eq!(messages, [(true, lost, &b"2"[..]), (true, also_lost, b"3")]);
    let acknowledged = |packet_id: Option<_>| client::Event::PubAck(packet_id.unwrap());
    assert_eq!(pair.client_events[1..], [acknowledged(lost), acknowledged(also_lost)]);
    assert_eq!(pair.client.in_flight(), 0);
}

#[test]
fn a_hundred_thousand_messages_pass_through_the_in_flight_window() {
    let mut pair = Pair::connected(60);
    let mut sent = 0_u32;
    while sent < 100_000 {
        match pair.client.publish("t", QoS::AtLeastOnce, Bytes::copy_from_slice(&sent.to_be_bytes())) {
            Ok(_) => sent += 1,
            Err(error) => {
                assert_eq!(error, SendError::TooManyInFlight);
                pair.drive();
            }
        }
    }
    pair.drive();
    let received = pair.server_events.iter().map(|event| match event {
        server::Event::Publish(publish) => u32::from_be_bytes(publish.payload[..].try_into().unwrap()),
        other => panic!("{other:?}"),
    });
    assert!(received.eq(0..100_000));
    assert_eq!(pair.client_events.len(), 100_000);
}
