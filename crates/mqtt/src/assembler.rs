//! From a stream of slices to packets, keeping only what is incomplete.

use std::mem;

use bytes::{Buf, BytesMut};

use crate::{
    DecodeError, Limits, Packet,
    codec::{self, Header},
};

/// Cuts packets out of the slices that arrive.
///
/// Invariant: between calls the buffer holds the front of one packet, or input that was put aside by `hold`; with
/// neither it has no allocation. It grows with what arrived, never with what a header announces.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    buffer: BytesMut,
}

impl Assembler {
    /// The next packet from what was kept and `input`, which is advanced behind it. At `None` all input is taken.
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

    /// Puts input aside unseen. Only at a packet's border.
    pub(crate) fn hold(&mut self, input: &[u8]) {
        self.buffer.extend_from_slice(input);
    }

    /// How many bytes are kept.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Forgets what is kept.
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
    fn grows_with_what_arrived_not_with_what_was_announced() {
        let mut assembler = Assembler::default();
        // A PUBLISH of 256 MiB, of which 103 bytes come.
        assert_eq!(assembler.next(&mut &b"\x30\xff\xff\xff\x7f"[..], &LIMITS), Ok(None));
        for _ in 0..98 {
            assert_eq!(assembler.next(&mut &b"x"[..], &LIMITS), Ok(None));
        }
        assert_eq!(assembler.len(), 103);
        assert!(assembler.buffer.capacity() <= 256, "{}", assembler.buffer.capacity());
    }

    #[test]
    fn owns_nothing_between_packets() {
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
    fn held_packets_come_out_in_order() {
        let mut assembler = Assembler::default();
        assembler.hold(b"\xc0\x00\x40\x02\x00\x01\xe0");
        let mut input = &b"\x00"[..];
        let mut kinds = Vec::new();
        while let Some(packet) = assembler.next(&mut input, &LIMITS).unwrap() {
            kinds.push(packet.kind() as u8);
        }
        assert_eq!((kinds, assembler.len()), (vec![12, 4, 14], 0));
    }
}
