//! SUBSCRIBE, SUBACK and UNSUBSCRIBE (3.8 to 3.10).

use crate::{PacketId, QoS, Utf8};

/// A SUBSCRIBE packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// The packet identifier, which the SUBACK repeats.
    pub packet_id: PacketId,
    /// The filters, at least one, with the requested QoS. The strings are well-formed; check the wildcards with
    /// [`filter::is_valid`](crate::filter::is_valid): IoT Hub device ids may contain `#` and `+`.
    pub filters: Vec<(Utf8, QoS)>,
}

/// The response to [`Subscribe`]: one code per filter, in the same order (MQTT-3.9.3-1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubAck {
    /// The packet identifier of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// The return codes, at least one.
    pub codes: Vec<SubscribeCode>,
}

/// The return code for one filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubscribeCode {
    /// Subscribed; the maximum QoS of its messages.
    Granted(QoS),
    /// Not subscribed (0x80).
    Failure,
}

/// An UNSUBSCRIBE packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// The packet identifier, which the UNSUBACK repeats.
    pub packet_id: PacketId,
    /// The filters, at least one; compared with the subscriptions character by character (MQTT-3.10.4-1).
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
