//! Messages from the cloud.

use super::DeviceClient;
use crate::error::Error;
use crate::message::{self, LockedMessage, MessageStream};

impl DeviceClient {
    /// The messages from the cloud; for a module, those at its inputs.
    ///
    /// Each is the hub's until [`Message::complete`](crate::Message::complete): what the application could not finish
    /// comes again. So a message is seen at least once, and rarely more often; by its
    /// [id](crate::Message::message_id) it can be told. A second stream ends the first; it gets what nobody has read.
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

    /// The oldest message that waits for the device, over HTTPS: the client need not be connected, and subscribes to
    /// nothing. It can be rejected and given back, which MQTT cannot. `None` if no message waits.
    ///
    /// # Errors
    /// As for any request: [`ErrorKind::Unauthorized`](crate::ErrorKind::Unauthorized),
    /// [`ErrorKind::Connection`](crate::ErrorKind::Connection), [`ErrorKind::Timeout`](crate::ErrorKind::Timeout).
    pub async fn receive_message(&self) -> Result<Option<LockedMessage>, Error> {
        message::receive(&self.inner.shared).await
    }
}
