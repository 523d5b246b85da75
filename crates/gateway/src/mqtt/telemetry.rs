//! What a device sends on its own: telemetry, and its will.

use std::sync::Arc;

use bytes::Bytes;
use ferrohub_core::connections::{CloseReason, Connection};
use ferrohub_core::faults::Point;
use ferrohub_core::metrics::count;
use ferrohub_core::{DeviceMessage, Hub, Passage};
use ferrohub_model::message::MessageProperties;
use ferrohub_model::{ErrorCode, IdentityId, topic};
use ferrohub_mqtt::{PacketId, Publish, Will};
use tracing::{info, warn};

use super::head::{Done, Work};

/// So many messages are written together at most.
const MOST_MESSAGES: usize = 128;
/// When they take so many bytes, no more are gathered.
const MOST_BYTES: usize = 256 * 1024;

/// Why something is no message of this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoMessage {
    #[error("the topic is not the device's own")]
    WrongTopic,
    #[error("the properties in the topic are malformed")]
    MalformedBag,
    #[error("the message is too large")]
    TooLarge,
}

impl NoMessage {
    /// A fixed word for metrics.
    fn reason(self) -> &'static str {
        match self {
            Self::WrongTopic => "wrong_topic",
            Self::MalformedBag => "malformed_properties",
            Self::TooLarge => "too_large",
        }
    }
}

/// The message that a topic and a payload make.
fn message(
    hub: &Hub,
    id: &IdentityId,
    topic: &str,
    payload: &Bytes,
    retain: bool,
) -> Result<DeviceMessage, NoMessage> {
    let bag = topic::parse_telemetry(topic, id).ok_or(NoMessage::WrongTopic)?;
    let mut properties = MessageProperties::parse_bag(bag).map_err(|_| NoMessage::MalformedBag)?;
    // The hub keeps no message for later subscribers, there are none; it says that it was asked to.
    if retain {
        properties.application.insert("mqtt-retain".to_owned(), "true".to_owned());
    }
    let message = DeviceMessage { properties, body: payload.clone() };
    if message.size() > hub.message_limit() { Err(NoMessage::TooLarge) } else { Ok(message) }
}

/// What a device leaves to be sent when it is gone without a word.
pub(super) fn will(hub: &Hub, id: &IdentityId, will: &Will) -> Result<Box<DeviceMessage>, NoMessage> {
    let mut message = message(hub, id, will.topic.as_str(), &will.payload, will.retain)?;
    message.properties.application.insert("iothub-MessageType".to_owned(), "Will".to_owned());
    Ok(Box::new(message))
}

/// Whether a topic is meant for a message of some device, well-formed or not.
pub(super) fn is_meant(topic: &str) -> bool {
    topic.starts_with("devices/")
}

/// Messages that a device has sent one behind the other and that are to be written together.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    messages: Vec<DeviceMessage>,
    /// What is to be acknowledged.
    packets: Vec<PacketId>,
    bytes: usize,
    /// Whether a fault may take it: then each message has its own turn.
    alone: bool,
}

impl Gathered {
    /// Whether it is time to write them, even if there are more.
    pub(super) fn is_full(&self) -> bool {
        self.alone || self.messages.len() >= MOST_MESSAGES || self.bytes >= MOST_BYTES
    }

    pub(super) fn add(
        &mut self,
        hub: &Hub,
        connection: &Connection,
        publish: &Publish,
    ) -> Result<(), NoMessage> {
        let (topic, retain) = (publish.topic.as_str(), publish.retain);
        let message = message(hub, &connection.id, topic, &publish.payload, retain)?;
        self.alone = hub.has_fault(Point::Telemetry);
        self.bytes += message.size();
        self.messages.push(message);
        self.packets.extend(publish.packet_id);
        Ok(())
    }

    /// Begins to write them.
    pub(super) fn begin(self, hub: &Arc<Hub>, connection: &Connection) -> Work {
        let (hub, origin) = (hub.clone(), connection.origin());
        Box::pin(async move {
            let id = origin.id.clone();
            match hub.passage(Point::Telemetry, &id).await {
                Passage::Arrives => {}
                Passage::Lost { acknowledge: true } => return Ok(Done::Telemetry(self.packets)),
                Passage::Lost { acknowledge: false } => return Ok(Done::Telemetry(Vec::new())),
            }
            match hub.send_events(origin, self.messages).await {
                Ok(()) => Ok(Done::Telemetry(self.packets)),
                Err(error) => {
                    // Not acknowledged, so the device sends it again when it is back.
                    if error.code != ErrorCode::ServiceUnavailable {
                        warn!(device = %id, %error, "messages of a device are not on disk");
                    }
                    Err(CloseReason::StoreFailed)
                }
            }
        })
    }
}

/// A device sent something that is no message of its. MQTT 3.1.1 has no way to say no to it but to close.
pub(super) fn refuse(hub: &Hub, connection: &Connection, publish: &Publish, error: NoMessage) -> CloseReason {
    count(&hub.metrics().events.refused, error.reason());
    info!(device = %connection.id, topic = publish.topic.as_str(), %error, "message refused");
    CloseReason::ProtocolError
}

/// The connection ended: sends what the device left for that, unless it said goodbye or may not send any more. A hub that
/// stops says nothing either: its devices are well.
pub(super) async fn send_will(
    hub: &Hub,
    connection: &Connection,
    will: Box<DeviceMessage>,
    reason: CloseReason,
) {
    match reason {
        CloseReason::Goodbye | CloseReason::Stopping | CloseReason::Deleted | CloseReason::Disabled => {}
        _ => {
            if let Err(error) = hub.send_events(connection.origin(), vec![*will]).await {
                warn!(device = %connection.id, %error, "a device's will could not be sent");
            }
        }
    }
}
