//! `/devices/{id}/messages/deviceBound`: devices and modules receive and settle cloud-to-device messages.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::response::Response;
use ferrohub_core::DeviceCaller;
use ferrohub_core::cloud_to_device::{LockedMessage, Settlement};
use ferrohub_core::delivery::LockToken;
use ferrohub_model::Timestamp;
use ferrohub_model::message::SystemProperty;

use crate::heads::rest::RestResult;
use crate::heads::rest::message_headers::write_properties;
use crate::heads::rest::request::RestRequest;
use crate::heads::rest::response::no_content;
use crate::http::{REQUEST_ID, fresh_request_id};

const SEQUENCE_NUMBER: HeaderName = HeaderName::from_static("iothub-sequencenumber");
const ENQUEUED_TIME: HeaderName = HeaderName::from_static("iothub-enqueuedtime");
const DELIVERY_COUNT: HeaderName = HeaderName::from_static("iothub-deliverycount");

pub(in crate::heads::rest) async fn receive(caller: DeviceCaller, _: RestRequest) -> RestResult {
    Ok(caller.receive_message().await?.map_or_else(no_content, render))
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
pub(in crate::heads::rest) async fn complete(caller: DeviceCaller, request: RestRequest) -> RestResult {
    caller.settle_message(&request.parameter("token")?, delete_settlement(request.uri())).await?;
    Ok(no_content())
}

/// `POST …/abandon`: abandons the message.
pub(in crate::heads::rest) async fn abandon(caller: DeviceCaller, request: RestRequest) -> RestResult {
    caller.settle_message(&request.parameter("token")?, Settlement::Abandon).await?;
    Ok(no_content())
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
