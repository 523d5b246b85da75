//! Operations for a device that take time, such as a write that must be persisted.

use std::pin::Pin;

use bytes::Bytes;
use ferrohub_core::close_reason::CloseReason;
use ferrohub_mqtt::server::Connection as Machine;
use ferrohub_mqtt::{PacketId, QoS};
use tracing::warn;

/// An operation for the device. An error ends the connection.
pub(super) type Work = Pin<Box<dyn Future<Output = Result<WorkOutput, CloseReason>> + Send>>;

/// What to send to the device when work is done.
#[derive(Debug, Default)]
pub(super) struct WorkOutput {
    /// Packets to acknowledge.
    pub(super) acknowledge: Vec<PacketId>,
    /// The response, which is sent after the acknowledgements.
    pub(super) response: Option<Response>,
}

/// A message to the device, sent with QoS 0: a device that loses its connection repeats the request.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) topic: String,
    pub(super) payload: Bytes,
}

impl WorkOutput {
    pub(super) fn send(self, machine: &mut Machine) -> Result<(), CloseReason> {
        for packet_id in self.acknowledge {
            machine.puback(packet_id);
        }
        let Some(Response { topic, payload }) = self.response else { return Ok(()) };
        machine.publish(topic, QoS::AtMostOnce, &payload).map(drop).map_err(|error| {
            warn!(%error, "cannot send a response to a device");
            CloseReason::ProtocolError
        })
    }
}
