//! `POST /devices` and `POST /devices/keys/regenerate`: many identities in one request.

use axum::http::StatusCode;
use ferrohub_core::ServiceCaller;
use ferrohub_model::bulk::BulkKeyRequest;
use ferrohub_model::{ErrorCode, HubError};
use serde_json::Value;

use crate::heads::rest::RestResult;
use crate::heads::rest::request::RestRequest;
use crate::heads::rest::response::json;

pub(in crate::heads::rest) async fn change(caller: ServiceCaller, mut request: RestRequest) -> RestResult {
    let items: Vec<Value> = serde_json::from_slice(&request.read_body().await?).map_err(|error| {
        let text = format!("The body is not valid: {error}. It must be an array of identities.");
        HubError::new(ErrorCode::IotHubFormatError, text)
    })?;
    let result = caller.change_identities(items).await?;
    let mut response = json(&result)?;
    // As in Azure: clients read the same body with both statuses.
    if !result.is_successful {
        *response.status_mut() = StatusCode::BAD_REQUEST;
    }
    Ok(response)
}

pub(in crate::heads::rest) async fn regenerate_keys(
    caller: ServiceCaller,
    mut request: RestRequest,
) -> RestResult {
    let body: BulkKeyRequest = request.read_json().await?;
    let result = caller.regenerate_keys(&body).await?;
    let mut response = json(&result)?;
    *response.status_mut() = match (result.errors.is_empty(), result.rotated_keys.is_empty()) {
        (true, _) => StatusCode::OK,
        (false, false) => StatusCode::MULTI_STATUS,
        (false, true) => StatusCode::BAD_REQUEST,
    };
    Ok(response)
}
