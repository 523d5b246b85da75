//! Bodies of SASL frames (AMQP §5.3.3).

use crate::codec::{Encoder, Field, Symbol, Symbols, Value, View, composite};

composite! {
    /// The mechanisms that a server offers (AMQP §5.3.3.1).
    SaslMechanisms<'a>(0x40, "amqp:sasl-mechanisms:list") {
        /// The mechanisms.
        mechanisms: Option<Symbols<'a>> = optional,
    }

    /// The mechanism that the client has chosen (AMQP §5.3.3.2).
    SaslInit<'a>(0x41, "amqp:sasl-init:list") {
        /// The mechanism.
        mechanism: Symbol<'a> = mandatory,
        /// Data of the mechanism, such as a user name and a password.
        initial_response: Option<&'a [u8]> = optional,
        /// Host that the client means.
        hostname: Option<&'a str> = optional,
    }

    /// The server's decision (AMQP §5.3.3.6).
    SaslOutcome<'a>(0x44, "amqp:sasl-outcome:list") {
        /// The decision.
        code: SaslCode = mandatory,
        /// Data of the mechanism.
        additional_data: Option<&'a [u8]> = optional,
    }
}

impl View for SaslInit<'static> {
    type Of<'a> = SaslInit<'a>;
}

/// The result of a SASL dialogue (AMQP §5.3.3.7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum SaslCode {
    /// The client is authenticated, as far as the mechanism goes.
    Ok = 0,
    /// The credentials are wrong.
    #[default]
    Auth = 1,
    /// A system error.
    Sys = 2,
    /// A system error that will not go away.
    SysPerm = 3,
    /// A system error that may go away.
    SysTemp = 4,
}

impl<'a> Field<'a> for SaslCode {
    fn from_value(value: Value<'a>) -> Option<Self> {
        match value {
            Value::Ubyte(0) => Some(Self::Ok),
            Value::Ubyte(1) => Some(Self::Auth),
            Value::Ubyte(2) => Some(Self::Sys),
            Value::Ubyte(3) => Some(Self::SysPerm),
            Value::Ubyte(4) => Some(Self::SysTemp),
            _ => None,
        }
    }

    fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.ubyte(*self as u8);
    }
}
