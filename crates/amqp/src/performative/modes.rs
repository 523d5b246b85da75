//! Roles and settlement modes (AMQP §2.8.1 to 2.8.3).

use crate::codec::{Encoder, Field, Value};

/// The direction of a link, seen from the sender of a performative (AMQP §2.8.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// Sends messages.
    #[default]
    Sender,
    /// Receives messages.
    Receiver,
}

impl Role {
    /// The role of the other end.
    #[must_use]
    pub fn peer(self) -> Self {
        match self {
            Self::Sender => Self::Receiver,
            Self::Receiver => Self::Sender,
        }
    }
}

impl<'a> Field<'a> for Role {
    fn from_value(value: Value<'a>) -> Option<Self> {
        bool::from_value(value).map(|receiver| if receiver { Self::Receiver } else { Self::Sender })
    }

    fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.boolean(*self == Self::Receiver);
    }
}

/// Whether a sender settles deliveries when it sends them (AMQP §2.8.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SenderSettleMode {
    /// All deliveries are sent unsettled.
    Unsettled = 0,
    /// All deliveries are sent settled.
    Settled = 1,
    /// Either.
    Mixed = 2,
}

impl<'a> Field<'a> for SenderSettleMode {
    fn from_value(value: Value<'a>) -> Option<Self> {
        match value {
            Value::Ubyte(0) => Some(Self::Unsettled),
            Value::Ubyte(1) => Some(Self::Settled),
            Value::Ubyte(2) => Some(Self::Mixed),
            _ => None,
        }
    }

    fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.ubyte(*self as u8);
    }
}

/// Which end settles a delivery first (AMQP §2.8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ReceiverSettleMode {
    /// The receiver settles as soon as it has an outcome.
    First = 0,
    /// The receiver waits until the sender has settled.
    Second = 1,
}

impl<'a> Field<'a> for ReceiverSettleMode {
    fn from_value(value: Value<'a>) -> Option<Self> {
        match value {
            Value::Ubyte(0) => Some(Self::First),
            Value::Ubyte(1) => Some(Self::Second),
            _ => None,
        }
    }

    fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.ubyte(*self as u8);
    }
}
