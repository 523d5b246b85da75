//! Packets to bytes and back, by the letter of MQTT 3.1.1.
//!
//! One decoder serves two sources: a borrowed slice, of which strings and payloads are copied once, and a shared
//! buffer, which they keep a share of.

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

/// The largest Remaining Length that four bytes can say (2.2.3).
pub const MAX_REMAINING_LENGTH: usize = 268_435_455;

/// What the decoder takes, beyond what the specification says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest packet in bytes, fixed header included. A larger one is refused as soon as its length is known.
    pub max_packet_size: usize,
    /// The most filters in one SUBSCRIBE or UNSUBSCRIBE: each costs many times its bytes.
    pub max_filters: usize,
    /// Whether `+` and `#` may stand in the topic of a message, against MQTT-3.3.2-2. IoT Hub device ids may contain
    /// them, and a device's topics contain its id.
    pub wildcards_in_topics: bool,
}

impl Default for Limits {
    /// IoT Hub's 256 KiB message with the longest topic, 64 filters, no wildcards in topics.
    fn default() -> Self {
        Self { max_packet_size: 256 * 1024 + 65_535 + 16, max_filters: 64, wildcards_in_topics: false }
    }
}

/// Takes the next packet off the front of `buffer`; `None` when it is not complete yet.
///
/// Strings and payloads share the buffer's memory. Nothing is reserved for a packet that is not there.
pub fn decode(buffer: &mut BytesMut, limits: &Limits) -> Result<Option<Packet>, DecodeError> {
    let Some(header) = Header::parse(buffer, limits)? else {
        return Ok(None);
    };
    if buffer.len() < header.packet_len() {
        return Ok(None);
    }
    decode_owned(header, buffer.split_to(header.packet_len()).freeze(), limits).map(Some)
}

/// The packet at the front of `input` and how many bytes it has; `None` when it is not complete yet.
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

/// Decodes `packet`, which is exactly what `header` announced.
pub(crate) fn decode_owned(
    header: Header,
    mut packet: Bytes,
    limits: &Limits,
) -> Result<Packet, DecodeError> {
    packet.advance(header.len.min(packet.len()));
    decode::body(header, &packet, limits)
}
