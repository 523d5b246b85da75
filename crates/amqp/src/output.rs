//! What a connection has to send and to report.

use std::{collections::VecDeque, mem};

use bytes::BytesMut;

use crate::{
    Event, SendError,
    frame::{self, FrameType, MIN_MAX_FRAME_SIZE},
    performative::{Performative, SaslFrame},
};

/// Output and events of all sessions.
///
/// Invariant: without pending output or events it owns no heap memory.
#[derive(Debug)]
pub(crate) struct Output {
    transmit: BytesMut,
    events: VecDeque<Event>,
    /// Bytes of messages that wait for a session window.
    pub(crate) waiting: usize,
    /// Largest frame that the peer accepts.
    max_frame_size: usize,
}

impl Default for Output {
    fn default() -> Self {
        // Until the peer's open arrives, only the smallest frames are safe (AMQP §2.4.1).
        let max_frame_size = MIN_MAX_FRAME_SIZE as usize;
        Self { transmit: BytesMut::new(), events: VecDeque::new(), waiting: 0, max_frame_size }
    }
}

impl Output {
    /// Writes a performative. Writes nothing if the frame is larger than the peer accepts.
    pub(crate) fn frame<'a>(
        &mut self,
        channel: u16,
        performative: impl Into<Performative<'a>>,
    ) -> Result<(), SendError> {
        self.frame_with_payload(channel, performative.into(), &[])
    }

    /// Writes a performative and a payload.
    pub(crate) fn frame_with_payload(
        &mut self,
        channel: u16,
        performative: Performative<'_>,
        payload: &[u8],
    ) -> Result<(), SendError> {
        let start = self.transmit.len();
        let size = frame::encode(&mut self.transmit, FrameType::Amqp, channel, |out| {
            performative.encode(out);
            out.extend_from_slice(payload);
        });
        if size > self.max_frame_size {
            self.transmit.truncate(start);
            return Err(SendError::FrameTooLarge);
        }
        Ok(())
    }

    /// Takes back what was written since `transmit_len` had this value.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.transmit.truncate(len);
    }

    /// Writes a SASL frame.
    pub(crate) fn sasl<'a>(&mut self, body: impl Into<SaslFrame<'a>>) {
        let body = body.into();
        frame::encode(&mut self.transmit, FrameType::Sasl, 0, |out| body.encode(out));
    }

    /// Writes a frame without a body, which says that we are alive (AMQP §2.4.5).
    pub(crate) fn heartbeat(&mut self) {
        frame::encode(&mut self.transmit, FrameType::Amqp, 0, |_| {});
    }

    /// Writes bytes that are not a frame.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.transmit.extend_from_slice(bytes);
    }

    /// Sets the largest frame that the peer accepts, in bytes.
    pub(crate) fn set_max_frame_size(&mut self, max_frame_size: u32) {
        self.max_frame_size = max_frame_size as usize;
    }

    /// The largest frame that the peer accepts, in bytes.
    pub(crate) fn max_frame_size(&self) -> usize {
        self.max_frame_size
    }

    /// Bytes that wait for the transport.
    pub(crate) fn transmit_len(&self) -> usize {
        self.transmit.len()
    }

    /// Bytes that wait for the transport or a session window.
    pub(crate) fn pending(&self) -> usize {
        self.transmit.len().saturating_add(self.waiting)
    }

    /// Appends the pending output to `out`; returns whether there was any.
    pub(crate) fn take(&mut self, out: &mut BytesMut) -> bool {
        let transmit = mem::take(&mut self.transmit);
        let any = !transmit.is_empty();
        if out.is_empty() {
            *out = transmit;
        } else {
            out.extend_from_slice(&transmit);
        }
        any
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.events.push_back(event);
    }

    pub(crate) fn next_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if event.is_none() {
            self.events = VecDeque::new();
        }
        event
    }

    pub(crate) fn peek_event(&self) -> Option<&Event> {
        self.events.front()
    }

    /// Bytes of heap memory that are allocated.
    pub(crate) fn heap(&self) -> usize {
        self.transmit.capacity() + self.events.capacity() * mem::size_of::<Event>()
    }
}
