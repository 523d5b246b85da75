//! The encoder.

use bytes::{BufMut, BytesMut};

use super::{Array, Descriptor, List, Map, Symbol, Value, constructor as c};

/// Writes values to the end of a buffer: strings, compound values and unsigned numbers in their shortest form.
///
/// A compound value is written by a closure that gets an encoder for its elements, which counts them:
///
/// ```
/// use bytes::BytesMut;
/// use ferrohub_amqp::{Encoder, Map, Value};
///
/// let mut bytes = BytesMut::new();
/// Encoder::new(&mut bytes).map(|map| {
///     map.symbol("port");
///     map.uint(5671);
/// });
/// assert_eq!(Map::decode(&bytes)?.get("port"), Some(Value::Uint(5671)));
/// # Ok::<(), ferrohub_amqp::DecodeError>(())
/// ```
#[derive(Debug)]
pub struct Encoder<'b> {
    out: &'b mut BytesMut,
    /// Values written at this level.
    count: u32,
}

impl<'b> Encoder<'b> {
    /// Creates an encoder that appends to `out`.
    pub fn new(out: &'b mut BytesMut) -> Self {
        Self { out, count: 0 }
    }

    /// Writes null.
    pub fn null(&mut self) {
        self.constructor(c::NULL);
    }

    /// Writes a boolean.
    pub fn boolean(&mut self, value: bool) {
        self.constructor(if value { c::TRUE } else { c::FALSE });
    }

    /// Writes a ubyte.
    pub fn ubyte(&mut self, value: u8) {
        self.constructor(c::UBYTE);
        self.out.put_u8(value);
    }

    /// Writes a ushort.
    pub fn ushort(&mut self, value: u16) {
        self.constructor(c::USHORT);
        self.out.put_u16(value);
    }

    /// Writes a uint.
    pub fn uint(&mut self, value: u32) {
        match u8::try_from(value) {
            Ok(0) => self.constructor(c::UINT0),
            Ok(small) => {
                self.constructor(c::SMALL_UINT);
                self.out.put_u8(small);
            }
            Err(_) => {
                self.constructor(c::UINT);
                self.out.put_u32(value);
            }
        }
    }

    /// Writes a ulong.
    pub fn ulong(&mut self, value: u64) {
        match u8::try_from(value) {
            Ok(0) => self.constructor(c::ULONG0),
            Ok(small) => {
                self.constructor(c::SMALL_ULONG);
                self.out.put_u8(small);
            }
            Err(_) => {
                self.constructor(c::ULONG);
                self.out.put_u64(value);
            }
        }
    }

    /// Writes an int in its full form, as Azure writes the `status-code` of an answer.
    pub fn int(&mut self, value: i32) {
        self.constructor(c::INT);
        self.out.put_i32(value);
    }

    /// Writes a long in its full form.
    pub fn long(&mut self, value: i64) {
        self.constructor(c::LONG);
        self.out.put_i64(value);
    }

    /// Writes a timestamp: milliseconds since 1970-01-01 UTC.
    pub fn timestamp(&mut self, milliseconds: i64) {
        self.constructor(c::TIMESTAMP);
        self.out.put_i64(milliseconds);
    }

    /// Writes a uuid.
    pub fn uuid(&mut self, value: &[u8; 16]) {
        self.constructor(c::UUID);
        self.out.put_slice(value);
    }

    /// Writes a binary.
    pub fn binary(&mut self, value: &[u8]) {
        self.variable(c::BINARY8, c::BINARY32, value);
    }

    /// Writes a string.
    pub fn string(&mut self, value: &str) {
        self.variable(c::STRING8, c::STRING32, value.as_bytes());
    }

    /// Writes a symbol.
    pub fn symbol(&mut self, value: &str) {
        self.variable(c::SYMBOL8, c::SYMBOL32, value.as_bytes());
    }

    /// Writes a list of the values that `items` writes. Never list0: azure-eventhub for Python cannot read it.
    pub fn list(&mut self, items: impl FnOnce(&mut Encoder<'_>)) {
        self.compound(c::LIST8, c::LIST32, |encoder| {
            items(encoder);
            encoder.count
        });
    }

    /// Writes a map of the keys and values that `pairs` writes in turn.
    pub fn map(&mut self, pairs: impl FnOnce(&mut Encoder<'_>)) {
        self.compound(c::MAP8, c::MAP32, |encoder| {
            pairs(encoder);
            debug_assert!(encoder.count % 2 == 0, "a map has a key without a value");
            encoder.count
        });
    }

    /// Writes an array of strings.
    pub fn strings<'v>(&mut self, values: impl IntoIterator<Item = &'v str>) {
        self.texts(c::STRING32, values);
    }

    /// Writes an array of symbols.
    pub fn symbols<'v>(&mut self, values: impl IntoIterator<Item = &'v str>) {
        self.texts(c::SYMBOL32, values);
    }

