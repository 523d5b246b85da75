//! Error responses of the blob endpoint, as in Azure Storage: a status, a code for clients, and an XML body.

use std::io::ErrorKind;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ferrohub_core::BlobDenied;
use ferrohub_core::files::{BlobError, BlobOperationError, ConditionFailed};
use ferrohub_core::store::StoreError;
use ferrohub_core::{log_limited, request_peer};
use ferrohub_model::HubError;
use rustix::io::Errno;
use tracing::debug;

use crate::admission::TooManyConnections;
use crate::http::{
    CHALLENGE, NotAdmitted, REQUEST_ID, TransferLimitReached, fresh_request_id, set_retry_after,
};

/// An error response.
#[derive(Debug)]
pub(crate) struct BlobApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// Size of the blob, for a range that starts after its end.
    blob_size: Option<u64>,
    /// Set if the connection closes after the response.
    closes_connection: Option<TooManyConnections>,
}

fn blob_api_error(status: StatusCode, code: &'static str, message: impl Into<String>) -> BlobApiError {
    let message = message.into();
    BlobApiError { status, code, message, blob_size: None, closes_connection: None }
}

impl BlobApiError {
    #[cfg(test)]
    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    /// Returns whether the sender has stopped sending.
    pub(super) fn is_timeout(&self) -> bool {
        self.status == StatusCode::REQUEST_TIMEOUT
    }

    pub(super) fn no_such_resource() -> Self {
        blob_api_error(StatusCode::NOT_FOUND, "ResourceNotFound", "The specified resource does not exist.")
    }

    pub(super) fn no_such_blob() -> Self {
        blob_api_error(StatusCode::NOT_FOUND, "BlobNotFound", "The specified blob does not exist.")
    }

    pub(super) fn invalid_name() -> Self {
        blob_api_error(StatusCode::BAD_REQUEST, "InvalidUri", "The path is not a valid blob name.")
    }

    pub(super) fn unknown_query(comp: &str) -> Self {
        let text = format!("The operation {comp} is not supported.");
        blob_api_error(StatusCode::BAD_REQUEST, "InvalidQueryParameterValue", text)
    }

    pub(super) fn unknown_verb() -> Self {
        let text = "The resource does not support this method.";
        blob_api_error(StatusCode::METHOD_NOT_ALLOWED, "UnsupportedHttpVerb", text)
    }

    pub(super) fn invalid_block_id() -> Self {
        let text = "The block id must be base64 of 1 to 64 bytes, as long as the ids of the other blocks.";
        blob_api_error(StatusCode::BAD_REQUEST, "InvalidBlobOrBlock", text)
    }

    pub(super) fn invalid_block_list() -> Self {
        let text = "The block list names a block that was not uploaded, or a committed block.";
        blob_api_error(StatusCode::BAD_REQUEST, "InvalidBlockList", text)
    }

    pub(super) fn invalid_xml() -> Self {
        blob_api_error(StatusCode::BAD_REQUEST, "InvalidXmlDocument", "The body is not a valid block list.")
    }

    pub(super) fn invalid_header(name: &str) -> Self {
        let text = format!("The value of the header {name} is not valid.");
        blob_api_error(StatusCode::BAD_REQUEST, "InvalidHeaderValue", text)
    }

    pub(super) fn missing_header(name: &str) -> Self {
        let text = format!("The header {name} is required.");
        blob_api_error(StatusCode::BAD_REQUEST, "MissingRequiredHeader", text)
    }

    pub(super) fn unsupported_header(name: &str) -> Self {
        let text = format!("The header {name} is not supported.");
        blob_api_error(StatusCode::BAD_REQUEST, "UnsupportedHeader", text)
    }

    pub(super) fn invalid_md5() -> Self {
        let text = "The MD5 is not base64 of 16 bytes.";
        blob_api_error(StatusCode::BAD_REQUEST, "InvalidMd5", text)
    }

    pub(super) fn md5_mismatch() -> Self {
        let text = "The MD5 of the body does not match the MD5 in the request.";
        blob_api_error(StatusCode::BAD_REQUEST, "Md5Mismatch", text)
    }

    pub(super) fn metadata_too_large() -> Self {
        let text = "Properties and metadata must not be larger than 8 KiB.";
        blob_api_error(StatusCode::BAD_REQUEST, "MetadataTooLarge", text)
    }

