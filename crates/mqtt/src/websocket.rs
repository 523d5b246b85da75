//! MQTT over WebSocket: the frames of the server side, without I/O and without buffers (chapter 6; RFC 6455, 5).
//!
//! MQTT uses binary frames as a byte stream: frame boundaries need not be packet boundaries (MQTT-6.0.0-4). So a frame
//! need not be assembled. Its payload is unmasked where it is, and passed on as it arrives. A connection therefore holds
//! at most the beginning of a header, or the payload of a control frame (125 bytes), no matter how long a frame or a
//! fragmented message is. The limits are those of the MQTT state machine, as over TLS.

use std::mem;

/// Maximum length of a frame header: two bytes, eight bytes of length, four bytes of mask.
const MAX_HEADER: usize = 14;
/// Maximum payload of a control frame (5.5).
const MAX_CONTROL: usize = 125;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A violation of RFC 6455 or of MQTT over WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A client must mask every frame (5.1).
    #[error("a WebSocket frame of the client is not masked")]
    NotMasked,
    /// Without an extension, the reserved bits are zero (5.2).
    #[error("reserved bits of a WebSocket frame are set")]
    ReservedBits,
    /// An opcode that RFC 6455 does not define.
    #[error("a WebSocket frame has the unknown opcode {0}")]
    Opcode(u8),
    /// A text frame (MQTT-6.0.0-1).
    #[error("a text frame: the payload must be in binary frames")]
    Text,
    /// A control frame that is not final (5.5).
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// A control frame with a longer payload than 5.5 allows.
    #[error("a control frame is longer than 125 bytes")]
    ControlTooLong,
    /// A continuation of nothing (5.4).
    #[error("a continuation frame without a message")]
    NothingToContinue,
    /// A binary frame between the fragments of another message (5.4).
    #[error("a new message before the end of a fragmented one")]
    MessageNotFinished,
    /// A length of 2^63 bytes or more (5.2).
    #[error("the length of a WebSocket frame is malformed")]
    Length,
    /// A Close frame with half a status code (5.5.1).
    #[error("the payload of a Close frame is malformed")]
    Close,
}

impl FrameError {
    /// Returns the status code of the Close frame to answer with (RFC 6455, 7.4.1).
    #[must_use]
    pub fn close_code(self) -> u16 {
        match self {
            Self::Text => 1003,
            _ => 1002,
        }
    }
}

/// The last frame that counts: everything after it is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameEnd {
    /// A Close frame, with its status code if it has one.
    Close(Option<u16>),
    /// A frame that is not valid.
    Error(FrameError),
}

/// Decodes the frames of a client.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    state: State,
    /// Whether the last data frame was not the final one of its message.
    in_message: bool,
    end: Option<FrameEnd>,
    /// The payload of the last Ping that has not been answered. Only the last one needs an answer (5.5.3).
    ping: Option<Vec<u8>>,
}

#[derive(Debug)]
enum State {
    Header { bytes: [u8; MAX_HEADER], length: usize },
    Data(Payload),
    Control { opcode: u8, payload: Payload, bytes: Vec<u8> },
}

impl Default for State {
    fn default() -> Self {
        Self::Header { bytes: [0; MAX_HEADER], length: 0 }
    }
}

/// The part of a payload that has not arrived yet.
#[derive(Debug, Clone, Copy)]
struct Payload {
    left: u64,
    /// The mask, rotated so that its first byte belongs to the next byte of the payload.
    mask: [u8; 4],
}

impl Payload {
    /// Unmasks the beginning of `input` that belongs to the payload, and returns its length.
    fn unmask(&mut self, input: &mut [u8]) -> usize {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
        for (byte, mask) in input.iter_mut().take(length).zip(self.mask.iter().cycle()) {
            *byte ^= mask;
        }
        self.mask.rotate_left(length % 4);
        self.left -= length as u64;
        length
    }
}

impl FrameDecoder {
    /// Decodes all of `input`, which has arrived after the earlier inputs. Moves the payload of data frames to its beginning, and returns the length of that.
    pub fn decode(&mut self, input: &mut [u8]) -> usize {
        let (mut read, mut written) = (0, 0);
        while read < input.len() && self.end.is_none() {
            let Some(rest) = input.get_mut(read..) else { break };
            match &mut self.state {
                State::Header { .. } => {
                    read += 1;
                    let byte = rest.first().copied().unwrap_or_default();
                    if let Err(error) = self.push_header(byte) {
                        self.end = Some(FrameEnd::Error(error));
                    }
                }
                State::Data(payload) => {
                    let length = payload.unmask(rest);
                    input.copy_within(read..read + length, written);
                    read += length;
                    written += length;
                }
                State::Control { payload, bytes, .. } => {
                    let length = payload.unmask(rest);
                    bytes.extend_from_slice(rest.get(..length).unwrap_or_default());
                    read += length;
                }
            }
            self.finish_frame();
        }
        written
    }

