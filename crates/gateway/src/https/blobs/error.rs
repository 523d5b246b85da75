//! A refusal as Azure Storage words it: a status, a code that clients act on, and XML for people.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ferrohub_core::BlobDenied;
use ferrohub_core::blobs::{BlobError, ConditionFailed};
use ferrohub_model::HubError;
use tracing::{debug, error};

use super::super::request::{REQUEST_ID, fresh_request_id};
use super::super::transfers::NoTurn;

/// Seconds after which whoever had no turn may ask for one again.
const RETRY_AFTER: u64 = 5;

/// A refusal on its way out.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// Of a blob whose range begins behind its end.
    bytes: Option<u64>,
    /// Seconds after which it may be otherwise.
    retry_after: Option<u64>,
}

fn refusal(status: StatusCode, code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { status, code, message: message.into(), bytes: None, retry_after: None }
}

impl Refusal {
    #[cfg(test)]
    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    /// Whether it is because the sender stopped sending.
    pub(super) fn is_cut(&self) -> bool {
        self.status == StatusCode::REQUEST_TIMEOUT
    }

    pub(super) fn no_such_resource() -> Self {
        refusal(StatusCode::NOT_FOUND, "ResourceNotFound", "The specified resource does not exist.")
    }

    pub(super) fn no_such_blob() -> Self {
        refusal(StatusCode::NOT_FOUND, "BlobNotFound", "The specified blob does not exist.")
    }

    pub(super) fn name() -> Self {
        refusal(StatusCode::BAD_REQUEST, "InvalidUri", "The path does not name a blob that could be here.")
    }

    pub(super) fn unknown_query() -> Self {
        let text = "This hub does not have the operation that comp asks for.";
        refusal(StatusCode::BAD_REQUEST, "InvalidQueryParameterValue", text)
    }

    pub(super) fn unknown_verb() -> Self {
        let text = "The resource does not have this verb.";
        refusal(StatusCode::METHOD_NOT_ALLOWED, "UnsupportedHttpVerb", text)
    }

    pub(super) fn block_id() -> Self {
        let text =
            "The id of the block must be base64 of 1 to 64 bytes, as long as those of the other blocks.";
        refusal(StatusCode::BAD_REQUEST, "InvalidBlobOrBlock", text)
    }

    pub(super) fn block_list() -> Self {
        let text = "The list names a block that was not put, or asks for blocks of the blob that is there.";
        refusal(StatusCode::BAD_REQUEST, "InvalidBlockList", text)
    }

    pub(super) fn xml() -> Self {
        refusal(StatusCode::BAD_REQUEST, "InvalidXmlDocument", "The body is not a list of blocks.")
    }

    pub(super) fn header(name: &str) -> Self {
        let text = format!("The value of the header {name} is not valid.");
        refusal(StatusCode::BAD_REQUEST, "InvalidHeaderValue", text)
    }

    pub(super) fn missing_header(name: &str) -> Self {
        let text = format!("The header {name} is required.");
        refusal(StatusCode::BAD_REQUEST, "MissingRequiredHeader", text)
    }

    pub(super) fn unsupported_header(name: &str) -> Self {
        let text = format!("This hub does not do what the header {name} asks for.");
        refusal(StatusCode::BAD_REQUEST, "UnsupportedHeader", text)
    }

    pub(super) fn md5() -> Self {
        let text = "The MD5 is not base64 of 16 bytes.";
        refusal(StatusCode::BAD_REQUEST, "InvalidMd5", text)
    }

    pub(super) fn md5_mismatch() -> Self {
        let text = "The bytes that arrived do not have the MD5 that the request tells.";
        refusal(StatusCode::BAD_REQUEST, "Md5Mismatch", text)
    }

    pub(super) fn metadata_too_large() -> Self {
        let text = "Properties and metadata must have 8 KiB at most.";
        refusal(StatusCode::BAD_REQUEST, "MetadataTooLarge", text)
    }

