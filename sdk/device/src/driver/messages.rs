//! Messages from the cloud: they are the application's to acknowledge.

use ferrohub_model::message::{MessageProperties, SystemProperty};
use ferrohub_mqtt::Publish;
use tracing::warn;

use super::Driver;
use super::link::Link;
use crate::message::{MAX_UNREAD, Message};

impl Driver {
    /// Nobody needs to read yet: a session may have brought what a process before this one subscribed to.
    pub(super) fn handle_message(
        &mut self,
        publish: &Publish,
        input: Option<String>,
        properties: MessageProperties,
    ) {
        let has_id = properties.get(SystemProperty::MessageId).is_some();
        let lock =
            self.shared.unacknowledged.receive(&publish.topic, &publish.payload, publish.packet_id, has_id);
        let Some(lock) = lock else { return };
        let message = Message { properties, body: publish.payload.clone(), input, lock };
        if self.shared.messages.push(message, MAX_UNREAD).is_err() {
            warn!(limit = MAX_UNREAD, "a message is left to come again: too many wait to be read");
        }
    }

    /// Acknowledges what the application has completed.
    pub(super) fn acknowledge_messages(&mut self, link: &mut Link) {
        for packet_id in self.shared.unacknowledged.take_completed() {
            link.mqtt.puback(packet_id);
        }
    }

    /// What was not acknowledged comes again; what nobody has read yet, only then.
    pub(super) fn on_messages_disconnected(&mut self) {
        self.shared.messages.retain(|message| !message.lock.needs_puback());
        self.shared.unacknowledged.connection_ended();
    }
}
