//! `/devices/{id}/messages/deviceBound`: devices and modules receive and settle cloud-to-device messages.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse as _, Response};
use ferrohub_core::cloud_to_device::{LockToken, LockedMessage, Settlement};
use ferrohub_model::message::SystemProperty;
use ferrohub_model::{HubError, Timestamp};
use serde::Deserialize;

use super::caller::device_caller;
use super::error::{ApiError, registry_error};
use super::message_headers::write_properties;
use super::request::{REQUEST_ID, Target, check_api_version, fresh_request_id, no_content};
use super::request_path::Path;
use super::server::Api;
use crate::peer::Peer;

const SEQUENCE_NUMBER: HeaderName = HeaderName::from_static("iothub-sequencenumber");
const ENQUEUED_TIME: HeaderName = HeaderName::from_static("iothub-enqueuedtime");
const DELIVERY_COUNT: HeaderName = HeaderName::from_static("iothub-deliverycount");

/// The lock token in the path of a request that settles a message.
#[derive(Deserialize)]
pub(super) struct LockTokenPath {
    pub(super) token: String,
}

pub(super) async fn receive(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    Path(target): Path<Target>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let caller = device_caller(&api, &target, &headers, &peer).await.map_err(registry_error)?;
    check_api_version(&uri).map_err(registry_error)?;
    let received = api.hub.receive_message(&caller.identity.id).await.map_err(registry_error)?;
    Ok(received.map_or_else(no_content, render))
}

/// Builds the response: the body of the message verbatim, everything else in headers.
fn render(LockedMessage { token, message: stored }: LockedMessage) -> Response {
    let message = stored.message;
    let mut response = Response::new(Body::from(message.body));
    let headers = response.headers_mut();
    let content_type = message.properties.get(SystemProperty::ContentType);
    let content_type = content_type.and_then(|text| HeaderValue::from_str(text).ok());
    headers.insert(
        header::CONTENT_TYPE,
        content_type.unwrap_or(HeaderValue::from_static("application/octet-stream")),
    );
    if let Ok(expiry) = HeaderValue::from_str(&message.expiry.to_string()) {
        headers.insert(HeaderName::from_static(SystemProperty::Expiry.http_header()), expiry);
    }
    write_properties(&message.properties, headers);
    write_delivery_headers(headers, token, stored.sequence, message.enqueued, stored.delivery_count);
    response
}

/// Writes the headers of a delivery: sequence number, delivery count, enqueued time, and the lock token as `ETag`.
pub(super) fn write_delivery_headers(
    headers: &mut HeaderMap,
    token: LockToken,
    sequence: u64,
    enqueued: Timestamp,
    delivery_count: u32,
) {
    headers.insert(REQUEST_ID, fresh_request_id());
    headers.insert(SEQUENCE_NUMBER, sequence.into());
    headers.insert(DELIVERY_COUNT, delivery_count.into());
    for (name, text) in [(ENQUEUED_TIME, enqueued.to_string()), (header::ETAG, format!("\"{token}\""))] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    }
}

/// `DELETE`: completes the message, or rejects it with `?reject`.
pub(super) async fn complete(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    Path(target): Path<Target>,
    Path(LockTokenPath { token }): Path<LockTokenPath>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    settle(&api, &peer, &target, &token, &uri, &headers, delete_settlement(&uri))
        .await
        .map_err(registry_error)
}

/// `POST …/abandon`: abandons the message.
pub(super) async fn abandon(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    Path(target): Path<Target>,
    Path(LockTokenPath { token }): Path<LockTokenPath>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    settle(&api, &peer, &target, &token, &uri, &headers, Settlement::Abandon).await.map_err(registry_error)
}

async fn settle(
    api: &Api,
    peer: &Peer,
    target: &Target,
    token: &str,
    uri: &Uri,
    headers: &HeaderMap,
    settlement: Settlement,
) -> Result<Response, HubError> {
    let caller = device_caller(api, target, headers, peer).await?;
    check_api_version(uri)?;
    api.hub.settle_message(&caller.identity.id, token, settlement).await?;
    Ok(no_content().into_response())
}

/// Returns the settlement that `DELETE` requests: reject if the query contains `reject`, otherwise complete.
pub(super) fn delete_settlement(uri: &Uri) -> Settlement {
    let is_reject = |part: &str| part.split('=').next() == Some("reject");
    match uri.query().is_some_and(|query| query.split('&').any(is_reject)) {
        true => Settlement::Reject,
        false => Settlement::Complete,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delete_rejects_only_with_the_query_parameter_reject() {
        let of = |text: &str| delete_settlement(&text.parse().unwrap());
        assert_eq!(of("/x?reject"), Settlement::Reject);
        assert_eq!(of("/x?api-version=2021-04-12&reject="), Settlement::Reject);
        assert_eq!(of("/x?reject=true&api-version=2021-04-12"), Settlement::Reject);
        for complete in ["/x", "/x?api-version=reject", "/x?rejected"] {
            assert_eq!(of(complete), Settlement::Complete, "{complete}");
        }
    }
}
