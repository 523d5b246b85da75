//! `/devices/{id}/files`: file uploads of devices; file notifications and file access for services.
//!
//! To upload a file, a device sends `POST /devices/{id}/files` with `{"blobName":"…"}`. The response is
//! `{"correlationId","hostName","containerName","blobName","sasToken"}`. The device uploads to
//! `https://{hostName}/{containerName}/{blobName}{sasToken}`, with each segment of `blobName` percent-encoded. Then it
//! reports the outcome: `POST /devices/{id}/files/notifications` with
//! `{"correlationId","isSuccess","statusCode","statusDescription"}` → 204. Older clients send the correlation id in the
//! path.

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use bytes::Bytes;
use ferrohub_core::DeviceCaller;
use ferrohub_core::auth::Operation;
use ferrohub_model::file::{BlobName, FileUploadOutcome, FileUploadRequest};
use ferrohub_model::{ErrorCode, HubError, percent};
use serde_json::{Value, json};

use super::blobs::{self, DownloadBody, download_body};
use super::caller::device_caller;
use super::error::{ApiError, registry_error};
use super::request::{
    self, Target, authorization, check_api_version, from_object, no_content, query, read_body,
};
use super::request_path::Path;
use super::server::Api;
use crate::peer::Peer;

/// Maximum number of files in one list.
const MAX_TOP: usize = 1000;

pub(super) fn routes() -> Router<Api> {
    let mut router = Router::new()
        .route("/devices/{id}/files", post(create_upload))
        .route("/devices/{id}/files/notifications", post(complete_upload))
        .route("/devices/{id}/files/notifications/{correlation}", post(complete_upload_by_path))
        .route("/ferrohub/files", get(list))
        .route("/ferrohub/files/{*name}", get(read).delete(remove))
        .route(&format!("/{}/{{*blob}}", blobs::CONTAINER), axum::routing::any(blobs::serve));
    // SDKs and Azure's documentation differ in the capitalisation.
    for bound in ["serviceBound", "servicebound"] {
        let path = format!("/messages/{bound}/filenotifications");
        router = router
            .route(&path, get(receive_notification))
            .route(&format!("{path}/{{token}}"), delete(complete_notification))
            .route(&format!("{path}/{{token}}/abandon"), post(abandon_notification));
    }
    router
}

async fn upload_caller(
    api: &Api,
    target: &Target,
    uri: &Uri,
    headers: &HeaderMap,
    peer: &Peer,
) -> Result<DeviceCaller, HubError> {
    let caller = device_caller(api, target, headers, peer).await?;
    check_api_version(uri)?;
    Ok(caller)
}

async fn create_upload(
    State(api): State<Api>,
    Path(target): Path<Target>,
    Extension(peer): Extension<Peer>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let caller = upload_caller(&api, &target, &uri, &headers, &peer).await.map_err(registry_error)?;
    let upload: FileUploadRequest = request::read_json(body, &api.limits).await.map_err(registry_error)?;
    request::json(&api.hub.begin_upload(&caller, &upload).await.map_err(registry_error)?)
        .map_err(registry_error)
}

async fn complete_upload(
    State(api): State<Api>,
    Path(target): Path<Target>,
    Extension(peer): Extension<Peer>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let caller = upload_caller(&api, &target, &uri, &headers, &peer).await.map_err(registry_error)?;
    let outcome =
        read_outcome(&read_body(body, &api.limits).await.map_err(registry_error)?).map_err(registry_error)?;
    api.hub.end_upload(&caller, &outcome).await.map_err(registry_error)?;
    Ok(no_content())
}

#[derive(serde::Deserialize)]
struct UploadTarget {
    #[serde(flatten)]
    target: Target,
    correlation: String,
}

