//! Values of properties: the types that AMQP allows for them (AMQP 1.6, 3.2.5).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferrohub_model::{Guid, Timestamp};

/// The value of a property. Displayed as text, for protocols without types.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PropertyValue<'a> {
    /// null; displayed as empty text.
    Null,
    /// boolean.
    Boolean(bool),
    /// ubyte.
    Ubyte(u8),
    /// ushort.
    Ushort(u16),
    /// uint.
    Uint(u32),
    /// ulong.
    Ulong(u64),
    /// byte.
    Byte(i8),
    /// short.
    Short(i16),
    /// int.
    Int(i32),
    /// long.
    Long(i64),
    /// float.
    Float(f32),
    /// double.
    Double(f64),
    /// decimal32, as encoded in AMQP; displayed in hexadecimal.
    Decimal32([u8; 4]),
    /// decimal64, as encoded in AMQP; displayed in hexadecimal.
    Decimal64([u8; 8]),
    /// decimal128, as encoded in AMQP; displayed in hexadecimal.
    Decimal128([u8; 16]),
    /// char.
    Char(char),
    /// timestamp; displayed as RFC 3339.
    Timestamp(Timestamp),
    /// uuid.
    Uuid(Guid),
    /// binary; displayed as text if it is UTF-8, otherwise as base64.
    Binary(&'a [u8]),
    /// string.
    String(&'a str),
    /// symbol.
    Symbol(&'a str),
}

impl<'a> PropertyValue<'a> {
    /// Returns the text of a string or symbol.
    #[must_use]
    pub fn as_str(self) -> Option<&'a str> {
        match self {
            Self::String(text) | Self::Symbol(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the bytes of the value without its type.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::Null => 0,
            Self::Boolean(_) | Self::Ubyte(_) | Self::Byte(_) => 1,
            Self::Ushort(_) | Self::Short(_) => 2,
            Self::Uint(_) | Self::Int(_) | Self::Float(_) | Self::Decimal32(_) | Self::Char(_) => 4,
            Self::Ulong(_) | Self::Long(_) | Self::Double(_) | Self::Decimal64(_) | Self::Timestamp(_) => 8,
            Self::Decimal128(_) | Self::Uuid(_) => 16,
            Self::Binary(bytes) => bytes.len(),
            Self::String(text) | Self::Symbol(text) => text.len(),
        }
    }
}

impl fmt::Display for PropertyValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Null => Ok(()),
            Self::Boolean(value) => value.fmt(f),
            Self::Ubyte(number) => number.fmt(f),
            Self::Ushort(number) => number.fmt(f),
            Self::Uint(number) => number.fmt(f),
            Self::Ulong(number) => number.fmt(f),
            Self::Byte(number) => number.fmt(f),
            Self::Short(number) => number.fmt(f),
            Self::Int(number) => number.fmt(f),
            Self::Long(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
            Self::Double(number) => number.fmt(f),
            Self::Decimal32(bytes) => write!(f, "0x{:08x}", u32::from_be_bytes(bytes)),
            Self::Decimal64(bytes) => write!(f, "0x{:016x}", u64::from_be_bytes(bytes)),
            Self::Decimal128(bytes) => write!(f, "0x{:032x}", u128::from_be_bytes(bytes)),
            Self::Char(character) => character.fmt(f),
            Self::Timestamp(time) => time.fmt(f),
            Self::Uuid(id) => id.fmt(f),
            Self::Binary(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => f.write_str(text),
                Err(_) => f.write_str(&STANDARD.encode(bytes)),
            },
            Self::String(text) | Self::Symbol(text) => f.write_str(text),
        }
    }
}
