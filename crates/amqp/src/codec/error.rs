//! Errors of the decoder.

use thiserror::Error;

/// The bytes violate AMQP 1.0 or a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ends inside a value.
    #[error("the input ends inside a value")]
    UnexpectedEnd,
    /// A constructor byte that AMQP §1.6 does not define, or does not allow here.
    #[error("invalid constructor {0:#04x}")]
    InvalidConstructor(u8),
    /// A descriptor that is neither a symbol nor a ulong; AMQP §1.2.2 reserves the others.
    #[error("a descriptor is neither a symbol nor a ulong")]
    InvalidDescriptor,
    /// A string or symbol that is not UTF-8.
    #[error("a string or symbol is not valid UTF-8")]
    InvalidUtf8,
    /// A char that is not a Unicode scalar value.
    #[error("a char is not a Unicode scalar value")]
    InvalidChar,
    /// A boolean byte other than 0 and 1.
    #[error("invalid boolean {0:#04x}")]
    InvalidBoolean(u8),
    /// The size of a list, map or array does not match its elements.
    #[error("the size of a compound value does not match its elements")]
    SizeMismatch,
    /// A map with a key that has no value.
    #[error("a map has an odd number of elements")]
    OddMap,
    /// Values nested more deeply than [`MAX_DEPTH`](super::MAX_DEPTH).
    #[error("values are nested more than {} levels deep", super::MAX_DEPTH)]
    TooDeep,
    /// An array with more than [`MAX_EMPTY_ELEMENTS`](super::MAX_EMPTY_ELEMENTS) elements that have no bytes.
    #[error("an array has more than {} elements without bytes", super::MAX_EMPTY_ELEMENTS)]
    TooManyEmptyElements,
    /// A value that should be a described list has no descriptor, or is not a list.
    #[error("a value is not a described list")]
    NotComposite,
    /// A described list of another type than expected, or one that is not a performative or section.
    #[error("unexpected descriptor {0:#x}")]
    UnexpectedDescriptor(u64),
    /// A symbolic descriptor that is not known.
    #[error("unknown symbolic descriptor")]
    UnknownSymbol,
    /// A mandatory field is missing or null.
    #[error("the field {field} of {composite} is missing")]
    MissingField {
        /// Name of the type in the specification, such as `amqp:open:list`.
        composite: &'static str,
        /// Name of the field.
        field: &'static str,
    },
    /// A field with a value of another type.
    #[error("the field {field} of {composite} has a wrong type")]
    WrongFieldType {
        /// Name of the type in the specification, such as `amqp:open:list`.
        composite: &'static str,
        /// Name of the field.
        field: &'static str,
    },
    /// Bytes after a value that should be the last one.
    #[error("unexpected bytes after a value")]
    TrailingBytes,
    /// The sections of a message are not in the order of AMQP §3.2, or one occurs twice.
    #[error("a section of a message is out of order, or occurs twice")]
    SectionOrder,
    /// A frame that is larger than the limit in force.
    #[error("frame of {size} bytes exceeds the limit of {limit} bytes")]
    FrameTooLarge {
        /// The frame's size in bytes.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// A frame smaller than its header, or a data offset outside of the frame (AMQP §2.3.1).
    #[error("invalid size or data offset of a frame")]
    InvalidFrameHeader,
    /// A frame type that is not allowed in this phase (SASL or AMQP) of the connection (AMQP §2.3.1).
    #[error("unexpected frame type {0:#04x}")]
    UnexpectedFrameType(u8),
}
