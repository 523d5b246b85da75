//! Messages from the cloud, or at a module's inputs.

mod locked;
mod unacknowledged;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use ferrohub_model::message::{MessageProperties, SystemProperty};
use futures_util::Stream;
use serde::Deserialize;

use crate::channel::Receiver;
use crate::error::{Error, ErrorKind};

pub use locked::LockedMessage;
pub(crate) use locked::receive;
pub(crate) use unacknowledged::{MAX_UNREAD, UnacknowledgedMessages};

/// A message to the device, or to an input of the module.
///
/// It is the hub's until [`complete`](Self::complete) is called. One that is dropped without it, because the application
/// failed or ended, is delivered again: on a later connection, or when the hub's lock on it runs out. MQTT has no way to
/// reject a message, nor to give it back at once.
pub struct Message {
    pub(crate) properties: MessageProperties,
    pub(crate) body: Bytes,
    pub(crate) input: Option<String>,
    pub(crate) lock: MessageLock,
}

/// The right to complete one message, once.
pub(crate) struct MessageLock {
    unacknowledged: Arc<UnacknowledgedMessages>,
    /// None where there is nothing to complete: the hub sent it with QoS 0.
    delivery_id: Option<u64>,
}

impl Message {
    /// Tells the hub that the message is done with, and never to be delivered again. It is told when the background task
    /// comes to it, before the goodbye of [`disconnect`](crate::DeviceClient::disconnect); should the connection break
    /// just then, the hub delivers the message once more.
    ///
    /// When the connection that brought the message has ended meanwhile, say for the renewal of a token, the hub
    /// delivers it again. If it has a [message id](Self::message_id), the client completes it then, and the application
    /// does not see it twice.
    ///
    /// # Errors
    /// [`ErrorKind::LockLost`] if that connection has ended and the message has no id: it comes again, as a new one.
    pub fn complete(mut self) -> Result<(), Error> {
        match self.lock.delivery_id.take() {
            None => Ok(()),
            Some(delivery_id) => self.lock.unacknowledged.complete(delivery_id),
        }
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as text.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidPayload`] if it is not UTF-8.
    pub fn text(&self) -> Result<&str, Error> {
        std::str::from_utf8(&self.body)
            .map_err(|error| Error::caused(ErrorKind::InvalidPayload, "the message is not text", error))
    }

    /// The body as a value.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidPayload`] if it is not such a value in JSON.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let message = format!("the message is not what the device takes: {error}");
            Error::caused(ErrorKind::InvalidPayload, message, error)
        })
    }

    /// The module's input that it came to; none for messages to devices.
    #[must_use]
    pub fn input(&self) -> Option<&str> {
        self.input.as_deref()
    }

    /// The sender's name for it.
    #[must_use]
    pub fn message_id(&self) -> Option<&str> {
        self.properties.get(SystemProperty::MessageId)
    }

    /// What it belongs to, or answers.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        self.properties.get(SystemProperty::CorrelationId)
    }

    /// Who caused it.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        self.properties.get(SystemProperty::UserId)
    }

    /// The media type of the body.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.properties.get(SystemProperty::ContentType)
    }

    /// The encoding of the body.
    #[must_use]
    pub fn content_encoding(&self) -> Option<&str> {
        self.properties.get(SystemProperty::ContentEncoding)
    }

    /// When it is of no more use, as the sender wrote it: ISO 8601.
    #[must_use]
    pub fn expiry(&self) -> Option<&str> {
        self.properties.get(SystemProperty::Expiry)
    }

    /// A property of the application's own.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.application.get(name).map(String::as_str)
    }

    /// The properties of the application's own, by name.
    pub fn properties(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.properties.application.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Bodies may be large, and secret.
        f.debug_struct("Message")
            .field("properties", &self.properties)
            .field("input", &self.input)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl MessageLock {
    fn new(unacknowledged: Arc<UnacknowledgedMessages>, delivery_id: Option<u64>) -> Self {
        Self { unacknowledged, delivery_id }
    }

    /// Whether the hub waits for this message's completion.
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

/// The messages that came, in their order; from [`DeviceClient::messages`](crate::DeviceClient::messages).
///
/// The stream outlives connections. It ends when the client is gone, when the hub does not let the device listen, or
/// when `messages` is called again.
pub struct MessageStream {
    receiver: Receiver<Message>,
}

impl MessageStream {
    pub(crate) fn new(receiver: Receiver<Message>) -> Self {
        Self { receiver }
    }

    /// The next message; `None` at the end. The same as `StreamExt::next`, without the trait.
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
