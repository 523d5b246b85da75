//! `/devices/{id}/files`: file uploads of devices; file notifications and file access for services.
//!
//! To upload a file, a device sends `POST /devices/{id}/files` with `{"blobName":"…"}`. The response is
//! `{"correlationId","hostName","containerName","blobName","sasToken"}`. The device uploads to
//! `https://{hostName}/{containerName}/{blobName}{sasToken}`, with each segment of `blobName` percent-encoded. Then it
//! reports the outcome: `POST /devices/{id}/files/notifications` with
//! `{"correlationId","isSuccess","statusCode","statusDescription"}` → 204. Older clients send the correlation id in the
//! path.

use axum::http::{HeaderValue, header};
use axum::response::IntoResponse as _;
use bytes::Bytes;
use ferrohub_core::files::Blob;
use ferrohub_core::{DeviceCaller, ServiceCaller};
use ferrohub_model::file::{BlobName, FileUploadOutcome, FileUploadRequest};
use ferrohub_model::{ErrorCode, HubError, percent};
use serde_json::{Value, json};

use super::RestResult;
use super::request::{RestRequest, from_object};
use super::response::{self, no_content};
use crate::http::{DownloadBody, download_body};

/// Maximum number of files in one list.
const MAX_TOP: usize = 1000;

pub(super) async fn create_upload(caller: DeviceCaller, mut request: RestRequest) -> RestResult {
    let upload: FileUploadRequest = request.read_json().await?;
    response::json(&caller.begin_upload(&upload).await?)
}

pub(super) async fn complete_upload(caller: DeviceCaller, mut request: RestRequest) -> RestResult {
    let mut outcome = read_outcome(&request.read_body().await?)?;
    if let Some(correlation_id) = request.optional_parameter("correlation")? {
        outcome.correlation_id = Some(correlation_id.into_owned());
    }
    caller.end_upload(&outcome).await?;
    Ok(no_content())
}

/// Reads the outcome of an upload. `isSuccess` is required; the other members are informational, and invalid ones are
/// ignored.
fn read_outcome(body: &Bytes) -> Result<FileUploadOutcome, HubError> {
    let members: serde_json::Map<String, Value> = from_object(body)?;
    let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
    let is_success = members.get("isSuccess").and_then(Value::as_bool).ok_or_else(|| {
        let text = "isSuccess must be true or false.";
        HubError::new(ErrorCode::InvalidFileUploadCompletionStatus, text)
    })?;
    Ok(FileUploadOutcome {
        correlation_id: text("correlationId"),
        is_success,
        status_code: members.get("statusCode").and_then(Value::as_i64),
        status_description: text("statusDescription"),
    })
}

pub(super) async fn receive_notification(caller: ServiceCaller, _: RestRequest) -> RestResult {
    match caller.receive_file_notification().await? {
        None => Ok(no_content()),
        Some(locked) => response::json_with_etag(&locked.notification, Some(&locked.token.to_string())),
    }
}

pub(super) async fn complete_notification(caller: ServiceCaller, request: RestRequest) -> RestResult {
    caller.complete_file_notification(&request.parameter("token")?).await?;
    Ok(no_content())
}

pub(super) async fn abandon_notification(caller: ServiceCaller, request: RestRequest) -> RestResult {
    caller.abandon_file_notification(&request.parameter("token")?).await?;
    Ok(no_content())
}

pub(super) async fn list(caller: ServiceCaller, request: RestRequest) -> RestResult {
    let decoded = |name| request.query(name).and_then(percent::decode);
    let (device, after) = (decoded("deviceId"), decoded("after"));
    let files = caller.list_files(device.as_deref(), after.as_deref(), request.top(MAX_TOP)).await?;
    let to_json = |blob: &Blob| {
        json!({
            "blobName": blob.name.as_str(),
            "blobSizeInBytes": blob.bytes,
            "lastUpdatedTime": blob.modified,
            "contentType": blob.properties.get("content-type"),
        })
    };
    response::json(&files.iter().map(to_json).collect::<Vec<_>>())
}

fn blob_name(request: &RestRequest) -> Result<BlobName, HubError> {
    BlobName::parse(&request.parameter("file")?)
        .map_err(|error| HubError::new(ErrorCode::ArgumentInvalid, format!("{error}.")))
}

pub(super) async fn read(caller: ServiceCaller, request: RestRequest) -> RestResult {
    let permit = request.context.transfer_permits.acquire_for_service().map_err(|_| {
        let text = "Too many concurrent downloads (files.max_transfers).";
        HubError::new(ErrorCode::ServiceUnavailable, text)
    })?;
    let open = caller.open_file(&blob_name(&request)?).await?;
    let body = DownloadBody { stream: open.stream, length: open.length, deadline: None, permit };
    let mut response = download_body(body, &request.context).into_response();
    // The content type that the device sent is not trusted: a browser must not interpret the file.
    let bytes = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, bytes);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

pub(super) async fn remove(caller: ServiceCaller, request: RestRequest) -> RestResult {
    caller.delete_file(&blob_name(&request)?).await?;
    Ok(no_content())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_outcome_needs_is_success() {
        let read = |text: &'static str| read_outcome(&Bytes::from_static(text.as_bytes()));
        let outcome = read(r#"{"correlationId":"c","isSuccess":true,"statusCode":"odd","x":1}"#).unwrap();
        assert_eq!((outcome.correlation_id.as_deref(), outcome.is_success), (Some("c"), true));
        assert_eq!(outcome.status_code, None);
        for invalid in ["{}", r#"{"isSuccess":null}"#, r#"{"isSuccess":"true"}"#] {
            assert_eq!(
                read(invalid).unwrap_err().code,
                ErrorCode::InvalidFileUploadCompletionStatus,
                "{invalid}"
            );
        }
        assert_eq!(read("[]").unwrap_err().code, ErrorCode::IotHubFormatError);
    }
}
