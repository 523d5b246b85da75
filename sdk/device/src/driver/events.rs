//! Events on their way to the hub.
//!
//! They leave in the order in which they were given, some of them at once. What the hub has not acknowledged is part of
//! the session: the next connection sends it again before anything new.

use std::collections::HashMap;

use ferrohub_mqtt::PacketId;

use super::Driver;
use super::connect::send_error;
use super::link::Link;
use super::serve::RESERVED_IDS;
use crate::config::MAX_EVENTS_IN_FLIGHT;
use crate::error::{Error, ErrorKind};
use crate::outbox::{Delivered, Room};

/// The events that the hub has not acknowledged.
#[derive(Default)]
pub(super) struct Events {
    in_flight: HashMap<PacketId, (Delivered, Room)>,
}

impl Events {
    pub(super) fn len(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) fn acknowledge(&mut self, packet_id: PacketId) {
        if let Some((delivered, room)) = self.in_flight.remove(&packet_id) {
            // Who is told may send the next one at once.
            drop(room);
            // Nobody has to wait for it.
            let _ = delivered.send(Ok(()));
        }
    }

    /// Gives them up.
    pub(super) fn fail(&mut self, error: &Error) {
        for (_, (delivered, room)) in self.in_flight.drain() {
            drop(room);
            let _ = delivered.send(Err(error.clone()));
        }
    }
}

impl Driver {
    /// Sends what waits, as far as there is room.
    pub(super) fn send_events(&mut self, link: &mut Link) {
        while self.events.len() < MAX_EVENTS_IN_FLIGHT
            && link.machine.in_flight() + RESERVED_IDS < self.shared.config.machine.max_in_flight
            && link.has_room()
            && let Some((event, room)) = self.shared.outbox.pop()
        {
            match link.machine.publish(&event.topic, event.qos, event.body) {
                Ok(Some(packet_id)) => {
                    self.events.in_flight.insert(packet_id, (event.delivered, room));
                }
                outcome => {
                    drop(room);
                    let _ = event.delivered.send(outcome.map(drop).map_err(send_error));
                }
            }
        }
    }

    /// The connection was lost. The session still has what was not acknowledged, unless nobody wants it sent again.
    pub(super) fn events_lost_their_connection(&mut self) {
        let error =
            Error::new(ErrorKind::Network, "the connection was lost before the hub acknowledged the event");
        if self.shared.outbox.fails_offline() {
            for packet_id in self.events.in_flight.keys() {
                self.session.forget(*packet_id);
            }
            self.events.fail(&error);
        }
        self.shared.outbox.disconnected(&error);
    }
}
