//! Fuzzes the decoder of WebSocket frames: bytes have one meaning, in whatever pieces they arrive.
#![no_main]

use ferrohub_mqtt::websocket::FrameDecoder;
use libfuzzer_sys::fuzz_target;

/// Decodes in pieces of `size` bytes.
fn decode(decoder: &mut FrameDecoder, input: &[u8], size: usize) -> Vec<u8> {
    let mut data = Vec::new();
    for piece in input.chunks(size) {
        let mut piece = piece.to_vec();
        let length = decoder.decode(&mut piece);
        data.extend_from_slice(&piece[..length]);
    }
    data
}

fuzz_target!(|input: &[u8]| {
    let Some((size, input)) = input.split_first() else { return };
    let (mut whole, mut pieces) = (FrameDecoder::default(), FrameDecoder::default());
    let data = decode(&mut whole, input, usize::MAX);
    assert_eq!(decode(&mut pieces, input, usize::from(*size).max(1)), data);
    assert_eq!(whole.end(), pieces.end());
    assert_eq!(whole.take_ping(), pieces.take_ping());
});
