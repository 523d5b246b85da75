//! Encodes and decodes packets strictly according to MQTT 3.1.1.
//!
//! One decoder serves two sources: from a borrowed slice, strings and payloads are copied once; from a shared buffer,
//! they are reference-counted slices of it.

mod body;
mod decode;
mod encode;
mod error;
mod header;
mod publish;

use bytes::{Buf, Bytes, BytesMut};

pub use encode::encode;
pub use error::{DecodeError, EncodeError};

pub(crate) use encode::{connack, connect, id_packet, suback, subscribe, unsubscribe};
pub(crate) use header::Header;
pub(crate) use publish::{PublishHeader, publish};

use crate::Packet;

/// The largest Remaining Length that four bytes can encode (MQTT 3.1.1, section 2.2.3).
pub const MAX_REMAINING_LENGTH: usize = 268_435_455;

/// Limits of the decoder, in addition to the rules of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The maximum packet size in bytes, including the fixed header. A larger packet is refused as soon as its length
    /// is known.
    pub max_packet_size: usize,
    /// The maximum number of filters in one SUBSCRIBE or UNSUBSCRIBE: a filter needs many times its encoded size in
    /// memory.
    pub max_filters: usize,
    /// Whether the topic of a message may contain `+` and `#`, contrary to MQTT-3.3.2-2. IoT Hub device ids may contain
    /// them, and a device's topics contain its id.
    pub wildcards_in_topics: bool,
}

impl Default for Limits {
    /// IoT Hub's 256 KiB message with the longest topic, 64 filters, no wildcards in topics.
    fn default() -> Self {
        Self { max_packet_size: 256 * 1024 + 65_535 + 16, max_filters: 64, wildcards_in_topics: false }
    }
}

/// Removes and returns the packet at the front of `buffer`; `None` if it is not complete yet.
///
/// Strings and payloads share the buffer's memory. No memory is reserved for an incomplete packet.
pub fn decode(buffer: &mut BytesMut, limits: &Limits) -> Result<Option<Packet>, DecodeError> {
    let Some(header) = Header::parse(buffer, limits)? else {
        return Ok(None);
    };
    if buffer.len() < header.packet_len() {
        return Ok(None);
    }
    decode_owned(header, buffer.split_to(header.packet_len()).freeze(), limits).map(Some)
}

/// Returns the packet at the front of `input` and its size in bytes; `None` if it is not complete yet.
///
/// Strings and payloads are copied.
pub fn decode_slice(input: &[u8], limits: &Limits) -> Result<Option<(Packet, usize)>, DecodeError> {
    let Some(header) = Header::parse(input, limits)? else {
        return Ok(None);
    };
    let Some(body) = input.get(header.len..header.packet_len()) else {
        return Ok(None);
    };
    Ok(Some((decode::body(header, &body, limits)?, header.packet_len())))
}

/// Decodes `packet`, which is exactly the packet that `header` announces.
pub(crate) fn decode_owned(
    header: Header,
    mut packet: Bytes,
    limits: &Limits,
) -> Result<Packet, DecodeError> {
    packet.advance(header.len.min(packet.len()));
    decode::body(header, &packet, limits)
}