    /// Writes a described value; `value` writes exactly one value.
    pub fn described(&mut self, descriptor: Descriptor<'_>, value: impl FnOnce(&mut Encoder<'_>)) {
        self.constructor(c::DESCRIBED);
        let mut inner = Encoder::new(self.out);
        match descriptor {
            Descriptor::Code(code) => inner.ulong(code),
            Descriptor::Symbol(symbol) => inner.symbol(symbol.0),
        }
        value(&mut inner);
        debug_assert!(inner.count == 2, "a descriptor describes one value");
    }

    /// Writes a decoded value. The elements of a compound value are copied as they are.
    pub fn value(&mut self, value: &Value<'_>) {
        match value {
            Value::Null => self.null(),
            Value::Boolean(value) => self.boolean(*value),
            Value::Ubyte(value) => self.ubyte(*value),
            Value::Ushort(value) => self.ushort(*value),
            Value::Uint(value) => self.uint(*value),
            Value::Ulong(value) => self.ulong(*value),
            Value::Byte(value) => self.fixed(c::BYTE, &value.to_be_bytes()),
            Value::Short(value) => self.fixed(c::SHORT, &value.to_be_bytes()),
            Value::Int(value) => self.int(*value),
            Value::Long(value) => self.long(*value),
            Value::Float(value) => self.fixed(c::FLOAT, &value.to_be_bytes()),
            Value::Double(value) => self.fixed(c::DOUBLE, &value.to_be_bytes()),
            Value::Decimal32(value) => self.fixed(c::DECIMAL32, value),
            Value::Decimal64(value) => self.fixed(c::DECIMAL64, value),
            Value::Decimal128(value) => self.fixed(c::DECIMAL128, value),
            Value::Char(value) => self.fixed(c::CHAR, &u32::from(*value).to_be_bytes()),
            Value::Timestamp(value) => self.timestamp(*value),
            Value::Uuid(value) => self.uuid(value),
            Value::Binary(value) => self.binary(value),
            Value::String(value) => self.string(value),
            Value::Symbol(Symbol(value)) => self.symbol(value),
            Value::List(List { count, items }) => self.copied(c::LIST8, c::LIST32, *count, items),
            Value::Map(Map { count, items }) => self.copied(c::MAP8, c::MAP32, *count, items),
            Value::Array(array) => self.array(array),
            Value::Described(described) => self.described(described.descriptor, |encoder| {
                encoder.constructor(described.constructor);
                encoder.out.put_slice(described.body);
            }),
        }
    }

    fn constructor(&mut self, constructor: u8) {
        self.count += 1;
        self.out.put_u8(constructor);
    }

    fn fixed(&mut self, constructor: u8, bytes: &[u8]) {
        self.constructor(constructor);
        self.out.put_slice(bytes);
    }

    fn variable(&mut self, narrow: u8, wide: u8, bytes: &[u8]) {
        match u8::try_from(bytes.len()) {
            Ok(len) => {
                self.constructor(narrow);
                self.out.put_u8(len);
            }
            Err(_) => {
                self.constructor(wide);
                self.out.put_u32(bytes.len() as u32);
            }
        }
        self.out.put_slice(bytes);
    }

    fn texts<'v>(&mut self, wide: u8, values: impl IntoIterator<Item = &'v str>) {
        self.compound(c::ARRAY8, c::ARRAY32, |encoder| {
            encoder.out.put_u8(wide);
            let mut count = 0;
            for value in values {
                encoder.out.put_u32(value.len() as u32);
                encoder.out.put_slice(value.as_bytes());
                count += 1;
            }
            count
        });
    }

    fn array(&mut self, array: &Array<'_>) {
        self.compound(c::ARRAY8, c::ARRAY32, |encoder| {
            if let Some(descriptor) = array.element.descriptor {
                encoder.out.put_u8(c::DESCRIBED);
                match descriptor {
                    Descriptor::Code(code) => encoder.ulong(code),
                    Descriptor::Symbol(symbol) => encoder.symbol(symbol.0),
                }
            }
            encoder.out.put_u8(array.element.constructor);
            encoder.out.put_slice(array.items);
            array.count
        });
    }

    fn copied(&mut self, narrow: u8, wide: u8, count: u32, items: &[u8]) {
        self.compound(narrow, wide, |encoder| {
            encoder.out.put_slice(items);
            count
        });
    }

    /// Writes size, count and content. The wide form is written first, and shortened if the content turns out small.
    fn compound(&mut self, narrow: u8, wide: u8, content: impl FnOnce(&mut Encoder<'_>) -> u32) {
        self.constructor(wide);
        let start = self.out.len();
        self.out.put_slice(&[0; WIDE_HEADER]);
        let count = content(&mut Encoder::new(self.out));
        let len = self.out.len() - start - WIDE_HEADER;
        match (u8::try_from(len + 1), u8::try_from(count)) {
            (Ok(size), Ok(count)) => {
                self.out.copy_within(start + WIDE_HEADER.., start + NARROW_HEADER);
                self.out.truncate(start + NARROW_HEADER + len);
                self.patch(start - 1, &[narrow, size, count]);
            }
            _ => {
                self.patch(start, &((len + 4) as u32).to_be_bytes());
                self.patch(start + 4, &count.to_be_bytes());
            }
        }
    }

    /// Overwrites bytes that were written before.
    fn patch(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.out.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
}

/// Bytes of size and count in the wide and narrow form.
const WIDE_HEADER: usize = 8;
const NARROW_HEADER: usize = 2;
