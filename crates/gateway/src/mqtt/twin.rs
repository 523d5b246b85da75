//! A device's requests to its twin.

use std::sync::Arc;

use bytes::Bytes;
use ferrohub_core::connections::{CloseReason, Connection};
use ferrohub_core::faults::FaultPoint;
use ferrohub_core::{Delivery, Hub};
use ferrohub_model::HubError;
use ferrohub_model::topic::{self, TwinRequest, TwinResponse};
use ferrohub_mqtt::server::Connection as Machine;
use ferrohub_mqtt::{PacketId, Publish, QoS};
use tracing::{debug, warn};

use super::connection_handler::{Work, WorkOutput};
use crate::https::error_details;

/// What a device is told about a request of its.
pub(super) struct TwinReply {
    /// With the request's id in its topic, and its packet identifier.
    request: Publish,
    status: u16,
    /// The new version of the reported properties.
    version: Option<u64>,
    payload: Bytes,
}

/// Begins to serve a request. A topic that is not a request ends the connection.
pub(super) fn begin(
    hub: &Arc<Hub>,
    connection: &Arc<Connection>,
    request: Publish,
) -> Result<Work, CloseReason> {
    if topic::parse_twin_request(request.topic.as_str()).is_none() {
        debug!(device = %connection.id, topic = request.topic.as_str(), "malformed twin request topic");
        return Err(CloseReason::ProtocolError);
    }
    let (hub, connection) = (hub.clone(), connection.clone());
    Ok(Box::pin(async move {
        let reply = serve(&hub, &connection, request).await?;
        Ok(match hub.await_delivery(FaultPoint::TwinResponse, &connection.id).await {
            Delivery::Delivered => WorkOutput::Twin(reply),
            Delivery::Lost { .. } => WorkOutput::TwinResponseLost(reply.request.packet_id),
        })
    }))
}

async fn serve(hub: &Arc<Hub>, connection: &Connection, request: Publish) -> Result<TwinReply, CloseReason> {
    match topic::parse_twin_request(request.topic.as_str()) {
        Some(TwinRequest::Get { .. }) => match hub.read_own_twin(&connection.id).await {
            Ok((payload, version)) => {
                connection.mark_desired_read(version);
                Ok(TwinReply { request, status: 200, version: None, payload })
            }
            // Microsoft's Python client asks again at once when it is told no. One that was closed waits first.
            Err(error) => {
                warn!(device = %connection.id, %error, "a device's twin cannot be read");
                Err(CloseReason::StoreFailed)
            }
        },
        Some(TwinRequest::Report { if_version, .. }) => {
            Ok(match hub.patch_reported(&connection.id, &request.payload, if_version).await {
                Ok(version) => {
                    TwinReply { request, status: 204, version: Some(version), payload: Bytes::new() }
                }
                Err(error) => error_reply(request, &error),
            })
        }
        None => Err(CloseReason::ProtocolError),
    }
}

fn error_reply(request: Publish, error: &HubError) -> TwinReply {
    let payload = error_details(error).to_string().into();
    TwinReply { request, status: error.code.http_status(), version: None, payload }
}

impl TwinReply {
    /// Acknowledges the request, then responds to it, at QoS 0: who asked and was cut off asks again.
    pub(super) fn respond(self, machine: &mut Machine) -> Result<(), CloseReason> {
        let request_id = match topic::parse_twin_request(self.request.topic.as_str()) {
            Some(TwinRequest::Get { request_id } | TwinRequest::Report { request_id, .. }) => request_id,
            None => return Err(CloseReason::ProtocolError),
        };
        acknowledge(machine, self.request.packet_id);
        let topic = TwinResponse { status: self.status, request_id, version: self.version };
        machine.publish(topic, QoS::AtMostOnce, &self.payload).map(|_| ()).map_err(|error| {
            warn!(%error, "a response to a twin request could not be sent");
            CloseReason::ProtocolError
        })
    }
}

pub(super) fn acknowledge(machine: &mut Machine, packet_id: Option<PacketId>) {
    if let Some(packet_id) = packet_id {
        machine.puback(packet_id);
    }
}
