//! Back ends send messages to devices, throw away what waits, and hear what became of it.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse as _, Response};
use ferrohub_core::auth::Operation;
use ferrohub_core::messages::Settlement;
use ferrohub_model::HubError;
use ferrohub_model::message::FEEDBACK_CONTENT_TYPE;

use super::error::{ApiError, a};
use super::message::read_properties;
use super::messages::{Token, describe, ending};
use super::request::{Target, authorization, check_api_version, json, no_content, read_body};
use super::server::Api;

/// `POST /messages/deviceBound`: the properties in headers, `iothub-to` among them; the body is the message.
pub(super) async fn send(
    State(api): State<Api>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    api.hub.authorize(authorization(&headers), Operation::SendMessages).await.map_err(a)?;
    check_api_version(&uri).map_err(a)?;
    let properties = read_properties(&headers).map_err(a)?;
    let body = read_body(body, &api.limits).await.map_err(a)?;
    json(&api.hub.send_message(properties, body).await.map_err(a)?).map_err(a)
}

/// `DELETE /devices/{id}/commands`
pub(super) async fn purge(
    State(api): State<Api>,
    Path(target): Path<Target>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    api.hub.authorize(authorization(&headers), Operation::PurgeMessages).await.map_err(a)?;
    check_api_version(&uri).map_err(a)?;
    json(&api.hub.purge_messages(&target.identity().map_err(a)?).await.map_err(a)?).map_err(a)
}

/// `GET /messages/serviceBound/feedback`
pub(super) async fn receive_feedback(
    State(api): State<Api>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    api.hub.authorize(authorization(&headers), Operation::ReceiveFeedback).await.map_err(a)?;
    check_api_version(&uri).map_err(a)?;
    let Some(batch) = api.hub.receive_feedback().await.map_err(a)? else { return Ok(no_content()) };
    let mut response = json(&batch.records).map_err(a)?;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(FEEDBACK_CONTENT_TYPE));
    describe(headers, batch.token, batch.sequence, batch.enqueued, batch.delivery_count);
    Ok(response)
}

/// `DELETE /messages/serviceBound/feedback/{token}`
pub(super) async fn complete_feedback(
    State(api): State<Api>,
    Path(Token { token }): Path<Token>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    settle_feedback(&api, &token, &uri, &headers, ending(&uri)).await.map_err(a)
}

/// `POST /messages/serviceBound/feedback/{token}/abandon`
pub(super) async fn abandon_feedback(
    State(api): State<Api>,
    Path(Token { token }): Path<Token>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    settle_feedback(&api, &token, &uri, &headers, Settlement::Abandon).await.map_err(a)
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
