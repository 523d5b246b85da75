//! Encodes packets (chapter 3).

use bytes::{BufMut, BytesMut};

use super::{
    EncodeError,
    header::put,
    publish::{PublishHeader, publish},
};
use crate::{ConnAck, Connect, Packet, PacketId, PacketKind, QoS, SubscribeCode, Utf8};

/// Appends `packet` to `out`. After an error `out` is unchanged.
///
/// Wildcards in the topic of a message are not refused here; the state machines refuse them.
pub fn encode(packet: &Packet, out: &mut BytesMut) -> Result<(), EncodeError> {
    let kind = packet.kind();
    match packet {
        Packet::Connect(packet) => connect(packet, out),
        Packet::ConnAck(packet) => {
            connack(*packet, out);
            Ok(())
        }
        Packet::Publish(packet) => {
            let header = PublishHeader {
                dup: packet.dup,
                qos: packet.qos,
                retain: packet.retain,
                packet_id: packet.packet_id,
                allow_wildcards: true,
            };
            publish(out, header, &packet.topic, &packet.payload).map(|_| ())
        }
        Packet::PubAck(id)
        | Packet::PubRec(id)
        | Packet::PubRel(id)
        | Packet::PubComp(id)
        | Packet::UnsubAck(id) => {
            id_packet(kind, *id, out);
            Ok(())
        }
        Packet::Subscribe(packet) => {
            let filters = packet.filters.iter().map(|(filter, qos)| (filter.as_bytes(), *qos));
            subscribe(packet.packet_id, filters, out)
        }
        Packet::SubAck(packet) => suback(packet.packet_id, &packet.codes, out),
        Packet::Unsubscribe(packet) => {
            unsubscribe(packet.packet_id, packet.filters.iter().map(Utf8::as_bytes), out)
        }
        Packet::PingReq | Packet::PingResp | Packet::Disconnect => put(out, kind, 0),
    }
}

fn field_len(bytes: &[u8]) -> Result<usize, EncodeError> {
    if bytes.len() > Utf8::MAX_LEN { Err(EncodeError::FieldTooLong) } else { Ok(2 + bytes.len()) }
}

/// Writes a field that `field_len` has accepted.
fn put_field(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u16(bytes.len() as u16);
    out.put_slice(bytes);
}

pub(crate) fn connect(connect: &Connect, out: &mut BytesMut) -> Result<(), EncodeError> {
    if connect.password.is_some() && connect.username.is_none() {
        return Err(EncodeError::PasswordWithoutUsername);
    }
    let will = connect.will.as_ref();
    if will.is_some_and(|will| will.topic.as_bytes().is_empty()) {
        return Err(EncodeError::EmptyTopic);
    }
    let username = connect.username.as_ref().map(Utf8::as_bytes);
    let fields = || {
        let will = will.into_iter().flat_map(|will| [will.topic.as_bytes(), &will.payload]);
        [connect.client_id.as_bytes()]
            .into_iter()
            .chain(will)
            .chain(username)
            .chain(connect.password.as_deref())
    };
    let mut remaining_length = 10;
    for field in fields() {
        remaining_length += field_len(field)?;
    }
    let mut flags = u8::from(connect.clean_session) << 1;
    if let Some(will) = will {
        flags |= 1 << 2 | (will.qos as u8) << 3 | u8::from(will.retain) << 5;
    }
    flags |= u8::from(connect.password.is_some()) << 6 | u8::from(connect.username.is_some()) << 7;

    put(out, PacketKind::Connect, remaining_length)?;
    put_field(out, b"MQTT");
    out.put_slice(&[4, flags]);
    out.put_u16(connect.keep_alive);
    fields().for_each(|field| put_field(out, field));
    Ok(())
}

pub(crate) fn connack(connack: ConnAck, out: &mut BytesMut) {
    let (flags, code) = match connack {
        ConnAck::Accepted { session_present } => (u8::from(session_present), 0),
        ConnAck::Refused(refusal) => (0, refusal as u8),
    };
    out.put_slice(&[(PacketKind::ConnAck as u8) << 4, 2, flags, code]);
}

/// Writes a packet that contains only an identifier.
pub(crate) fn id_packet(kind: PacketKind, packet_id: PacketId, out: &mut BytesMut) {
    let [high, low] = packet_id.get().to_be_bytes();
    out.put_slice(&[(kind as u8) << 4 | kind.fixed_flags().unwrap_or(0), 2, high, low]);
}

pub(crate) fn subscribe<'a>(
    packet_id: PacketId,
    filters: impl Iterator<Item = (&'a [u8], QoS)> + Clone,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let remaining_length = filters_len(filters.clone().map(|(filter, _)| filter), 1)?;
    put(out, PacketKind::Subscribe, remaining_length)?;
    out.put_u16(packet_id.get());
    filters.for_each(|(filter, qos)| {
        put_field(out, filter);
        out.put_u8(qos as u8);
    });
    Ok(())
}

pub(crate) fn unsubscribe<'a>(
    packet_id: PacketId,
    filters: impl Iterator<Item = &'a [u8]> + Clone,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let remaining_length = filters_len(filters.clone(), 0)?;
    put(out, PacketKind::Unsubscribe, remaining_length)?;
    out.put_u16(packet_id.get());
    filters.for_each(|filter| put_field(out, filter));
    Ok(())
}

/// Returns the Remaining Length of an identifier and `filters`, with `extra` bytes after each filter.
fn filters_len<'a>(filters: impl Iterator<Item = &'a [u8]>, extra: usize) -> Result<usize, EncodeError> {
    let mut len = 2;
    for filter in filters {
        if filter.is_empty() {
            return Err(EncodeError::EmptyTopic);
        }
        len += field_len(filter)? + extra;
    }
    if len == 2 { Err(EncodeError::Empty) } else { Ok(len) }
}

pub(crate) fn suback(
    packet_id: PacketId,
    codes: &[SubscribeCode],
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    if codes.is_empty() {
        return Err(EncodeError::Empty);
    }
    put(out, PacketKind::SubAck, 2 + codes.len())?;
    out.put_u16(packet_id.get());
    codes.iter().for_each(|code| out.put_u8(code.to_byte()));
    Ok(())
}
