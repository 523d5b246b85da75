//! The method calls in flight on one connection.
//!
//! A call occupies a slot from acceptance until it ends. Its request id consists of the slot's index and
//! a generation, which never repeats in a process. A late, duplicate or foreign answer therefore matches
//! no call and changes nothing.

use std::collections::VecDeque;
use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ferrohub_model::method::MethodName;
use ferrohub_model::random::random_bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// A method call to a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutgoingCall {
    /// The method's name.
    pub name: MethodName,
    /// The payload as JSON text. `None` if the caller sent none.
    pub payload: Option<Bytes>,
    /// How long to wait for the device to connect. Zero means not at all.
    pub connect_timeout: Duration,
    /// How long the device may take to respond once its connection has accepted the call.
    pub response_timeout: Duration,
}

/// The device's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MethodReply {
    /// The status that the device returned.
    pub status: i32,
    /// The payload as JSON text, or empty.
    pub payload: Bytes,
}

/// How a call ended without an answer from the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallEnd {
    /// The device was not connected, or not subscribed to methods, before the connect time-out.
    NotOnline,
    /// The device did not answer in time.
    TimedOut,
    /// The device's connection ended first.
    Disconnected,
    /// A newer connection of the device replaced the one with the call.
    TakenOver,
    /// An injected fault closed the connection.
    FaultInjected,
    /// The connection ended before the call was sent. The call may be sent on the next connection.
    NotSent,
    /// The device has too many calls in flight.
    TooManyInFlight,
    /// The device answered with a status that is not an integer of 32 bits.
    InvalidStatus,
    /// The hub is stopping.
    Stopping,
}

/// Identifies a call. Sent as hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId(u64);

/// Number of low bits of a request id that contain the slot's index.
const SLOT_BITS: u32 = 16;

impl RequestId {
    /// Parses the hexadecimal form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() <= 16).then(|| u64::from_str_radix(text, 16).ok().map(Self)).flatten()
    }

    fn slot(self) -> usize {
        (self.0 & ((1 << SLOT_BITS) - 1)) as usize
    }

    fn new(slot: u16) -> Self {
        // Start at a random number, so that answers to calls of an earlier process match no call.
        static START: LazyLock<u64> = LazyLock::new(|| u64::from_le_bytes(random_bytes()) >> (SLOT_BITS + 1));
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let generation = START.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed));
        Self(generation << SLOT_BITS | u64::from(slot))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The outcome of a device's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The caller received the answer.
    Delivered,
    /// No call is waiting for the answer.
    NoSuchCall,
}

/// A method request for the protocol handler to send.
#[derive(Debug, Clone)]
pub struct OutgoingMethod {
    /// The request id, which the device echoes in its answer.
    pub request_id: RequestId,
    /// The method's name.
    pub name: MethodName,
    /// The payload as JSON text, or `None`.
    pub payload: Option<Bytes>,
}

type ReplySender = oneshot::Sender<Result<MethodReply, CallEnd>>;

#[derive(Debug)]
struct Call {
    id: RequestId,
    reply: ReplySender,
    /// The request, until the protocol handler takes it to send it.
    request: Option<(MethodName, Option<Bytes>)>,
}

/// The call slots of one connection, and the queue of unsent requests.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    slots: Vec<Option<Call>>,
    free: Vec<u16>,
    unsent: VecDeque<RequestId>,
}

