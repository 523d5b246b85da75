//! WebSocket for AMQP: paths, subprotocols and frames that no real client sends.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::Duration;

use bytes::BytesMut;
use ferrohub_acceptance::raw_amqp::{RawAmqp, encode};
use ferrohub_acceptance::raw_tls::{RawTls, websocket_frame};
use ferrohub_acceptance::{Hub, eventually};
use ferrohub_amqp::frame::ProtocolHeader;

#[test]
fn each_path_has_its_subprotocols() {
    let hub = Hub::start();
    for (path, offered, chosen) in [
        ("/$iothub/websocket", "AMQPWSB10", Some("AMQPWSB10")),
        ("/$iothub/websocket?iothub-no-client-cert=true", "AMQPWSB10", Some("AMQPWSB10")),
        ("/$iothub/websocket/", "mqtt, AMQPWSB10", Some("mqtt")),
        ("/$iothub/websocket", "x, AMQPWSB10, mqtt", Some("AMQPWSB10")),
        ("/$servicebus/websocket", "AMQPWSB10", Some("AMQPWSB10")),
        ("/$servicebus/websocket/", "AMQPWSB10", Some("AMQPWSB10")),
        ("/$servicebus/websocket", "mqtt", None),
        ("/$iothub/websocket", "soap", None),
    ] {
        let head = RawTls::https(&hub).try_upgrade(&hub, path, offered).to_ascii_lowercase();
        let expected = match chosen {
            Some(name) => format!("sec-websocket-protocol: {}\r\n", name.to_ascii_lowercase()),
            None => "http/1.1 400".to_owned(),
        };
        assert!(head.contains(&expected), "{path} {offered}: {head}");
    }
}

/// A WebSocket connection for AMQP.
#[track_caller]
fn connect(hub: &Hub) -> RawTls {
    let mut peer = RawTls::https(hub);
    let head = peer.try_upgrade(hub, "/$servicebus/websocket", "AMQPWSB10");
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    peer
}

#[test]
fn amqp_frames_are_independent_of_websocket_frames() {
    let hub = Hub::start();
    let mut bytes = BytesMut::from(&ProtocolHeader::Amqp.to_bytes()[..]);
    bytes.extend_from_slice(&encode(0, RawAmqp::open_frame(), &[]));
    bytes.extend_from_slice(&encode(0, RawAmqp::begin_frame(), &[]));
    // One message, a fragmented one, and one frame for each byte.
    let (first, rest) = bytes.split_at(13);
    let fragmented = [websocket_frame(0x02, first), websocket_frame(0x80, rest)].concat();
    let bytewise: Vec<u8> = bytes.iter().flat_map(|byte| websocket_frame(0x82, &[*byte])).collect();
    for sent in [websocket_frame(0x82, &bytes), fragmented, bytewise] {
        let mut peer = connect(&hub);
        peer.send(&sent);
        let received = peer.read_until("ferrohub");
        assert!(received.contains("AMQP\0\u{1}\0\0"), "{received}");
    }
}

#[test]
fn a_wrong_frame_is_refused_with_a_reason_and_silence_times_out() {
    let hub = Hub::builder().config("[limits]\nconnect_timeout_seconds = 1").start();
    let mut peer = connect(&hub);
    peer.send(&websocket_frame(0x81, b"AMQP"));
    // Close with status code 1003.
    assert_eq!(peer.read_to_end(), [0x88, 2, 0x03, 0xEB]);
    let mut peer = connect(&hub);
    peer.send(&websocket_frame(0x82, b"MQTT\0\0\0\0"));
    peer.read_to_end();
    connect(&hub).read_to_end();
    for reason in ["websocket_text_frame", "amqp_header", "amqp_handshake_timeout"] {
        eventually(reason, Duration::from_secs(10), || {
            (hub.metric("ferrohub_rejected_sockets_total", reason) == 1.0).then_some(())
        });
    }
    let log = hub.log();
    assert!(log.contains("protocol=\"amqp-ws\""), "{log}");
}
