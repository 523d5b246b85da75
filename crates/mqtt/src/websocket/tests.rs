//! Tests of the frame decoder.

use proptest::prelude::*;

use super::*;

/// Encodes a frame of a client.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x11, 0x22, 0x33, 0x44];
    let mut bytes = Vec::new();
    encode(first & 0x0F, payload, &mut bytes);
    bytes[0] = first;
    bytes[1] |= 0x80;
    let header = bytes.len() - payload.len();
    bytes.splice(header..header, mask);
    for (index, byte) in bytes[header + 4..].iter_mut().enumerate() {
        *byte ^= mask[index % 4];
    }
    bytes
}

/// Decodes in pieces of `size` bytes, and returns the data.
fn decode(decoder: &mut FrameDecoder, bytes: &[u8], size: usize) -> Vec<u8> {
    let mut data = Vec::new();
    for piece in bytes.chunks(size.max(1)) {
        let mut piece = piece.to_vec();
        let length = decoder.decode(&mut piece);
        data.extend(&piece[..length]);
    }
    data
}

/// Returns the heap memory of a decoder.
fn held(decoder: &FrameDecoder) -> usize {
    let control = match &decoder.state {
        State::Control { bytes, .. } => bytes.capacity(),
        _ => 0,
    };
    control + decoder.ping.as_ref().map_or(0, Vec::capacity)
}

#[test]
fn payloads_of_every_length_are_decoded_in_pieces_of_every_size() {
    for length in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
        let payload: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
        let bytes = [frame(0x82, &payload), frame(0x82, b"next")].concat();
        for size in [1, 2, 7, 4096, usize::MAX] {
            let mut decoder = FrameDecoder::default();
            assert_eq!(
                decode(&mut decoder, &bytes, size),
                [&payload[..], b"next"].concat(),
                "{length}, {size}"
            );
            assert_eq!(decoder.end(), None);
        }
    }
}

#[test]
fn control_frames_may_be_between_fragments() {
    let bytes = [
        frame(0x02, b"one "),
        frame(0x89, b"ping"),
        frame(0x00, b"two "),
        frame(0x8A, b""),
        frame(0x80, b"three"),
    ];
    let mut decoder = FrameDecoder::default();
    assert_eq!(decode(&mut decoder, &bytes.concat(), 3), b"one two three");
    assert_eq!(decoder.take_ping().as_deref(), Some(&b"ping"[..]));
    assert_eq!(decoder.take_ping(), None);
    // A new message may begin.
    assert_eq!(decode(&mut decoder, &frame(0x82, b"four"), 3), b"four");
}

#[test]
fn a_connection_holds_almost_nothing_whatever_arrives() {
    let mut decoder = FrameDecoder::default();
    // A frame of 1 MiB, then fragments of 1 MiB, then pings.
    for bytes in
        [frame(0x82, &vec![1; 1 << 20]), frame(0x02, b""), frame(0x00, &vec![2; 1 << 20]), frame(0x80, b"")]
    {
        for piece in bytes.chunks(4096) {
            decoder.decode(&mut piece.to_vec());
            assert!(held(&decoder) == 0, "{}", held(&decoder));
        }
    }
    for _ in 0..10_000 {
        decode(&mut decoder, &frame(0x89, &[3; 125]), usize::MAX);
        assert!(held(&decoder) <= 4 * MAX_CONTROL, "{}", held(&decoder));
    }
    // The header of a frame of 2^62 bytes reserves nothing.
    decode(&mut decoder, b"\x82\xff\x40\0\0\0\0\0\0\0\x01\x02\x03\x04abc", 1);
    assert_eq!(decoder.take_ping().map(|ping| ping.len()), Some(125));
    assert_eq!((held(&decoder), decoder.end()), (0, None));
    assert!(size_of::<FrameDecoder>() <= 96, "{}", size_of::<FrameDecoder>());
}

#[test]
fn violations_end_the_stream_after_the_data_before_them() {
    for (bytes, error) in [
        (b"\x82\x01a".to_vec(), FrameError::NotMasked),
        (frame(0xC2, b"a"), FrameError::ReservedBits),
        (frame(0x83, b"a"), FrameError::Opcode(3)),
        (frame(0x8B, b"a"), FrameError::Opcode(11)),
        (frame(0x81, b"a"), FrameError::Text),
        (frame(0x09, b"a"), FrameError::FragmentedControl),
        (frame(0x89, &[0; 126]), FrameError::ControlTooLong),
        (frame(0x80, b"a"), FrameError::NothingToContinue),
        ([frame(0x02, b""), frame(0x82, b"a")].concat(), FrameError::MessageNotFinished),
        (b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0".to_vec(), FrameError::Length),
        (frame(0x88, b"\x03"), FrameError::Close),
    ] {
        let bytes = [frame(0x82, b"before"), bytes, frame(0x82, b"after")].concat();
        for size in [1, usize::MAX] {
            let mut decoder = FrameDecoder::default();
            assert_eq!(decode(&mut decoder, &bytes, size), b"before", "{error}");
            assert_eq!(decoder.end(), Some(FrameEnd::Error(error)));
        }
    }
}

#[test]
fn nothing_counts_after_close() {
    for (payload, code) in [(&b""[..], None), (b"\x03\xe8", Some(1000)), (b"\x03\xe9bye", Some(1001))] {
        let bytes =
            [frame(0x82, b"before"), frame(0x88, payload), frame(0x82, b"after"), vec![0xFF; 9]].concat();
        let mut decoder = FrameDecoder::default();
        assert_eq!(decode(&mut decoder, &bytes, 5), b"before");
        assert_eq!(decoder.end(), Some(FrameEnd::Close(code)));
    }
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_have_one_meaning(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1..20_usize) {
        let (mut whole, mut pieces) = (FrameDecoder::default(), FrameDecoder::default());
        let data = decode(&mut whole, &bytes, usize::MAX);
        prop_assert_eq!(decode(&mut pieces, &bytes, size), data);
        prop_assert_eq!(whole.end(), pieces.end());
        prop_assert!(held(&whole) <= 4 * MAX_CONTROL);
    }

    #[test]
    fn valid_frames_are_decoded_in_any_pieces(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6),
        size in 1..50_usize,
    ) {
        let bytes: Vec<u8> = payloads.iter().flat_map(|payload| frame(0x82, payload)).collect();
        let mut decoder = FrameDecoder::default();
        prop_assert_eq!(decode(&mut decoder, &bytes, size), payloads.concat());
        prop_assert_eq!(decoder.end(), None);
    }
}
