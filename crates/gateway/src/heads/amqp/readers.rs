//! Links on which services receive events. A link at the end of its partition waits to be woken; nothing is asked again and
//! again. A link without credit reads nothing, but notices when another reader takes its place.
//!
//! One link is read at a time, so a connection holds few events, whatever it has attached.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use ferrohub_amqp::{Connection as Machine, LinkId};
use ferrohub_core::telemetry::{EventReader, ReadError};
use tokio::sync::Notify;

use super::event_link::EventLink;
use super::limits::MAX_UNSENT_BYTES;

/// Gives the reader back, when there may be events or it has ended.
type Wait = Pin<Box<dyn Future<Output = (Box<EventReader>, Result<(), ReadError>)> + Send>>;

/// The links of one connection on which events are sent.
#[derive(Default)]
pub(super) struct Readers {
    links: Vec<Reader>,
    /// Index of the link to look at first. Round-robin, so that one busy partition does not starve the others.
    next: usize,
}

struct Reader {
    link: LinkId,
    wants_last_enqueued: bool,
    /// Whether the client wants its credit used or taken back at once.
    drain: bool,
    state: State,
    /// Events that are read and not sent yet.
    unsent: Batch,
}

enum State {
    /// There may be events.
    Ready(Box<EventReader>),
    /// At the end of the partition.
    Waiting(Wait),
    /// There may be events, but the client does not take them. Notified when it does.
    Blocked(Wait, Arc<Notify>),
    /// The reader is read.
    Reading,
}

/// Encoded events of one link.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: BytesMut,
    /// Where each message ends in `bytes`.
    ends: Vec<usize>,
    /// The number of messages that are sent.
    sent: usize,
}

/// What becomes of a link.
pub(super) enum ReaderEvent {
    /// Events that were read can be sent.
    Send,
    /// The link can be read now.
    Read(LinkId, Box<EventReader>),
    /// Everything is sent on a link whose client wants its credit used or taken back.
    Drained(LinkId),
    /// The reader has ended.
    Ended(LinkId, ReadError),
}

impl Readers {
    /// Adds a link.
    pub(super) fn add(&mut self, link: LinkId, reader: Box<EventReader>, event_link: EventLink) {
        self.links.push(Reader {
            link,
            wants_last_enqueued: event_link.wants_last_enqueued,
            drain: false,
            state: State::Ready(reader),
            unsent: Batch::default(),
        });
    }

    /// The client of a link wants what there is at once, and its other credit taken back. Returns whether it is one for
    /// events.
    pub(super) fn drain(&mut self, link: LinkId) -> bool {
        let reader = self.links.iter_mut().find(|reader| reader.link == link);
        reader.map(|reader| reader.drain = true).is_some()
    }

    /// Removes links that have ended, with what was read for them.
    pub(super) fn remove(&mut self, has_ended: impl Fn(LinkId) -> bool) {
        self.links.retain(|reader| !has_ended(reader.link));
    }

    /// Returns whether a link has a reader.
    pub(super) fn contains(&self, link: LinkId) -> bool {
        self.links.iter().any(|reader| reader.link == link)
    }

    /// Returns whether the client of a link wants to know the last event of the partition.
    pub(super) fn wants_last_enqueued(&self, link: LinkId) -> bool {
        self.links.iter().any(|reader| reader.link == link && reader.wants_last_enqueued)
    }

    /// Takes the events that were read on a link, and the reader back. None means that it is at the end.
    pub(super) fn give_back(&mut self, link: LinkId, mut reader: Box<EventReader>, batch: Batch) {
        // The link was detached meanwhile.
        let Some(of_link) = self.links.iter_mut().find(|known| known.link == link) else { return };
        of_link.state = if batch.is_empty() {
            State::Waiting(Box::pin(async move {
                let result = reader.wait().await;
                (reader, result)
            }))
        } else {
            State::Ready(reader)
        };
        of_link.unsent = batch;
    }

