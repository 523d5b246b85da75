//! The events of partitions, and questions about them.

use std::task::{Context, Poll};

use ferrohub_amqp::performative::Attach;
use ferrohub_amqp::{Connection as Machine, LinkId};
use ferrohub_core::Operation;
use ferrohub_core::telemetry::{EventReader, ReadError};
use ferrohub_model::{ErrorCode, HubError};
use tracing::debug;

use super::{Accepted, ConnectionHandler};
use crate::heads::amqp::errors::{ErrorText, LINK_STOLEN};
use crate::heads::amqp::event_link::EventLink;
use crate::heads::amqp::readers::{Batch, ReaderEvent};
use crate::heads::amqp::work;

impl ConnectionHandler {
    /// Opens the reader of a link; the link is answered when it is open.
    pub(super) fn open_reader(
        &mut self,
        machine: &mut Machine,
        link: LinkId,
        accepted: Accepted,
        attach: &Attach<'_>,
    ) {
        let opened = EventLink::parse(attach, &accepted.purpose)
            .map_err(|error| HubError::new(ErrorCode::ArgumentInvalid, error.to_string()));
        let caller = accepted.caller.and_then(|id| self.callers.get(id)).cloned();
        match (opened, caller) {
            (Ok(event_link), Some(caller)) => {
                self.work = Some(work::open_reader(caller, self.peer.address, link, accepted, event_link));
            }
            (Ok(_), None) => self.refuse_link(machine, link, &ErrorText::unauthorized(super::TOKEN_INVALID)),
            (Err(error), _) => self.reader_opened(machine, link, accepted, Err(error)),
        }
    }

    /// Answers the attach of a link whose reader is open, or could not be opened.
    pub(super) fn reader_opened(
        &mut self,
        machine: &mut Machine,
        link: LinkId,
        accepted: Accepted,
        opened: Result<(Box<EventReader>, EventLink), HubError>,
    ) {
        self.record(Operation::ReadEvents, opened.as_ref().err());
        match opened {
            Ok((reader, event_link)) => {
                if self.accept_link(machine, link, accepted, None) {
                    self.readers.add(link, reader, event_link);
                }
            }
            Err(error) => self.refuse_link(machine, link, &ErrorText::of_reader(&error)),
        }
    }

    /// Ready when there is something to do for a link on which events are sent.
    pub(in crate::heads::amqp) fn poll_reader(
        &mut self,
        cx: &mut Context<'_>,
        machine: &Machine,
    ) -> Poll<ReaderEvent> {
        if self.is_idle() { self.readers.poll(cx, machine) } else { Poll::Pending }
    }

    pub(in crate::heads::amqp) fn handle_reader(&mut self, machine: &mut Machine, event: ReaderEvent) {
        match event {
            ReaderEvent::Send => self.send_events(machine),
            ReaderEvent::Read(link, reader) => {
                let wants_last = self.readers.wants_last_enqueued(link);
                let max = machine.credit(link);
                self.work = Some(work::read_events(self.context.hub.clone(), link, reader, max, wants_last));
            }
            // An error means that the link is detached.
            ReaderEvent::Drained(link) => drop(machine.drained(link)),
            ReaderEvent::Ended(link, error) => self.end_reader(machine, link, &error),
        }
    }

    /// Sends events that were read.
    pub(super) fn events_read(
        &mut self,
        machine: &mut Machine,
        link: LinkId,
        reader: Box<EventReader>,
        read: Result<Batch, ReadError>,
    ) {
        match read {
            Ok(batch) => {
                self.readers.give_back(link, reader, batch);
                self.send_events(machine);
            }
            Err(error) => self.end_reader(machine, link, &error),
        }
    }

    fn send_events(&mut self, machine: &mut Machine) {
        let sent = self.readers.send(machine);
        self.context.metrics.amqp_events.inc_by(sent as u64);
    }

    /// Detaches a link whose reader has ended.
    fn end_reader(&mut self, machine: &mut Machine, link: LinkId, error: &ReadError) {
        let reason = match error {
            // The driver ends the connection.
            ReadError::Stopping => return self.readers.remove(|ended| ended == link),
            ReadError::Stolen(stolen) => ErrorText::new(LINK_STOLEN, stolen.to_string()),
            ReadError::Store(_) => {
                self.record(
                    Operation::ReadEvents,
                    Some(&HubError::new(ErrorCode::ServiceUnavailable, error.to_string())),
                );
                ErrorText::new("amqp:internal-error", "The hub cannot read the events.")
            }
        };
        debug!(peer = %self.peer.address, %error, "a reader of events has ended");
        self.links.retain(|known| known.id != link);
        self.readers.remove(|ended| ended == link);
        // If the link is detached already, the client does not expect a reason.
        let _ = machine.detach(link, Some(&reason.get()));
    }
}