    pub(super) fn range(bytes: u64) -> Self {
        let text = "The range begins behind the end of the blob.";
        Self { bytes: Some(bytes), ..refusal(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange", text) }
    }

    pub(super) fn busy(why: NoTurn) -> Self {
        let text = match why {
            NoTurn::All => "As many files come and go as may at once (files.transfers).",
            NoTurn::Device => {
                "As many files of the device come and go as may at once (files.transfers_per_device)."
            }
        };
        let refusal = refusal(StatusCode::SERVICE_UNAVAILABLE, "ServerBusy", text);
        Self { retry_after: Some(RETRY_AFTER), ..refusal }
    }

    /// For reading: what whoever asks has already is no failure.
    pub(super) fn unchanged_or(failed: ConditionFailed) -> Self {
        match failed {
            ConditionFailed::NotModified | ConditionFailed::Exists => {
                refusal(StatusCode::NOT_MODIFIED, "ConditionNotMet", "")
            }
            failed => failed.into(),
        }
    }
}

impl From<ConditionFailed> for Refusal {
    fn from(failed: ConditionFailed) -> Self {
        match failed {
            ConditionFailed::Exists => {
                refusal(StatusCode::CONFLICT, "BlobAlreadyExists", "The specified blob already exists.")
            }
            ConditionFailed::MayNotReplace => BlobDenied::Right.into(),
            ConditionFailed::NotMet | ConditionFailed::NotModified => {
                let text = "The condition of the request does not hold for the blob.";
                refusal(StatusCode::PRECONDITION_FAILED, "ConditionNotMet", text)
            }
        }
    }
}

impl From<BlobDenied> for Refusal {
    fn from(denied: BlobDenied) -> Self {
        match denied {
            BlobDenied::NoSignature => {
                let text = "The request carries no signature.";
                refusal(StatusCode::UNAUTHORIZED, "NoAuthenticationInformation", text)
            }
            // Which of them it is, is in the log.
            BlobDenied::Signature(_) => {
                let text = "The signature is not good for this blob, or not any more.";
                refusal(StatusCode::FORBIDDEN, "AuthenticationFailed", text)
            }
            BlobDenied::Right => {
                let text = "The signature does not grant this.";
                refusal(StatusCode::FORBIDDEN, "AuthorizationPermissionMismatch", text)
            }
        }
    }
}

impl From<HubError> for Refusal {
    fn from(error: HubError) -> Self {
        let status = StatusCode::from_u16(error.code.http_status());
        refusal(status.unwrap_or(StatusCode::BAD_REQUEST), "InvalidInput", error.message)
    }
}

impl From<BlobError> for Refusal {
    fn from(cause: BlobError) -> Self {
        match cause {
            BlobError::NotFound => Self::no_such_blob(),
            BlobError::Condition(failed) => failed.into(),
            BlobError::TooLarge(limit) => {
                let text = format!("A blob has at most {limit} bytes here (files.blob_bytes).");
                refusal(StatusCode::PAYLOAD_TOO_LARGE, "RequestBodyTooLarge", text)
            }
            BlobError::Full => {
                error!("the folder for files is full: an upload was refused");
                let text = "The hub's folder for files is full (files.total_bytes).";
                refusal(StatusCode::INSUFFICIENT_STORAGE, "InsufficientStorage", text)
            }
            BlobError::TooManyBlocks => {
                let text = "A blob has at most 50000 blocks.";
                refusal(StatusCode::CONFLICT, "BlockCountExceedsLimit", text)
            }
            BlobError::UnknownBlock => Self::block_list(),
            BlobError::InvalidBlockId => Self::block_id(),
            BlobError::Md5Mismatch => Self::md5_mismatch(),
            BlobError::Cut(reason) => {
                debug!(reason, "an upload was cut short");
                let text = format!("The body did not arrive: {reason}.");
                refusal(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", text)
            }
            BlobError::Io(_) | BlobError::Store(_) | BlobError::Unavailable(_) => {
                error!(%cause, "the hub could not reach its files");
                let text = "The hub could not reach its files; its log says why.";
                refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", text)
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let id = fresh_request_id();
        let headers = [
            (header::HeaderName::from_static("x-ms-error-code"), HeaderValue::from_static(self.code)),
            (REQUEST_ID, id),
        ];
        // RFC 9110: neither has a body.
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
        if let Some(bytes) = self.bytes
            && let Ok(range) = HeaderValue::from_str(&format!("bytes */{bytes}"))
        {
            response.headers_mut().insert(header::CONTENT_RANGE, range);
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
