//! PUBLISH (MQTT 3.1.1, section 3.3).

use bytes::Bytes;

use crate::{PacketId, Utf8};

/// The quality of service of a message (MQTT 3.1.1, section 4.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// QoS 0: sent once, not acknowledged.
    #[default]
    AtMostOnce = 0,
    /// QoS 1: sent again until acknowledged.
    AtLeastOnce = 1,
    /// QoS 2: supported by the codec, refused by both state machines.
    ExactlyOnce = 2,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Whether the message may have been sent before; false with QoS 0 (MQTT-3.3.1-2).
    pub dup: bool,
    /// The quality of service.
    pub qos: QoS,
    /// Whether the server keeps the message for later subscribers.
    pub retain: bool,
    /// The topic, without wildcards (MQTT-3.3.2-2) unless [`Limits::wildcards_in_topics`](crate::Limits) allows them.
    pub topic: Utf8,
    /// The packet identifier; present if and only if the QoS is not 0 (MQTT-2.3.1-5).
    pub packet_id: Option<PacketId>,
    /// The payload.
    pub payload: Bytes,
}

impl QoS {
    /// Returns the QoS for two bits; `None` for 3, which is always invalid (MQTT-3.3.1-4).
    pub(crate) fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::AtMostOnce,
            1 => Self::AtLeastOnce,
            2 => Self::ExactlyOnce,
            _ => return None,
        })
    }
}
