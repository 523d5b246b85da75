//! Assembles frames from a stream of slices and buffers only an incomplete frame.

use std::{mem, ops::Deref};

use bytes::{Buf, Bytes, BytesMut};

use crate::{codec::DecodeError, frame::Frame, frame::ProtocolHeader};

/// Assembles frames from the slices that arrive.
///
/// Invariant: between calls the buffer holds the beginning of one frame, or input stored by `buffer`; otherwise it has no
/// allocation. It grows with the received bytes, never with the size that a header announces.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    buffer: BytesMut,
}

/// The bytes of one complete frame.
#[derive(Debug, PartialEq)]
pub(crate) enum FrameBytes<'i> {
    /// In the caller's input.
    Borrowed(&'i [u8]),
    /// Assembled from several inputs.
    Owned(Bytes),
}

impl Deref for FrameBytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl FrameBytes<'_> {
    /// Returns a part of the frame as a value of its own: shared if the frame is, otherwise copied.
    pub(crate) fn keep(&self, part: &[u8]) -> Bytes {
        match self {
            Self::Borrowed(_) => Bytes::copy_from_slice(part),
            Self::Owned(bytes) => bytes.slice_ref(part),
        }
    }
}

impl Assembler {
    /// Returns the next frame from the buffer and `input`, and advances `input` past it. Returns `None` after all input
    /// has been consumed without completing a frame.
    pub(crate) fn frame<'i>(
        &mut self,
        input: &mut &'i [u8],
        max_frame_size: usize,
    ) -> Result<Option<FrameBytes<'i>>, DecodeError> {
        if self.buffer.is_empty() {
            let size = Frame::size(input, max_frame_size)?;
            if let Some((frame, rest)) = size.and_then(|size| input.split_at_checked(size)) {
                *input = rest;
                return Ok(Some(FrameBytes::Borrowed(frame)));
            }
            self.take(input, input.len());
            return Ok(None);
        }
        let size = loop {
            match Frame::size(&self.buffer, max_frame_size)? {
                Some(size) => break size,
                None if input.is_empty() => return Ok(None),
                None => self.take(input, 1),
            }
        };
        Ok(self.complete(input, size).map(FrameBytes::Owned))
    }

    /// Returns the protocol header, in the same way.
    pub(crate) fn header(&mut self, input: &mut &[u8]) -> Option<[u8; ProtocolHeader::LEN]> {
        let bytes = self.complete(input, ProtocolHeader::LEN)?;
        bytes.first_chunk().copied()
    }

    /// Buffers input without looking at it. Must only be called at a frame boundary.
    pub(crate) fn buffer(&mut self, input: &[u8]) {
        self.buffer.extend_from_slice(input);
    }

    /// Returns the number of buffered bytes.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Returns the number of bytes that are allocated.
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Discards the buffered bytes.
    pub(crate) fn clear(&mut self) {
        self.buffer = BytesMut::new();
    }

    /// Returns the first `size` bytes once they are there.
    fn complete(&mut self, input: &mut &[u8], size: usize) -> Option<Bytes> {
        self.take(input, size.saturating_sub(self.buffer.len()));
        let bytes = match self.buffer.len().checked_sub(size)? {
            0 => mem::take(&mut self.buffer),
            _ => self.buffer.split_to(size),
        };
        Some(bytes.freeze())
    }

    fn take(&mut self, input: &mut &[u8], len: usize) {
        let len = len.min(input.len());
        self.buffer.extend_from_slice(input.get(..len).unwrap_or_default());
        input.advance(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A heartbeat, which is the smallest frame.
    const EMPTY: &[u8] = b"\0\0\0\x08\x02\0\0\0";

    #[test]
    fn the_buffer_grows_with_received_bytes_not_with_the_announced_size() {
        let mut assembler = Assembler::default();
        assert_eq!(assembler.frame(&mut &b"\x10\0\0\0"[..], usize::MAX), Ok(None));
        for _ in 0..96 {
            assert_eq!(assembler.frame(&mut &b"x"[..], usize::MAX), Ok(None));
        }
        assert_eq!(assembler.len(), 100);
        assert!(assembler.buffer.capacity() <= 256, "{}", assembler.buffer.capacity());
    }

    #[test]
    fn no_memory_is_kept_between_frames() {
        let mut assembler = Assembler::default();
        let (start, end) = EMPTY.split_at(3);
        assert_eq!(assembler.frame(&mut &*start, 512), Ok(None));
        let end = [end, EMPTY].concat();
        let mut input = &end[..];
        assert_eq!(assembler.frame(&mut input, 512), Ok(Some(FrameBytes::Owned(EMPTY.into()))));
        assert_eq!((input, assembler.buffer.capacity()), (EMPTY, 0));
        assert_eq!(assembler.frame(&mut input, 512), Ok(Some(FrameBytes::Borrowed(EMPTY))));
        assert_eq!((input, assembler.buffer.capacity()), (&b""[..], 0));
    }

    #[test]
    fn held_frames_are_returned_in_order() {
        let mut assembler = Assembler::default();
        assembler.buffer(&[b"AMQP\0\x01\0\0", EMPTY, EMPTY].concat());
        assert_eq!(assembler.header(&mut &b""[..]), Some(*b"AMQP\0\x01\0\0"));
        for _ in 0..2 {
            assert_eq!(assembler.frame(&mut &b""[..], 512), Ok(Some(FrameBytes::Owned(EMPTY.into()))));
        }
        assert_eq!(assembler.frame(&mut &b""[..], 512), Ok(None));
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_before_it_arrives() {
        let mut assembler = Assembler::default();
        let error = DecodeError::FrameTooLarge { size: 513, limit: 512 };
        assert_eq!(assembler.frame(&mut &b"\0\0\x02\x01"[..], 512), Err(error));
        assert_eq!(assembler.frame(&mut &b"\0\0\0\x07"[..], 512), Err(DecodeError::InvalidFrameHeader));
    }
}
