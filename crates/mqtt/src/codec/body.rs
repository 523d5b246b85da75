//! Reads fields (MQTT 3.1.1, section 1.5) from a packet's body, without panics, and without a copy if the source can
//! be shared.

use std::ops::Range;

use bytes::Bytes;

use super::DecodeError;
use crate::{PacketId, PacketKind, Utf8};

/// Access to the bytes of a packet's body.
pub(crate) trait Body {
    fn bytes(&self) -> &[u8];
    /// Returns an owned handle to the bytes in `range`, which must be inside the body.
    fn to_bytes(&self, range: Range<usize>) -> Bytes;
}

impl Body for &[u8] {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn to_bytes(&self, range: Range<usize>) -> Bytes {
        Bytes::copy_from_slice(self.get(range).unwrap_or_default())
    }
}

impl Body for Bytes {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn to_bytes(&self, range: Range<usize>) -> Bytes {
        self.slice(range)
    }
}

/// Reads the body of a packet of type `kind` from `position` on.
pub(crate) struct Reader<'a, B> {
    kind: PacketKind,
    body: &'a B,
    position: usize,
}

impl<'a, B: Body> Reader<'a, B> {
    pub(crate) fn new(kind: PacketKind, body: &'a B) -> Self {
        Self { kind, body, position: 0 }
    }

    fn length_error(&self) -> DecodeError {
        DecodeError::Length(self.kind)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let array = self.body.bytes().get(self.position..).and_then(|rest| rest.first_chunk::<N>());
        let array = *array.ok_or_else(|| self.length_error())?;
        self.position += N;
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        PacketId::new(self.u16()?).ok_or(DecodeError::ZeroPacketId)
    }

    /// Reads a field with a two-byte length prefix and returns the borrowed bytes and their range in the body.
    pub(crate) fn field(&mut self) -> Result<(&'a [u8], Range<usize>), DecodeError> {
        let len = usize::from(self.u16()?);
        let range = self.position..self.position + len;
        let bytes = self.body.bytes().get(range.clone()).ok_or_else(|| self.length_error())?;
        self.position = range.end;
        Ok((bytes, range))
    }

    pub(crate) fn binary(&mut self) -> Result<Bytes, DecodeError> {
        let (_, range) = self.field()?;
        Ok(self.body.to_bytes(range))
    }

    pub(crate) fn text(&mut self) -> Result<Utf8, DecodeError> {
        let (bytes, range) = self.field()?;
        Utf8::check(bytes)?;
        Ok(Utf8::new_unchecked(self.body.to_bytes(range)))
    }

    pub(crate) fn topic_filter(&mut self) -> Result<Utf8, DecodeError> {
        let text = self.text()?;
        if text.as_bytes().is_empty() { Err(DecodeError::EmptyTopic) } else { Ok(text) }
    }

    pub(crate) fn topic_name(&mut self, allow_wildcards: bool) -> Result<Utf8, DecodeError> {
        let topic = self.topic_filter()?;
        if !allow_wildcards && Utf8::has_wildcard(topic.as_bytes()) {
            return Err(DecodeError::Wildcard);
        }
        Ok(topic)
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.position >= self.body.bytes().len()
    }

    /// Returns all remaining bytes.
    pub(crate) fn rest(self) -> Bytes {
        self.body.to_bytes(self.position..self.body.bytes().len())
    }

    /// Returns all remaining bytes, borrowed.
    pub(crate) fn rest_bytes(self) -> &'a [u8] {
        self.body.bytes().get(self.position..).unwrap_or_default()
    }

    /// Returns an error if bytes remain.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.is_at_end() { Ok(()) } else { Err(self.length_error()) }
    }
}
