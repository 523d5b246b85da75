//! The decoder of values.
//!
//! [`shallow`] reads one value and takes the elements of a compound value as a slice. [`value`] then checks these
//! elements, down to [`MAX_DEPTH`]. Nothing is allocated, and no length is trusted.

use super::{
    Array, DecodeError, Described, Descriptor, List, Map, Symbol, Value,
    compound::{Element, Items},
    constructor as c,
};

/// How deeply lists, maps, arrays and described values may be nested. A filter of an attach is on level 5.
pub const MAX_DEPTH: u32 = 16;

/// How many elements an array may have if they take no bytes, such as null or `true`. Other arrays are limited by their
/// size.
pub const MAX_EMPTY_ELEMENTS: u32 = 256;

/// Decodes and checks one value.
pub(super) fn value<'a>(input: &mut &'a [u8]) -> Result<Value<'a>, DecodeError> {
    let value = shallow(input)?;
    check(&value, MAX_DEPTH)?;
    Ok(value)
}

/// Decodes a described list: a performative, a section or another composite type. Checks it completely.
pub(crate) fn described<'a>(input: &mut &'a [u8]) -> Result<Described<'a>, DecodeError> {
    match value(input)? {
        Value::Described(described) => Ok(described),
        _ => Err(DecodeError::NotComposite),
    }
}

/// Decodes one value without checking the elements of a compound value.
pub(super) fn shallow<'a>(input: &mut &'a [u8]) -> Result<Value<'a>, DecodeError> {
    let constructor = byte(input)?;
    body(constructor, input)
}

/// Reads the descriptor of a described value and advances `input` past the value, without looking into it. Returns the
/// descriptor and all bytes of the value.
pub(crate) fn section<'a>(input: &mut &'a [u8]) -> Result<(Descriptor<'a>, &'a [u8]), DecodeError> {
    let start = *input;
    if byte(input)? != c::DESCRIBED {
        return Err(DecodeError::NotComposite);
    }
    let descriptor = descriptor(input)?;
    skip(input)?;
    Ok((descriptor, start.get(..start.len() - input.len()).unwrap_or_default()))
}

/// Advances `input` past one value, without looking into it.
fn skip(input: &mut &[u8]) -> Result<(), DecodeError> {
    // Each level of description uses at least two bytes of input, so the loop ends.
    let mut values = 1_u32;
    while values > 0 {
        match byte(input)? {
            c::DESCRIBED => values = values.saturating_add(1),
            constructor => {
                skip_body(constructor, input)?;
                values -= 1;
            }
        }
    }
    Ok(())
}

