//! File uploads.

use super::DeviceClient;
use crate::error::Error;
use crate::files::{FileUpload, UploadedFile};

impl DeviceClient {
    /// Uploads a file to the storage that the hub names, and reports the outcome to the hub. Uses HTTPS: the client
    /// does not have to be connected.
    ///
    /// Parts that fail with a retryable error are sent again, at most five times in all. The outcome is reported to the
    /// hub, also a failure, and also, in the background, if the future is dropped early. The report is lost if the hub
    /// cannot be reached or the runtime ends.
    ///
    /// The certificate of the storage must be issued by a certificate authority that the client trusts, like that of
    /// the hub. The storage never receives the certificate or the token of the device.
    ///
    /// ```no_run
    /// # use ferrohub_device::{DeviceClient, Error, FileUpload};
    /// # async fn example(client: DeviceClient) -> Result<(), Error> {
    /// let file = client.upload_file(FileUpload::new("notes/today.txt", "no faults")).await?;
    /// println!("{} bytes at {}", file.blob_size_in_bytes, file.blob_uri);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for an invalid name, a file that cannot be read, and
    /// for modules; [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge) for more than 50,000 blocks of 1 MiB; the kind
    /// of the response if the hub or the storage refused, see [`Error::status`] and [`Error::code`];
    /// [`ErrorKind::Connection`](crate::ErrorKind::Connection) and [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) if
    /// all attempts failed; and those of any request.
    pub async fn upload_file(&self, upload: FileUpload) -> Result<UploadedFile, Error> {
        crate::files::run(self.inner.shared.clone(), upload).await
    }
}
