//! What a device sends on its own: telemetry, and its will.

use std::sync::Arc;

use bytes::Bytes;
use ferrohub_core::connections::{CloseReason, Connection};
use ferrohub_core::faults::FaultPoint;
use ferrohub_core::metrics::count;
use ferrohub_core::{Delivery, DeviceMessage, Hub};
use ferrohub_model::message::MessageProperties;
use ferrohub_model::{ErrorCode, IdentityId, topic};
use ferrohub_mqtt::{PacketId, Publish, Will};
use tracing::{info, warn};

use super::connection_handler::{Work, WorkOutput};

/// So many messages are written together at most.
const MAX_BATCH_MESSAGES: usize = 128;
/// When they take so many bytes, no more are gathered.
const MAX_BATCH_BYTES: usize = 256 * 1024;

/// Why something is no message of this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidMessage {
    #[error("the topic is not the device's own")]
    WrongTopic,
    #[error("the properties in the topic are malformed")]
    MalformedProperties,
    #[error("the message is too large")]
    TooLarge,
}

impl InvalidMessage {
    /// A fixed word for metrics.
    fn reason(self) -> &'static str {
        match self {
            Self::WrongTopic => "wrong_topic",
            Self::MalformedProperties => "malformed_properties",
            Self::TooLarge => "too_large",
        }
    }
}

/// The message that a topic and a payload make.
fn parse_message(
    hub: &Hub,
    id: &IdentityId,
    topic: &str,
    payload: &Bytes,
    retain: bool,
) -> Result<DeviceMessage, InvalidMessage> {
    let bag = topic::parse_telemetry(topic, id).ok_or(InvalidMessage::WrongTopic)?;
    let mut properties =
        MessageProperties::parse_property_bag(bag).map_err(|_| InvalidMessage::MalformedProperties)?;
    // The hub keeps no message for later subscribers, there are none; it says that it was asked to.
    if retain {
        properties.application.insert("mqtt-retain".to_owned(), "true".to_owned());
    }
    let message = DeviceMessage { properties, body: payload.clone() };
    if message.size() > hub.max_event_bytes() { Err(InvalidMessage::TooLarge) } else { Ok(message) }
}

/// What a device leaves to be sent when it is gone without a word.
pub(super) fn will(hub: &Hub, id: &IdentityId, will: &Will) -> Result<Box<DeviceMessage>, InvalidMessage> {
    let mut message = parse_message(hub, id, will.topic.as_str(), &will.payload, will.retain)?;
    message.properties.application.insert("iothub-MessageType".to_owned(), "Will".to_owned());
    Ok(Box::new(message))
}

/// Whether a topic is meant for a message of some device, well-formed or not.
pub(super) fn is_telemetry_topic(topic: &str) -> bool {
    topic.starts_with("devices/")
}

/// Messages that a device has sent one behind the other and that are to be written together.
#[derive(Debug, Default)]
pub(super) struct TelemetryBatch {
    messages: Vec<DeviceMessage>,
    /// What is to be acknowledged.
    packet_ids: Vec<PacketId>,
    bytes: usize,
    /// Whether a fault may take it: then each message has its own turn.
    unbatched: bool,
}

impl TelemetryBatch {
    /// Whether it is time to write them, even if there are more.
    pub(super) fn is_full(&self) -> bool {
        self.unbatched || self.messages.len() >= MAX_BATCH_MESSAGES || self.bytes >= MAX_BATCH_BYTES
    }

    pub(super) fn push(
        &mut self,
        hub: &Hub,
        connection: &Connection,
        publish: &Publish,
    ) -> Result<(), InvalidMessage> {
        let (topic, retain) = (publish.topic.as_str(), publish.retain);
        let message = parse_message(hub, &connection.id, topic, &publish.payload, retain)?;
        self.unbatched = hub.has_fault(FaultPoint::Telemetry);
        self.bytes += message.size();
        self.messages.push(message);
        self.packet_ids.extend(publish.packet_id);
        Ok(())
    }

    /// Begins to write them.
    pub(super) fn write(self, hub: &Arc<Hub>, connection: &Connection) -> Work {
        let (hub, origin) = (hub.clone(), connection.origin());
        Box::pin(async move {
            let id = origin.id.clone();
            match hub.await_delivery(FaultPoint::Telemetry, &id).await {
                Delivery::Delivered => {}
                Delivery::Lost { acknowledge: true } => return Ok(WorkOutput::Telemetry(self.packet_ids)),
                Delivery::Lost { acknowledge: false } => return Ok(WorkOutput::Telemetry(Vec::new())),
            }
            match hub.send_events(origin, self.messages).await {
                Ok(()) => Ok(WorkOutput::Telemetry(self.packet_ids)),
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
pub(super) fn refuse(
    hub: &Hub,
    connection: &Connection,
    publish: &Publish,
    error: InvalidMessage,
) -> CloseReason {
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
        CloseReason::ClientDisconnect
        | CloseReason::Stopping
        | CloseReason::Deleted
        | CloseReason::Disabled => {}
        _ => {
            if let Err(error) = hub.send_events(connection.origin(), vec![*will]).await {
                warn!(device = %connection.id, %error, "a device's will could not be sent");
            }
        }
    }
}
