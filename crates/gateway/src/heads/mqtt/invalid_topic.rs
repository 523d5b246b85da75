//! PUBLISH packets with a topic that the hub does not accept.

use ferrohub_core::close_reason::CloseReason;
use ferrohub_core::log_limit::excerpt;
use ferrohub_core::log_limited;
use ferrohub_model::IdentityId;

use crate::transport::peer::Peer;

/// What is wrong with the topic of a PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidTopic {
    #[error("PUBLISH to a topic that IoT Hub does not have")]
    Unsupported,
    #[error("PUBLISH to a malformed topic of a twin request")]
    TwinRequest,
    #[error("PUBLISH to a malformed topic of a method response")]
    MethodResponse,
}

impl InvalidTopic {
    fn explain(self) -> (&'static str, &'static str) {
        match self {
            Self::Unsupported => (
                "unsupported_topic",
                "telemetry goes to devices/{device id}/messages/events/, see Azure's MQTT guide",
            ),
            Self::TwinRequest => (
                "malformed_twin_topic",
                "use $iothub/twin/GET/?$rid={id} or $iothub/twin/PATCH/properties/reported/?$rid={id}",
            ),
            Self::MethodResponse => (
                "malformed_method_topic",
                "use $iothub/methods/res/{status}/?$rid={id} with the id of the request",
            ),
        }
    }
}

/// Logs a PUBLISH to an invalid topic. The connection must close: MQTT 3.1.1 has no negative acknowledgement, and IoT Hub
/// closes it, too.
pub(super) fn refuse(peer: &Peer, device: &IdentityId, topic: &str, error: InvalidTopic) -> CloseReason {
    let (reason, remedy) = error.explain();
    let topic = excerpt(topic);
    log_limited!(info, "protocol error", reason, %device, peer = %peer.address, topic, %error, remedy);
    CloseReason::ProtocolError
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_in_the_guide() {
        let guide = include_str!("../../../../../docs/how-to/troubleshoot-clients.md");
        for topic in [InvalidTopic::Unsupported, InvalidTopic::TwinRequest, InvalidTopic::MethodResponse] {
            let (reason, remedy) = topic.explain();
            assert!(guide.contains(&format!("`{reason}`")) && !remedy.is_empty(), "the guide lacks {reason}");
        }
    }
}
