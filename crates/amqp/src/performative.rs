//! Performatives (AMQP §2.7) and SASL frame bodies (AMQP §5.3.3).
//!
//! A field with a default in the specification is not an `Option`: the decoder fills in the default, and the encoder
//! always writes the value. It is an `Option` only where existing services send null and no client relies on the value.

mod connection;
mod delivery_state;
mod error;
mod link;
mod modes;
mod sasl;
mod session;
mod terminus;
mod transfer;

pub use connection::{Close, Open};
pub use delivery_state::{DeliveryState, Modified, Outcome, Received, Rejected};
pub use error::{AmqpError, condition};
pub use link::{Attach, Detach, Flow};
pub use modes::{ReceiverSettleMode, Role, SenderSettleMode};
pub use sasl::{SaslCode, SaslInit, SaslMechanisms, SaslOutcome};
pub use session::{Begin, End};
pub use terminus::{Source, Target};
pub use transfer::{Disposition, Transfer};

use crate::codec::{Composite, DecodeError, Descriptor, Encoder, described};

/// The body of a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "a value exists only while its frame is processed")]
pub enum Performative<'a> {
    /// Opens the connection.
    Open(Open<'a>),
    /// Begins a session.
    Begin(Begin<'a>),
    /// Attaches a link.
    Attach(Attach<'a>),
    /// Updates windows and credit.
    Flow(Flow<'a>),
    /// Carries a message, or a part of one.
    Transfer(Transfer<'a>),
    /// Changes the state of deliveries.
    Disposition(Disposition<'a>),
    /// Detaches a link.
    Detach(Detach<'a>),
    /// Ends a session.
    End(End<'a>),
    /// Closes the connection.
    Close(Close<'a>),
}

/// The body of a SASL frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SaslFrame<'a> {
    /// The server's mechanisms.
    Mechanisms(SaslMechanisms<'a>),
    /// The client's choice.
    Init(SaslInit<'a>),
    /// The server's decision.
    Outcome(SaslOutcome<'a>),
}

/// Implements decoding by descriptor, encoding and `From` for an enum of described lists.
macro_rules! composite_enum {
    ($enum:ident: $($variant:ident($type:ident),)*) => {
        impl<'a> $enum<'a> {
            fn from_described(
                described: crate::codec::Described<'a>,
            ) -> Result<Self, DecodeError> {
                $(if $type::matches(described.descriptor) {
                    return $type::from_described(described).map(Self::$variant);
                })*
                Err(match described.descriptor {
                    Descriptor::Code(code) => DecodeError::UnexpectedDescriptor(code),
                    Descriptor::Symbol(_) => DecodeError::UnknownSymbol,
                })
            }

            /// Appends the encoded frame body to `out`.
            pub fn encode(&self, out: &mut bytes::BytesMut) {
                let mut encoder = Encoder::new(out);
                match self {
                    $(Self::$variant(value) => value.encode_composite(&mut encoder),)*
                }
            }

            /// Returns the name of the type in the specification, such as `amqp:open:list`.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $type::NAME,)*
                }
            }
        }

        $(impl<'a> From<$type<'a>> for $enum<'a> {
            fn from(value: $type<'a>) -> Self {
                Self::$variant(value)
            }
        })*
    };
}

// Ordered by how often they occur: the descriptor is compared with each in turn.
composite_enum! { Performative:
    Transfer(Transfer), Disposition(Disposition), Flow(Flow), Attach(Attach), Detach(Detach), Begin(Begin),
    End(End), Open(Open), Close(Close),
}

composite_enum! { SaslFrame:
    Init(SaslInit), Mechanisms(SaslMechanisms), Outcome(SaslOutcome),
}

impl<'a> Performative<'a> {
    /// Decodes the body of a frame. Returns the performative and, for a transfer, the payload after it.
    pub fn decode(mut body: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let performative = Self::from_described(described(&mut body)?)?;
        match performative {
            Self::Transfer(_) => Ok((performative, body)),
            _ if body.is_empty() => Ok((performative, body)),
            _ => Err(DecodeError::TrailingBytes),
        }
    }
}

impl<'a> SaslFrame<'a> {
    /// Decodes the body of a SASL frame.
    pub fn decode(mut body: &'a [u8]) -> Result<Self, DecodeError> {
        let frame = Self::from_described(described(&mut body)?)?;
        if body.is_empty() { Ok(frame) } else { Err(DecodeError::TrailingBytes) }
    }
}
