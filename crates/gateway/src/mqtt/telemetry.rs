//! What a device sends on its own: telemetry, and its will.

use std::sync::Arc;

use bytes::Bytes;
use ferrohub_core::connections::{CloseReason, Connection};
use ferrohub_core::metrics::count;
use ferrohub_core::{DeviceMessage, Hub};
use ferrohub_model::message::MessageProperties;
use ferrohub_model::{ErrorCode, IdentityId, topic};
use ferrohub_mqtt::server::{Connection as Machine, Event};
use ferrohub_mqtt::{PacketId, Publish, Will};
use tracing::{info, warn};

use super::head::{Done, Work};

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

/// Begins to take a message, and with it all that the device has sent right behind it: they share one write.
pub(super) fn begin(
    hub: &Arc<Hub>,
    connection: &Arc<Connection>,
    machine: &mut Machine,
    first: &Publish,
) -> Result<Work, CloseReason> {
    let read = |publish: &Publish| {
        message(hub, &connection.id, publish.topic.as_str(), &publish.payload, publish.retain)
    };
    let mut messages = vec![read(first).map_err(|error| {
        // MQTT 3.1.1 has no way to say no to a message but to close.
        count(&hub.metrics().events.refused, error.reason());
        info!(device = %connection.id, topic = first.topic.as_str(), %error, "message refused");
        CloseReason::ProtocolError
    })?];
    let mut packets: Vec<PacketId> = first.packet_id.into_iter().collect();
    // Whatever is no such message has its own turn.
    while let Some(Event::Publish(next)) = machine.peek_event()
        && let Ok(message) = read(next)
    {
        messages.push(message);
        packets.extend(next.packet_id);
        let _ = machine.poll_event();
    }
    let (hub, origin) = (hub.clone(), connection.origin());
    Ok(Box::pin(async move {
        let id = origin.id.clone();
        match hub.send_events(origin, messages).await {
            Ok(()) => Ok(Done::Telemetry(packets)),
            Err(error) => {
                // Not acknowledged, so the device sends it again when it is back.
                if error.code != ErrorCode::ServiceUnavailable {
                    warn!(device = %id, %error, "messages of a device are not on disk");
                }
                Err(CloseReason::ProtocolError)
            }
        }
    }))
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