    pub(super) fn range_not_satisfiable(blob_size: u64) -> Self {
        let text = "The range starts after the end of the blob.";
        Self {
            blob_size: Some(blob_size),
            ..blob_api_error(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange", text)
        }
    }

    pub(super) fn server_busy(limit: TransferLimitReached) -> Self {
        let text = match limit {
            TransferLimitReached::Total => {
                "The maximum number of concurrent transfers is reached (files.max_transfers)."
            }
            TransferLimitReached::PerDevice => {
                "The maximum number of concurrent transfers of the device is reached (files.max_transfers_per_device)."
            }
        };
        blob_api_error(StatusCode::SERVICE_UNAVAILABLE, "ServerBusy", text)
    }

    fn store_failed() -> Self {
        Self::retry_later("The hub cannot access its store; the log of the hub says why. Retry the request.")
    }

    fn retry_later(text: &str) -> Self {
        blob_api_error(StatusCode::SERVICE_UNAVAILABLE, "ServerBusy", text)
    }

    fn disk_full() -> Self {
        let text = "A disk of the hub is full; the log of the hub names the file.";
        blob_api_error(StatusCode::INSUFFICIENT_STORAGE, "InsufficientStorage", text)
    }

    /// For read requests: responds with 304 if the client already has the current version.
    pub(super) fn not_modified_or(failed: ConditionFailed) -> Self {
        match failed {
            ConditionFailed::NotModified | ConditionFailed::AlreadyExists => {
                blob_api_error(StatusCode::NOT_MODIFIED, "ConditionNotMet", "")
            }
            failed => failed.into(),
        }
    }
}

impl From<ConditionFailed> for BlobApiError {
    fn from(failed: ConditionFailed) -> Self {
        match failed {
            ConditionFailed::AlreadyExists => blob_api_error(
                StatusCode::CONFLICT,
                "BlobAlreadyExists",
                "The specified blob already exists.",
            ),
            ConditionFailed::OverwriteForbidden => BlobDenied::MissingRight.into(),
            ConditionFailed::NotMet | ConditionFailed::NotModified => {
                let text = "The condition of the request is not met.";
                blob_api_error(StatusCode::PRECONDITION_FAILED, "ConditionNotMet", text)
            }
        }
    }
}

impl From<BlobDenied> for BlobApiError {
    fn from(denied: BlobDenied) -> Self {
        match denied {
            BlobDenied::NoFolder => Self::no_such_resource(),
            BlobDenied::NoSignature => {
                let text = "The request contains no signature.";
                blob_api_error(StatusCode::UNAUTHORIZED, "NoAuthenticationInformation", text)
            }
            // The log contains the exact reason.
            BlobDenied::InvalidSignature(_) => {
                let text = "The signature is not valid for this blob, or it has expired.";
                blob_api_error(StatusCode::FORBIDDEN, "AuthenticationFailed", text)
            }
            BlobDenied::MissingRight => {
                let text = "The signature lacks the permission for this operation.";
                blob_api_error(StatusCode::FORBIDDEN, "AuthorizationPermissionMismatch", text)
            }
            BlobDenied::StoreFailed => Self::store_failed(),
        }
    }
}

impl From<BlobOperationError> for BlobApiError {
    fn from(error: BlobOperationError) -> Self {
        match error {
            BlobOperationError::Denied(denied) => denied.into(),
            BlobOperationError::Failed(error) => error.into(),
        }
    }
}

impl From<NotAdmitted> for BlobApiError {
    fn from(refusal: NotAdmitted) -> Self {
        match refusal {
            NotAdmitted::TooManyConnections(refusal) => {
                let error = HubError::from(refusal);
                Self {
                    closes_connection: Some(refusal),
                    ..blob_api_error(StatusCode::TOO_MANY_REQUESTS, "ServerBusy", error.message)
                }
            }
            NotAdmitted::Evicted => Self::retry_later("The connection was evicted."),
        }
    }
}

impl From<HubError> for BlobApiError {
    fn from(error: HubError) -> Self {
        let status = StatusCode::from_u16(error.code.http_status());
        blob_api_error(status.unwrap_or(StatusCode::BAD_REQUEST), "InvalidInput", error.message)
    }
}

impl From<BlobError> for BlobApiError {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::NotFound => Self::no_such_blob(),
            BlobError::Condition(failed) => failed.into(),
            BlobError::TooLarge(limit) => {
                let text = format!("The blob is larger than {limit} bytes (files.blob_bytes).");
                blob_api_error(StatusCode::PAYLOAD_TOO_LARGE, "RequestBodyTooLarge", text)
            }
            BlobError::Full => {
                log_limited!(
                    error,
                    "the file store is full (files.total_bytes); an upload was refused",
                    "store_full",
                    peer = request_peer::peer()
                );
                let text = "The hub's file store is full (files.total_bytes).";
                blob_api_error(StatusCode::INSUFFICIENT_STORAGE, "InsufficientStorage", text)
            }
            BlobError::DeviceFull(limit) => {
                log_limited!(
                    info,
                    "the files of a device have reached their limit (files.bytes_per_device); an upload was refused",
                    "device_full",
                    peer = request_peer::peer(),
                    limit
                );
                let text = format!(
                    "The files of a device may have at most {limit} bytes together (files.bytes_per_device)."
                );
                blob_api_error(StatusCode::INSUFFICIENT_STORAGE, "InsufficientStorage", text)
            }
            BlobError::TooManyBlocks => {
                let text = "A blob can have at most 50000 blocks.";
                blob_api_error(StatusCode::CONFLICT, "BlockCountExceedsLimit", text)
            }
            BlobError::UnknownBlock => Self::invalid_block_list(),
            BlobError::InvalidBlockId => Self::invalid_block_id(),
            BlobError::Md5Mismatch => Self::md5_mismatch(),
            BlobError::IncompleteBody(error) => {
                debug!(error, "upload interrupted");
                let text = format!("The body did not arrive completely: {error}.");
                blob_api_error(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", text)
            }
            BlobError::Store(error) => {
                log_limited!(error, "a store operation failed", "store_failed", %error);
                match error {
                    StoreError::DiskFull(_) => Self::disk_full(),
                    _ => Self::store_failed(),
                }
            }
            BlobError::Io(ref cause)
                if matches!(cause.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) =>
            {
                log_limited!(error, "cannot write the stored files", "disk_full", %error);
                Self::disk_full()
            }
            BlobError::Io(ref cause)
                if matches!(Errno::from_io_error(cause), Some(Errno::MFILE | Errno::NFILE)) =>
            {
                log_limited!(error, "cannot open the stored files", "out_of_files", %error);
                Self::retry_later("The hub has too many open files. Retry the request.")
            }
            BlobError::Io(_) | BlobError::Unavailable(_) => {
                log_limited!(error, "cannot access the stored files", "io_error", %error);
                let text = "The hub cannot access its stored files; its log contains the reason.";
                blob_api_error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", text)
            }
        }
    }
}

