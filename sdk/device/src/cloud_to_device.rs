//! Messages from the cloud, or at the inputs of a module.

mod content;
mod locked;
mod unacknowledged;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ferrohub_model::message::SystemProperty;
use futures_util::Stream;

use crate::channel::Receiver;
use crate::error::Error;
use content::message_accessors;

pub(crate) use content::MessageContent;
pub use locked::LockedMessage;
pub(crate) use locked::receive;
pub(crate) use unacknowledged::{MAX_UNREAD, UnacknowledgedMessages};

/// A message to the device, or to an input of the module, received over MQTT.
///
/// The hub keeps it until [`complete`](Self::complete) is called. A message that is dropped without that is delivered
/// again: on a later connection, or when the hub's lock on it expires. Over MQTT a message can be neither rejected nor
/// abandoned; see [`LockedMessage`] for that.
pub struct Message {
    pub(crate) content: MessageContent,
    pub(crate) input: Option<String>,
    pub(crate) lock: MessageLock,
}

/// The right to complete one message, once.
pub(crate) struct MessageLock {
    unacknowledged: Arc<UnacknowledgedMessages>,
    /// `None` if there is nothing to complete, because the hub sent the message with QoS 0.
    delivery_id: Option<u64>,
}

message_accessors!(Message);

impl Message {
    /// Completes the message: the hub deletes it. The PUBACK is sent by the background task, at the latest before
    /// [`disconnect`](crate::DeviceClient::disconnect) returns. If the connection is lost before, the hub delivers the
    /// message once more.
    ///
    /// If the connection that delivered the message has ended, for example to renew a token, the hub delivers it again.
    /// If it has a [message id](Self::message_id), the client then completes it without passing it to the
    /// application again.
    ///
    /// # Errors
    /// [`ErrorKind::LockLost`](crate::ErrorKind::LockLost) if that connection has ended and the message has no id: it
    /// is delivered again as a new message.
    pub fn complete(mut self) -> Result<(), Error> {
        match self.lock.delivery_id.take() {
            None => Ok(()),
            Some(delivery_id) => self.lock.unacknowledged.complete(delivery_id),
        }
    }

    /// Returns the input of the module at which the message arrived; `None` for messages to devices.
    #[must_use]
    pub fn input(&self) -> Option<&str> {
        self.input.as_deref()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Bodies may be large, and secret.
        f.debug_struct("Message")
            .field("properties", &self.content.properties)
            .field("input", &self.input)
            .field("body_bytes", &self.content.body.len())
            .finish_non_exhaustive()
    }
}

impl MessageLock {
    fn new(unacknowledged: Arc<UnacknowledgedMessages>, delivery_id: Option<u64>) -> Self {
        Self { unacknowledged, delivery_id }
    }

    /// Returns whether the hub waits for a PUBACK.
    pub(crate) fn needs_puback(&self) -> bool {
        self.delivery_id.is_some()
    }
}

impl Drop for MessageLock {
    fn drop(&mut self) {
        if let Some(delivery_id) = self.delivery_id {
            self.unacknowledged.release(delivery_id);
        }
    }
}

/// A stream of messages, in the order of arrival; from [`DeviceClient::messages`](crate::DeviceClient::messages).
///
/// The stream stays open across connections. It ends when the client is dropped, when the hub refuses the subscription,
/// or when `messages` is called again.
pub struct MessageStream {
    receiver: Receiver<Message>,
}

impl MessageStream {
    pub(crate) fn new(receiver: Receiver<Message>) -> Self {
        Self { receiver }
    }

    /// Waits for the next message. Returns `None` when the stream has ended. The same as `StreamExt::next`, without the
    /// trait.
    pub async fn next(&mut self) -> Option<Message> {
        std::future::poll_fn(|cx| self.receiver.poll_next(cx)).await
    }
}

impl Stream for MessageStream {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.receiver.poll_next(cx)
    }
}

impl fmt::Debug for MessageStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageStream").finish_non_exhaustive()
    }
}
