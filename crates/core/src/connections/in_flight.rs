//! The calls that one connection carries.
//!
//! A call sits in a slot from the moment it is accepted until it ends. Its request id names the slot
//! and the slot's generation, and generations never repeat in a process: a late, duplicate or foreign
//! answer finds no call and changes nothing.

use std::collections::VecDeque;
use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ferrohub_model::method::MethodName;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// A call on its way to a device.
#[derive(Debug, Clone)]
pub struct OutgoingCall {
    /// The method's name.
    pub name: MethodName,
    /// JSON text, or `None` where the caller sent no payload.
    pub payload: Option<Bytes>,
    /// Until when to wait for the device to connect; in the past: not at all.
    pub connect_deadline: Instant,
    /// How long the device may take once the call is handed to its connection.
    pub response_timeout: Duration,
}

/// What the device answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodReply {
    /// The device's own status.
    pub status: i32,
    /// JSON text, or empty.
    pub payload: Bytes,
}

/// How a call ended when the device did not answer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnd {
    /// The device was not connected, or not listening for methods, until the connect deadline.
    NotOnline,
    /// The device did not answer in time.
    TimedOut,
    /// The device's connection ended first.
    Disconnected,
    /// A newer connection of the device displaced the one that carried the call.
    TakenOver,
    /// Somebody injected a fault that ended the connection.
    FaultInjected,
    /// The connection ended before the call was sent: it may be tried on the next connection.
    NotSent,
    /// The device has too many calls in flight.
    TooManyInFlight,
    /// The hub is stopping.
    Stopping,
}

/// Names a call on one connection. On the wire: hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId(u64);

/// The low bits of a request id that name the slot.
const SLOT_BITS: u32 = 16;

impl RequestId {
    /// Reads the form on the wire.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() <= 16).then(|| u64::from_str_radix(text, 16).ok().map(Self)).flatten()
    }

    fn slot(self) -> usize {
        (self.0 & ((1 << SLOT_BITS) - 1)) as usize
    }

    fn new(slot: u16) -> Self {
        // Begin at a random point, so that answers to calls of an earlier process match nothing.
        static START: LazyLock<u64> = LazyLock::new(|| {
            let mut seed = [0u8; 8];
            let _ = SystemRandom::new().fill(&mut seed);
            u64::from_le_bytes(seed) >> (SLOT_BITS + 1)
        });
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

/// What became of a device's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The caller has it.
    Delivered,
    /// No call was waiting for it.
    NoSuchCall,
}

/// A method request for the protocol head to send.
#[derive(Debug, Clone)]
pub struct OutgoingMethod {
    /// To be echoed by the device.
    pub request_id: RequestId,
    /// The method's name.
    pub name: MethodName,
    /// JSON text, or `None`.
    pub payload: Option<Bytes>,
}

type ReplySender = oneshot::Sender<Result<MethodReply, CallEnd>>;

#[derive(Debug)]
struct Call {
    id: RequestId,
    reply: ReplySender,
    /// Still there until the protocol head takes it.
    request: Option<(MethodName, Option<Bytes>)>,
}

/// The slots of one connection, and the order in which their requests leave.
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
        if let Some(place) = self.slots.get_mut(usize::from(slot)) {
            *place = Some(Call { id, reply, request: Some((name, payload)) });
        }
        self.unsent.push_back(id);
        Ok(id)
    }

    /// The next request to send. Calls that ended before they were sent are passed over.
    pub(super) fn next_unsent(&mut self) -> Option<OutgoingMethod> {
        while let Some(id) = self.unsent.pop_front() {
            let call = self.slots.get_mut(id.slot()).and_then(Option::as_mut).filter(|call| call.id == id);
            if let Some((name, payload)) = call.and_then(|call| call.request.take()) {
                return Some(OutgoingMethod { request_id: id, name, payload });
            }
        }
        None
    }

    /// Takes the call out, if it is still there and was sent.
    pub(super) fn answer(&mut self, id: RequestId, reply: MethodReply) -> Answer {
        let sent = |call: &Call| call.id == id && call.request.is_none();
        if !self.slots.get(id.slot()).and_then(Option::as_ref).is_some_and(sent) {
            return Answer::NoSuchCall;
        }
        match self.remove(id).map(|call| call.reply.send(Ok(reply))) {
            Some(Ok(())) => Answer::Delivered,
            _ => Answer::NoSuchCall,
        }
    }

    /// Forgets a call whose caller is gone or has waited long enough.
    pub(super) fn cancel(&mut self, id: RequestId) {
        self.remove(id);
    }

    /// Whether no call is open.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.len() == self.free.len()
    }

    /// Whether this call is open.
    pub(super) fn has(&self, id: RequestId) -> bool {
        self.slots.get(id.slot()).and_then(Option::as_ref).is_some_and(|call| call.id == id)
    }

    /// Ends the calls that the device has not been told of.
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
            // A caller that is gone has ended its call itself.
            let _ = call.reply.send(Err(end));
        }
    }

    fn remove(&mut self, id: RequestId) -> Option<Call> {
        let place = self.slots.get_mut(id.slot())?;
        if place.as_ref()?.id != id {
            return None;
        }
        let call = place.take();
        self.free.push(id.slot() as u16);
        if self.free.len() == self.slots.len() {
            // Nothing in flight: an idle connection holds no memory for calls.
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
        assert_eq!(calls.answer(id, reply()), Answer::NoSuchCall, "not sent yet");
        assert_eq!(calls.next_unsent().unwrap().request_id, id);
        assert_eq!(calls.answer(id, reply()), Answer::Delivered);
        assert_eq!(calls.answer(id, reply()), Answer::NoSuchCall, "duplicate");
        assert_eq!(receiver.try_recv().unwrap(), Ok(reply()));
    }

    #[test]
    fn a_reused_slot_does_not_take_an_old_answer() {
        let mut calls = InFlight::default();
        let (old, _) = insert(&mut calls, 8).unwrap();
        calls.next_unsent().unwrap();
        calls.cancel(old);
        let (new, mut receiver) = insert(&mut calls, 8).unwrap();
        calls.next_unsent().unwrap();
        assert_eq!(old.slot(), new.slot());
        assert_eq!(calls.answer(old, reply()), Answer::NoSuchCall);
        assert!(receiver.try_recv().is_err());
        assert_eq!(calls.answer(new, reply()), Answer::Delivered);
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
    fn the_limit_holds_and_room_comes_back() {
        let mut calls = InFlight::default();
        let held: Vec<_> = (0..3).map(|_| insert(&mut calls, 3).unwrap()).collect();
        assert_eq!(insert(&mut calls, 3).unwrap_err(), CallEnd::TooManyInFlight);
        calls.cancel(held[1].0);
        assert!(insert(&mut calls, 3).is_ok());
        for (id, _) in &held {
            calls.cancel(*id);
        }
        calls.end_all(CallEnd::Disconnected);
        assert!(calls.slots.capacity() == 0 && calls.unsent.capacity() == 0);
    }
}
