//! Values and descriptors.

use std::fmt;

use super::{Array, List, Map, constructor::DESCRIBED, decode};

/// A symbol (AMQP §1.6.21).
///
/// The specification allows ASCII only. The decoder accepts UTF-8, because clients put free text into error conditions.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol<'a>(pub &'a str);

impl fmt::Debug for Symbol<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ":{}", self.0)
    }
}

impl fmt::Display for Symbol<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A value (AMQP §1.6), borrowed from the bytes that it was decoded from.
///
/// Equality of compound values compares their encoded elements: the uint 1 in one byte and in four bytes differ inside
/// a list, but are equal as values.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// null.
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
    /// decimal32, as encoded.
    Decimal32([u8; 4]),
    /// decimal64, as encoded.
    Decimal64([u8; 8]),
    /// decimal128, as encoded.
    Decimal128([u8; 16]),
    /// char.
    Char(char),
    /// timestamp: milliseconds since 1970-01-01 UTC; may be negative.
    Timestamp(i64),
    /// uuid in network byte order.
    Uuid([u8; 16]),
    /// binary.
    Binary(&'a [u8]),
    /// string.
    String(&'a str),
    /// symbol.
    Symbol(Symbol<'a>),
    /// list.
    List(List<'a>),
    /// map.
    Map(Map<'a>),
    /// array.
    Array(Array<'a>),
    /// A described value.
    Described(Described<'a>),
}

impl<'a> Value<'a> {
    /// Decodes one value and checks it completely; advances `input` past it.
    pub fn decode(input: &mut &'a [u8]) -> Result<Self, super::DecodeError> {
        decode::value(input)
    }

    /// Returns the text of a string or symbol.
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        match *self {
            Self::String(text) | Self::Symbol(Symbol(text)) => Some(text),
            _ => None,
        }
    }

    /// Returns an integer of any width and sign.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::Ubyte(number) => Some(number.into()),
            Self::Ushort(number) => Some(number.into()),
            Self::Uint(number) => Some(number.into()),
            Self::Ulong(number) => number.try_into().ok(),
            Self::Byte(number) => Some(number.into()),
            Self::Short(number) => Some(number.into()),
            Self::Int(number) => Some(number.into()),
            Self::Long(number) => Some(number),
            _ => None,
        }
    }
}

/// The descriptor of a described value (AMQP §1.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descriptor<'a> {
    /// A ulong: domain in the upper half, number in the lower half.
    Code(u64),
    /// A symbol such as `amqp:open:list`.
    Symbol(Symbol<'a>),
}

/// A described value (AMQP §1.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described<'a> {
    /// The descriptor.
    pub descriptor: Descriptor<'a>,
    /// Constructor of the value.
    pub(super) constructor: u8,
    /// The bytes after the constructor.
    pub(super) body: &'a [u8],
}

impl<'a> Described<'a> {
    /// Returns the value that is described.
    #[must_use]
    pub fn value(&self) -> Value<'a> {
        // The bytes were checked when the described value was decoded.
        decode::body(self.constructor, &mut &*self.body).unwrap_or(Value::Null)
    }

    /// Whether the value is itself described.
    pub(super) fn is_nested(&self) -> bool {
        self.constructor == DESCRIBED
    }
}
