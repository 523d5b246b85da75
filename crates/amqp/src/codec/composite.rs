//! Composite types: described lists with named fields (AMQP §1.4).

use std::{fmt, marker::PhantomData};

use bytes::{Bytes, BytesMut};

use super::{DecodeError, Described, Descriptor, Encoder, List, Symbol, Value, described};

/// A composite type, such as a performative.
///
/// Decoding accepts short lists and ignores fields that it does not know. Encoding writes every field: clients exist
/// that index the list without looking at its length.
pub trait Composite<'a>: Sized + Default {
    /// The numeric descriptor.
    const CODE: u64;
    /// The symbolic descriptor.
    const NAME: &'static str;

    /// Reads the fields.
    fn from_fields(fields: List<'a>) -> Result<Self, DecodeError>;

    /// Writes the fields.
    fn encode_fields(&self, encoder: &mut Encoder<'_>);

    /// Decodes a composite value that is the whole of `bytes`.
    fn decode(mut bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let value = Self::from_described(described(&mut bytes)?)?;
        if bytes.is_empty() { Ok(value) } else { Err(DecodeError::TrailingBytes) }
    }

    /// Converts a described value.
    fn from_described(described: Described<'a>) -> Result<Self, DecodeError> {
        if !Self::matches(described.descriptor) {
            return Err(match described.descriptor {
                Descriptor::Code(code) => DecodeError::UnexpectedDescriptor(code),
                Descriptor::Symbol(_) => DecodeError::UnknownSymbol,
            });
        }
        match described.value() {
            Value::List(fields) => Self::from_fields(fields),
            _ => Err(DecodeError::NotComposite),
        }
    }

    /// Whether this is the descriptor of the type.
    #[must_use]
    fn matches(descriptor: Descriptor<'_>) -> bool {
        match descriptor {
            Descriptor::Code(code) => code == Self::CODE,
            Descriptor::Symbol(Symbol(name)) => name == Self::NAME,
        }
    }

    /// Writes the descriptor and all fields.
    fn encode_composite(&self, encoder: &mut Encoder<'_>) {
        encoder.described(Descriptor::Code(Self::CODE), |encoder| {
            encoder.list(|encoder| self.encode_fields(encoder));
        });
    }
}

/// Defines composite types with their fields in the order of the specification. Each field is `mandatory`, `optional`
/// (its type is an `Option`), or has a `default` that is also written.
macro_rules! composite {
    ($(
        $(#[$meta:meta])*
        $name:ident $(<$life:lifetime>)? ($code:literal, $symbol:literal) {
            $($(#[$field_meta:meta])* $field:ident: $type:ty = $kind:ident $(($default:expr))?,)*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub struct $name $(<$life>)? {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl $(<$life>)? Default for $name $(<$life>)? {
            fn default() -> Self {
                Self { $($field: $crate::codec::composite!(@new $kind $(($default))?),)* }
            }
        }

        impl<'a> $crate::codec::Composite<'a> for $name $(<$life>)? {
            const CODE: u64 = $code;
            const NAME: &'static str = $symbol;

            #[allow(unused_mut, unused_variables, reason = "a composite type may have no fields")]
            fn from_fields(fields: $crate::codec::List<'a>) -> Result<Self, $crate::codec::DecodeError> {
                let mut fields = fields.iter();
                Ok(Self {$(
                    $field: match fields.next() {
                        None | Some($crate::codec::Value::Null) => {
                            $crate::codec::composite!(@absent $symbol, $field, $kind $(($default))?)
                        }
                        Some(value) => <$type as $crate::codec::Field<'a>>::from_value(value).ok_or(
                            $crate::codec::DecodeError::WrongFieldType {
                                composite: $symbol,
                                field: stringify!($field),
                            },
                        )?,
                    },
                )*})
            }

            #[allow(unused_variables, reason = "a composite type may have no fields")]
            fn encode_fields(&self, encoder: &mut $crate::codec::Encoder<'_>) {
                $($crate::codec::Field::encode(&self.$field, encoder);)*
            }
        }

        impl<'a> $crate::codec::Field<'a> for $name $(<$life>)? {
            fn from_value(value: $crate::codec::Value<'a>) -> Option<Self> {
                match value {
                    $crate::codec::Value::Described(described) => {
                        $crate::codec::Composite::from_described(described).ok()
                    }
                    _ => None,
                }
            }

            fn encode(&self, encoder: &mut $crate::codec::Encoder<'_>) {
                $crate::codec::Composite::encode_composite(self, encoder);
            }
        }
    )*};
    (@new mandatory) => { Default::default() };
    (@new optional) => { None };
    (@new default($default:expr)) => { $default };
    (@absent $symbol:literal, $field:ident, mandatory) => {
        return Err($crate::codec::DecodeError::MissingField { composite: $symbol, field: stringify!($field) })
    };
    (@absent $symbol:literal, $field:ident, optional) => { None };
    (@absent $symbol:literal, $field:ident, default($default:expr)) => { $default };
}

pub(crate) use composite;

/// A type that [`Owned`] can view with any lifetime.
pub trait View {
    /// The type with the lifetime `'a`.
    type Of<'a>: Composite<'a>;
}

/// A composite value together with its bytes, so that it can leave the buffer that it was decoded from.
///
/// `Owned<Attach<'static>>` gives an `Attach<'_>`. Cloning is cheap.
pub struct Owned<T> {
    bytes: Bytes,
    view: PhantomData<fn() -> T>,
}

impl<T: View> Owned<T> {
    /// Wraps bytes that were decoded as this type before.
    pub(crate) fn new_unchecked(bytes: Bytes) -> Self {
        Self { bytes, view: PhantomData }
    }

    /// Encodes a value into a buffer of its own.
    pub fn encoded(value: &T::Of<'_>) -> Self {
        let mut bytes = BytesMut::new();
        value.encode_composite(&mut Encoder::new(&mut bytes));
        Self::new_unchecked(bytes.freeze())
    }

    /// Returns the value. It is decoded on each call: keep it where it is used several times.
    #[must_use]
    pub fn get(&self) -> T::Of<'_> {
        // The constructors guarantee valid bytes, so the default is never used.
        T::Of::decode(&self.bytes).unwrap_or_default()
    }
}

impl<T> Clone for Owned<T> {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), view: PhantomData }
    }
}

impl<T> PartialEq for Owned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl<T: View> fmt::Debug for Owned<T>
where
    for<'a> T::Of<'a>: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
