//! Twin requests of devices.

use bytes::Bytes;
use ferrohub_core::ConnectedDevice;
use ferrohub_core::close_reason::CloseReason;
use ferrohub_core::faults::{Delivery, FaultPoint};
use ferrohub_model::topic::{self, TwinRequest, TwinResponse};
use ferrohub_model::{ErrorCode, HubError};
use ferrohub_mqtt::Publish;
use tracing::warn;

use super::invalid_topic::{self, InvalidTopic};
use super::work::{Response, Work, WorkOutput};
use crate::error_details::error_details;
use crate::transport::peer::Peer;

/// Starts serving a request. A malformed topic ends the connection.
pub(super) fn begin(peer: &Peer, device: &ConnectedDevice, request: Publish) -> Result<Work, CloseReason> {
    if topic::parse_twin_request(request.topic.as_str()).is_none() {
        let topic = request.topic.as_str();
        return Err(invalid_topic::refuse(peer, device.id(), topic, InvalidTopic::TwinRequest));
    }
    let device = device.clone();
    Ok(Box::pin(async move {
        let response = serve(&device, &request).await?;
        let delivery = device.hub().await_delivery(FaultPoint::TwinResponse, device.id()).await;
        Ok(WorkOutput {
            acknowledge: request.packet_id.into_iter().collect(),
            response: Some(response).filter(|_| delivery == Delivery::Delivered),
        })
    }))
}

async fn serve(device: &ConnectedDevice, request: &Publish) -> Result<Response, CloseReason> {
    let Some(requested) = topic::parse_twin_request(request.topic.as_str()) else {
        return Err(CloseReason::ProtocolError);
    };
    let request_id = requested.request_id();
    match requested {
        TwinRequest::Get { .. } => match device.get_own_twin().await {
            Ok(payload) => Ok(response(200, request_id, None, payload)),
            // Close instead of sending an error: Microsoft's Python client repeats the request immediately after an
            // error response, but waits before it reconnects.
            Err(error) => {
                warn!(device = %device.id(), %error, "cannot read the twin of a device");
                Err(CloseReason::StoreFailed)
            }
        },
        TwinRequest::Report { if_version, .. } => {
            Ok(match device.patch_reported(&request.payload, if_version).await {
                Ok(version) => response(204, request_id, Some(version), Bytes::new()),
                Err(error) => error_response(request_id, &error),
            })
        }
        TwinRequest::InvalidVersion { version, .. } => {
            let text = format!("$version must be a version of the reported properties, not {version:?}.");
            Ok(error_response(request_id, &HubError::new(ErrorCode::ArgumentInvalid, text)))
        }
    }
}

/// Builds the response to a request. `version` is the new version of the reported properties.
fn response(status: u16, request_id: &str, version: Option<u64>, payload: Bytes) -> Response {
    Response { topic: TwinResponse { status, request_id, version }.to_string(), payload }
}

fn error_response(request_id: &str, error: &HubError) -> Response {
    response(error.code.http_status(), request_id, None, error_details(error).to_string().into())
}
