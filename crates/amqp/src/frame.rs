//! Frames and protocol headers (AMQP §2.2, 2.3).

use bytes::{BufMut, BytesMut};

use crate::codec::DecodeError;

/// Bytes of a frame's fixed header.
pub const HEADER_LEN: usize = 8;

/// Every peer must accept frames up to this size in bytes (AMQP §2.7.1, MIN-MAX-FRAME-SIZE).
pub const MIN_MAX_FRAME_SIZE: u32 = 512;

/// The first eight bytes of each direction, which name the protocol (AMQP §2.2, 5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolHeader {
    /// AMQP without SASL, or after it.
    Amqp,
    /// The SASL layer.
    Sasl,
}

impl ProtocolHeader {
    /// Length in bytes.
    pub const LEN: usize = 8;

    /// Recognises a header. Returns `None` for any other protocol or version.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Option<Self> {
        [Self::Amqp, Self::Sasl].into_iter().find(|header| header.to_bytes() == bytes)
    }

    /// Returns the header.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        match self {
            Self::Amqp => *b"AMQP\x00\x01\x00\x00",
            Self::Sasl => *b"AMQP\x03\x01\x00\x00",
        }
    }
}

/// The type of a frame (AMQP §2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameType {
    /// A frame of a connection or session.
    Amqp = 0,
    /// A frame of the SASL layer.
    Sasl = 1,
}

/// A complete frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The type.
    pub kind: FrameType,
    /// The channel; of no meaning in a SASL frame.
    pub channel: u16,
    /// A performative and, for a transfer, a payload; empty for a heartbeat.
    pub body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads the size of the frame that `input` begins with, in bytes with the header. Returns `None` if it is not
    /// complete yet.
    pub fn size(input: &[u8], max_frame_size: usize) -> Result<Option<usize>, DecodeError> {
        let Some(size) = input.first_chunk() else {
            return Ok(None);
        };
        let size = u32::from_be_bytes(*size) as usize;
        if size < HEADER_LEN {
            return Err(DecodeError::InvalidFrameHeader);
        }
        if size > max_frame_size {
            return Err(DecodeError::FrameTooLarge { size, limit: max_frame_size });
        }
        Ok(Some(size))
    }

    /// Decodes a frame that is the whole of `frame`.
    pub fn decode(frame: &'a [u8]) -> Result<Self, DecodeError> {
        let Some((&[s0, s1, s2, s3, offset, kind, c0, c1], _)) = frame.split_first_chunk() else {
            return Err(DecodeError::InvalidFrameHeader);
        };
        let offset = usize::from(offset) * 4;
        let size = u32::from_be_bytes([s0, s1, s2, s3]) as usize;
        if offset < HEADER_LEN || size != frame.len() {
            return Err(DecodeError::InvalidFrameHeader);
        }
        let body = frame.get(offset..).ok_or(DecodeError::InvalidFrameHeader)?;
        let kind = match kind {
            0 => FrameType::Amqp,
            1 => FrameType::Sasl,
            other => return Err(DecodeError::UnexpectedFrameType(other)),
        };
        Ok(Self { kind, channel: u16::from_be_bytes([c0, c1]), body })
    }
}

/// Appends a frame whose body `body` writes; returns its size in bytes.
pub fn encode(out: &mut BytesMut, kind: FrameType, channel: u16, body: impl FnOnce(&mut BytesMut)) -> usize {
    let start = out.len();
    out.put_slice(&[0, 0, 0, 0, (HEADER_LEN / 4) as u8, kind as u8]);
    out.put_u16(channel);
    body(out);
    let size = out.len() - start;
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&(size as u32).to_be_bytes());
    }
    size
}
