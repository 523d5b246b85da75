//! Cloud-to-device messages for services: send messages, purge queues, receive feedback.

use axum::http::{HeaderValue, header};
use ferrohub_core::ServiceCaller;
use ferrohub_core::cloud_to_device::Settlement;
use ferrohub_model::message::FEEDBACK_CONTENT_TYPE;

use super::device::{delete_settlement, write_delivery_headers};
use crate::heads::rest::RestResult;
use crate::heads::rest::message_headers::read_properties;
use crate::heads::rest::request::RestRequest;
use crate::heads::rest::response::{json, no_content};

/// `POST /messages/deviceBound`: the properties, including `iothub-to`, are headers; the body is the message.
pub(in crate::heads::rest) async fn send(caller: ServiceCaller, mut request: RestRequest) -> RestResult {
    let properties = read_properties(request.headers())?;
    let body = request.read_body().await?;
    json(&caller.send_message(properties, body).await?)
}

/// `DELETE /devices/{id}/commands`
pub(in crate::heads::rest) async fn purge(caller: ServiceCaller, request: RestRequest) -> RestResult {
    json(&caller.purge_messages(&request.identity()?).await?)
}

/// `GET /messages/serviceBound/feedback`
pub(in crate::heads::rest) async fn receive_feedback(caller: ServiceCaller, _: RestRequest) -> RestResult {
    let Some(batch) = caller.receive_feedback().await? else { return Ok(no_content()) };
    let mut response = json(&batch.records)?;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(FEEDBACK_CONTENT_TYPE));
    write_delivery_headers(headers, batch.token, batch.sequence, batch.enqueued, batch.delivery_count);
    Ok(response)
}

/// `DELETE /messages/serviceBound/feedback/{token}`
pub(in crate::heads::rest) async fn complete_feedback(
    caller: ServiceCaller,
    request: RestRequest,
) -> RestResult {
    caller.settle_feedback(&request.parameter("token")?, delete_settlement(request.uri())).await?;
    Ok(no_content())
}

/// `POST /messages/serviceBound/feedback/{token}/abandon`
pub(in crate::heads::rest) async fn abandon_feedback(
    caller: ServiceCaller,
    request: RestRequest,
) -> RestResult {
    caller.settle_feedback(&request.parameter("token")?, Settlement::Abandon).await?;
    Ok(no_content())
}
