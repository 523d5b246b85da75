//! Telemetry and will messages of devices.

use bytes::Bytes;
use ferrohub_core::close_reason::CloseReason;
use ferrohub_core::faults::{Delivery, FaultPoint};
use ferrohub_core::log_limit::excerpt;
use ferrohub_core::metrics::count;
use ferrohub_core::telemetry::DeviceMessage;
use ferrohub_core::{ConnectedDevice, Hub, log_limited};
use ferrohub_model::message::MessageProperties;
use ferrohub_model::{ErrorCode, IdentityId, topic};
use ferrohub_mqtt::{PacketId, Publish, Will};
use tracing::warn;

use super::work::{Work, WorkOutput};
use crate::transport::peer::Peer;

/// Maximum number of messages in a batch.
const MAX_BATCH_MESSAGES: usize = 128;
/// A batch of at least this size is written without waiting for more messages.
const MAX_BATCH_BYTES: usize = 256 * 1024;

/// The reason for which a message is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidMessage {
    #[error("the topic is not the telemetry topic of this device")]
    WrongTopic,
    #[error("the properties in the topic are malformed")]
    MalformedProperties,
    #[error("the message is too large")]
    TooLarge,
}

impl InvalidMessage {
    /// Returns the label value for metrics.
    fn reason(self) -> &'static str {
        match self {
            Self::WrongTopic => "wrong_topic",
            Self::MalformedProperties => "malformed_properties",
            Self::TooLarge => "too_large",
        }
    }

    /// Returns what to do, for the log.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::WrongTopic => {
                "use devices/{device id}/messages/events/, with the id of this device or module"
            }
            Self::MalformedProperties => {
                "encode properties as name=value, joined by &, with %XX for other characters"
            }
            Self::TooLarge => "send smaller messages, or raise events.message_bytes",
        }
    }
}

/// Reads the properties of a message from its topic, and checks its size.
fn parse_properties(
    hub: &Hub,
    id: &IdentityId,
    topic: &str,
    payload: &Bytes,
    retain: bool,
) -> Result<MessageProperties, InvalidMessage> {
    let bag = topic::parse_telemetry(topic, id).ok_or(InvalidMessage::WrongTopic)?;
    let mut properties =
        MessageProperties::parse_property_bag(bag).map_err(|_| InvalidMessage::MalformedProperties)?;
    // The hub does not retain messages: devices cannot subscribe to each other. Like IoT Hub, it marks the message
    // with a property instead.
    if retain {
        properties.application.insert("mqtt-retain".to_owned(), "true".to_owned());
    }
    if properties.size() + payload.len() > hub.max_event_bytes() {
        return Err(InvalidMessage::TooLarge);
    }
    Ok(properties)
}

/// Builds the will message of a device.
pub(super) fn will(hub: &Hub, id: &IdentityId, will: &Will) -> Result<Box<DeviceMessage>, InvalidMessage> {
    let mut properties = parse_properties(hub, id, will.topic.as_str(), &will.payload, will.retain)?;
    properties.application.insert("iothub-MessageType".to_owned(), "Will".to_owned());
    Ok(Box::new(DeviceMessage { properties: (&properties).into(), body: will.payload.clone() }))
}

/// Returns whether a topic is intended for telemetry of any device, even if it is malformed.
pub(super) fn is_telemetry_topic(topic: &str) -> bool {
    topic.starts_with("devices/")
}

/// Consecutive messages of a device that are written together.
#[derive(Debug, Default)]
pub(super) struct TelemetryBatch {
    messages: Vec<DeviceMessage>,
    /// Packet identifiers to acknowledge.
    packet_ids: Vec<PacketId>,
    bytes: usize,
    /// Whether telemetry faults are active: then each message is written separately.
    unbatched: bool,
}

impl TelemetryBatch {
    /// Returns whether the batch must be written before adding more messages.
    pub(super) fn is_full(&self) -> bool {
        self.unbatched || self.messages.len() >= MAX_BATCH_MESSAGES || self.bytes >= MAX_BATCH_BYTES
    }

    pub(super) fn push(&mut self, device: &ConnectedDevice, publish: &Publish) -> Result<(), InvalidMessage> {
        let (topic, retain) = (publish.topic.as_str(), publish.retain);
        let properties = parse_properties(device.hub(), device.id(), topic, &publish.payload, retain)?;
        let message = DeviceMessage { properties: (&properties).into(), body: publish.payload.clone() };
        self.unbatched = device.hub().has_fault(FaultPoint::Telemetry);
        self.bytes += message.size();
        self.messages.push(message);
        self.packet_ids.extend(publish.packet_id);
        Ok(())
    }

    /// Starts writing the batch.
    pub(super) fn write(self, device: &ConnectedDevice) -> Work {
        let device = device.clone();
        Box::pin(async move {
            match device.send_events(self.messages).await {
                Ok(Delivery::Delivered | Delivery::Lost { acknowledge: true }) => {
                    Ok(WorkOutput { acknowledge: self.packet_ids, response: None })
                }
                Ok(Delivery::Lost { acknowledge: false }) => Ok(WorkOutput::default()),
                Err(error) => {
                    // The messages are not acknowledged, so the device sends them again after it reconnects.
                    if error.code != ErrorCode::ServiceUnavailable {
                        warn!(device = %device.id(), %error, "cannot store telemetry; the messages are not acknowledged");
                    }
                    Err(CloseReason::StoreFailed)
                }
            }
        })
    }
}

/// Counts and logs an invalid message. The connection must close: MQTT 3.1.1 has no negative acknowledgement.
pub(super) fn refuse(
    peer: &Peer,
    device: &ConnectedDevice,
    publish: &Publish,
    error: InvalidMessage,
) -> CloseReason {
    let reason = error.reason();
    count(&device.hub().metrics().events.refused, reason);
    let topic = excerpt(publish.topic.as_str());
    log_limited!(info, "message refused", reason, device = %device.id(), peer = %peer.address, topic, %error, remedy = error.remedy());
    CloseReason::ProtocolError
}

/// Stores the will message after a connection has ended, unless the device sent DISCONNECT or may no longer send. No
/// will is stored when the hub stops either: the devices have not failed.
pub(super) async fn send_will(device: &ConnectedDevice, will: Box<DeviceMessage>, reason: CloseReason) {
    match reason {
        CloseReason::ClientDisconnect
        | CloseReason::Stopping
        | CloseReason::Deleted
        | CloseReason::Disabled => {}
        _ => {
            if let Err(error) = device.send_will(*will).await {
                warn!(device = %device.id(), %error, "cannot store the will message of a device");
            }
        }
    }
}
