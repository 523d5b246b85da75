//! SUBSCRIBE, SUBACK and UNSUBSCRIBE (3.8 to 3.10).

use crate::{PacketId, QoS, Utf8};

/// A client's request for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// To be given back in the SUBACK.
    pub packet_id: PacketId,
    /// What it wants, at least one; well-formed strings, but ask [`filter::is_valid`](crate::filter::is_valid) whether
    /// the wildcards are where they may be: IoT Hub device ids may contain `#` and `+`.
    pub filters: Vec<(Utf8, QoS)>,
}

/// The answer to [`Subscribe`]: as many codes as there were filters, in the same order (MQTT-3.9.3-1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubAck {
    /// The SUBSCRIBE's.
    pub packet_id: PacketId,
    /// At least one.
    pub codes: Vec<SubscribeCode>,
}

/// What became of one filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubscribeCode {
    /// Subscribed, with this QoS at most.
    Granted(QoS),
    /// Not subscribed: 0x80.
    Failure,
}

/// A client's request for no more messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// To be given back in the UNSUBACK.
    pub packet_id: PacketId,
    /// What it no longer wants, at least one; compared with its subscriptions character by character (MQTT-3.10.4-1).
    pub filters: Vec<Utf8>,
}

impl SubscribeCode {
    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::Granted(qos) => qos as u8,
            Self::Failure => 0x80,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x80 => Some(Self::Failure),
            bits => QoS::from_bits(bits).map(Self::Granted),
        }
    }
}
