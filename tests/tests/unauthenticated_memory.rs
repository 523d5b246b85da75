//! What the hub holds for a peer that is not authenticated: the same small number of bytes over every transport.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::thread::sleep;
use std::time::Duration;

use ferrohub_acceptance::raw_amqp::{RawAmqp, encode};
use ferrohub_acceptance::raw_tls::{RawTls, packet, websocket_frame as frame};
use ferrohub_acceptance::{Hub, eventually};
use ferrohub_amqp::frame::ProtocolHeader;
use ferrohub_amqp::performative::Transfer;

/// Maximum size of CONNECT.
const CONNECT_BYTES: usize = 8 * 1024;
const CONNECTIONS: usize = 200;
/// With the state of the connection itself, of which TLS needs the most. HTTP/1.1 has 32 KiB of headers.
const LIMIT_KIB: u64 = 96;
/// hyper cannot limit HTTP/2 more before authentication than after it.
const HTTP2_LIMIT_KIB: u64 = 500;

/// Returns the beginning of a valid CONNECT of the maximum size, without its last byte.
fn almost_connect() -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60];
    let id = CONNECT_BYTES - 3 - body.len() - 2;
    body.extend(u16::try_from(id).unwrap().to_be_bytes());
    body.resize(CONNECT_BYTES - 3, b'a');
    let mut bytes = packet(0x10, &body);
    assert_eq!(bytes.len(), CONNECT_BYTES);
    bytes.pop();
    bytes
}

/// Opens connections with `attack`, and returns by how many KiB the hub's memory grows for each.
#[track_caller]
fn held_kib(what: &str, attack: impl Fn(&Hub) -> RawTls) -> u64 {
    let hub = Hub::start();
    // The first ones initialize what all connections share.
    drop((0..10).map(|_| attack(&hub)).collect::<Vec<_>>());
    let before = hub.resident_kib();
    let connections: Vec<_> = (0..CONNECTIONS).map(|_| attack(&hub)).collect();
    // The hub may still read what was sent.
    let resident = |_| {
        sleep(Duration::from_millis(50));
        hub.resident_kib()
    };
    let grown = (0..20).map(resident).max().unwrap_or_default().saturating_sub(before);
    eprintln!("{what}: {CONNECTIONS} connections, {grown} KiB");
    drop(connections);
    grown / CONNECTIONS as u64
}

#[test]
fn heavy_an_unauthenticated_peer_holds_little_memory_over_every_transport() {
    let with = |mut peer: RawTls, bytes: &[u8]| {
        peer.send(bytes);
        peer
    };
    let half = almost_connect();
    let large = vec![0; 500 * 1024];
    // A CONNECT of 1 MiB, in fragments of one message that is never finished; the last frame is not finished, either.
    let mut fragments =
        [frame(0x02, &[0x10, 0x80, 0x80, 0x40]), frame(0x00, &large), frame(0x00, &large)].concat();
    fragments.pop();
    let head = format!("GET /devices HTTP/1.1\r\nHost: a\r\nX-A: {}", "a".repeat(31 * 1024));
    for (what, limit, held) in [
        ("MQTT", LIMIT_KIB, held_kib("MQTT", |hub| with(RawTls::mqtt(hub), &half))),
        (
            "WebSocket",
            LIMIT_KIB,
            held_kib("WebSocket", |hub| with(RawTls::websocket(hub), &frame(0x82, &half))),
        ),
        (
            "fragments",
            LIMIT_KIB,
            held_kib("WebSocket, fragments", |hub| with(RawTls::websocket(hub), &fragments)),
        ),
        ("AMQP", LIMIT_KIB, held_kib("AMQP", half_a_token)),
        ("AMQP over WebSocket", LIMIT_KIB, held_kib("AMQP over WebSocket", half_a_token_over_websocket)),
        ("HTTP/1.1", LIMIT_KIB, held_kib("HTTP/1.1", |hub| with(RawTls::https(hub), head.as_bytes()))),
        ("HTTP/2", HTTP2_LIMIT_KIB, held_kib("HTTP/2", |hub| with(RawTls::http2(hub), &http2_requests()))),
    ] {
        assert!(held <= limit, "{what}: {held} KiB per connection");
    }
}

