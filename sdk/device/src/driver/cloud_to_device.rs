//! Messages from the cloud. The application acknowledges them.

use ferrohub_model::message::{MessageProperties, SystemProperty};
use ferrohub_mqtt::Publish;
use tracing::warn;

use super::Driver;
use super::link::Link;
use crate::cloud_to_device::{MAX_UNREAD, Message, MessageContent};

impl Driver {
    /// Queues the message even if no stream is open: a session may deliver messages that an earlier process subscribed
    /// to.
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
        let content = MessageContent { properties, body: publish.payload.clone() };
        let message = Message { content, input, lock };
        if self.shared.messages.push(message, MAX_UNREAD).is_err() {
            warn!(limit = MAX_UNREAD, "message dropped until its redelivery: too many unread messages");
        }
    }

    /// Acknowledges the messages that the application has completed.
    pub(super) fn acknowledge_messages(&mut self, link: &mut Link) {
        for packet_id in self.shared.unacknowledged.take_completed() {
            link.mqtt.puback(packet_id);
        }
    }

    /// Unacknowledged messages are delivered again, so unread ones are removed from the stream.
    pub(super) fn on_messages_disconnected(&mut self) {
        self.shared.messages.retain(|message| !message.lock.needs_puback());
        self.shared.unacknowledged.connection_ended();
    }
}
