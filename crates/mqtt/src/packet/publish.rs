//! PUBLISH (3.3).

use bytes::Bytes;

use crate::{PacketId, Utf8};

/// The promise a message is sent with (4.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// QoS 0: sent once, not acknowledged.
    #[default]
    AtMostOnce = 0,
    /// QoS 1: sent again until acknowledged.
    AtLeastOnce = 1,
    /// QoS 2: known to the codec; refused by both machines.
    ExactlyOnce = 2,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Whether it may have been sent before; false with QoS 0 (MQTT-3.3.1-2).
    pub dup: bool,
    /// Its promise.
    pub qos: QoS,
    /// Whether the receiver is asked to keep it for later subscribers.
    pub retain: bool,
    /// Where it goes; no wildcards (MQTT-3.3.2-2) unless [`Limits::wildcards_in_topics`](crate::Limits) allows them.
    pub topic: Utf8,
    /// Present exactly when the QoS is not 0 (MQTT-2.3.1-5).
    pub packet_id: Option<PacketId>,
    /// What it says.
    pub payload: Bytes,
}

impl QoS {
    /// `None` for 3, which is forbidden everywhere (MQTT-3.3.1-4).
    pub(crate) fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::AtMostOnce,
            1 => Self::AtLeastOnce,
            2 => Self::ExactlyOnce,
            _ => return None,
        })
    }
}
