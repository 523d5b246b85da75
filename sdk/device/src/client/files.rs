//! Files.

use super::DeviceClient;
use crate::error::Error;
use crate::upload::{FileUpload, UploadedFile};

impl DeviceClient {
    /// Uploads a file to the store that the hub names, and tells the hub. Goes over HTTPS: the client need not be
    /// connected.
    ///
    /// Parts that fail for a reason that passes are sent again. The hub is told how it went in any case, also when the
    /// future is dropped half-way.
    ///
    /// The store's certificate must be of an authority that the client trusts, as the hub's. It is never shown the
    /// device's own certificate or token.
    ///
    /// ```no_run
    /// # use ferrohub_device::{DeviceClient, Error, FileUpload};
    /// # async fn example(client: DeviceClient) -> Result<(), Error> {
    /// let file = client.upload_file(FileUpload::new("notes/today.txt", "all is well")).await?;
    /// println!("{} bytes are at {}", file.blob_size_in_bytes, file.blob_uri);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a bad name, a file that cannot be read,
    /// and for modules; [`ErrorKind::Unauthorized`](crate::ErrorKind::Unauthorized),
    /// [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) and others for what hub or store refuse: see
    /// [`Error::status`] and [`Error::code`]; [`ErrorKind::Connection`](crate::ErrorKind::Connection) and
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) when all attempts failed.
    pub async fn upload_file(&self, upload: FileUpload) -> Result<UploadedFile, Error> {
        crate::upload::run(self.inner.shared.clone(), upload).await
    }
}