    /// Returns how the frames ended, if they have. Check it after the data of [`decode`](Self::decode).
    #[must_use]
    pub fn end(&self) -> Option<FrameEnd> {
        self.end
    }

    /// Returns the payload of a Ping that must be answered with a Pong.
    pub fn take_ping(&mut self) -> Option<Vec<u8>> {
        self.ping.take()
    }

    fn push_header(&mut self, byte: u8) -> Result<(), FrameError> {
        let State::Header { bytes, length } = &mut self.state else { return Ok(()) };
        if let Some(next) = bytes.get_mut(*length) {
            *next = byte;
            *length += 1;
        }
        let [first, second, extended @ ..] = *bytes;
        if *length < 2 {
            return check_first_byte(first, self.in_message);
        }
        if second & 0x80 == 0 {
            return Err(FrameError::NotMasked);
        }
        let (opcode, is_final) = (first & 0x0F, first & 0x80 != 0);
        let [a, b, c, d, e, f, g, h, ..] = extended;
        let (left, mask_at) = match second & 0x7F {
            126 => (u64::from(u16::from_be_bytes([a, b])), 4),
            127 => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 10),
            short => (u64::from(short), 2),
        };
        if opcode & 8 != 0 && mask_at > 2 {
            return Err(FrameError::ControlTooLong);
        }
        if *length < mask_at + 4 {
            return Ok(());
        }
        // The most significant bit must be 0.
        if left >> 63 != 0 {
            return Err(FrameError::Length);
        }
        let mut mask = [0; 4];
        mask.copy_from_slice(bytes.get(mask_at..mask_at + 4).unwrap_or(&[0; 4]));
        let payload = Payload { left, mask };
        self.state = if opcode & 8 == 0 {
            self.in_message = !is_final;
            State::Data(payload)
        } else {
            State::Control { opcode, payload, bytes: Vec::new() }
        };
        Ok(())
    }

    /// Begins the next header if the payload is complete.
    fn finish_frame(&mut self) {
        match &mut self.state {
            State::Data(Payload { left: 0, .. }) => self.state = State::default(),
            State::Control { opcode, payload: Payload { left: 0, .. }, bytes } => {
                let (opcode, bytes) = (*opcode, mem::take(bytes));
                self.state = State::default();
                match (opcode, bytes.as_slice()) {
                    (PING, _) => self.ping = Some(bytes),
                    (CLOSE, []) => self.end = Some(FrameEnd::Close(None)),
                    (CLOSE, [high, low, ..]) => {
                        self.end = Some(FrameEnd::Close(Some(u16::from_be_bytes([*high, *low]))));
                    }
                    (CLOSE, _) => self.end = Some(FrameEnd::Error(FrameError::Close)),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

fn check_first_byte(first: u8, in_message: bool) -> Result<(), FrameError> {
    if first & 0x70 != 0 {
        return Err(FrameError::ReservedBits);
    }
    match first & 0x0F {
        CONTINUATION if !in_message => Err(FrameError::NothingToContinue),
        TEXT => Err(FrameError::Text),
        BINARY if in_message => Err(FrameError::MessageNotFinished),
        CONTINUATION | BINARY => Ok(()),
        CLOSE | PING | PONG if first & 0x80 == 0 => Err(FrameError::FragmentedControl),
        CLOSE | PING | PONG => Ok(()),
        unknown => Err(FrameError::Opcode(unknown)),
    }
}

/// Appends a binary frame.
pub fn encode_binary(payload: &[u8], out: &mut Vec<u8>) {
    encode(BINARY, payload, out);
}

/// Appends a Pong frame.
pub fn encode_pong(payload: &[u8], out: &mut Vec<u8>) {
    encode(PONG, payload.get(..MAX_CONTROL).unwrap_or(payload), out);
}

/// Appends a Close frame with this status code.
pub fn encode_close(code: Option<u16>, out: &mut Vec<u8>) {
    match code {
        Some(code) => encode(CLOSE, &code.to_be_bytes(), out),
        None => encode(CLOSE, &[], out),
    }
}

/// Appends a frame. A server does not mask.
fn encode(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.reserve(payload.len() + 10);
    out.push(0x80 | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..=125), _) => out.push(short),
        (_, Ok(length)) => {
            out.push(126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests;
