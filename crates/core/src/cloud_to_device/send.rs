//! Messages that services send to devices and modules.

use bytes::Bytes;
use ferrohub_model::message::{
    Ack, Destination, EnqueuedMessage, MessageProperties, PurgeResult, SystemProperty,
};
use ferrohub_model::topic::MessageTopic;
use ferrohub_model::{ErrorCode, HubError, IdentityId, Timestamp};

use crate::callers::ServiceCaller;
use crate::hub::Hub;
use crate::operations::Operation;
use crate::registry::not_found;
use crate::store::{EnqueueOutcome, NewMessage, store_failed};
use crate::uncancelled::run_uncancelled;

impl ServiceCaller {
    /// Adds a message to the queue of the device or module that its property `to` names, and notifies the connected
    /// device.
    ///
    /// # Errors
    ///
    /// `InvalidOperation` if `to` names no device, `MessageTooLarge`, `ArgumentInvalid` for an unknown `iothub-ack`,
    /// `InvalidMessageExpiryTime`, `DeviceNotFound` or `ModuleNotFound`, and `DeviceMaximumQueueDepthExceeded` if the
    /// queue is full.
    pub async fn send_message(
        &self,
        properties: MessageProperties,
        body: Bytes,
    ) -> Result<EnqueuedMessage, HubError> {
        let hub = self.permit(Operation::SendMessage)?;
        let to = properties.get(SystemProperty::To).and_then(Destination::parse).ok_or_else(|| {
            let text = "The property `to` must name a device: /devices/{id}/messages/deviceBound.";
            HubError::new(ErrorCode::InvalidOperation, text)
        })?;
        let limits = &hub.limits.messages;
        if properties.size() + body.len() > limits.bytes {
            let text = format!(
                "The message with its properties must have at most {} bytes (messages.message_bytes).",
                limits.bytes
            );
            return Err(HubError::new(ErrorCode::MessageTooLarge, text));
        }
        let topic = MessageTopic { id: &to.identity, input: to.input.as_deref(), properties: &properties };
        if !topic.fits() {
            let text = "The encoded properties of the message do not fit into an MQTT topic.";
            return Err(HubError::new(ErrorCode::MessageTooLarge, text));
        }
        let ack = Ack::of(&properties).map_err(|word| {
            let text = format!("iothub-ack must be none, positive, negative or full, not {word:?}.");
            HubError::new(ErrorCode::ArgumentInvalid, text)
        })?;
        let enqueued = hub.clock.now();
        let expiry = hub.message_expiry(properties.get(SystemProperty::Expiry), enqueued)?;
        let Destination { identity: id, input } = to;
        let message = NewMessage { id, input, enqueued, expiry, ack, properties, body };
        let queues = hub.queues.clone();
        let (message, written) = run_uncancelled(&hub.metrics.panics, async move {
            let written = queues.enqueue(&message).await.map_err(store_failed)?;
            Ok::<_, HubError>((message, written))
        })
        .await?;
        let id = &message.id;
        match written {
            EnqueueOutcome::Done(sequence) => {
                let message_id = message.properties.get(SystemProperty::MessageId);
                Ok(EnqueuedMessage::new(id, message_id, sequence, enqueued, expiry))
            }
            EnqueueOutcome::NotFound => Err(not_found(id)),
            EnqueueOutcome::Full => {
                let text = format!(
                    "The queue of {id} has the maximum number of messages, {} (messages.queue_length).",
                    limits.queue_length
                );
                Err(HubError::new(ErrorCode::DeviceMaximumQueueDepthExceeded, text))
            }
        }
    }

    /// Deletes all messages in the queue of a device, locked messages included.
    pub async fn purge_messages(&self, id: &IdentityId) -> Result<PurgeResult, HubError> {
        let hub = self.permit(Operation::PurgeMessages)?;
        match hub.queues.purge(id).await.map_err(store_failed)? {
            Some(messages) => Ok(PurgeResult::new(id, messages)),
            None => Err(not_found(id)),
        }
    }
}

impl Hub {
    fn message_expiry(&self, text: Option<&str>, now: Timestamp) -> Result<Timestamp, HubError> {
        let limits = &self.limits.messages;
        let after =
            |span: std::time::Duration| now.plus_millis(i64::try_from(span.as_millis()).unwrap_or(i64::MAX));
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(after(limits.time_to_live)) };
        let refused = |text: String| Err(HubError::new(ErrorCode::InvalidMessageExpiryTime, text));
        match Timestamp::parse(text) {
            None => refused(format!("The expiry {text:?} is not an ISO 8601 time.")),
            Some(expiry) if expiry <= now => refused(format!("The expiry {expiry} is in the past.")),
            Some(expiry) if expiry > after(limits.max_time_to_live) => {
                let seconds = limits.max_time_to_live.as_secs();
                refused(format!(
                    "The expiry {expiry} is more than {seconds} seconds from now (messages.max_time_to_live_seconds)."
                ))
            }
            Some(expiry) => Ok(expiry),
        }
    }
}
