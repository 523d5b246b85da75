//! `/ferrohub/devices/{id}/regenerate-key`, also for modules. Azure has no such operation: its clients generate new
//! keys themselves and update the identity.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use axum::routing::post;
use ferrohub_core::auth::Operation;
use ferrohub_core::registry::IfMatch;
use ferrohub_model::{HubError, KeyChange};
use serde::Deserialize;

use super::error::{ApiError, registry_error};
use super::request::{
    authorization, check_api_version, device_id, if_match, json_with_etag, module_id, read_json,
};
use super::request_path::Path;
use super::server::Api;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/devices/{id}/regenerate-key", post(regenerate_device_key))
        .route("/devices/{id}/modules/{module}/regenerate-key", post(regenerate_module_key))
}

#[derive(Deserialize)]
struct RegenerateKeyRequest {
    key: KeyChange,
}

async fn read_authorized_request(
    api: &Api,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
) -> Result<(KeyChange, IfMatch), HubError> {
    api.hub.authorize(authorization(headers), Operation::WriteDevices).await?;
    check_api_version(uri)?;
    let if_match = if_match(headers)?.unwrap_or(IfMatch::Any);
    let request: RegenerateKeyRequest = read_json(body, &api.limits).await?;
    Ok((request.key, if_match))
}

async fn regenerate_device_key(
    State(api): State<Api>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let (change, if_match) =
        read_authorized_request(&api, &uri, &headers, body).await.map_err(registry_error)?;
    let id = device_id(&id).map_err(registry_error)?;
    let device = api.hub.change_device_key(&id, change, &if_match).await.map_err(registry_error)?;
    json_with_etag(&device, device.etag.as_deref()).map_err(registry_error)
}

async fn regenerate_module_key(
    State(api): State<Api>,
    Path((id, module)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let (change, if_match) =
        read_authorized_request(&api, &uri, &headers, body).await.map_err(registry_error)?;
    let (id, module) = (device_id(&id).map_err(registry_error)?, module_id(&module).map_err(registry_error)?);
    let module = api.hub.change_module_key(&id, &module, change, &if_match).await.map_err(registry_error)?;
    json_with_etag(&module, module.etag.as_deref()).map_err(registry_error)
}
