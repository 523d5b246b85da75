//! `/twins`: twins of devices and modules, for services.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use ferrohub_core::auth::Operation;
use ferrohub_core::registry::IfMatch;
use ferrohub_core::twins::UpdateMode;
use ferrohub_model::HubError;

use super::error::{ApiError, nested_error};
use super::request::{Target, authorization, check_api_version, if_match, json_with_etag, read_json};
use super::request_path::Path;
use super::server::Api;

pub(super) async fn get(
    State(api): State<Api>,
    Path(target): Path<Target>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    api.hub.authorize(authorization(&headers), Operation::ReadTwins).await.map_err(nested_error)?;
    check_api_version(&uri).map_err(nested_error)?;
    let twin = api.hub.get_twin(&target.identity().map_err(nested_error)?).await.map_err(nested_error)?;
    json_with_etag(&twin, twin.etag.as_deref()).map_err(nested_error)
}

pub(super) async fn patch(
    State(api): State<Api>,
    Path(target): Path<Target>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    change(&api, UpdateMode::Merge, &target, &uri, &headers, body).await.map_err(nested_error)
}

pub(super) async fn put(
    State(api): State<Api>,
    Path(target): Path<Target>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    change(&api, UpdateMode::Replace, &target, &uri, &headers, body).await.map_err(nested_error)
}

async fn change(
    api: &Api,
    mode: UpdateMode,
    target: &Target,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, HubError> {
    api.hub.authorize(authorization(headers), Operation::WriteTwins).await?;
    check_api_version(uri)?;
    let id = target.identity()?;
    let if_match = if_match(headers)?.unwrap_or(IfMatch::Any);
    let change = read_json(body, &api.limits).await?;
    let twin = api.hub.change_twin(&id, mode, change, if_match).await?;
    json_with_etag(&twin, twin.etag.as_deref())
}
