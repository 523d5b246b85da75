//! Malicious or malformed bytes cause a defined error and never a panic.

use std::{sync::Arc, time::Instant};

use bytes::BytesMut;
use ferrohub_mqtt::{
    Connect, DecodeError, EncodeError, Limits, Packet, PacketKind, Publish, QoS, Utf8, Utf8Error, client,
    decode, decode_slice, encode, server,
};
use proptest::{collection::vec, prelude::*};

use crate::packets::{LIMITS, corrupted_bytes, encoded};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn both_decoders_agree_on_any_bytes(bytes in prop_oneof![vec(any::<u8>(), 0..64), corrupted_bytes()]) {
        let mut buffer = BytesMut::from(&bytes[..]);
        let owned = decode(&mut buffer, &LIMITS);
        let borrowed = decode_slice(&bytes, &LIMITS);
        prop_assert_eq!(&borrowed.clone().map(|found| found.map(|(packet, _)| packet)), &owned);
        if let Ok(Some((packet, len))) = borrowed {
            prop_assert_eq!(buffer.len(), bytes.len() - len);
            // A decoded packet can be encoded, and decodes to the same packet.
            let again = encoded(&packet);
            prop_assert_eq!(decode_slice(&again, &LIMITS), Ok(Some((packet, again.len()))));
        }
    }

    #[test]
    fn state_machines_do_not_panic_on_any_bytes(
        bytes in prop_oneof![vec(any::<u8>(), 0..64), corrupted_bytes()], connected: bool,
    ) {
        let now = Instant::now();
        let mut server = server::Connection::new(Arc::default(), now);
        let mut client = client::Connection::connect(
            Arc::default(), &Connect::default(), client::Session::default(), now,
        ).unwrap();
        if connected {
            server.handle_input(b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02d1", now).unwrap();
            server.accept(false, now).unwrap();
            client.handle_input(b"\x20\x02\x00\x00", now).unwrap();
            client.subscribe(&[("a", QoS::AtMostOnce)]).unwrap();
        }
        if server.handle_input(&bytes, now).is_err() {
            prop_assert!(server.is_closed());
        }
        if client.handle_input(&bytes, now).is_err() {
            prop_assert!(client.is_closed());
        }
        // At least five bytes make an event.
        let mut events = 0;
        while server.poll_event().is_some() { events += 1; }
        prop_assert!(events <= 1 + bytes.len() / 2);
    }
}

