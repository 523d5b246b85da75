//! `/devices/{id}/modules`: module identities.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use ferrohub_core::auth::Operation;
use ferrohub_core::registry::IfMatch;
use ferrohub_model::module::Module;
use ferrohub_model::{DeviceId, HubError, ModuleId};

use super::error::{ApiError, registry_error};
use super::request::{
    self, authorization, check_api_version, device_id, if_match, json_with_etag, module_id, no_content,
    read_json,
};
use super::request_path::Path;
use super::server::Api;

fn ids((device, module): &(String, String)) -> Result<(DeviceId, ModuleId), HubError> {
    Ok((device_id(device)?, module_id(module)?))
}

pub(super) async fn list(
    State(api): State<Api>,
    Path(device): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    api.hub.authorize(authorization(&headers), Operation::ReadDevices).await.map_err(registry_error)?;
    check_api_version(&uri).map_err(registry_error)?;
    let modules =
        api.hub.list_modules(&device_id(&device).map_err(registry_error)?).await.map_err(registry_error)?;
    request::json(&modules).map_err(registry_error)
}

pub(super) async fn get(
    State(api): State<Api>,
    Path(path): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    api.hub.authorize(authorization(&headers), Operation::ReadDevices).await.map_err(registry_error)?;
    check_api_version(&uri).map_err(registry_error)?;
    let (device, module) = ids(&path).map_err(registry_error)?;
    let module = api.hub.get_module(&device, &module).await.map_err(registry_error)?;
    json_with_etag(&module, module.etag.as_deref()).map_err(registry_error)
}

pub(super) async fn put(
    State(api): State<Api>,
    Path(path): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    api.hub.authorize(authorization(&headers), Operation::WriteDevices).await.map_err(registry_error)?;
    check_api_version(&uri).map_err(registry_error)?;
    let (device, module) = ids(&path).map_err(registry_error)?;
    let if_match = if_match(&headers).map_err(registry_error)?;
    let request: Module = read_json(body, &api.limits).await.map_err(registry_error)?;
    let module =
        api.hub.put_module(&device, &module, &request, if_match.as_ref()).await.map_err(registry_error)?;
    json_with_etag(&module, module.etag.as_deref()).map_err(registry_error)
}

pub(super) async fn delete(
    State(api): State<Api>,
    Path(path): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    api.hub.authorize(authorization(&headers), Operation::DeleteDevices).await.map_err(registry_error)?;
    check_api_version(&uri).map_err(registry_error)?;
    let (device, module) = ids(&path).map_err(registry_error)?;
    // Every SDK sends If-Match; without it any version is deleted.
    let if_match = if_match(&headers).map_err(registry_error)?.unwrap_or(IfMatch::Any);
    api.hub.delete_module(&device, &module, &if_match).await.map_err(registry_error)?;
    Ok(no_content())
}
