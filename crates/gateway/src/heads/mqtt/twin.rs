//! Twin requests of devices.

use bytes::Bytes;
use ferrohub_core::ConnectedDevice;
use ferrohub_core::close_reason::CloseReason;
use ferrohub_core::faults::{Delivery, FaultPoint};
use ferrohub_model::topic::{self, TwinRequest, TwinResponse};
use ferrohub_model::{ErrorCode, HubError};
use ferrohub_mqtt::server::Connection as Machine;
use ferrohub_mqtt::{PacketId, Publish, QoS};
use tracing::warn;

use super::connection_handler::{Work, WorkOutput};
use super::violation::{self, InvalidTopic};
use crate::error_details::error_details;
use crate::transport::peer::Peer;

/// The response to a twin request.
pub(super) struct TwinReply {
    /// The request, whose topic contains the request id.
    request: Publish,
    status: u16,
    /// The new version of the reported properties.
    version: Option<u64>,
    payload: Bytes,
}

/// Starts serving a request. A malformed topic ends the connection.
pub(super) fn begin(peer: &Peer, device: &ConnectedDevice, request: Publish) -> Result<Work, CloseReason> {
    if topic::parse_twin_request(request.topic.as_str()).is_none() {
        let topic = request.topic.as_str();
        return Err(violation::refuse_topic(peer, device.id(), topic, InvalidTopic::TwinRequest));
    }
    let device = device.clone();
    Ok(Box::pin(async move {
        let reply = serve(&device, request).await?;
        Ok(match device.hub().await_delivery(FaultPoint::TwinResponse, device.id()).await {
            Delivery::Delivered => WorkOutput::Twin(reply),
            Delivery::Lost { .. } => WorkOutput::TwinResponseLost(reply.request.packet_id),
        })
    }))
}

async fn serve(device: &ConnectedDevice, request: Publish) -> Result<TwinReply, CloseReason> {
    match topic::parse_twin_request(request.topic.as_str()) {
        Some(TwinRequest::Get { .. }) => match device.get_own_twin().await {
            Ok((payload, version)) => {
                device.connection().mark_desired_read(version);
                Ok(TwinReply { request, status: 200, version: None, payload })
            }
            // Close instead of sending an error: Microsoft's Python client repeats the request immediately after an
            // error response, but waits before it reconnects.
            Err(error) => {
                warn!(device = %device.id(), %error, "cannot read the twin of a device");
                Err(CloseReason::StoreFailed)
            }
        },
        Some(TwinRequest::Report { if_version, .. }) => {
            Ok(match device.patch_reported(&request.payload, if_version).await {
                Ok(version) => {
                    TwinReply { request, status: 204, version: Some(version), payload: Bytes::new() }
                }
                Err(error) => error_reply(request, &error),
            })
        }
        Some(TwinRequest::InvalidVersion { version, .. }) => {
            let text = format!("$version must be a version of the reported properties, not {version:?}.");
            let error = HubError::new(ErrorCode::ArgumentInvalid, text);
            Ok(error_reply(request, &error))
        }
        None => Err(CloseReason::ProtocolError),
    }
}

fn error_reply(request: Publish, error: &HubError) -> TwinReply {
    let payload = error_details(error).to_string().into();
    TwinReply { request, status: error.code.http_status(), version: None, payload }
}

impl TwinReply {
    /// Acknowledges the request, then responds with QoS 0: a device that loses its connection repeats the request.
    pub(super) fn respond(self, machine: &mut Machine) -> Result<(), CloseReason> {
        let Some(request) = topic::parse_twin_request(self.request.topic.as_str()) else {
            return Err(CloseReason::ProtocolError);
        };
        let request_id = request.request_id();
        acknowledge(machine, self.request.packet_id);
        let topic = TwinResponse { status: self.status, request_id, version: self.version };
        machine.publish(topic, QoS::AtMostOnce, &self.payload).map(|_| ()).map_err(|error| {
            warn!(%error, "cannot send a twin response");
            CloseReason::ProtocolError
        })
    }
}

pub(super) fn acknowledge(machine: &mut Machine, packet_id: Option<PacketId>) {
    if let Some(packet_id) = packet_id {
        machine.puback(packet_id);
    }
}
