//! Decodes the variable header and payload of each packet (chapter 3).

use super::{
    DecodeError, Limits,
    body::{Body, Reader},
    header::Header,
};
use crate::{
    ConnAck, Connect, Packet, PacketKind, Publish, QoS, Refusal, SubAck, Subscribe, SubscribeCode,
    Unsubscribe, Will,
};

/// Decodes the `body` that follows `header`.
pub(super) fn body<B: Body>(header: Header, body: &B, limits: &Limits) -> Result<Packet, DecodeError> {
    let reader = Reader::new(header.kind, body);
    Ok(match header.kind {
        PacketKind::Connect => Packet::Connect(Box::new(connect(reader, limits)?)),
        PacketKind::ConnAck => Packet::ConnAck(connack(reader)?),
        PacketKind::Publish => Packet::Publish(publish(reader, header.flags, limits)?),
        PacketKind::PubAck => Packet::PubAck(id_only(reader)?),
        PacketKind::PubRec => Packet::PubRec(id_only(reader)?),
        PacketKind::PubRel => Packet::PubRel(id_only(reader)?),
        PacketKind::PubComp => Packet::PubComp(id_only(reader)?),
        PacketKind::Subscribe => Packet::Subscribe(subscribe(reader, limits)?),
        PacketKind::SubAck => Packet::SubAck(suback(reader)?),
        PacketKind::Unsubscribe => Packet::Unsubscribe(unsubscribe(reader, limits)?),
        PacketKind::UnsubAck => Packet::UnsubAck(id_only(reader)?),
        PacketKind::PingReq => empty_packet(reader, Packet::PingReq)?,
        PacketKind::PingResp => empty_packet(reader, Packet::PingResp)?,
        PacketKind::Disconnect => empty_packet(reader, Packet::Disconnect)?,
    })
}

fn connect<B: Body>(mut reader: Reader<'_, B>, limits: &Limits) -> Result<Connect, DecodeError> {
    let (name, _) = reader.field()?;
    let level = reader.u8()?;
    match (name, level) {
        (b"MQTT", 4) => {}
        // MQIsdp is the protocol name of MQTT 3.1.
        (b"MQTT" | b"MQIsdp", level) => return Err(DecodeError::ProtocolLevel(level)),
        _ => return Err(DecodeError::ProtocolName),
    }
    let flags = reader.u8()?;
    let invalid_flags = DecodeError::ConnectFlags(flags);
    let [reserved, clean_session, has_will, _, _, will_retain, has_password, has_username] =
        std::array::from_fn(|bit| flags >> bit & 1 == 1);
    let will_qos = QoS::from_bits(flags >> 3 & 0b11).ok_or(invalid_flags)?;
    if reserved || has_password && !has_username || !has_will && (will_retain || will_qos != QoS::AtMostOnce)
    {
        return Err(invalid_flags);
    }
    let keep_alive = reader.u16()?;
    let client_id = reader.text()?;
    let will = if has_will {
        let topic = reader.topic_name(limits.wildcards_in_topics)?;
        Some(Will { topic, payload: reader.binary()?, qos: will_qos, retain: will_retain })
    } else {
        None
    };
    let username = has_username.then(|| reader.text()).transpose()?;
    let password = has_password.then(|| reader.binary()).transpose()?;
    reader.finish()?;
    Ok(Connect { client_id, clean_session, keep_alive, username, password, will })
}

fn connack<B: Body>(mut reader: Reader<'_, B>) -> Result<ConnAck, DecodeError> {
    let (flags, code) = (reader.u8()?, reader.u8()?);
    reader.finish()?;
    match (flags, code) {
        (0 | 1, 0) => Ok(ConnAck::Accepted { session_present: flags == 1 }),
        (0, code) => {
            Refusal::from_code(code).map(ConnAck::Refused).ok_or(DecodeError::ConnAck { flags, code })
        }
        _ => Err(DecodeError::ConnAck { flags, code }),
    }
}

fn publish<B: Body>(mut reader: Reader<'_, B>, flags: u8, limits: &Limits) -> Result<Publish, DecodeError> {
    let qos = QoS::from_bits(flags >> 1 & 0b11).ok_or(DecodeError::QoS(flags))?;
    let topic = reader.topic_name(limits.wildcards_in_topics)?;
    let packet_id = if qos == QoS::AtMostOnce { None } else { Some(reader.packet_id()?) };
    Ok(Publish {
        dup: flags & 0b1000 != 0,
        qos,
        retain: flags & 1 != 0,
        topic,
        packet_id,
        payload: reader.rest(),
    })
}

fn subscribe<B: Body>(mut reader: Reader<'_, B>, limits: &Limits) -> Result<Subscribe, DecodeError> {
    let packet_id = reader.packet_id()?;
    let filters = list(reader, PacketKind::Subscribe, limits, |reader| {
        let filter = reader.topic_filter()?;
        let bits = reader.u8()?;
        Ok((filter, QoS::from_bits(bits).ok_or(DecodeError::QoS(bits))?))
    })?;
    Ok(Subscribe { packet_id, filters })
}

fn unsubscribe<B: Body>(mut reader: Reader<'_, B>, limits: &Limits) -> Result<Unsubscribe, DecodeError> {
    let packet_id = reader.packet_id()?;
    let filters = list(reader, PacketKind::Unsubscribe, limits, Reader::topic_filter)?;
    Ok(Unsubscribe { packet_id, filters })
}

/// Reads one or more items up to the end of the packet.
fn list<'a, B: Body, T>(
    mut reader: Reader<'a, B>,
    kind: PacketKind,
    limits: &Limits,
    item: impl Fn(&mut Reader<'a, B>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    if reader.is_at_end() {
        return Err(DecodeError::Empty(kind));
    }
    let mut items = Vec::new();
    while !reader.is_at_end() {
        if items.len() == limits.max_filters {
            return Err(DecodeError::TooManyFilters { limit: limits.max_filters });
        }
        items.push(item(&mut reader)?);
    }
    Ok(items)
}

fn suback<B: Body>(mut reader: Reader<'_, B>) -> Result<SubAck, DecodeError> {
    let packet_id = reader.packet_id()?;
    if reader.is_at_end() {
        return Err(DecodeError::Empty(PacketKind::SubAck));
    }
    let code = |&byte: &u8| SubscribeCode::from_byte(byte).ok_or(DecodeError::SubscribeCode(byte));
    let codes = reader.rest_bytes().iter().map(code).collect::<Result<_, _>>()?;
    Ok(SubAck { packet_id, codes })
}

fn id_only<B: Body>(mut reader: Reader<'_, B>) -> Result<crate::PacketId, DecodeError> {
    let packet_id = reader.packet_id()?;
    reader.finish()?;
    Ok(packet_id)
}

fn empty_packet<B: Body>(reader: Reader<'_, B>, packet: Packet) -> Result<Packet, DecodeError> {
    reader.finish()?;
    Ok(packet)
}