/// The same over WebSocket.
fn half_a_token_over_websocket(hub: &Hub) -> RawTls {
    let mut peer = RawTls::https(hub);
    let head = peer.try_upgrade(hub, "/$iothub/websocket", "AMQPWSB10");
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let mut bytes = ProtocolHeader::Amqp.to_bytes().to_vec();
    bytes.extend(encode(0, RawAmqp::open_frame(), &[]));
    bytes.extend(encode(0, RawAmqp::begin_frame(), &[]));
    bytes.extend(encode(0, RawAmqp::sender_frame("to", 0, "$cbs"), &[]));
    peer.send(&frame(0x82, &bytes));
    let _ = peer.read_until("$cbs");
    for _ in 0..4 {
        let delivery =
            Transfer { delivery_id: Some(0), delivery_tag: Some(b"tag"), more: true, ..Transfer::default() };
        peer.send(&frame(0x82, &encode(0, delivery, &vec![b'x'; 15_500])));
    }
    peer
}

/// Opens an AMQP connection and sends as much of a token as it may.
fn half_a_token(hub: &Hub) -> RawTls {
    let mut peer = RawAmqp::open(hub);
    peer.send(0, RawAmqp::sender_frame("to", 0, "$cbs"));
    let _ = peer.expect("amqp:flow:list");
    for _ in 0..4 {
        peer.transfer(0, 0, &vec![b'x'; 15_500], true);
    }
    peer.into_tls()
}

/// Encodes HTTP/2 requests with large headers and unfinished bodies, on as many streams as the hub allows.
fn http2_requests() -> Vec<u8> {
    let http2 = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        bytes
    };
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(http2(4, 0, 0, &[]));
    // POST, https, path `/devices/a`, authority `a`, and a header of about 15 KiB; no field is indexed.
    let mut headers = vec![0x83, 0x87, 0x04, 10];
    headers.extend(b"/devices/a");
    headers.extend([0x01, 1, b'a', 0x00, 1, b'x', 0x7F]);
    let value = 15_000_usize;
    let rest = value - 127;
    headers.extend([u8::try_from(rest % 128).unwrap() | 128, u8::try_from(rest / 128).unwrap()]);
    headers.extend(vec![b'a'; value]);
    for index in 0..256_u32 {
        bytes.extend(http2(1, 4, 1 + 2 * index, &headers));
        // Within the initial window of every stream and of the connection (65,535 bytes).
        bytes.extend(http2(0, 0, 1 + 2 * index, &[0; 200]));
    }
    bytes
}

#[test]
fn a_text_frame_is_refused_with_a_reason() {
    let hub = Hub::start();
    let mut peer = RawTls::websocket(&hub);
    peer.send(&frame(0x81, b"hello"));
    // Close with status code 1003.
    assert_eq!(peer.read_to_end(), [0x88, 2, 0x03, 0xEB]);
    let log = hub.log();
    assert!(log.contains("reason=\"websocket_text_frame\"") && log.contains("binary frames"), "{log}");
}

#[test]
fn the_headers_of_a_request_have_a_limit() {
    let hub = Hub::start();
    let send = |bytes: usize, end: &str| {
        let mut peer = RawTls::https(&hub);
        let value = "a".repeat(bytes);
        let request = format!("GET /devices HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-A: {value}{end}");
        peer.send(request.as_bytes());
        String::from_utf8_lossy(&peer.read_to_end()).into_owned()
    };
    assert!(send(31 * 1024, "\r\n\r\n").starts_with("HTTP/1.1 401"));
    // The response may be lost, because the hub closes the connection with unread bytes.
    let answer = send(100 * 1024, "");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(hub.metric("ferrohub_rejected_sockets_total", "headers_too_large"), 1.0);
    assert!(hub.log().contains("reason=\"headers_too_large\""), "{}", hub.log());
}

#[test]
fn a_websocket_frame_larger_than_connect_may_be_is_refused() {
    let hub = Hub::start();
    let large = {
        let mut bytes = almost_connect();
        // Remaining Length 100 KiB.
        bytes.splice(1..3, [0x80, 0xA0, 0x06]);
        bytes.resize(100 * 1024, b'a');
        bytes
    };
    for bytes in [frame(0x82, &large), [frame(0x02, &large[..1]), frame(0x80, &large[1..])].concat()] {
        let mut peer = RawTls::websocket(&hub);
        peer.send(&bytes);
        let answer = peer.read_to_end();
        // A Close frame, and no CONNACK.
        assert_eq!(answer, [0x88, 0], "{answer:?}");
    }
    eventually("both are counted", Duration::from_secs(10), || {
        (hub.metric("ferrohub_rejected_sockets_total", "packet_too_large") == 2.0).then_some(())
    });
    let log = hub.log();
    assert!(log.contains("packet of 102404 bytes exceeds the limit of 8192 bytes"), "{log}");
}