    /// Ready when a link can be read, what was read can be sent, or a reader has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, machine: &Machine) -> Poll<ReaderEvent> {
        let unsent: usize = self.links.iter().map(|reader| reader.unsent.len()).sum();
        let count = self.links.len();
        for index in (self.next..).take(count) {
            let index = index.checked_rem(count).unwrap_or(0);
            let Some(reader) = self.links.get_mut(index) else { continue };
            let can_send = machine.can_send(reader.link);
            let has_unsent = !reader.unsent.is_empty();
            if has_unsent && can_send {
                return Poll::Ready(ReaderEvent::Send);
            }
            let can_read = can_send && !has_unsent && unsent < MAX_UNSENT_BYTES;
            let poll = reader.poll(cx, can_read);
            if poll.is_pending() && reader.is_drained(machine) {
                reader.drain = false;
                return Poll::Ready(ReaderEvent::Drained(reader.link));
            }
            if let Poll::Ready(event) = poll {
                self.next = index.wrapping_add(1);
                return Poll::Ready(event);
            }
        }
        Poll::Pending
    }

    /// Sends what was read, as far as the clients take it. Returns the number of events.
    pub(super) fn send(&mut self, machine: &mut Machine) -> usize {
        self.links.iter_mut().map(|reader| reader.unsent.send(machine, reader.link)).sum()
    }
}

impl Reader {
    /// Returns whether a client that asked for it has got everything that there is.
    fn is_drained(&self, machine: &Machine) -> bool {
        let is_at_end = matches!(self.state, State::Waiting(_)) && self.unsent.is_empty();
        self.drain && (is_at_end || machine.credit(self.link) == 0)
    }

    fn poll(&mut self, cx: &mut Context<'_>, can_read: bool) -> Poll<ReaderEvent> {
        loop {
            let state = match std::mem::replace(&mut self.state, State::Reading) {
                State::Reading => return Poll::Pending,
                State::Ready(reader) if can_read => {
                    return Poll::Ready(ReaderEvent::Read(self.link, reader));
                }
                State::Ready(reader) => block(reader),
                State::Waiting(mut wait) => match wait.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.state = State::Waiting(wait);
                        return Poll::Pending;
                    }
                    Poll::Ready((_, Err(error))) => {
                        return Poll::Ready(ReaderEvent::Ended(self.link, error));
                    }
                    Poll::Ready((reader, Ok(()))) => State::Ready(reader),
                },
                State::Blocked(mut wait, notify) => {
                    if can_read {
                        notify.notify_one();
                    }
                    match wait.as_mut().poll(cx) {
                        Poll::Pending => {
                            self.state = State::Blocked(wait, notify);
                            return Poll::Pending;
                        }
                        Poll::Ready((_, Err(error))) => {
                            return Poll::Ready(ReaderEvent::Ended(self.link, error));
                        }
                        Poll::Ready((reader, Ok(()))) => State::Ready(reader),
                    }
                }
            };
            self.state = state;
        }
    }
}

fn block(mut reader: Box<EventReader>) -> State {
    let notify = Arc::new(Notify::new());
    let notified = notify.clone();
    let wait = Box::pin(async move {
        let ended = tokio::select! {
            error = reader.ended() => Some(error),
            () = notified.notified() => None,
        };
        (reader, ended.map_or(Ok(()), Err))
    });
    State::Blocked(wait, notify)
}

impl Batch {
    /// Appends one message, which `write` writes.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut BytesMut)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    fn is_empty(&self) -> bool {
        self.sent >= self.ends.len()
    }

    /// Returns the bytes of memory that it occupies.
    fn len(&self) -> usize {
        self.bytes.capacity()
    }

    /// Sends messages while the client takes them; returns their number.
    fn send(&mut self, machine: &mut Machine, link: LinkId) -> usize {
        let before = self.sent;
        while let Some(end) = self.ends.get(self.sent)
            && machine.can_send(link)
        {
            let start = self.sent.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or(0);
            let payload = self.bytes.get(start..*end).unwrap_or_default();
            // Azure's tags are 16 bytes. They need not be unique: the message is settled.
            let tag = (self.sent as u128).to_be_bytes();
            let message = ferrohub_amqp::Outbound { tag: &tag, message_format: 0, settled: true, payload };
            if machine.send(link, &message).is_err() {
                break;
            }
            self.sent += 1;
        }
        let sent = self.sent - before;
        if self.is_empty() {
            *self = Self::default();
        }
        sent
    }
}
