//! Telemetry messages from devices.

use bytes::Bytes;
use ferrohub_model::{ErrorCode, HubError};
use tracing::debug;

use crate::callers::{ConnectedDevice, DeviceCaller};
use crate::faults::{Delivery, FaultPoint};
use crate::hub::Hub;
use crate::node::Connection;
use crate::operations::Operation;
use crate::store::store_failed;
use crate::telemetry::{EventIdentity, EventProperties, EventSource, NewEvent};

/// A telemetry message from a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceMessage {
    /// The message's properties.
    pub properties: EventProperties,
    /// The message's body.
    pub body: Bytes,
}

impl DeviceMessage {
    /// Returns the size that counts toward the limit: properties and body, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.properties.size() + self.body.len()
    }
}

impl ConnectedDevice {
    /// Appends its telemetry messages to the event log, all or none. They are persisted when this returns, unless a fault
    /// loses them.
    ///
    /// # Errors
    ///
    /// `MessageTooLarge` if a message exceeds [`Hub::max_event_bytes`].
    pub async fn send_events(&self, messages: Vec<DeviceMessage>) -> Result<Delivery, HubError> {
        let hub = self.permit(Operation::SendEvent)?;
        hub.send_events(self.connection().event_identity(), messages).await
    }

    /// Appends its will message to the event log. Faults have no effect on it.
    pub async fn send_will(&self, will: DeviceMessage) -> Result<(), HubError> {
        let hub = self.permit(Operation::SendEvent)?;
        hub.append_events(self.connection().event_identity(), vec![will]).await
    }
}

impl DeviceCaller {
    /// Appends its telemetry messages to the event log, all or none. They are persisted when this returns, unless a fault
    /// loses them.
    ///
    /// # Errors
    ///
    /// `MessageTooLarge` if a message exceeds [`Hub::max_event_bytes`].
    pub async fn send_events(&self, messages: Vec<DeviceMessage>) -> Result<Delivery, HubError> {
        let hub = self.permit(Operation::SendEvent)?;
        let identity = EventIdentity {
            id: self.id().clone(),
            generation_id: self.identity().generation_id.clone(),
            auth: Some(self.credential().into()),
        };
        hub.send_events(identity, messages).await
    }
}

impl Connection {
    /// Returns what the events of this device or module record about it.
    pub(crate) fn event_identity(&self) -> EventIdentity {
        EventIdentity {
            id: self.id.clone(),
            generation_id: self.generation_id.clone(),
            auth: Some((&self.credential()).into()),
        }
    }
}

impl Hub {
    /// Returns the maximum size of a telemetry message, body and properties, in bytes.
    #[must_use]
    pub fn max_event_bytes(&self) -> usize {
        self.events.settings().event_bytes
    }

    async fn send_events(
        &self,
        identity: EventIdentity,
        messages: Vec<DeviceMessage>,
    ) -> Result<Delivery, HubError> {
        let delivery = self.await_delivery(FaultPoint::Telemetry, &identity.id).await;
        if delivery == Delivery::Delivered {
            self.append_events(identity, messages).await?;
        }
        Ok(delivery)
    }

    async fn append_events(
        &self,
        identity: EventIdentity,
        messages: Vec<DeviceMessage>,
    ) -> Result<(), HubError> {
        let limit = self.max_event_bytes();
        if let Some(message) = messages.iter().find(|message| message.size() > limit) {
            let bytes = message.size();
            debug!(device = %identity.id, bytes, limit, "message rejected: too large");
            let text = format!(
                "The message with its properties has {bytes} bytes; the maximum is {limit} (events.message_bytes)."
            );
            return Err(HubError::new(ErrorCode::MessageTooLarge, text));
        }
        if messages.is_empty() {
            return Ok(());
        }
        let events = messages
            .into_iter()
            .map(|message| NewEvent { properties: message.properties, body: message.body })
            .collect();
        self.events
            .append(EventSource::Telemetry, identity, events, self.clock.now())
            .await
            .map_err(store_failed)
    }
}
