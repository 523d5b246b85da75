//! A message as its sections.

use super::{Body, Data, Header, Properties, Sequences, body, code};
use crate::codec::{Composite, DecodeError, Descriptor, Map, Symbol, Value, section};

/// A message whose sections are known but not decoded.
///
/// Sections that are absent are empty. Each accessor decodes on each call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Message<'a> {
    header: &'a [u8],
    delivery_annotations: &'a [u8],
    message_annotations: &'a [u8],
    properties: &'a [u8],
    application_properties: &'a [u8],
    /// All sections of the body, which are of one kind.
    body: &'a [u8],
    body_code: u64,
    footer: &'a [u8],
}

/// Symbolic descriptors, by the distance of the code from the first.
const NAMES: [&str; 9] = [
    "amqp:header:list",
    "amqp:delivery-annotations:map",
    "amqp:message-annotations:map",
    "amqp:properties:list",
    "amqp:application-properties:map",
    "amqp:data:binary",
    "amqp:amqp-sequence:list",
    "amqp:amqp-value:*",
    "amqp:footer:map",
];

impl<'a> Message<'a> {
    /// Finds the sections of a message. Checks their order, and that data sections are binary; nothing else.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut message = Self::default();
        let mut rest = bytes;
        let mut last = 0;
        while !rest.is_empty() {
            let start = rest;
            let (descriptor, raw) = section(&mut rest)?;
            let code = section_code(descriptor)?;
            let repeats = code == last && matches!(code, code::DATA | code::SEQUENCE);
            let second_body = is_body(code) && is_body(last);
            if (code <= last || second_body) && !repeats {
                return Err(DecodeError::SectionOrder);
            }
            last = code;
            match code {
                code::HEADER => message.header = raw,
                code::DELIVERY_ANNOTATIONS => message.delivery_annotations = raw,
                code::MESSAGE_ANNOTATIONS => message.message_annotations = raw,
                code::PROPERTIES => message.properties = raw,
                code::APPLICATION_PROPERTIES => message.application_properties = raw,
                code::FOOTER => message.footer = raw,
                body_code => {
                    if body_code == code::DATA {
                        body::data(raw)?;
                    }
                    let before = if repeats { message.body.len() } else { 0 };
                    // Sections of the body stand next to each other: one slice holds all of them.
                    let from = bytes.len() - start.len() - before;
                    message.body = bytes.get(from..from + before + raw.len()).unwrap_or_default();
                    message.body_code = body_code;
                }
            }
        }
        Ok(message)
    }

    /// Decodes the header.
    pub fn header(&self) -> Result<Header, DecodeError> {
        composite(self.header)
    }

    /// Decodes the properties.
    pub fn properties(&self) -> Result<Properties<'a>, DecodeError> {
        composite(self.properties)
    }

    /// Decodes the delivery annotations: what the sender says to this receiver.
    pub fn delivery_annotations(&self) -> Result<Map<'a>, DecodeError> {
        map(self.delivery_annotations)
    }

    /// Decodes the message annotations: what the infrastructure says about the message.
    pub fn message_annotations(&self) -> Result<Map<'a>, DecodeError> {
        map(self.message_annotations)
    }

    /// Decodes the application properties.
    pub fn application_properties(&self) -> Result<Map<'a>, DecodeError> {
        map(self.application_properties)
    }

    /// Decodes the footer.
    pub fn footer(&self) -> Result<Map<'a>, DecodeError> {
        map(self.footer)
    }

    /// Decodes the body. AMQP requires one, but some clients send none with a request.
    pub fn body(&self) -> Result<Body<'a>, DecodeError> {
        match self.body_code {
            code::DATA => Ok(Body::Data(self.data())),
            code::SEQUENCE => Ok(Body::Sequences(Sequences::new(self.body))),
            code::VALUE => described(self.body).map(Body::Value),
            _ => Ok(Body::Absent),
        }
    }

    /// Iterates over the data sections; there are none if the body is absent or of another kind.
    #[must_use]
    pub fn data(&self) -> Data<'a> {
        Data::new(if self.body_code == code::DATA { self.body } else { &[] })
    }
}

fn is_body(code: u64) -> bool {
    matches!(code, code::DATA | code::SEQUENCE | code::VALUE)
}

fn section_code(descriptor: Descriptor<'_>) -> Result<u64, DecodeError> {
    match descriptor {
        Descriptor::Code(code @ code::HEADER..=code::FOOTER) => Ok(code),
        Descriptor::Code(code) => Err(DecodeError::UnexpectedDescriptor(code)),
        Descriptor::Symbol(Symbol(name)) => {
            let known = (code::HEADER..).zip(NAMES).find(|(_, known)| *known == name);
            known.map(|(code, _)| code).ok_or(DecodeError::UnknownSymbol)
        }
    }
}

fn composite<'a, T: Composite<'a>>(section: &'a [u8]) -> Result<T, DecodeError> {
    if section.is_empty() { Ok(T::default()) } else { T::decode(section) }
}

fn described(mut section: &[u8]) -> Result<Value<'_>, DecodeError> {
    crate::codec::described(&mut section).map(|described| described.value())
}

fn map(section: &[u8]) -> Result<Map<'_>, DecodeError> {
    if section.is_empty() {
        return Ok(Map::default());
    }
    match described(section)? {
        Value::Map(map) => Ok(map),
        // A null map is not allowed, but harmless.
        Value::Null => Ok(Map::default()),
        _ => Err(DecodeError::NotComposite),
    }
}
