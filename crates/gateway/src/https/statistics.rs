//! `/statistics`: the number of devices and of connected devices.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use ferrohub_core::auth::Operation;

use super::error::{ApiError, registry_error};
use super::request::{authorization, check_api_version, json};
use super::server::Api;

pub(super) async fn devices(
    State(api): State<Api>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    api.hub
        .authorize(authorization(&headers), Operation::ReadRegistryStatistics)
        .await
        .map_err(registry_error)?;
    check_api_version(&uri).map_err(registry_error)?;
    json(&api.hub.registry_statistics().await.map_err(registry_error)?).map_err(registry_error)
}

pub(super) async fn service(
    State(api): State<Api>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    api.hub
        .authorize(authorization(&headers), Operation::ReadServiceStatistics)
        .await
        .map_err(registry_error)?;
    check_api_version(&uri).map_err(registry_error)?;
    json(&api.hub.service_statistics().await).map_err(registry_error)
}
