//! The stored form of properties: the version, and then the properties.
//!
//! | part of a property | bytes |
//! |---|---|
//! | name | 0 with the length and the UTF-8 of an application property; or 1 plus the number of a system property |
//! | type | one byte, see the constants |
//! | value | big-endian, its size given by the type; text and binary with their length before them |
//!
//! A length is an unsigned LEB128 number of 32 bits. Events stay in the log for days: a change of the form is a new
//! version, and the versions before it stay readable.

use ferrohub_model::message::SystemProperty;
use ferrohub_model::{Guid, Timestamp};

use super::{PropertyName, PropertyValue};

/// The version that is written.
pub(super) const VERSION: u8 = 1;

const APPLICATION: u8 = 0;

const NULL: u8 = 0;
const BOOLEAN: u8 = 1;
const UBYTE: u8 = 2;
const USHORT: u8 = 3;
const UINT: u8 = 4;
const ULONG: u8 = 5;
const BYTE: u8 = 6;
const SHORT: u8 = 7;
const INT: u8 = 8;
const LONG: u8 = 9;
const FLOAT: u8 = 10;
const DOUBLE: u8 = 11;
const DECIMAL32: u8 = 12;
const DECIMAL64: u8 = 13;
const DECIMAL128: u8 = 14;
const CHAR: u8 = 15;
const TIMESTAMP: u8 = 16;
const UUID: u8 = 17;
const BINARY: u8 = 18;
const STRING: u8 = 19;
const SYMBOL: u8 = 20;

/// The error of stored properties that this version of the hub cannot read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedProperties {
    /// The version is not known.
    #[error("the stored properties have the version {0}, which this version of Ferrohub does not know")]
    UnknownVersion(u8),
    /// They end too early, or contain an unknown type, an unknown system property or malformed text.
    #[error("the stored properties are malformed")]
    Malformed,
}

/// Appends a property.
pub(super) fn write(to: &mut Vec<u8>, name: PropertyName<'_>, value: PropertyValue<'_>) {
    match name {
        PropertyName::System(property) => to.push(property.number() + 1),
        PropertyName::Application(name) => {
            to.push(APPLICATION);
            write_bytes(to, name.as_bytes());
        }
    }
    let mut fixed = |kind: u8, bytes: &[u8]| {
        to.push(kind);
        to.extend_from_slice(bytes);
    };
    let (kind, bytes) = match value {
        PropertyValue::Null => return fixed(NULL, &[]),
        PropertyValue::Boolean(value) => return fixed(BOOLEAN, &[value.into()]),
        PropertyValue::Ubyte(number) => return fixed(UBYTE, &[number]),
        PropertyValue::Ushort(number) => return fixed(USHORT, &number.to_be_bytes()),
        PropertyValue::Uint(number) => return fixed(UINT, &number.to_be_bytes()),
        PropertyValue::Ulong(number) => return fixed(ULONG, &number.to_be_bytes()),
        PropertyValue::Byte(number) => return fixed(BYTE, &number.to_be_bytes()),
        PropertyValue::Short(number) => return fixed(SHORT, &number.to_be_bytes()),
        PropertyValue::Int(number) => return fixed(INT, &number.to_be_bytes()),
        PropertyValue::Long(number) => return fixed(LONG, &number.to_be_bytes()),
        PropertyValue::Float(number) => return fixed(FLOAT, &number.to_be_bytes()),
        PropertyValue::Double(number) => return fixed(DOUBLE, &number.to_be_bytes()),
        PropertyValue::Decimal32(bytes) => return fixed(DECIMAL32, &bytes),
        PropertyValue::Decimal64(bytes) => return fixed(DECIMAL64, &bytes),
        PropertyValue::Decimal128(bytes) => return fixed(DECIMAL128, &bytes),
        PropertyValue::Char(character) => return fixed(CHAR, &u32::from(character).to_be_bytes()),
        PropertyValue::Timestamp(time) => return fixed(TIMESTAMP, &time.unix_millis().to_be_bytes()),
        PropertyValue::Uuid(Guid(bits)) => return fixed(UUID, &bits.to_be_bytes()),
        PropertyValue::Binary(bytes) => (BINARY, bytes),
        PropertyValue::String(text) => (STRING, text.as_bytes()),
        PropertyValue::Symbol(text) => (SYMBOL, text.as_bytes()),
    };
    to.push(kind);
    write_bytes(to, bytes);
}

