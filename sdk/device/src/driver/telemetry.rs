//! Sends events.
//!
//! Events are sent in order, several at a time. Unacknowledged events are part of the MQTT session: the next connection
//! sends them again before new ones.

use std::collections::HashMap;
use std::time::Duration;

use ferrohub_mqtt::PacketId;
use tracing::warn;

use super::Driver;
use super::connect::send_error;
use super::link::Link;
use super::serve::RESERVED_PACKET_IDS;
use crate::config::MAX_EVENTS_IN_FLIGHT;
use crate::error::{Error, ErrorKind};
use crate::telemetry::{DeliverySender, QueueSlot};

/// A connection that ends within this time after events were sent may have ended because of them.
const SUSPECT_WINDOW: Duration = Duration::from_secs(10);
/// After this many such connections in a row without an acknowledgement, the oldest event is rejected. MQTT 3.1.1 has
/// no way to refuse a message but to close the connection, and an event that the hub always refuses must not block all
/// others. A failing hub closes connections, too; therefore a failed attempt to connect resets the count, and the limit
/// doubles for each further event until one is acknowledged. A hub that fails for hours costs a few events, not all.
const MAX_FAILURES: u32 = 10;

/// The events that the hub has not acknowledged.
pub(super) struct Events {
    in_flight: HashMap<PacketId, (DeliverySender, QueueSlot)>,
    consecutive_failures: u32,
    /// The current limit of failures.
    max_failures: u32,
}

impl Default for Events {
    fn default() -> Self {
        Self { in_flight: HashMap::new(), consecutive_failures: 0, max_failures: MAX_FAILURES }
    }
}

impl Events {
    pub(super) fn len(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) fn acknowledge(&mut self, packet_id: PacketId) {
        if let Some((delivered, slot)) = self.in_flight.remove(&packet_id) {
            (self.consecutive_failures, self.max_failures) = (0, MAX_FAILURES);
            // Before the caller continues: it may send the next event at once.
            drop(slot);
            // Fails if the caller has dropped its future.
            let _ = delivered.send(Ok(()));
        }
    }

    /// The hub cannot be reached or refuses connections: events did not cause the earlier failures.
    pub(super) fn connect_failed(&mut self) {
        self.consecutive_failures = 0;
    }

    /// Fails one event as rejected.
    fn reject(&mut self, packet_id: PacketId) {
        if let Some((delivered, slot)) = self.in_flight.remove(&packet_id) {
            drop(slot);
            let times = self.max_failures;
            let message =
                format!("the hub closed the connection {times} times in a row after the event was sent");
            let _ = delivered.send(Err(Error::new(ErrorKind::Rejected, message)));
        }
    }

    /// Fails all events.
    pub(super) fn fail(&mut self, error: &Error) {
        for (_, (delivered, slot)) in self.in_flight.drain() {
            drop(slot);
            let _ = delivered.send(Err(error.clone()));
        }
    }
}

impl Driver {
    /// Sends queued events, within the limits of the connection.
    pub(super) fn send_events(&mut self, link: &mut Link) {
        while self.events.len() < MAX_EVENTS_IN_FLIGHT
            && link.mqtt.in_flight() + RESERVED_PACKET_IDS < self.shared.config.mqtt.max_in_flight
            && link.can_send()
            && let Some((event, slot)) = self.shared.event_queue.pop()
        {
            match link.mqtt.publish(&event.topic, event.qos, event.body) {
                Ok(Some(packet_id)) => {
                    self.events.in_flight.insert(packet_id, (event.delivered, slot));
                }
                outcome => {
                    drop(slot);
                    let _ = event.delivered.send(outcome.map(drop).map_err(send_error));
                }
            }
        }
    }

    /// Handles the loss of a connection after this time. Unacknowledged events stay in the session, unless the offline
    /// policy is to fail them.
    pub(super) fn on_events_disconnected(&mut self, lasted: Duration) {
        let error = Error::new(
            ErrorKind::Connection,
            "the connection was lost before the hub acknowledged the event",
        );
        if self.shared.event_queue.fails_offline() {
            for packet_id in self.events.in_flight.keys() {
                self.session.remove(*packet_id);
            }
            self.events.fail(&error);
        }
        self.events.consecutive_failures = match self.events.len() {
            0 => 0,
            _ if lasted < SUSPECT_WINDOW => self.events.consecutive_failures + 1,
            _ => 0,
        };
        let oldest = self.session.unacknowledged().find(|id| self.events.in_flight.contains_key(id));
        if self.events.consecutive_failures >= self.events.max_failures
            && let Some(packet_id) = oldest
        {
            warn!("event rejected: the hub closes the connection whenever it is sent");
            self.session.remove(packet_id);
            self.events.reject(packet_id);
            self.events.consecutive_failures = 0;
            self.events.max_failures = self.events.max_failures.saturating_mul(2);
        }
        self.shared.event_queue.disconnected(&error);
    }
}
