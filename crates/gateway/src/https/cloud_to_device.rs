//! Cloud-to-device messages for services: send messages, purge queues, receive feedback.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse as _, Response};
use ferrohub_core::auth::Operation;
use ferrohub_core::cloud_to_device::Settlement;
use ferrohub_model::HubError;
use ferrohub_model::message::FEEDBACK_CONTENT_TYPE;

use super::device_messages::{LockTokenPath, delete_settlement, write_delivery_headers};
use super::error::{ApiError, registry_error};
use super::message_headers::read_properties;
use super::request::{Target, authorization, check_api_version, json, no_content, read_body};
use super::request_path::Path;
use super::server::Api;

/// `POST /messages/deviceBound`: the properties, including `iothub-to`, are headers; the body is the message.
pub(super) async fn send(
    State(api): State<Api>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    api.hub.authorize(authorization(&headers), Operation::SendMessages).await.map_err(registry_error)?;
    check_api_version(&uri).map_err(registry_error)?;
    let properties = read_properties(&headers).map_err(registry_error)?;
    let body = read_body(body, &api.limits).await.map_err(registry_error)?;
    json(&api.hub.send_message(properties, body).await.map_err(registry_error)?).map_err(registry_error)
}

/// `DELETE /devices/{id}/commands`
pub(super) async fn purge(
    State(api): State<Api>,
    Path(target): Path<Target>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    api.hub.authorize(authorization(&headers), Operation::PurgeMessages).await.map_err(registry_error)?;
    check_api_version(&uri).map_err(registry_error)?;
    json(&api.hub.purge_messages(&target.identity().map_err(registry_error)?).await.map_err(registry_error)?)
        .map_err(registry_error)
}

/// `GET /messages/serviceBound/feedback`
pub(super) async fn receive_feedback(
    State(api): State<Api>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    api.hub.authorize(authorization(&headers), Operation::ReceiveFeedback).await.map_err(registry_error)?;
    check_api_version(&uri).map_err(registry_error)?;
    let Some(batch) = api.hub.receive_feedback().await.map_err(registry_error)? else {
        return Ok(no_content());
    };
    let mut response = json(&batch.records).map_err(registry_error)?;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(FEEDBACK_CONTENT_TYPE));
    write_delivery_headers(headers, batch.token, batch.sequence, batch.enqueued, batch.delivery_count);
    Ok(response)
}

/// `DELETE /messages/serviceBound/feedback/{token}`
pub(super) async fn complete_feedback(
    State(api): State<Api>,
    Path(LockTokenPath { token }): Path<LockTokenPath>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    settle_feedback(&api, &token, &uri, &headers, delete_settlement(&uri)).await.map_err(registry_error)
}

/// `POST /messages/serviceBound/feedback/{token}/abandon`
pub(super) async fn abandon_feedback(
    State(api): State<Api>,
    Path(LockTokenPath { token }): Path<LockTokenPath>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    settle_feedback(&api, &token, &uri, &headers, Settlement::Abandon).await.map_err(registry_error)
}

async fn settle_feedback(
    api: &Api,
    token: &str,
    uri: &Uri,
    headers: &HeaderMap,
    settlement: Settlement,
) -> Result<Response, HubError> {
    api.hub.authorize(authorization(headers), Operation::ReceiveFeedback).await?;
    check_api_version(uri)?;
    api.hub.settle_feedback(token, settlement).await?;
    Ok(no_content().into_response())
}