/// Decodes what follows a constructor.
pub(super) fn body<'a>(constructor: u8, input: &mut &'a [u8]) -> Result<Value<'a>, DecodeError> {
    Ok(match constructor {
        c::DESCRIBED => return described_body(input),
        c::NULL => Value::Null,
        c::TRUE => Value::Boolean(true),
        c::FALSE => Value::Boolean(false),
        c::BOOLEAN => match byte(input)? {
            0 => Value::Boolean(false),
            1 => Value::Boolean(true),
            other => return Err(DecodeError::InvalidBoolean(other)),
        },
        c::UBYTE => Value::Ubyte(byte(input)?),
        c::USHORT => Value::Ushort(u16::from_be_bytes(fixed(input)?)),
        c::UINT0 => Value::Uint(0),
        c::SMALL_UINT => Value::Uint(byte(input)?.into()),
        c::UINT => Value::Uint(u32::from_be_bytes(fixed(input)?)),
        c::ULONG0 => Value::Ulong(0),
        c::SMALL_ULONG => Value::Ulong(byte(input)?.into()),
        c::ULONG => Value::Ulong(u64::from_be_bytes(fixed(input)?)),
        c::BYTE => Value::Byte(i8::from_be_bytes(fixed(input)?)),
        c::SHORT => Value::Short(i16::from_be_bytes(fixed(input)?)),
        c::SMALL_INT => Value::Int(i8::from_be_bytes(fixed(input)?).into()),
        c::INT => Value::Int(i32::from_be_bytes(fixed(input)?)),
        c::SMALL_LONG => Value::Long(i8::from_be_bytes(fixed(input)?).into()),
        c::LONG => Value::Long(i64::from_be_bytes(fixed(input)?)),
        c::FLOAT => Value::Float(f32::from_be_bytes(fixed(input)?)),
        c::DOUBLE => Value::Double(f64::from_be_bytes(fixed(input)?)),
        c::DECIMAL32 => Value::Decimal32(fixed(input)?),
        c::DECIMAL64 => Value::Decimal64(fixed(input)?),
        c::DECIMAL128 => Value::Decimal128(fixed(input)?),
        c::CHAR => {
            let scalar = u32::from_be_bytes(fixed(input)?);
            Value::Char(char::from_u32(scalar).ok_or(DecodeError::InvalidChar)?)
        }
        c::TIMESTAMP => Value::Timestamp(i64::from_be_bytes(fixed(input)?)),
        c::UUID => Value::Uuid(fixed(input)?),
        c::BINARY8 | c::BINARY32 => Value::Binary(variable(constructor, input)?),
        c::STRING8 | c::STRING32 => Value::String(text(variable(constructor, input)?)?),
        c::SYMBOL8 | c::SYMBOL32 => Value::Symbol(Symbol(text(variable(constructor, input)?)?)),
        c::LIST0 => Value::List(List::default()),
        c::LIST8 | c::LIST32 => {
            let (count, items) = compound(constructor, input)?;
            Value::List(List { count, items })
        }
        c::MAP8 | c::MAP32 => {
            let (count, items) = compound(constructor, input)?;
            Value::Map(Map { count, items })
        }
        c::ARRAY8 | c::ARRAY32 => Value::Array(array(constructor, input)?),
        other => return Err(DecodeError::InvalidConstructor(other)),
    })
}

fn described_body<'a>(input: &mut &'a [u8]) -> Result<Value<'a>, DecodeError> {
    let descriptor = descriptor(input)?;
    let constructor = byte(input)?;
    let start = *input;
    if constructor == c::DESCRIBED {
        skip(input)?;
        skip(input)?;
    } else {
        skip_body(constructor, input)?;
    }
    let body = start.get(..start.len() - input.len()).unwrap_or_default();
    Ok(Value::Described(Described { descriptor, constructor, body }))
}

fn descriptor<'a>(input: &mut &'a [u8]) -> Result<Descriptor<'a>, DecodeError> {
    match byte(input)? {
        c::DESCRIBED => Err(DecodeError::InvalidDescriptor),
        constructor => match body(constructor, input)? {
            Value::Ulong(code) => Ok(Descriptor::Code(code)),
            Value::Symbol(symbol) => Ok(Descriptor::Symbol(symbol)),
            _ => Err(DecodeError::InvalidDescriptor),
        },
    }
}

fn array<'a>(constructor: u8, input: &mut &'a [u8]) -> Result<Array<'a>, DecodeError> {
    let (count, mut items) = sized(constructor, input)?;
    let (descriptor, constructor) = match byte(&mut items)? {
        c::DESCRIBED => (Some(descriptor(&mut items)?), byte(&mut items)?),
        constructor => (None, constructor),
    };
    // An array whose elements are described twice has no use and no known sender.
    if constructor == c::DESCRIBED {
        return Err(DecodeError::InvalidConstructor(constructor));
    }
    if count > MAX_EMPTY_ELEMENTS && constructor & 0xf0 == 0x40 {
        return Err(DecodeError::TooManyEmptyElements);
    }
    Ok(Array { count, element: Element { descriptor, constructor }, items })
}

