//! Signed URLs of the hub's own container, and access to its blobs with them.

use std::time::Duration;

use ferrohub_model::blob_sas::{BlobAddress, BlobRight, BlobRights, BlobSasToken, sign_container};
use ferrohub_model::file::BlobName;
use ferrohub_model::import_export::{ContainerUrl, ContainerUrlRequest};
use ferrohub_model::{ErrorCode, HubError};
use tracing::info;

use super::CONTAINER;
use crate::callers::{BlobCaller, BlobDenied, ServiceCaller};
use crate::files::FileStorage;
use crate::hub::Hub;
use crate::metrics::count;
use crate::operations::Operation;
use crate::{log_limited, request_peer};

/// How long a URL is valid unless the request says otherwise, in seconds.
const DEFAULT_SECONDS: u64 = 3600;
/// The longest validity in seconds: that of a signing key, which is the longest time for which the hub can verify a URL.
const MAX_SECONDS: u64 = 7 * 24 * 3600;
/// What a URL permits: all that a client needs to exchange blobs with a job, and to remove them, because they contain keys.
const RIGHTS: &[BlobRight] =
    &[BlobRight::Read, BlobRight::Create, BlobRight::Write, BlobRight::Delete, BlobRight::List];

impl ServiceCaller {
    /// Returns a signed URL of the hub's own container for import and export. Its holder may list, read, write and delete
    /// the blobs there until it expires.
    ///
    /// # Errors
    ///
    /// `ArgumentInvalid` for an expiry that is not from one second to seven days; `DefaultStorageEndpointNotConfigured` if
    /// the hub stores no files itself.
    pub fn create_container_url(&self, request: &ContainerUrlRequest) -> Result<ContainerUrl, HubError> {
        let hub = self.permit(Operation::CreateContainerUrl)?;
        let seconds = request.expires_in_seconds.unwrap_or(DEFAULT_SECONDS);
        if !(1..=MAX_SECONDS).contains(&seconds) {
            let text = format!("expiresInSeconds must be 1 to {MAX_SECONDS}.");
            return Err(HubError::new(ErrorCode::ArgumentInvalid, text));
        }
        let (Some(folder), Some(url)) = (hub.blob_folder(), hub.own_container_url()) else {
            return Err(HubError::new(
                ErrorCode::DefaultStorageEndpointNotConfigured,
                "This hub stores no files itself: file upload is disabled, or files are in the configured storage account. \
                 Use a container of a storage account that files.import_hosts lists.",
            ));
        };
        let key = hub
            .url_signing_keys
            .current_key()
            .ok_or_else(|| HubError::new(ErrorCode::ServerError, "The hub has no key to sign URLs with."))?;
        let endpoint = folder.endpoint();
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let expiry = hub.clock.now().plus_millis(seconds.saturating_mul(1000));
        let rights = BlobRights::of(RIGHTS);
        let query = sign_container(&endpoint.account, CONTAINER, rights, expiry, endpoint.https, &key);
        info!(%expiry, "signed a URL of the container for import and export");
        Ok(ContainerUrl { url: format!("{url}{query}"), expiry_time_utc: expiry })
    }
}

impl Hub {
    /// Proves that a request for a blob of the hub's own container, or for a list of its blobs (`blob` is `None`), comes from
    /// the holder of a signed URL, by the signature in its query.
    pub async fn authenticate_container(
        &self,
        query: &str,
        blob: Option<BlobName>,
        operation: Operation,
    ) -> Result<BlobCaller, BlobDenied> {
        let Some(FileStorage::Folder(folder)) = &self.files else {
            return Err(BlobDenied::NoFolder);
        };
        let denied = |reason| {
            count(&self.metrics.unauthorized, reason);
            log_limited!(
                info,
                "request for the container for import and export refused",
                reason,
                peer = request_peer::peer()
            );
            BlobDenied::InvalidSignature(reason)
        };
        if !BlobSasToken::is_present(query) {
            return Err(BlobDenied::NoSignature);
        }
        let sas = BlobSasToken::parse(query).map_err(|_| denied("malformed"))?;
        let remaining = sas.expiry().unix_millis().saturating_sub(self.clock.now().unix_millis());
        let remaining = u64::try_from(remaining).ok().filter(|millis| *millis > 0);
        let remaining = Duration::from_millis(remaining.ok_or_else(|| denied("expired"))?);
        let endpoint = folder.endpoint();
        let address = BlobAddress { account: &endpoint.account, container: CONTAINER, blob: "" };
        if !sas.is_for_container() || !self.url_signing_keys.verify(&sas, address) {
            return Err(denied("bad_signature"));
        }
        let caller = BlobCaller::of_container(folder.clone(), blob, sas.rights(), remaining);
        caller.check(operation).map(|()| caller)
    }
}
