//! Assembles packets from a stream of slices and buffers only incomplete packets.

use std::mem;

use bytes::{Buf, BytesMut};

use crate::{
    DecodeError, Limits, Packet,
    codec::{self, Header},
};

/// Assembles packets from the slices that arrive.
///
/// Invariant: between calls the buffer holds the beginning of one packet, or input stored by `buffer`; otherwise it has
/// no allocation. It grows with the received bytes, never with the length that a header announces.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    buffer: BytesMut,
}

impl Assembler {
    /// Returns the next packet from the buffer and `input`, and advances `input` past it. Returns `None` after all
    /// input has been consumed without completing a packet.
    pub(crate) fn next(&mut self, input: &mut &[u8], limits: &Limits) -> Result<Option<Packet>, DecodeError> {
        if self.buffer.is_empty() {
            return Ok(match codec::decode_slice(input, limits)? {
                Some((packet, len)) => {
                    input.advance(len);
                    Some(packet)
                }
                None => {
                    self.take(input, input.len());
                    None
                }
            });
        }
        let header = loop {
            match Header::parse(&self.buffer, limits)? {
                Some(header) => break header,
                None if input.is_empty() => return Ok(None),
                None => self.take(input, 1),
            }
        };
        self.take(input, header.packet_len().saturating_sub(self.buffer.len()));
        let packet = match self.buffer.len().checked_sub(header.packet_len()) {
            None => return Ok(None),
            Some(0) => mem::take(&mut self.buffer),
            Some(_) => self.buffer.split_to(header.packet_len()),
        };
        codec::decode_owned(header, packet.freeze(), limits).map(Some)
    }

    /// Buffers input without parsing it. Must only be called at a packet boundary.
    pub(crate) fn buffer(&mut self, input: &[u8]) {
        self.buffer.extend_from_slice(input);
    }

    /// Returns the number of buffered bytes.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Discards the buffered bytes.
    pub(crate) fn clear(&mut self) {
        self.buffer = BytesMut::new();
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

    const LIMITS: Limits = Limits { max_packet_size: usize::MAX, max_filters: 8, wildcards_in_topics: false };

    #[test]
    fn the_buffer_grows_with_received_bytes_not_with_the_announced_length() {
        let mut assembler = Assembler::default();
        // A PUBLISH of 256 MiB, of which 103 bytes arrive.
        assert_eq!(assembler.next(&mut &b"\x30\xff\xff\xff\x7f"[..], &LIMITS), Ok(None));
        for _ in 0..98 {
            assert_eq!(assembler.next(&mut &b"x"[..], &LIMITS), Ok(None));
        }
        assert_eq!(assembler.len(), 103);
        assert!(assembler.buffer.capacity() <= 256, "{}", assembler.buffer.capacity());
    }

    #[test]
    fn no_memory_is_kept_between_packets() {
        let mut assembler = Assembler::default();
        assert_eq!(assembler.next(&mut &b"\x40\x02\x00"[..], &LIMITS), Ok(None));
        let mut input = &b"\x01\xc0"[..];
        assert!(matches!(assembler.next(&mut input, &LIMITS), Ok(Some(Packet::PubAck(_)))));
        assert_eq!((input, assembler.buffer.capacity()), (&b"\xc0"[..], 0));
        assert_eq!(assembler.next(&mut input, &LIMITS), Ok(None));
        assert_eq!(assembler.next(&mut &b"\x00"[..], &LIMITS), Ok(Some(Packet::PingReq)));
        assert_eq!(assembler.buffer.capacity(), 0);
    }

    #[test]
    fn held_packets_are_returned_in_order() {
        let mut assembler = Assembler::default();
        assembler.buffer(b"\xc0\x00\x40\x02\x00\x01\xe0");
        let mut input = &b"\x00"[..];
        let mut kinds = Vec::new();
        while let Some(packet) = assembler.next(&mut input, &LIMITS).unwrap() {
            kinds.push(packet.kind() as u8);
        }
        assert_eq!((kinds, assembler.len()), (vec![12, 4, 14], 0));
    }
}