impl IntoResponse for BlobApiError {
    fn into_response(self) -> Response {
        let id = fresh_request_id();
        let headers = [
            (header::HeaderName::from_static("x-ms-error-code"), HeaderValue::from_static(self.code)),
            (REQUEST_ID, id),
        ];
        // RFC 9110: a 304 response has no body.
        if self.status == StatusCode::NOT_MODIFIED {
            return (self.status, headers).into_response();
        }
        let message = self.message.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{}</Code><Message>{message}</Message></Error>",
            self.code
        );
        let xml = [(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"))];
        let mut response = (self.status, headers, xml, body).into_response();
        if let Some(size) = self.blob_size
            && let Ok(range) = HeaderValue::from_str(&format!("bytes */{size}"))
        {
            response.headers_mut().insert(header::CONTENT_RANGE, range);
        }
        match self.status {
            StatusCode::METHOD_NOT_ALLOWED => {
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET,HEAD,PUT,DELETE"));
            }
            StatusCode::UNAUTHORIZED => {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
            }
            _ => {}
        }
        set_retry_after(&mut response);
        if let Some(refusal) = self.closes_connection {
            refusal.close_connection(&mut response);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_lack_of_files_are_no_internal_errors() {
        let answer = |error: BlobError| {
            let error = BlobApiError::from(error);
            (error.status.as_u16(), error.code)
        };
        let full = (507, "InsufficientStorage");
        assert_eq!(answer(BlobError::Full), full);
        assert_eq!(answer(StoreError::DiskFull("hub.db: the disk is full".to_owned()).into()), full);
        for errno in [Errno::NOSPC, Errno::DQUOT] {
            assert_eq!(answer(BlobError::Io(errno.into())), full);
        }
        for errno in [Errno::MFILE, Errno::NFILE] {
            assert_eq!(answer(BlobError::Io(errno.into())), (503, "ServerBusy"));
        }
        assert_eq!(answer(StoreError::Closed.into()), (503, "ServerBusy"));
        assert_eq!(answer(BlobError::Io(Errno::IO.into())), (500, "InternalError"));
    }
}
