//! States and outcomes of deliveries (AMQP §3.4).

use super::AmqpError;
use crate::codec::{Composite, Described, Descriptor, Encoder, Field, Map, Owned, Symbol, Value, composite};

composite! {
    /// A delivery of which a part has arrived (AMQP §3.4.1).
    Received(0x23, "amqp:received:list") {
        /// Section of the message.
        section_number: u32 = mandatory,
        /// Byte in that section.
        section_offset: u64 = mandatory,
    }

    /// A delivery that was refused (AMQP §3.4.3).
    Rejected<'a>(0x25, "amqp:rejected:list") {
        /// The reason.
        error: Option<AmqpError<'a>> = optional,
    }

    /// A delivery that was given back and counts as tried (AMQP §3.4.5).
    Modified<'a>(0x27, "amqp:modified:list") {
        /// Whether this counts as a failed attempt.
        delivery_failed: Option<bool> = optional,
        /// Whether it must not be delivered to this link again.
        undeliverable_here: Option<bool> = optional,
        /// Annotations to merge into the message.
        message_annotations: Option<Map<'a>> = optional,
    }
}

/// Accepted and released have no fields (AMQP §3.4.2, 3.4.4).
const ACCEPTED_CODE: u64 = 0x24;
const RELEASED_CODE: u64 = 0x26;

/// Numeric and symbolic descriptors.
const NAMES: [(u64, &str); 5] = [
    (Received::CODE, Received::NAME),
    (ACCEPTED_CODE, "amqp:accepted:list"),
    (Rejected::CODE, Rejected::NAME),
    (RELEASED_CODE, "amqp:released:list"),
    (Modified::CODE, Modified::NAME),
];

fn encode_empty(code: u64, encoder: &mut Encoder<'_>) {
    encoder.described(Descriptor::Code(code), |encoder| encoder.list(|_| {}));
}

/// The state of a delivery (AMQP §3.4).
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum DeliveryState<'a> {
    /// A part has arrived.
    Received(Received),
    /// Accepted.
    Accepted,
    /// Refused.
    Rejected(Rejected<'a>),
    /// Given back; counts as never tried.
    Released,
    /// Given back.
    Modified(Modified<'a>),
    /// A state of an extension, such as transactions.
    Other(Described<'a>),
}

impl<'a> Field<'a> for DeliveryState<'a> {
    fn from_value(value: Value<'a>) -> Option<Self> {
        let Value::Described(described) = value else {
            return None;
        };
        let code = match described.descriptor {
            Descriptor::Code(code) => code,
            Descriptor::Symbol(Symbol(name)) => {
                *NAMES.iter().find(|known| known.1 == name).map(|(code, _)| code)?
            }
        };
        match code {
            Received::CODE => Received::from_described(described).ok().map(Self::Received),
            ACCEPTED_CODE => Some(Self::Accepted),
            Rejected::CODE => Rejected::from_described(described).ok().map(Self::Rejected),
            RELEASED_CODE => Some(Self::Released),
            Modified::CODE => Modified::from_described(described).ok().map(Self::Modified),
            _ => Some(Self::Other(described)),
        }
    }

    fn encode(&self, encoder: &mut Encoder<'_>) {
        match self {
            Self::Received(state) => state.encode_composite(encoder),
            Self::Accepted => encode_empty(ACCEPTED_CODE, encoder),
            Self::Rejected(state) => state.encode_composite(encoder),
            Self::Released => encode_empty(RELEASED_CODE, encoder),
            Self::Modified(state) => state.encode_composite(encoder),
            Self::Other(described) => encoder.value(&Value::Described(*described)),
        }
    }
}

/// The final state of a delivery, free of the frame that it came in.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Accepted.
    Accepted,
    /// Refused; with the reason, if the peer gave one.
    Rejected(Option<Owned<AmqpError<'static>>>),
    /// Given back; counts as never tried.
    Released,
    /// Given back.
    Modified {
        /// Whether this counts as a failed attempt.
        delivery_failed: bool,
        /// Whether it must not be delivered to this link again.
        undeliverable_here: bool,
    },
}

impl Outcome {
    /// Takes the outcome out of a state. Returns `None` for a state that is not final or not known.
    #[must_use]
    pub fn from_state(state: &DeliveryState<'_>) -> Option<Self> {
        match state {
            DeliveryState::Accepted => Some(Self::Accepted),
            DeliveryState::Rejected(rejected) => {
                Some(Self::Rejected(rejected.error.as_ref().map(Owned::encoded)))
            }
            DeliveryState::Released => Some(Self::Released),
            DeliveryState::Modified(modified) => Some(Self::Modified {
                delivery_failed: modified.delivery_failed.unwrap_or(false),
                undeliverable_here: modified.undeliverable_here.unwrap_or(false),
            }),
            DeliveryState::Received(_) | DeliveryState::Other(_) => None,
        }
    }
}
