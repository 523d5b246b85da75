//! The device's twin.

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::DeviceClient;
use crate::error::{Error, ErrorKind};
use crate::feature::Feature;
use crate::twin::{DesiredUpdateStream, DeviceTwin, Requester, TwinOperation, TwinReply, TwinRequest};

impl DeviceClient {
    /// Reads the device's twin.
    ///
    /// Waits for a connection that is coming back, up to the builder's
    /// [`request_timeout`](crate::Builder::request_timeout) in all.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`]; [`ErrorKind::Unavailable`] if the hub is too busy; [`ErrorKind::Closed`] if the client
    /// is not connected; [`ErrorKind::QueueFull`] if too many requests wait.
    pub async fn get_twin(&self) -> Result<DeviceTwin, Error> {
        DeviceTwin::from_json(&self.send_twin_request(TwinOperation::Get).await?.payload)
    }

    /// Changes what the device reports, by the rules of a JSON merge patch (RFC 7396): a `null` removes a property.
    /// Returns the new version of the reported section.
    ///
    /// Waits like [`get_twin`](Self::get_twin). When the connection is lost before the hub answered, the change is sent again;
    /// changes keep their order. A change that was sent is not taken back by dropping the future.
    ///
    /// ```no_run
    /// # use ferrohub_device::{DeviceClient, Error};
    /// # async fn example(client: DeviceClient) -> Result<(), Error> {
    /// let version = client.patch_reported(&serde_json::json!({ "firmware": "1.4", "fault": null })).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidPayload`] if it is not a JSON object, or breaks the hub's rules; else as
    /// [`get_twin`](Self::get_twin).
    pub async fn patch_reported<T: Serialize + ?Sized>(&self, patch: &T) -> Result<u64, Error> {
        self.report(patch, None).await
    }

    /// Changes what the device reports, if its version is still the one that was read.
    ///
    /// # Errors
    /// [`ErrorKind::PreconditionFailed`] if it is another. [`ErrorKind::Connection`] if the connection was lost before the
    /// hub answered: it may have made the change. Else as [`patch_reported`](Self::patch_reported).
    pub async fn patch_reported_if_version<T: Serialize + ?Sized>(
        &self,
        patch: &T,
        version: u64,
    ) -> Result<u64, Error> {
        self.report(patch, Some(version)).await
    }

    async fn report<T: Serialize + ?Sized>(&self, patch: &T, if_version: Option<u64>) -> Result<u64, Error> {
        let patch = serde_json::to_vec(patch).map_err(|error| {
            let message = format!("the patch cannot be written as JSON: {error}");
            Error::caused(ErrorKind::InvalidPayload, message, error)
        })?;
        if !patch.starts_with(b"{") {
            return Err(Error::new(ErrorKind::InvalidPayload, "the patch is not a JSON object"));
        }
        let answer =
            self.send_twin_request(TwinOperation::Report { patch: Bytes::from(patch), if_version }).await?;
        answer.version.ok_or_else(|| Error::new(ErrorKind::Protocol, "the hub did not tell the new version"))
    }

    async fn send_twin_request(&self, operation: TwinOperation) -> Result<TwinReply, Error> {
        let shared = &self.inner.shared;
        let (reply, answer) = oneshot::channel();
        shared.twin.push(TwinRequest { operation, requester: Requester::Application(reply) })?;
        shared.use_feature(Feature::TwinResponses);
        match timeout(shared.config.request_timeout, answer).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(Error::closed())),
            Err(_) => Err(Error::new(ErrorKind::Timeout, "the hub did not answer the twin request in time")),
        }
    }

    /// What the back end wants of the device, as it changes.
    ///
    /// The stream begins with the [whole](crate::DesiredUpdate::Full) section; then come
    /// [patches](crate::DesiredUpdate::Patch), in order and each once. Changes that were missed – while there was no
    /// connection, or because the application did not read – are made good by the whole section again: the application
    /// always ends up with the truth, and never sees an older version after a newer one. So nothing needs to be read
    /// with [`get_twin`](Self::get_twin) before, or after a reconnect.
    ///
    /// A second stream ends the first. A device whose identity was deleted and made anew starts its versions over: it
    /// needs a new stream.
    ///
    /// ```no_run
    /// # use ferrohub_device::DeviceClient;
    /// # async fn example(client: DeviceClient) {
    /// let mut updates = client.desired_updates();
    /// while let Some(update) = updates.next().await {
    ///     println!("version {}: {:?}", update.version(), update.section().properties());
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn desired_updates(&self) -> DesiredUpdateStream {
        let updates = DesiredUpdateStream::new(self.inner.shared.desired.subscribe());
        self.inner.shared.wake.notify_one();
        updates
    }
}
