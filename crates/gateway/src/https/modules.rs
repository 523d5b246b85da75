//! `/devices/{id}/modules`: module identities.

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use ferrohub_core::ModuleCaller;
use ferrohub_core::auth::Operation;
use ferrohub_core::registry::IfMatch;
use ferrohub_model::module::Module;
use ferrohub_model::{DeviceId, HubError};

use super::error::{ApiError, registry_error};
use super::request::{
    self, authorization, check_api_version, device_id, if_match, json_with_etag, module_id, no_content,
    read_json,
};
use super::request_path::Path;
use super::server::Api;
use crate::peer::Peer;

/// Authorizes a service, or the device itself with its token or certificate.
async fn authorize(
    api: &Api,
    device: &str,
    headers: &HeaderMap,
    peer: &Peer,
    operation: Operation,
) -> Result<(DeviceId, ModuleCaller), HubError> {
    match device_id(device) {
        Ok(device) => {
            let certificate = peer.certificate.as_ref();
            let caller =
                api.hub.authorize_modules(&device, authorization(headers), certificate, operation).await?;
            Ok((device, caller))
        }
        // A caller without permission must not learn whether the path is valid.
        Err(error) => {
            api.hub.authorize(authorization(headers), operation).await?;
            Err(error)
        }
    }
}

pub(super) async fn list(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    Path(device): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (device, _) =
        authorize(&api, &device, &headers, &peer, Operation::ReadDevices).await.map_err(registry_error)?;
    check_api_version(&uri).map_err(registry_error)?;
    let modules = api.hub.list_modules(&device).await.map_err(registry_error)?;
    request::json(&modules).map_err(registry_error)
}

pub(super) async fn get(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    Path((device, module)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (device, _) =
        authorize(&api, &device, &headers, &peer, Operation::ReadDevices).await.map_err(registry_error)?;
    check_api_version(&uri).map_err(registry_error)?;
    let module = module_id(&module).map_err(registry_error)?;
    let module = api.hub.get_module(&device, &module).await.map_err(registry_error)?;
    json_with_etag(&module, module.etag.as_deref()).map_err(registry_error)
}

pub(super) async fn put(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    Path((device, module)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let (device, caller) =
        authorize(&api, &device, &headers, &peer, Operation::WriteDevices).await.map_err(registry_error)?;
    check_api_version(&uri).map_err(registry_error)?;
    let module = module_id(&module).map_err(registry_error)?;
    let if_match = if_match(&headers).map_err(registry_error)?;
    let request: Module = read_json(body, &api.limits).await.map_err(registry_error)?;
    let module = api
        .hub
        .put_module(caller, &device, &module, &request, if_match.as_ref())
        .await
        .map_err(registry_error)?;
    json_with_etag(&module, module.etag.as_deref()).map_err(registry_error)
}

pub(super) async fn delete(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    Path((device, module)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (device, _) =
        authorize(&api, &device, &headers, &peer, Operation::DeleteDevices).await.map_err(registry_error)?;
    check_api_version(&uri).map_err(registry_error)?;
    let module = module_id(&module).map_err(registry_error)?;
    // Every SDK sends If-Match; without it any version is deleted.
    let if_match = if_match(&headers).map_err(registry_error)?.unwrap_or(IfMatch::Any);
    api.hub.delete_module(&device, &module, &if_match).await.map_err(registry_error)?;
    Ok(no_content())
}
