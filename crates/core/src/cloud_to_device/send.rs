//! Messages that services send to devices and modules.

use bytes::Bytes;
use ferrohub_model::message::{
    Ack, Destination, EnqueuedMessage, MessageProperties, PurgeResult, SystemProperty,
};
use ferrohub_model::topic::MessageTopic;
use ferrohub_model::{ErrorCode, HubError, IdentityId, Timestamp};

use super::Queues;
use crate::callers::ServiceCaller;
use crate::cloud_to_device::{EnqueueOutcome, NewMessage};
use crate::hub::Hub;
use crate::operations::Operation;
use crate::registry::not_found;
use crate::store::{StoreError, store_failed};
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
        let results = self.send_messages(vec![(properties, body)]).await?;
        results.into_iter().next().unwrap_or_else(missing_outcome)
    }

    /// Adds messages to queues as [`send_message`](Self::send_message) does, in this order, and waits for the disk once
    /// instead of once for each. Returns a result for each message.
    ///
    /// # Errors
    ///
    /// If the caller has no right; no message is sent then.
    pub async fn send_messages(
        &self,
        messages: Vec<(MessageProperties, Bytes)>,
    ) -> Result<Vec<Result<EnqueuedMessage, HubError>>, HubError> {
        let hub = self.permit(Operation::SendMessage)?;
        let queues = hub.queues.clone();
        let (mut accepted, mut results) = (Vec::with_capacity(messages.len()), Vec::new());
        for (properties, body) in messages {
            results.push(hub.check_message(properties, body).map(|message| accepted.push(message)));
        }
        let outcomes = run_uncancelled(&hub.metrics.panics, async move { enqueue(&queues, accepted).await });
        let mut outcomes = outcomes.await?.into_iter();
        let mut next = || outcomes.next().unwrap_or_else(missing_outcome);
        Ok(results.into_iter().map(|checked| checked.and_then(|()| next())).collect())
    }

    /// Deletes all messages in the queue of a device, locked messages included.
    pub async fn purge_messages(&self, id: &IdentityId) -> Result<PurgeResult, HubError> {
        let hub = self.permit(Operation::PurgeMessages)?;
        let (queues, purged) = (hub.queues.clone(), id.clone());
        let purged = run_uncancelled(&hub.metrics.panics, async move { queues.purge(&purged).await });
        match purged.await.map_err(store_failed)? {
            Some(messages) => Ok(PurgeResult::new(id, messages)),
            None => Err(not_found(id)),
        }
    }
}

/// Enqueues messages that were checked, in one commit. Returns a result for each.
async fn enqueue(
    queues: &Queues,
    messages: Vec<NewMessage>,
) -> Result<Vec<Result<EnqueuedMessage, HubError>>, HubError> {
    let outcomes = queues.enqueue(&messages).await.map_err(store_failed)?;
    let limit = queues.queue().limits.queue_length;
    Ok(messages.iter().zip(outcomes).map(|(message, outcome)| to_result(message, outcome, limit)).collect())
}

fn missing_outcome<T>() -> Result<T, HubError> {
    Err(store_failed(StoreError::Corrupt("the store returned no outcome of a message".to_owned())))
}

fn to_result(message: &NewMessage, outcome: EnqueueOutcome, limit: u32) -> Result<EnqueuedMessage, HubError> {
    let NewMessage { id, enqueued, expiry, .. } = message;
    match outcome {
        EnqueueOutcome::Done(sequence) => {
            let message_id = message.properties.get(SystemProperty::MessageId);
            Ok(EnqueuedMessage::new(id, message_id, sequence, *enqueued, *expiry))
        }
        EnqueueOutcome::NotFound => Err(not_found(id)),
        EnqueueOutcome::Full => {
            let text = format!(
                "The queue of {id} has the maximum number of messages, {limit} (messages.queue_length)."
            );
            Err(HubError::new(ErrorCode::DeviceMaximumQueueDepthExceeded, text))
        }
    }
}

impl Hub {
    fn check_message(&self, properties: MessageProperties, body: Bytes) -> Result<NewMessage, HubError> {
        let to = properties.get(SystemProperty::To).and_then(Destination::parse).ok_or_else(|| {
            let text = "The property `to` must name a device: /devices/{id}/messages/deviceBound.";
            HubError::new(ErrorCode::InvalidOperation, text)
        })?;
        let limits = &self.limits.messages;
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
        let enqueued = self.clock.now();
        let expiry = self.message_expiry(properties.get(SystemProperty::Expiry), enqueued)?;
        let Destination { identity: id, input } = to;
        Ok(NewMessage { id, input, enqueued, expiry, ack, properties, body })
    }

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
