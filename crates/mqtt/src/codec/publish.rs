//! Encodes a PUBLISH and formats its topic directly into the buffer.

use std::{
    fmt::{self, Write},
    ops::Range,
};

use bytes::{BufMut, BytesMut};

use super::{EncodeError, MAX_REMAINING_LENGTH, header};
use crate::{PacketId, PacketKind, QoS, Utf8};

/// A PUBLISH without topic and payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PublishHeader {
    pub(crate) dup: bool,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) packet_id: Option<PacketId>,
    pub(crate) allow_wildcards: bool,
}

/// The maximum length of the fixed header and the length field of the topic.
const MAX_PREFIX: usize = 5 + 2;

/// Appends a PUBLISH to `out` and returns the range of its topic in `out`. After an error `out` is unchanged.
pub(crate) fn publish(
    out: &mut BytesMut,
    header: PublishHeader,
    topic: &dyn fmt::Display,
    payload: &[u8],
) -> Result<Range<usize>, EncodeError> {
    if header.packet_id.is_some() != (header.qos != QoS::AtMostOnce)
        || header.dup && header.packet_id.is_none()
    {
        return Err(EncodeError::PacketId);
    }
    let start = out.len();
    let written = write(out, header, topic, payload);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

fn write(
    out: &mut BytesMut,
    header: PublishHeader,
    topic: &dyn fmt::Display,
    payload: &[u8],
) -> Result<Range<usize>, EncodeError> {
    // The length of the header depends on the length of the topic, which is known only after formatting. So reserve
    // space for the longest header, format the topic, then move the topic (which is short) to close the gap before
    // the payload is written.
    let start = out.len();
    out.reserve(MAX_PREFIX + 64 + payload.len());
    out.put_bytes(0, MAX_PREFIX);
    let topic_len = put_topic(out, topic, header.allow_wildcards)?;

    let remaining_length = 2 + topic_len + header.packet_id.map_or(0, |_| 2) + payload.len();
    if remaining_length > MAX_REMAINING_LENGTH {
        return Err(EncodeError::TooLarge);
    }
    let header_len = 1 + header::length_len(remaining_length);
    let topic_at = start + header_len + 2;
    out.copy_within(start + MAX_PREFIX..start + MAX_PREFIX + topic_len, topic_at);
    out.truncate(topic_at + topic_len);

    let flags = u8::from(header.dup) << 3 | (header.qos as u8) << 1 | u8::from(header.retain);
    let front = [(PacketKind::Publish as u8) << 4 | flags]
        .into_iter()
        .chain(header::length_bytes(remaining_length).into_iter().take(header_len - 1))
        .chain((topic_len as u16).to_be_bytes());
    for (target, byte) in out.iter_mut().skip(start).zip(front) {
        *target = byte;
    }
    if let Some(packet_id) = header.packet_id {
        out.put_u16(packet_id.get());
    }
    out.put_slice(payload);
    Ok(topic_at..topic_at + topic_len)
}

/// Appends the topic and returns its length in bytes, at most 65 535.
fn put_topic(
    out: &mut BytesMut,
    topic: &dyn fmt::Display,
    allow_wildcards: bool,
) -> Result<usize, EncodeError> {
    let start = out.len();
    let mut writer = TopicWriter { out, left: Utf8::MAX_LEN, overflow: false };
    let formatted = write!(writer, "{topic}");
    if writer.overflow {
        return Err(EncodeError::FieldTooLong);
    }
    formatted.map_err(|fmt::Error| EncodeError::Format)?;
    let bytes = out.get(start..).unwrap_or_default();
    if bytes.is_empty() {
        return Err(EncodeError::EmptyTopic);
    }
    if bytes.contains(&0) || !allow_wildcards && Utf8::has_wildcard(bytes) {
        return Err(EncodeError::TopicCharacter);
    }
    Ok(bytes.len())
}

struct TopicWriter<'a> {
    out: &'a mut BytesMut,
    left: usize,
    overflow: bool,
}

impl Write for TopicWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match self.left.checked_sub(text.len()) {
            Some(left) => self.left = left,
            None => {
                self.overflow = true;
                return Err(fmt::Error);
            }
        }
        self.out.put_slice(text.as_bytes());
        Ok(())
    }
}
