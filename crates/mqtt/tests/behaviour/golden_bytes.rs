//! Encoded packets that must never change, including bytes sent by paho-mqtt 1.6.1, which Microsoft's Python SDK uses.

use std::{sync::Arc, time::Instant};

use bytes::{Bytes, BytesMut};
use ferrohub_mqtt::{
    ConnAck, Connect, Packet, PacketId, Publish, QoS, Refusal, SubAck, Subscribe, SubscribeCode, Unsubscribe,
    Utf8, Will, client, decode_slice, server,
};

use crate::packets::{LIMITS, encoded};

fn text(text: &str) -> Utf8 {
    Utf8::try_from(text).unwrap()
}

fn id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

fn check(packet: Packet, golden: &[u8]) {
    assert_eq!(encoded(&packet), golden);
    assert_eq!(decode_slice(golden, &LIMITS), Ok(Some((packet, golden.len()))));
}

#[test]
fn connect_has_these_bytes() {
    let everything = Connect {
        client_id: text("d1"),
        clean_session: true,
        keep_alive: 60,
        username: Some(text("h/d1/?api-version=2019-10-01")),
        password: Some(Bytes::from_static(b"SharedAccessSignature sr=h")),
        will: Some(Will {
            topic: text("devices/d1/messages/events/"),
            payload: Bytes::from_static(b"gone"),
            qos: QoS::AtLeastOnce,
            retain: true,
        }),
    };
    check(
        Packet::Connect(Box::new(everything)),
        b"\x10\x6b\x00\x04MQTT\x04\xee\x00\x3c\x00\x02d1\x00\x1bdevices/d1/messages/events/\x00\x04gone\
          \x00\x1ch/d1/?api-version=2019-10-01\x00\x1aSharedAccessSignature sr=h",
    );
}

#[test]
fn connack_has_these_bytes() {
    check(Packet::ConnAck(ConnAck::Accepted { session_present: false }), b"\x20\x02\x00\x00");
    check(Packet::ConnAck(ConnAck::Accepted { session_present: true }), b"\x20\x02\x01\x00");
    check(Packet::ConnAck(ConnAck::Refused(Refusal::NotAuthorized)), b"\x20\x02\x00\x05");
}

#[test]
fn publish_has_these_bytes() {
    let method = Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: text("$iothub/methods/POST/reboot/?$rid=1"),
        packet_id: None,
        payload: Bytes::from_static(b"null"),
    };
    check(Packet::Publish(method.clone()), b"\x30\x29\x00\x23$iothub/methods/POST/reboot/?$rid=1null");
    let again = Publish {
        dup: true,
        qos: QoS::AtLeastOnce,
        retain: true,
        packet_id: Some(id(0x1234)),
        payload: Bytes::new(),
        topic: text("é"),
    };
    check(Packet::Publish(again), b"\x3b\x06\x00\x02\xc3\xa9\x12\x34");
    let exactly = Publish { qos: QoS::ExactlyOnce, packet_id: Some(id(1)), topic: text("a"), ..method };
    check(Packet::Publish(exactly), b"\x34\x09\x00\x01a\x00\x01null");
}

#[test]
fn a_publish_with_a_two_byte_length_has_these_bytes() {
    let publish = Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: text("a"),
        packet_id: None,
        payload: Bytes::from_static(&[b'x'; 125]),
    };
    check(Packet::Publish(publish), &[&b"\x30\x80\x01\x00\x01a"[..], &[b'x'; 125]].concat());
}

#[test]
fn subscribe_and_unsubscribe_have_these_bytes() {
    let filters = vec![(text("$iothub/methods/POST/#"), QoS::AtLeastOnce)];
    let subscribe = Subscribe { packet_id: id(1), filters };
    check(Packet::Subscribe(subscribe), b"\x82\x1b\x00\x01\x00\x16$iothub/methods/POST/#\x01");
    let codes = vec![SubscribeCode::Granted(QoS::AtLeastOnce), SubscribeCode::Failure];
    check(Packet::SubAck(SubAck { packet_id: id(1), codes }), b"\x90\x04\x00\x01\x01\x80");
    let unsubscribe = Unsubscribe { packet_id: id(2), filters: vec![text("a"), text("b")] };
    check(Packet::Unsubscribe(unsubscribe), b"\xa2\x08\x00\x02\x00\x01a\x00\x01b");
    check(Packet::UnsubAck(id(2)), b"\xb0\x02\x00\x02");
}

