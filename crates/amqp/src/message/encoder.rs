//! Writes a message.

use bytes::BytesMut;

use super::{Header, Properties, code};
use crate::codec::{Composite, Descriptor, Encoder};

/// Appends the sections of one message to a buffer. Call the methods in the order in which they stand here.
///
/// ```
/// use bytes::BytesMut;
/// use ferrohub_amqp::{Value, message::{Message, MessageEncoder, Properties}};
///
/// let mut bytes = BytesMut::new();
/// let properties = Properties { correlation_id: Some(Value::Ulong(7)), ..Properties::default() };
/// MessageEncoder::new(&mut bytes)
///     .properties(&properties)
///     .application_properties(|map| {
///         map.string("status-code");
///         map.int(200);
///     })
///     .value(|value| value.null());
/// let message = Message::parse(&bytes)?;
/// assert_eq!(message.application_properties()?.get("status-code"), Some(Value::Int(200)));
/// # Ok::<(), ferrohub_amqp::DecodeError>(())
/// ```
#[derive(Debug)]
pub struct MessageEncoder<'b> {
    encoder: Encoder<'b>,
    last: u64,
}

impl<'b> MessageEncoder<'b> {
    /// Begins a message at the end of `out`.
    pub fn new(out: &'b mut BytesMut) -> Self {
        Self { encoder: Encoder::new(out), last: 0 }
    }

    /// Writes the header.
    pub fn header(&mut self, header: &Header) -> &mut Self {
        self.enter(code::HEADER);
        header.encode_composite(&mut self.encoder);
        self
    }

    /// Writes delivery annotations; the keys are symbols.
    pub fn delivery_annotations(&mut self, pairs: impl FnOnce(&mut Encoder<'_>)) -> &mut Self {
        self.section(code::DELIVERY_ANNOTATIONS, |encoder| encoder.map(pairs))
    }

    /// Writes message annotations; the keys are symbols.
    pub fn message_annotations(&mut self, pairs: impl FnOnce(&mut Encoder<'_>)) -> &mut Self {
        self.section(code::MESSAGE_ANNOTATIONS, |encoder| encoder.map(pairs))
    }

    /// Writes the properties.
    pub fn properties(&mut self, properties: &Properties<'_>) -> &mut Self {
        self.enter(code::PROPERTIES);
        properties.encode_composite(&mut self.encoder);
        self
    }

    /// Writes application properties; the keys are strings.
    pub fn application_properties(&mut self, pairs: impl FnOnce(&mut Encoder<'_>)) -> &mut Self {
        self.section(code::APPLICATION_PROPERTIES, |encoder| encoder.map(pairs))
    }

    /// Writes a data section; call it again for another one.
    pub fn data(&mut self, data: &[u8]) -> &mut Self {
        self.section(code::DATA, |encoder| encoder.binary(data))
    }

    /// Writes a body of one value.
    pub fn value(&mut self, value: impl FnOnce(&mut Encoder<'_>)) -> &mut Self {
        self.section(code::VALUE, value)
    }

    fn section(&mut self, code: u64, value: impl FnOnce(&mut Encoder<'_>)) -> &mut Self {
        self.enter(code);
        self.encoder.described(Descriptor::Code(code), value);
        self
    }

    fn enter(&mut self, code: u64) {
        debug_assert!(
            self.last < code || (self.last == code && code == code::DATA),
            "a section is out of order: {code:#x} after {:#x}",
            self.last
        );
        self.last = code;
    }
}
