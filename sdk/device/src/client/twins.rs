//! The twin of the device.

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::DeviceClient;
use crate::error::{Error, ErrorKind};
use crate::feature::Feature;
use crate::twins::{DesiredUpdateStream, DeviceTwin, Requester, TwinOperation, TwinReply, TwinRequest};

impl DeviceClient {
    /// Reads the twin of the device.
    ///
    /// Waits for a reconnect, up to the builder's [`request_timeout`](crate::Builder::request_timeout) in total.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`]; [`ErrorKind::Closed`] if [`connect`](Self::connect) was not called or the client was
    /// disconnected; [`ErrorKind::QueueFull`] if too many requests are queued; [`ErrorKind::Throttled`], or another
    /// kind by which the hub refused; [`ErrorKind::Rejected`] if it refused the subscription; [`ErrorKind::Protocol`]
    /// if its response is not a twin; the error that ended the client.
    pub async fn get_twin(&self) -> Result<DeviceTwin, Error> {
        DeviceTwin::from_json(&self.send_twin_request(TwinOperation::Get).await?.payload)
    }

    /// Changes the reported properties with a JSON merge patch (RFC 7396): `null` removes a property. Returns the new
    /// version of the reported section.
    ///
    /// Waits like [`get_twin`](Self::get_twin). If the connection is lost before the hub responds, the patch is sent
    /// again. Patches keep their order. Dropping the future does not undo a patch that was sent.
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
    /// [`ErrorKind::InvalidInput`] if the patch is not a JSON object; [`ErrorKind::BadRequest`] if the hub refuses it,
    /// for example for an invalid name; otherwise as [`get_twin`](Self::get_twin).
    pub async fn patch_reported<T: Serialize + ?Sized>(&self, patch: &T) -> Result<u64, Error> {
        self.report(patch, None).await
    }

    /// Changes the reported properties if the version of the section is still `version`.
    ///
    /// # Errors
    /// [`ErrorKind::PreconditionFailed`] if the version is another. [`ErrorKind::Connection`] if the connection was
    /// lost before the hub responded: it may have applied the patch. Otherwise as
    /// [`patch_reported`](Self::patch_reported).
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
            Error::invalid_input(message).with_source(error)
        })?;
        if !patch.starts_with(b"{") {
            return Err(Error::invalid_input("the patch is not a JSON object"));
        }
        let reply =
            self.send_twin_request(TwinOperation::Report { patch: Bytes::from(patch), if_version }).await?;
        reply.version.ok_or_else(|| Error::new(ErrorKind::Protocol, "the response of the hub has no version"))
    }

    async fn send_twin_request(&self, operation: TwinOperation) -> Result<TwinReply, Error> {
        let shared = &self.inner.shared;
        let (reply, response) = oneshot::channel();
        shared.twin.push(TwinRequest { operation, requester: Requester::Application(reply) })?;
        shared.use_feature(Feature::TwinResponses);
        match timeout(shared.config.request_timeout, response).await {
            Ok(response) => response.unwrap_or_else(|_| Err(Error::closed())),
            Err(_) => {
                Err(Error::new(ErrorKind::Timeout, "the hub did not respond to the twin request in time"))
            }
        }
    }

    /// Returns a stream of the changes of the desired properties.
    ///
    /// The stream begins with the [full](crate::DesiredUpdate::Full) section. [Patches](crate::DesiredUpdate::Patch)
    /// follow, in order and each once. After missed changes (no connection, or a slow application) the stream continues
    /// with the full section. So the application always receives the current state, and never an older version after a
    /// newer one. There is no need to call [`get_twin`](Self::get_twin) at the start or after a reconnect.
    ///
    /// If the versions of the hub go back, because it was restored from a backup or the identity was deleted and created
    /// again, the stream continues with the full section after the next connect.
    ///
    /// A second stream ends the first.
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