/// Checks the elements of a value that [`shallow`] has returned.
fn check(value: &Value<'_>, depth: u32) -> Result<(), DecodeError> {
    let items = match value {
        Value::List(list) => list.iter(),
        Value::Map(map) if map.count % 2 == 1 => return Err(DecodeError::OddMap),
        Value::Map(map) => Items::of(map),
        Value::Array(array) => array.iter(),
        Value::Described(described) => {
            let depth = depth.checked_sub(1).ok_or(DecodeError::TooDeep)?;
            let mut body = described.body;
            let inner = self::body(described.constructor, &mut body)?;
            debug_assert!(described.is_nested() || body.is_empty());
            return check(&inner, depth);
        }
        _ => return Ok(()),
    };
    let depth = depth.checked_sub(1).ok_or(DecodeError::TooDeep)?;
    check_items(items, depth)
}

fn check_items(mut items: Items<'_>, depth: u32) -> Result<(), DecodeError> {
    for _ in 0..items.left() {
        // What is wrong here is wrong within the size that the compound value gave.
        let item = items.next_checked().map_err(|error| match error {
            DecodeError::UnexpectedEnd => DecodeError::SizeMismatch,
            other => other,
        })?;
        check(&item, depth)?;
    }
    if items.rest().is_empty() { Ok(()) } else { Err(DecodeError::SizeMismatch) }
}

fn skip_body(constructor: u8, input: &mut &[u8]) -> Result<(), DecodeError> {
    // The upper half of a constructor gives the width of what follows (AMQP §1.2.3).
    let len = match constructor >> 4 {
        0x4 => 0,
        0x5 => 1,
        0x6 => 2,
        0x7 => 4,
        0x8 => 8,
        0x9 => 16,
        0xa | 0xc | 0xe => byte(input)?.into(),
        0xb | 0xd | 0xf => u32::from_be_bytes(fixed(input)?) as usize,
        _ => return Err(DecodeError::InvalidConstructor(constructor)),
    };
    take(input, len)?;
    Ok(())
}

/// The bytes of a variable-width value.
fn variable<'a>(constructor: u8, input: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let len = if is_wide(constructor) { u32::from_be_bytes(fixed(input)?) } else { byte(input)?.into() };
    take(input, len as usize)
}

/// Count and elements of a list or map. Every element takes at least one byte.
fn compound<'a>(constructor: u8, input: &mut &'a [u8]) -> Result<(u32, &'a [u8]), DecodeError> {
    let (count, items) = sized(constructor, input)?;
    if count as usize > items.len() { Err(DecodeError::SizeMismatch) } else { Ok((count, items)) }
}

/// Count and content of a compound value or array.
fn sized<'a>(constructor: u8, input: &mut &'a [u8]) -> Result<(u32, &'a [u8]), DecodeError> {
    let mut content = variable(constructor, input)?;
    let count = if is_wide(constructor) {
        fixed(&mut content).map(u32::from_be_bytes)
    } else {
        byte(&mut content).map(u32::from)
    };
    Ok((count.map_err(|_| DecodeError::SizeMismatch)?, content))
}

fn is_wide(constructor: u8) -> bool {
    constructor & 0x10 != 0
}

fn text(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::InvalidUtf8)
}

fn byte(input: &mut &[u8]) -> Result<u8, DecodeError> {
    let (&first, rest) = input.split_first().ok_or(DecodeError::UnexpectedEnd)?;
    *input = rest;
    Ok(first)
}

fn fixed<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], DecodeError> {
    let (&bytes, rest) = input.split_first_chunk().ok_or(DecodeError::UnexpectedEnd)?;
    *input = rest;
    Ok(bytes)
}

fn take<'a>(input: &mut &'a [u8], len: usize) -> Result<&'a [u8], DecodeError> {
    let (bytes, rest) = input.split_at_checked(len).ok_or(DecodeError::UnexpectedEnd)?;
    *input = rest;
    Ok(bytes)
}