async fn complete_upload_by_path(
    State(api): State<Api>,
    Path(path): Path<UploadTarget>,
    Extension(peer): Extension<Peer>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let caller = upload_caller(&api, &path.target, &uri, &headers, &peer).await.map_err(registry_error)?;
    let outcome =
        read_outcome(&read_body(body, &api.limits).await.map_err(registry_error)?).map_err(registry_error)?;
    let outcome = FileUploadOutcome { correlation_id: Some(path.correlation), ..outcome };
    api.hub.end_upload(&caller, &outcome).await.map_err(registry_error)?;
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

async fn receive_notification(
    State(api): State<Api>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    api.hub
        .authorize(authorization(&headers), Operation::ReceiveFileNotifications)
        .await
        .map_err(registry_error)?;
    check_api_version(&uri).map_err(registry_error)?;
    match api.hub.receive_file_notification().await.map_err(registry_error)? {
        None => Ok(no_content()),
        Some(locked) => {
            request::json_with_etag(&locked.notification, Some(&locked.lock_token)).map_err(registry_error)
        }
    }
}

async fn complete_notification(
    State(api): State<Api>,
    Path(token): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    api.hub
        .authorize(authorization(&headers), Operation::ReceiveFileNotifications)
        .await
        .map_err(registry_error)?;
    check_api_version(&uri).map_err(registry_error)?;
    api.hub.complete_file_notification(&token).await.map_err(registry_error)?;
    Ok(no_content())
}

async fn abandon_notification(
    State(api): State<Api>,
    Path(token): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    api.hub
        .authorize(authorization(&headers), Operation::ReceiveFileNotifications)
        .await
        .map_err(registry_error)?;
    check_api_version(&uri).map_err(registry_error)?;
    api.hub.abandon_file_notification(&token).await.map_err(registry_error)?;
    Ok(no_content())
}

async fn list(State(api): State<Api>, uri: Uri, headers: HeaderMap) -> Result<Response, ApiError> {
    api.hub.authorize(authorization(&headers), Operation::ReadFiles).await.map_err(registry_error)?;
    let decoded = |name| query(&uri, name).and_then(percent::decode);
    let (device, after) = (decoded("deviceId"), decoded("after"));
    let top = query(&uri, "top").and_then(|top| top.parse().ok()).filter(|top| (1..=MAX_TOP).contains(top));
    let files = api
        .hub
        .list_files(device.as_deref(), after.as_deref(), top.unwrap_or(MAX_TOP))
        .await
        .map_err(registry_error)?;
    let to_json = |blob: &ferrohub_core::files::Blob| {
        json!({
            "blobName": blob.name.as_str(),
            "blobSizeInBytes": blob.bytes,
            "lastUpdatedTime": blob.modified,
            "contentType": blob.properties.get("content-type"),
        })
    };
    request::json(&files.iter().map(to_json).collect::<Vec<_>>()).map_err(registry_error)
}

fn parse_blob_name(name: &str) -> Result<BlobName, HubError> {
    BlobName::parse(name).map_err(|error| HubError::new(ErrorCode::ArgumentInvalid, format!("{error}.")))
}

async fn read(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    api.hub.authorize(authorization(&headers), Operation::ReadFiles).await.map_err(registry_error)?;
    let busy = |_| {
        let text = "Too many concurrent downloads (files.max_transfers).";
        registry_error(HubError::new(ErrorCode::ServiceUnavailable, text))
    };
    let permit = api.transfer_permits.acquire_for_service().map_err(busy)?;
    let open =
        api.hub.open_file(&parse_blob_name(&name).map_err(registry_error)?).await.map_err(registry_error)?;
    let body = download_body(
        DownloadBody { stream: open.stream, length: open.length, deadline: None, permit },
        &api,
    );
    let mut response = body.into_response();
    // The content type that the device sent is not trusted: a browser must not interpret the file.
    let bytes = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, bytes);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

async fn remove(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    api.hub.authorize(authorization(&headers), Operation::DeleteFiles).await.map_err(registry_error)?;
    api.hub.delete_file(&parse_blob_name(&name).map_err(registry_error)?).await.map_err(registry_error)?;
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