#[test]
fn packets_without_a_payload_have_these_bytes() {
    check(Packet::PubAck(id(0xffff)), b"\x40\x02\xff\xff");
    check(Packet::PubRec(id(1)), b"\x50\x02\x00\x01");
    check(Packet::PubRel(id(1)), b"\x62\x02\x00\x01");
    check(Packet::PubComp(id(1)), b"\x70\x02\x00\x01");
    check(Packet::PingReq, b"\xc0\x00");
    check(Packet::PingResp, b"\xd0\x00");
    check(Packet::Disconnect, b"\xe0\x00");
}

/// Recorded from paho-mqtt 1.6.1 with a client like that of the Python SDK: the message is not acknowledged, the
/// connection ends, and the next connection sends the message again. Our client state machine sends the same bytes, and
/// our server state machine reads them.
#[test]
fn client_sends_and_server_reads_the_bytes_of_paho() {
    const CONNECT: &[u8] = b"\x10\x8d\x01\x00\x04MQTT\x04\xc0\x00<\x00\x02d1\
        \x00<localhost/d1/?api-version=2019-10-01&DeviceClientType=py%2F2\
        \x00?SharedAccessSignature sr=localhost%2Fdevices%2Fd1&sig=x%3D&se=1";
    const SUBSCRIBE: &[u8] = b"\x82\x1b\x00\x01\x00\x16$iothub/methods/POST/#\x01";
    const PUBLISH: &[u8] = b"2/\x00$devices/d1/messages/events/%24.mid=1\x00\x02{\"t\":1}";
    const PUBLISH_AGAIN: &[u8] = b":/\x00$devices/d1/messages/events/%24.mid=1\x00\x02{\"t\":1}";
    const UNSUBSCRIBE: &[u8] = b"\xa2\x1a\x00\x03\x00\x16$iothub/methods/POST/#";
    const DISCONNECT: &[u8] = b"\xe0\x00";

    let now = Instant::now();
    let connect = Connect {
        client_id: text("d1"),
        keep_alive: 60,
        username: Some(text("localhost/d1/?api-version=2019-10-01&DeviceClientType=py%2F2")),
        password: Some(Bytes::from_static(
            b"SharedAccessSignature sr=localhost%2Fdevices%2Fd1&sig=x%3D&se=1",
        )),
        ..Connect::default()
    };
    let open = |session| client::Connection::connect(Arc::default(), &connect, session, now).unwrap();

    let mut first = open(client::Session::default());
    assert_eq!(sent(&mut first), CONNECT);
    first.handle_input(b"\x20\x02\x00\x00", now).unwrap();
    first.subscribe(&[("$iothub/methods/POST/#", QoS::AtLeastOnce)]).unwrap();
    assert_eq!(sent(&mut first), SUBSCRIBE);
    let payload = Bytes::from_static(b"{\"t\":1}");
    first.publish("devices/d1/messages/events/%24.mid=1", QoS::AtLeastOnce, payload).unwrap();
    assert_eq!(sent(&mut first), PUBLISH);
    first.disconnect();
    assert_eq!(sent(&mut first), DISCONNECT);

    let mut second = open(first.into_session());
    assert_eq!(sent(&mut second), CONNECT);
    second.handle_input(b"\x20\x02\x00\x00", now).unwrap();
    assert_eq!(sent(&mut second), PUBLISH_AGAIN);
    second.handle_input(b"\x40\x02\x00\x02", now).unwrap();
    second.unsubscribe(&["$iothub/methods/POST/#"]).unwrap();
    assert_eq!(sent(&mut second), UNSUBSCRIBE);

    let mut server = server::Connection::new(Arc::default(), now);
    server.handle_input(CONNECT, now).unwrap();
    assert_eq!(server.poll_event(), Some(server::Event::Connect(Box::new(connect))));
    server.accept(false, now).unwrap();
    for packet in [SUBSCRIBE, PUBLISH, PUBLISH_AGAIN, UNSUBSCRIBE, DISCONNECT] {
        server.handle_input(packet, now).unwrap();
        assert!(server.poll_event().is_some() && server.poll_event().is_none());
    }
}

fn sent(connection: &mut client::Connection) -> BytesMut {
    let mut out = BytesMut::new();
    connection.poll_transmit(&mut out);
    out
}
