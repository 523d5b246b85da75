//! The fixed header (MQTT 3.1.1, section 2.2): type, flags and length.

use bytes::{BufMut, BytesMut};

use super::{DecodeError, EncodeError, Limits, MAX_REMAINING_LENGTH};
use crate::{PacketKind, QoS};

/// A fixed header with valid type, flags and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: PacketKind,
    pub(crate) flags: u8,
    /// Length of the header itself, 2 to 5 bytes.
    pub(crate) len: usize,
    pub(crate) remaining_length: usize,
}

impl Header {
    /// Reads the header at the front of `input`; `None` if it is not complete yet.
    ///
    /// An invalid header is refused at the first byte that makes it invalid.
    pub(crate) fn parse(input: &[u8], limits: &Limits) -> Result<Option<Self>, DecodeError> {
        let Some((&first, rest)) = input.split_first() else {
            return Ok(None);
        };
        let kind = PacketKind::from_nibble(first >> 4).ok_or(DecodeError::ReservedType(first >> 4))?;
        let flags = first & 0x0f;
        if !flags_allowed(kind, flags) {
            return Err(DecodeError::Flags { kind, flags });
        }
        let mut remaining_length = 0;
        for (index, &byte) in rest.iter().take(4).enumerate() {
            remaining_length |= usize::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                let header = Self { kind, flags, len: index + 2, remaining_length };
                let (size, limit) = (header.packet_len(), limits.max_packet_size);
                return if size > limit {
                    Err(DecodeError::TooLarge { size, limit })
                } else {
                    Ok(Some(header))
                };
            }
        }
        if rest.len() >= 4 { Err(DecodeError::RemainingLength) } else { Ok(None) }
    }

    /// Returns the length of the whole packet.
    pub(crate) fn packet_len(&self) -> usize {
        self.len + self.remaining_length
    }
}

fn flags_allowed(kind: PacketKind, flags: u8) -> bool {
    match kind.fixed_flags() {
        Some(fixed) => flags == fixed,
        // MQTT-3.3.1-4: no QoS 3. MQTT-3.3.1-2: no DUP with QoS 0.
        None => match QoS::from_bits(flags >> 1 & 0b11) {
            None => false,
            Some(qos) => qos != QoS::AtMostOnce || flags & 0b1000 == 0,
        },
    }
}

/// Returns the number of bytes that encode a Remaining Length.
pub(crate) fn length_len(remaining_length: usize) -> usize {
    match remaining_length {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// Encodes a Remaining Length; only the first `length_len` bytes are valid.
pub(crate) fn length_bytes(remaining_length: usize) -> [u8; 4] {
    let last = length_len(remaining_length) - 1;
    std::array::from_fn(|index| {
        let bits = (remaining_length >> (7 * index) & 0x7f) as u8;
        if index < last { bits | 0x80 } else { bits }
    })
}

/// Writes a fixed header and reserves space for the rest of the packet.
pub(crate) fn put(out: &mut BytesMut, kind: PacketKind, remaining_length: usize) -> Result<(), EncodeError> {
    if remaining_length > MAX_REMAINING_LENGTH {
        return Err(EncodeError::TooLarge);
    }
    out.reserve(5 + remaining_length);
    out.put_u8((kind as u8) << 4 | kind.fixed_flags().unwrap_or(0));
    out.put_slice(length_bytes(remaining_length).get(..length_len(remaining_length)).unwrap_or_default());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Limits = Limits { max_packet_size: usize::MAX, max_filters: 1, wildcards_in_topics: false };

    #[test]
    fn remaining_length_is_encoded_as_in_table_2_4() {
        for (value, bytes) in [
            (0, &b"\x00"[..]),
            (127, b"\x7f"),
            (128, b"\x80\x01"),
            (16_383, b"\xff\x7f"),
            (16_384, b"\x80\x80\x01"),
            (2_097_151, b"\xff\xff\x7f"),
            (2_097_152, b"\x80\x80\x80\x01"),
            (268_435_455, b"\xff\xff\xff\x7f"),
        ] {
            assert_eq!(&length_bytes(value)[..length_len(value)], bytes);
            let header = Header::parse(&[b"\x30", bytes].concat(), &ALL).unwrap().unwrap();
            assert_eq!((header.remaining_length, header.len), (value, 1 + bytes.len()));
        }
        assert_eq!(Header::parse(b"\x30\xff\xff\xff\xff", &ALL), Err(DecodeError::RemainingLength));
        assert_eq!(Header::parse(b"\x30\xff\xff\xff", &ALL), Ok(None));
    }

    #[test]
    fn invalid_flags_are_refused_at_the_first_byte() {
        for first in 0..=255_u8 {
            let allowed = match first >> 4 {
                0 | 15 => false,
                3 => !matches!(first & 0b1110, 0b1000 | 0b0110 | 0b1110),
                6 | 8 | 10 => first & 0x0f == 2,
                _ => first & 0x0f == 0,
            };
            assert_eq!(Header::parse(&[first], &ALL).is_ok(), allowed, "{first:#x}");
        }
    }

    #[test]
    fn length_over_the_limit_is_refused_at_the_header() {
        let limits = Limits { max_packet_size: 129, ..ALL };
        assert!(Header::parse(b"\x30\x7f", &limits).is_ok());
        assert_eq!(
            Header::parse(b"\x30\x80\x01", &limits),
            Err(DecodeError::TooLarge { size: 131, limit: 129 })
        );
    }
}
