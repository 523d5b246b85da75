//! Messages from the cloud.

use super::DeviceClient;
use crate::cloud_to_device::{self, LockedMessage, MessageStream};
use crate::error::Error;

impl DeviceClient {
    /// Returns a stream of the messages from the cloud; for a module, of those at its inputs.
    ///
    /// The hub keeps each message until [`Message::complete`](crate::Message::complete) and delivers it again if that
    /// is not called. So a message is delivered at least once; its
    /// [id](crate::Message::message_id) identifies duplicates. A second stream ends the first and receives the unread
    /// messages.
    ///
    /// ```no_run
    /// # use ferrohub_device::{DeviceClient, Error};
    /// # async fn example(client: DeviceClient) -> Result<(), Error> {
    /// let mut messages = client.messages();
    /// while let Some(message) = messages.next().await {
    ///     println!("{}", message.text()?);
    ///     message.complete()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn messages(&self) -> MessageStream {
        let messages = MessageStream::new(self.inner.shared.messages.subscribe());
        self.inner.shared.wake.notify_one();
        messages
    }

    /// Receives the oldest queued message over HTTPS, or `None` if the queue is empty. The client does not have to be
    /// connected. Unlike over MQTT, the message can be rejected and abandoned.
    ///
    /// # Errors
    /// Those of any request.
    pub async fn receive_message(&self) -> Result<Option<LockedMessage>, Error> {
        cloud_to_device::receive(&self.inner.shared).await
    }
}
