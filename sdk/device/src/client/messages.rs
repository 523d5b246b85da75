//! Messages from the cloud.

use super::DeviceClient;
use crate::message::Messages;

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
    pub fn messages(&self) -> Messages {
        let messages = Messages::new(self.inner.shared.messages.open());
        self.inner.shared.wake.notify_one();
        messages
    }
}
