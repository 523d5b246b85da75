//! The types that fields of composite values have.

use super::{Array, Described, Encoder, List, Map, Symbol, Value};

/// A type of a field: converts it from and to a [`Value`].
pub trait Field<'a>: Sized {
    /// Converts a value. Returns `None` if it has another type.
    fn from_value(value: Value<'a>) -> Option<Self>;

    /// Writes the value.
    fn encode(&self, encoder: &mut Encoder<'_>);
}

impl<'a, T: Field<'a>> Field<'a> for Option<T> {
    fn from_value(value: Value<'a>) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }

    fn encode(&self, encoder: &mut Encoder<'_>) {
        match self {
            Some(value) => value.encode(encoder),
            None => encoder.null(),
        }
    }
}

macro_rules! field {
    ($($type:ty: $pattern:pat => $value:expr, |$self:ident, $encoder:ident| $encode:expr;)*) => {$(
        impl<'a> Field<'a> for $type {
            fn from_value(value: Value<'a>) -> Option<Self> {
                match value {
                    $pattern => Some($value),
                    _ => None,
                }
            }

            fn encode(&self, $encoder: &mut Encoder<'_>) {
                let $self = self;
                $encode;
            }
        }
    )*};
}

field! {
    bool: Value::Boolean(value) => value, |value, encoder| encoder.boolean(*value);
    u8: Value::Ubyte(value) => value, |value, encoder| encoder.ubyte(*value);
    u16: Value::Ushort(value) => value, |value, encoder| encoder.ushort(*value);
    u32: Value::Uint(value) => value, |value, encoder| encoder.uint(*value);
    u64: Value::Ulong(value) => value, |value, encoder| encoder.ulong(*value);
    &'a [u8]: Value::Binary(value) => value, |value, encoder| encoder.binary(value);
    // Clients confuse strings and symbols, so each is accepted for the other.
    &'a str: Value::String(value) | Value::Symbol(Symbol(value)) => value, |value, encoder| encoder.string(value);
    Symbol<'a>: Value::String(value) | Value::Symbol(Symbol(value)) => Symbol(value),
        |value, encoder| encoder.symbol(value.0);
    Timestamp: Value::Timestamp(value) => Timestamp(value), |value, encoder| encoder.timestamp(value.0);
    List<'a>: Value::List(value) => value, |value, encoder| encoder.value(&Value::List(*value));
    Map<'a>: Value::Map(value) => value, |value, encoder| encoder.value(&Value::Map(*value));
    Array<'a>: Value::Array(value) => value, |value, encoder| encoder.value(&Value::Array(*value));
    Described<'a>: Value::Described(value) => value, |value, encoder| encoder.value(&Value::Described(*value));
}

impl<'a> Field<'a> for Value<'a> {
    fn from_value(value: Value<'a>) -> Option<Self> {
        Some(value)
    }

    fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.value(self);
    }
}

/// Milliseconds since 1970-01-01 UTC (AMQP §1.6.17); may be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

/// One symbol or an array of them: a field with `multiple="true"` (AMQP §1.4).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Symbols<'a>(Value<'a>);

impl<'a> Symbols<'a> {
    /// One symbol.
    #[must_use]
    pub fn one(symbol: &'a str) -> Self {
        Self(Value::Symbol(Symbol(symbol)))
    }

    /// Iterates over the symbols.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let (one, many) = match self.0 {
            Value::Array(array) => (None, Some(array.iter())),
            value => (value.as_str(), None),
        };
        one.into_iter().chain(many.into_iter().flatten().filter_map(|value| value.as_str()))
    }

    /// Returns whether this symbol is among them.
    #[must_use]
    pub fn contains(&self, symbol: &str) -> bool {
        self.iter().any(|one| one == symbol)
    }
}

impl<'a> Field<'a> for Symbols<'a> {
    fn from_value(value: Value<'a>) -> Option<Self> {
        match value {
            Value::Symbol(_) | Value::String(_) => Some(Self(value)),
            Value::Array(array) if array.iter().all(|item| item.as_str().is_some()) => Some(Self(value)),
            _ => None,
        }
    }

    fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.value(&self.0);
    }
}
