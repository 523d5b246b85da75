//! The fourteen control packets of MQTT 3.1.1 as values.

mod connect;
mod id;
mod publish;
mod subscribe;

pub use connect::{ConnAck, Connect, Refusal, Will};
pub use id::PacketId;
pub use publish::{Publish, QoS};
pub use subscribe::{SubAck, Subscribe, SubscribeCode, Unsubscribe};

/// One control packet. The numbers are sections of MQTT 3.1.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// Client to server: the first packet of a connection (3.1).
    Connect(Box<Connect>),
    /// Server to client: the response to CONNECT (3.2).
    ConnAck(ConnAck),
    /// A message, in both directions (3.3).
    Publish(Publish),
    /// The acknowledgement of a QoS 1 PUBLISH (3.4).
    PubAck(PacketId),
    /// QoS 2, first response (3.5). Both state machines refuse it.
    PubRec(PacketId),
    /// QoS 2, release (3.6). Both state machines refuse it.
    PubRel(PacketId),
    /// QoS 2, completion (3.7). Both state machines refuse it.
    PubComp(PacketId),
    /// Client to server (3.8).
    Subscribe(Subscribe),
    /// Server to client: one code per filter of the SUBSCRIBE (3.9).
    SubAck(SubAck),
    /// Client to server (3.10).
    Unsubscribe(Unsubscribe),
    /// Server to client (3.11).
    UnsubAck(PacketId),
    /// Client to server: keeps the connection alive (3.12).
    PingReq,
    /// Server to client (3.13).
    PingResp,
    /// Client to server: ends the connection without publishing the will (3.14).
    Disconnect,
}

/// The type of a control packet; its value is the upper half of the packet's first byte (MQTT 3.1.1, section 2.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub enum PacketKind {
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    PingReq = 12,
    PingResp = 13,
    Disconnect = 14,
}

impl Packet {
    /// Returns the packet's type.
    pub fn kind(&self) -> PacketKind {
        match self {
            Self::Connect(_) => PacketKind::Connect,
            Self::ConnAck(_) => PacketKind::ConnAck,
            Self::Publish(_) => PacketKind::Publish,
            Self::PubAck(_) => PacketKind::PubAck,
            Self::PubRec(_) => PacketKind::PubRec,
            Self::PubRel(_) => PacketKind::PubRel,
            Self::PubComp(_) => PacketKind::PubComp,
            Self::Subscribe(_) => PacketKind::Subscribe,
            Self::SubAck(_) => PacketKind::SubAck,
            Self::Unsubscribe(_) => PacketKind::Unsubscribe,
            Self::UnsubAck(_) => PacketKind::UnsubAck,
            Self::PingReq => PacketKind::PingReq,
            Self::PingResp => PacketKind::PingResp,
            Self::Disconnect => PacketKind::Disconnect,
        }
    }
}

impl PacketKind {
    /// Returns the packet type for the upper four bits of the first byte; `None` for 0 and 15, which are reserved.
    pub(crate) fn from_nibble(nibble: u8) -> Option<Self> {
        Some(match nibble {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            _ => return None,
        })
    }

    /// Returns the lower four bits that table 2.2 of MQTT 3.1.1 requires; `None` for PUBLISH, whose flags vary.
    pub(crate) fn fixed_flags(self) -> Option<u8> {
        match self {
            Self::Publish => None,
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => Some(0b0010),
            _ => Some(0),
        }
    }
}
