//! Generators of all packets, for property tests.

use bytes::{Bytes, BytesMut};
use ferrohub_mqtt::{
    ConnAck, Connect, Limits, Packet, PacketId, Publish, QoS, Refusal, SubAck, Subscribe, SubscribeCode,
    Unsubscribe, Utf8, Will, encode,
};
use proptest::{collection::vec, option, prelude::*};

/// Limits that no generated packet exceeds.
pub(crate) const LIMITS: Limits =
    Limits { max_packet_size: 1024 * 1024, max_filters: 16, wildcards_in_topics: false };

pub(crate) fn encoded(packet: &Packet) -> BytesMut {
    let mut out = BytesMut::new();
    encode(packet, &mut out).unwrap();
    out
}

pub(crate) fn stream(packets: &[Packet]) -> Vec<u8> {
    packets.iter().flat_map(encoded).collect()
}

fn text() -> impl Strategy<Value = Utf8> {
    let character = prop_oneof![3 => prop::char::range(' ', '~'), 1 => any::<char>()];
    let text =
        vec(character, 0..24).prop_map(|text| text.into_iter().filter(|&c| c != '\0').collect::<String>());
    text.prop_map(|text| Utf8::try_from(text).unwrap())
}

fn filter() -> impl Strategy<Value = Utf8> {
    text().prop_filter("filters are not empty", |text| !text.is_empty())
}

fn topic() -> impl Strategy<Value = Utf8> {
    filter().prop_filter("topics have no wildcards", |text| !text.contains(['+', '#']))
}

fn payload() -> impl Strategy<Value = Bytes> {
    // Mostly small, sometimes around the lengths where the Remaining Length needs another byte.
    let len = prop_oneof![8 => 0_usize..40, 2 => 90_usize..140, 1 => 16_330_usize..16_400];
    (len, any::<u8>()).prop_map(|(len, first)| (0..len).map(|at| first.wrapping_add(at as u8)).collect())
}

fn id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|id| PacketId::new(id).unwrap())
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)]
}

fn will() -> impl Strategy<Value = Will> {
    (topic(), vec(any::<u8>(), 0..40), qos(), any::<bool>()).prop_map(|(topic, payload, qos, retain)| Will {
        topic,
        payload: payload.into(),
        qos,
        retain,
    })
}

pub(crate) fn connect() -> impl Strategy<Value = Connect> {
    let login = option::of((text(), option::of(vec(any::<u8>(), 0..40))));
    (text(), any::<bool>(), any::<u16>(), login, option::of(will())).prop_map(
        |(client_id, clean_session, keep_alive, login, will)| {
            let (username, password) = login.unzip();
            let password = password.flatten().map(Bytes::from);
            Connect { client_id, clean_session, keep_alive, username, password, will }
        },
    )
}

pub(crate) fn publish(qos: impl Strategy<Value = QoS>) -> impl Strategy<Value = Packet> {
    (qos, any::<bool>(), any::<bool>(), topic(), id(), payload()).prop_map(
        |(qos, dup, retain, topic, packet_id, payload)| {
            let packet_id = (qos != QoS::AtMostOnce).then_some(packet_id);
            Packet::Publish(Publish {
                dup: dup && packet_id.is_some(),
                qos,
                retain,
                topic,
                packet_id,
                payload,
            })
        },
    )
}

fn connack() -> impl Strategy<Value = ConnAck> {
    prop_oneof![
        any::<bool>().prop_map(|session_present| ConnAck::Accepted { session_present }),
        Just(ConnAck::Refused(Refusal::ProtocolVersion)),
        Just(ConnAck::Refused(Refusal::ClientId)),
        Just(ConnAck::Refused(Refusal::ServerUnavailable)),
        Just(ConnAck::Refused(Refusal::BadCredentials)),
        Just(ConnAck::Refused(Refusal::NotAuthorized)),
    ]
}

fn subscribe() -> impl Strategy<Value = Packet> {
    (id(), vec((filter(), qos()), 1..6))
        .prop_map(|(packet_id, filters)| Packet::Subscribe(Subscribe { packet_id, filters }))
}

fn unsubscribe() -> impl Strategy<Value = Packet> {
    (id(), vec(filter(), 1..6))
        .prop_map(|(packet_id, filters)| Packet::Unsubscribe(Unsubscribe { packet_id, filters }))
}

fn suback() -> impl Strategy<Value = Packet> {
    let code = prop_oneof![qos().prop_map(SubscribeCode::Granted), Just(SubscribeCode::Failure)];
    (id(), vec(code, 1..6)).prop_map(|(packet_id, codes)| Packet::SubAck(SubAck { packet_id, codes }))
}

/// Generates any packet.
pub(crate) fn packet() -> impl Strategy<Value = Packet> {
    prop_oneof![
        3 => connect().prop_map(|connect| Packet::Connect(Box::new(connect))),
        1 => connack().prop_map(Packet::ConnAck),
        3 => publish(qos()),
        1 => id().prop_map(Packet::PubAck),
        1 => id().prop_map(Packet::PubRec),
        1 => id().prop_map(Packet::PubRel),
        1 => id().prop_map(Packet::PubComp),
        2 => subscribe(),
        1 => suback(),
        2 => unsubscribe(),
        1 => id().prop_map(Packet::UnsubAck),
        1 => Just(Packet::PingReq),
        1 => Just(Packet::PingResp),
        1 => Just(Packet::Disconnect),
    ]
}

/// Generates a packet that a connected client may send.
pub(crate) fn client_packet() -> impl Strategy<Value = Packet> {
    prop_oneof![
        4 => publish(prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce)]),
        1 => id().prop_map(Packet::PubAck),
        1 => subscribe(),
        1 => unsubscribe(),
        1 => Just(Packet::PingReq),
    ]
}

/// Generates the bytes of packets with some bytes changed, removed or inserted.
pub(crate) fn corrupted_bytes() -> impl Strategy<Value = Vec<u8>> {
    let edits = vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 0..4);
    (vec(packet(), 1..3), edits).prop_map(|(packets, edits)| {
        let mut bytes = stream(&packets);
        for (at, byte, edit) in edits {
            // Headers are at the front of a packet, and errors there have the most effect.
            let at = at.index(bytes.len().clamp(1, 48));
            match edit {
                0 if at < bytes.len() => bytes[at] = byte,
                1 if at < bytes.len() => drop(bytes.remove(at)),
                _ => bytes.insert(at.min(bytes.len()), byte),
            }
        }
        bytes
    })
}