#[test]
fn each_malformed_packet_has_its_error() {
    use DecodeError as E;
    let limits = Limits { max_filters: 2, ..LIMITS };
    let cases: &[(&[u8], E)] = &[
        (b"\x00", E::ReservedType(0)),
        (b"\xf0", E::ReservedType(15)),
        (b"\x36", E::Flags { kind: PacketKind::Publish, flags: 6 }),
        (b"\x38", E::Flags { kind: PacketKind::Publish, flags: 8 }),
        (b"\x80", E::Flags { kind: PacketKind::Subscribe, flags: 0 }),
        (b"\x63", E::Flags { kind: PacketKind::PubRel, flags: 3 }),
        (b"\x30\x80\x80\x80\x80", E::RemainingLength),
        (b"\xc0\x01\x00", E::Length(PacketKind::PingReq)),
        (b"\x40\x03\x00\x01\x00", E::Length(PacketKind::PubAck)),
        (b"\x40\x01\x00", E::Length(PacketKind::PubAck)),
        (b"\x40\x02\x00\x00", E::ZeroPacketId),
        (b"\x30\x04\x00\x03ab", E::Length(PacketKind::Publish)),
        (b"\x30\x02\x00\x00", E::EmptyTopic),
        (b"\x30\x03\x00\x01+", E::Wildcard),
        (b"\x30\x03\x00\x01#", E::Wildcard),
        (b"\x30\x03\x00\x01\xff", E::Utf8(Utf8Error::Invalid)),
        (b"\x30\x03\x00\x01\x00", E::Utf8(Utf8Error::Nul)),
        (b"\x32\x03\x00\x01a", E::Length(PacketKind::Publish)),
        (b"\x32\x05\x00\x01a\x00\x00", E::ZeroPacketId),
        (b"\x82\x02\x00\x01", E::Empty(PacketKind::Subscribe)),
        (b"\x82\x05\x00\x01\x00\x00\x00", E::EmptyTopic),
        (b"\x82\x06\x00\x01\x00\x01a\x03", E::QoS(3)),
        (b"\x82\x06\x00\x01\x00\x01a\x04", E::QoS(4)),
        (b"\x82\x05\x00\x01\x00\x01a", E::Length(PacketKind::Subscribe)),
        (b"\x82\x06\x00\x00\x00\x01a\x00", E::ZeroPacketId),
        (b"\xa2\x0b\x00\x01\x00\x01a\x00\x01a\x00\x01a", E::TooManyFilters { limit: 2 }),
        (b"\xa2\x02\x00\x01", E::Empty(PacketKind::Unsubscribe)),
        (b"\x90\x02\x00\x01", E::Empty(PacketKind::SubAck)),
        (b"\x90\x03\x00\x01\x03", E::SubscribeCode(3)),
        (b"\x20\x02\x02\x00", E::ConnAck { flags: 2, code: 0 }),
        (b"\x20\x02\x01\x05", E::ConnAck { flags: 1, code: 5 }),
        (b"\x20\x02\x00\x06", E::ConnAck { flags: 0, code: 6 }),
        (b"\x10\x0c\x00\x04MQTX\x04\x02\x00\x3c\x00\x00", E::ProtocolName),
        (b"\x10\x0e\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x00", E::ProtocolLevel(3)),
        (b"\x10\x0c\x00\x04MQTT\x84\x02\x00\x3c\x00\x00", E::ProtocolLevel(0x84)),
        (b"\x10\x0c\x00\x04MQTT\x04\x03\x00\x3c\x00\x00", E::ConnectFlags(0x03)), // reserved bit
        (b"\x10\x0c\x00\x04MQTT\x04\x42\x00\x3c\x00\x00", E::ConnectFlags(0x42)), // password without user name
        (b"\x10\x0c\x00\x04MQTT\x04\x0a\x00\x3c\x00\x00", E::ConnectFlags(0x0a)), // QoS without a will
        (b"\x10\x0c\x00\x04MQTT\x04\x22\x00\x3c\x00\x00", E::ConnectFlags(0x22)), // retain without a will
        (b"\x10\x0c\x00\x04MQTT\x04\x1e\x00\x3c\x00\x00", E::ConnectFlags(0x1e)), // will with QoS 3
        (b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x00x", E::Length(PacketKind::Connect)),
        (b"\x10\x0c\x00\x04MQTT\x04\x82\x00\x3c\x00\x00", E::Length(PacketKind::Connect)), // no user name
    ];
    for (bytes, error) in cases {
        assert_eq!(decode_slice(bytes, &limits), Err(*error), "{bytes:x?}");
    }
}

#[test]
fn wildcards_in_topics_can_be_allowed() {
    let limits = Limits { wildcards_in_topics: true, ..LIMITS };
    assert!(matches!(decode_slice(b"\x30\x05\x00\x03a+b", &limits), Ok(Some(_))));
}

#[test]
fn a_packet_that_cannot_be_encoded_leaves_the_buffer_unchanged() {
    let topic = |text: &str| Utf8::try_from(text).unwrap();
    let publish = Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: topic("a"),
        packet_id: None,
        payload: b"x"[..].into(),
    };
    let cases = [
        (Packet::Publish(Publish { topic: topic(""), ..publish.clone() }), EncodeError::EmptyTopic),
        (Packet::Publish(Publish { dup: true, ..publish.clone() }), EncodeError::PacketId),
        (Packet::Publish(Publish { qos: QoS::AtLeastOnce, ..publish }), EncodeError::PacketId),
        (
            Packet::Connect(Box::new(Connect { password: Some(b"x"[..].into()), ..Connect::default() })),
            EncodeError::PasswordWithoutUsername,
        ),
        (
            Packet::Connect(Box::new(Connect {
                username: Some(topic("u")),
                password: Some(vec![0; 65_536].into()),
                ..Connect::default()
            })),
            EncodeError::FieldTooLong,
        ),
    ];
    for (packet, error) in cases {
        let mut out = BytesMut::from(&b"before"[..]);
        assert_eq!(encode(&packet, &mut out), Err(error));
        assert_eq!(&out[..], b"before");
    }
}
