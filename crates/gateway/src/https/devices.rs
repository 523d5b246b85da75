//! `/devices`: device identities.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, Uri};
use axum::response::Response;
use ferrohub_core::auth::Operation;
use ferrohub_core::registry::IfMatch;
use ferrohub_model::device::Device;

use super::error::{ApiError, registry_error};
use super::request::{
    self, authorization, check_api_version, device_id, if_match, json_with_etag, no_content, read_json,
};
use super::request_path::Path;
use super::server::Api;

/// Maximum number of devices in one list, as in Azure.
const MAX_TOP: usize = 1000;
/// Number of registered devices, in the response to a list. Azure has no such header: a list that is cut off looks like a
/// complete one.
const TOTAL_COUNT: HeaderName = HeaderName::from_static("ferrohub-total-count");

pub(super) async fn get(
    State(api): State<Api>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    api.hub.authorize(authorization(&headers), Operation::ReadDevices).await.map_err(registry_error)?;
    check_api_version(&uri).map_err(registry_error)?;
    let device =
        api.hub.get_device(&device_id(&id).map_err(registry_error)?).await.map_err(registry_error)?;
    json_with_etag(&device, device.etag.as_deref()).map_err(registry_error)
}

pub(super) async fn list(State(api): State<Api>, uri: Uri, headers: HeaderMap) -> Result<Response, ApiError> {
    api.hub.authorize(authorization(&headers), Operation::ReadDevices).await.map_err(registry_error)?;
    check_api_version(&uri).map_err(registry_error)?;
    // Any value other than a number from 1 to 1000 means 1000.
    let top = request::query(&uri, "top")
        .and_then(|top| top.parse().ok())
        .filter(|top| (1..=MAX_TOP).contains(top));
    let devices = api.hub.list_devices(top.unwrap_or(MAX_TOP)).await.map_err(registry_error)?;
    let total = api.hub.registry_statistics().await.map_err(registry_error)?.total_device_count;
    let mut response = request::json(&devices).map_err(registry_error)?;
    response.headers_mut().insert(TOTAL_COUNT, total.into());
    Ok(response)
}

pub(super) async fn put(
    State(api): State<Api>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    api.hub.authorize(authorization(&headers), Operation::WriteDevices).await.map_err(registry_error)?;
    check_api_version(&uri).map_err(registry_error)?;
    let id = device_id(&id).map_err(registry_error)?;
    let if_match = if_match(&headers).map_err(registry_error)?;
    let device: Device = read_json(body, &api.limits).await.map_err(registry_error)?;
    let device = api.hub.put_device(&id, &device, if_match.as_ref()).await.map_err(registry_error)?;
    json_with_etag(&device, device.etag.as_deref()).map_err(registry_error)
}

pub(super) async fn delete(
    State(api): State<Api>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    api.hub.authorize(authorization(&headers), Operation::DeleteDevices).await.map_err(registry_error)?;
    check_api_version(&uri).map_err(registry_error)?;
    // Every SDK sends If-Match; without it any version is deleted.
    let if_match = if_match(&headers).map_err(registry_error)?.unwrap_or(IfMatch::Any);
    api.hub
        .delete_device(&device_id(&id).map_err(registry_error)?, &if_match)
        .await
        .map_err(registry_error)?;
    Ok(no_content())
}