impl InFlight {
    pub(super) fn insert(
        &mut self,
        limit: u16,
        name: MethodName,
        payload: Option<Bytes>,
        reply: ReplySender,
    ) -> Result<RequestId, CallEnd> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u16::try_from(self.slots.len())
                    .ok()
                    .filter(|slot| *slot < limit)
                    .ok_or(CallEnd::TooManyInFlight)?;
                self.slots.push(None);
                slot
            }
        };
        let id = RequestId::new(slot);
        if let Some(entry) = self.slots.get_mut(usize::from(slot)) {
            *entry = Some(Call { id, reply, request: Some((name, payload)) });
        }
        self.unsent.push_back(id);
        Ok(id)
    }

    /// Returns the next request to send. Calls that have ended already are skipped.
    pub(super) fn next_unsent(&mut self) -> Option<OutgoingMethod> {
        while let Some(id) = self.unsent.pop_front() {
            let call = self.slots.get_mut(id.slot()).and_then(Option::as_mut).filter(|call| call.id == id);
            if let Some((name, payload)) = call.and_then(|call| call.request.take()) {
                return Some(OutgoingMethod { request_id: id, name, payload });
            }
        }
        None
    }

    /// Delivers an answer to its call and removes the call. The call must have been sent.
    pub(super) fn answer(&mut self, id: RequestId, reply: Result<MethodReply, CallEnd>) -> Answer {
        let sent = |call: &Call| call.id == id && call.request.is_none();
        if !self.slots.get(id.slot()).and_then(Option::as_ref).is_some_and(sent) {
            return Answer::NoSuchCall;
        }
        match self.remove(id).map(|call| call.reply.send(reply)) {
            Some(Ok(())) => Answer::Delivered,
            _ => Answer::NoSuchCall,
        }
    }

    /// Removes a call whose caller was cancelled or whose time-out expired.
    pub(super) fn cancel(&mut self, id: RequestId) {
        self.remove(id);
    }

    /// Returns whether no call is in flight.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.len() == self.free.len()
    }

    /// Returns whether this call is in flight.
    pub(super) fn contains(&self, id: RequestId) -> bool {
        self.slots.get(id.slot()).and_then(Option::as_ref).is_some_and(|call| call.id == id)
    }

    /// Ends the calls that were not sent yet.
    pub(super) fn end_unsent(&mut self) {
        for id in std::mem::take(&mut self.unsent) {
            if let Some(call) = self.remove(id) {
                let _ = call.reply.send(Err(CallEnd::NotSent));
            }
        }
    }

    /// Ends every call.
    pub(super) fn end_all(&mut self, end: CallEnd) {
        self.unsent = VecDeque::new();
        self.free = Vec::new();
        for call in std::mem::take(&mut self.slots).into_iter().flatten() {
            let end = if call.request.is_some() && end != CallEnd::Stopping { CallEnd::NotSent } else { end };
            // Fails only if the caller was cancelled; then the call has ended already.
            let _ = call.reply.send(Err(end));
        }
    }

    fn remove(&mut self, id: RequestId) -> Option<Call> {
        let slot = self.slots.get_mut(id.slot())?;
        if slot.as_ref()?.id != id {
            return None;
        }
        let call = slot.take();
        self.free.push(id.slot() as u16);
        if self.free.len() == self.slots.len() {
            // Nothing is in flight: free the memory, so that an idle connection uses none for calls.
            *self = Self::default();
        }
        call
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(
        calls: &mut InFlight,
        limit: u16,
    ) -> Result<(RequestId, oneshot::Receiver<Result<MethodReply, CallEnd>>), CallEnd> {
        let (reply, receiver) = oneshot::channel();
        let id = calls.insert(limit, MethodName::new("m").unwrap(), None, reply)?;
        Ok((id, receiver))
    }

    fn reply() -> MethodReply {
        MethodReply { status: 200, payload: Bytes::new() }
    }

    #[test]
    fn an_answer_reaches_its_call_once() {
        let mut calls = InFlight::default();
        let (id, mut receiver) = insert(&mut calls, 8).unwrap();
        assert_eq!(calls.answer(id, Ok(reply())), Answer::NoSuchCall, "not sent yet");
        assert_eq!(calls.next_unsent().unwrap().request_id, id);
        assert_eq!(calls.answer(id, Ok(reply())), Answer::Delivered);
        assert_eq!(calls.answer(id, Ok(reply())), Answer::NoSuchCall, "duplicate");
        assert_eq!(receiver.try_recv().unwrap(), Ok(reply()));
    }

    #[test]
    fn an_answer_that_is_not_valid_ends_its_call() {
        let mut calls = InFlight::default();
        let (id, mut receiver) = insert(&mut calls, 8).unwrap();
        calls.next_unsent().unwrap();
        assert_eq!(calls.answer(id, Err(CallEnd::InvalidStatus)), Answer::Delivered);
        assert_eq!(calls.answer(id, Ok(reply())), Answer::NoSuchCall);
        assert_eq!(receiver.try_recv().unwrap(), Err(CallEnd::InvalidStatus));
    }

    #[test]
    fn a_reused_slot_does_not_accept_an_old_answer() {
        let mut calls = InFlight::default();
        let (old, _) = insert(&mut calls, 8).unwrap();
        calls.next_unsent().unwrap();
        calls.cancel(old);
        let (new, mut receiver) = insert(&mut calls, 8).unwrap();
        calls.next_unsent().unwrap();
        assert_eq!(old.slot(), new.slot());
        assert_eq!(calls.answer(old, Ok(reply())), Answer::NoSuchCall);
        assert!(receiver.try_recv().is_err());
        assert_eq!(calls.answer(new, Ok(reply())), Answer::Delivered);
    }

    #[test]
    fn a_call_that_ended_before_it_was_sent_is_never_sent() {
        let mut calls = InFlight::default();
        let (first, _) = insert(&mut calls, 8).unwrap();
        let (second, _) = insert(&mut calls, 8).unwrap();
        calls.cancel(first);
        assert_eq!(calls.next_unsent().unwrap().request_id, second);
        assert!(calls.next_unsent().is_none());
    }

    #[test]
    fn the_number_of_calls_is_limited_and_ended_calls_free_their_slots() {
        let mut calls = InFlight::default();
        let accepted: Vec<_> = (0..3).map(|_| insert(&mut calls, 3).unwrap()).collect();
        assert_eq!(insert(&mut calls, 3).unwrap_err(), CallEnd::TooManyInFlight);
        calls.cancel(accepted[1].0);
        assert!(insert(&mut calls, 3).is_ok());
        for (id, _) in &accepted {
            calls.cancel(*id);
        }
        calls.end_all(CallEnd::Disconnected);
        assert!(calls.slots.capacity() == 0 && calls.unsent.capacity() == 0);
    }
}