fn write_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    // A message is much smaller than 4 GiB.
    let mut length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    while length >= 0x80 {
        to.push(length as u8 | 0x80);
        length >>= 7;
    }
    to.push(length as u8);
    to.extend_from_slice(bytes);
}

/// Checks stored properties completely, and returns them.
pub(super) fn check(stored: &[u8]) -> Result<Entries<'_>, MalformedProperties> {
    match stored {
        [VERSION, ..] => {}
        [version, ..] => return Err(MalformedProperties::UnknownVersion(*version)),
        [] => return Err(MalformedProperties::Malformed),
    }
    let mut entries = Entries::of(stored);
    while !entries.0.0.is_empty() {
        entries.next().ok_or(MalformedProperties::Malformed)?;
    }
    Ok(Entries::of(stored))
}

/// The properties of a stored form. Ends at the first malformed one, which [`check`] excludes.
#[derive(Debug, Clone)]
pub(super) struct Entries<'a>(Input<'a>);

impl<'a> Entries<'a> {
    pub(super) fn of(stored: &'a [u8]) -> Self {
        Self(Input(stored.get(1..).unwrap_or_default()))
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = (PropertyName<'a>, PropertyValue<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.name()?, self.0.value()?))
    }
}

/// What is left to read.
#[derive(Debug, Clone)]
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn name(&mut self) -> Option<PropertyName<'a>> {
        match self.byte()? {
            APPLICATION => self.text().map(PropertyName::Application),
            number => SystemProperty::from_number(number - 1).map(PropertyName::System),
        }
    }

    fn value(&mut self) -> Option<PropertyValue<'a>> {
        Some(match self.byte()? {
            NULL => PropertyValue::Null,
            BOOLEAN => match self.byte()? {
                0 => PropertyValue::Boolean(false),
                1 => PropertyValue::Boolean(true),
                _ => return None,
            },
            UBYTE => PropertyValue::Ubyte(self.byte()?),
            USHORT => PropertyValue::Ushort(u16::from_be_bytes(self.array()?)),
            UINT => PropertyValue::Uint(u32::from_be_bytes(self.array()?)),
            ULONG => PropertyValue::Ulong(u64::from_be_bytes(self.array()?)),
            BYTE => PropertyValue::Byte(i8::from_be_bytes(self.array()?)),
            SHORT => PropertyValue::Short(i16::from_be_bytes(self.array()?)),
            INT => PropertyValue::Int(i32::from_be_bytes(self.array()?)),
            LONG => PropertyValue::Long(i64::from_be_bytes(self.array()?)),
            FLOAT => PropertyValue::Float(f32::from_be_bytes(self.array()?)),
            DOUBLE => PropertyValue::Double(f64::from_be_bytes(self.array()?)),
            DECIMAL32 => PropertyValue::Decimal32(self.array()?),
            DECIMAL64 => PropertyValue::Decimal64(self.array()?),
            DECIMAL128 => PropertyValue::Decimal128(self.array()?),
            CHAR => PropertyValue::Char(char::from_u32(u32::from_be_bytes(self.array()?))?),
            TIMESTAMP => {
                PropertyValue::Timestamp(Timestamp::from_unix_millis(i64::from_be_bytes(self.array()?)))
            }
            UUID => PropertyValue::Uuid(Guid(u128::from_be_bytes(self.array()?))),
            BINARY => PropertyValue::Binary(self.bytes()?),
            STRING => PropertyValue::String(self.text()?),
            SYMBOL => PropertyValue::Symbol(self.text()?),
            _ => return None,
        })
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn array<const SIZE: usize>(&mut self) -> Option<[u8; SIZE]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.length()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    fn length(&mut self) -> Option<u32> {
        let mut length = 0_u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            length |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(length).ok();
            }
        }
        None
    }
}
