//! What a device did wrong, and what to do about it, for the log.

use std::io;

use ferrohub_core::close_reason::CloseReason;
use ferrohub_core::log_limited;
use ferrohub_mqtt::websocket::FrameError;
use ferrohub_mqtt::{DecodeError, PacketKind, ProtocolError};

use super::connection_handler::ConnectionHandler;
use crate::transport::websocket;

/// Returns a fixed word for log and metrics, and what to do.
fn explain(error: &ProtocolError) -> (&'static str, &'static str) {
    match error {
        ProtocolError::Decode(error) => explain_decode(error),
        ProtocolError::Unexpected(PacketKind::Connect) => {
            ("second_connect", "send CONNECT once per connection (MQTT-3.1.0-2)")
        }
        ProtocolError::Unexpected(_) => (
            "unexpected_packet",
            "begin with CONNECT, then send only packets that a client may send; use a client for MQTT 3.1.1",
        ),
        ProtocolError::QoS2NotSupported => {
            ("qos2", "publish with QoS 0 or 1: IoT Hub does not support QoS 2")
        }
        ProtocolError::BufferedInputOverflow => {
            ("too_much_before_connack", "wait for CONNACK before sending much more than CONNECT")
        }
        ProtocolError::ConnectTimeout => ("connect_timeout", "send CONNECT right after the TLS handshake"),
        ProtocolError::KeepAliveTimeout => {
            ("keep_alive", "send PINGREQ within the keep-alive interval; check the network")
        }
        _ => ("protocol_error", "use a client for MQTT 3.1.1"),
    }
}

fn explain_decode(error: &DecodeError) -> (&'static str, &'static str) {
    match error {
        DecodeError::ProtocolLevel(5) => {
            ("mqtt_version", "the client uses MQTT 5: set its protocol version to MQTT 3.1.1")
        }
        DecodeError::ProtocolLevel(3) => {
            ("mqtt_version", "the client uses MQTT 3.1: set its protocol version to MQTT 3.1.1")
        }
        DecodeError::ProtocolLevel(_) => ("mqtt_version", "set the client's protocol version to MQTT 3.1.1"),
        DecodeError::ProtocolName => ("protocol_name", "use a client for MQTT 3.1.1"),
        DecodeError::TooLarge { .. } => {
            ("packet_too_large", "send smaller messages; a message has at most events.message_bytes")
        }
        DecodeError::TooManyFilters { .. } => ("too_many_filters", "use several SUBSCRIBE packets"),
        DecodeError::Wildcard => ("wildcard_in_topic", "publish to a topic without # and +"),
        DecodeError::EmptyTopic => ("empty_topic", "set a topic"),
        DecodeError::Utf8(_) => ("invalid_utf8", "encode texts in UTF-8, without U+0000"),
        _ => (
            "malformed_packet",
            "use a client for MQTT 3.1.1 (also the cause: HTTP on the port of listen.mqtt)",
        ),
    }
}

/// Logs a violation of the protocol, and counts it if CONNECT was not accepted yet. Returns the reason to close.
pub(super) fn record(handler: &ConnectionHandler, error: &ProtocolError) -> CloseReason {
    let (reason, remedy) = explain(error);
    let (peer, protocol) = (handler.peer.address, handler.peer.protocol);
    match handler.device() {
        Some(device) => {
            log_limited!(info, "protocol error", reason, device = %device.id(), %peer, protocol, %error, remedy);
        }
        None => {
            handler.slot.count_rejection(reason);
            log_limited!(info, "connect refused", reason, %peer, protocol, %error, remedy);
        }
    }
    match error {
        ProtocolError::KeepAliveTimeout | ProtocolError::ConnectTimeout => CloseReason::KeepAlive,
        _ => CloseReason::ProtocolError,
    }
}

/// Logs and counts the end of the input if CONNECT has not been accepted.
///
/// This is how a client that verifies the hub's certificate after the handshake refuses it; Node.js may do so.
pub(super) fn record_end(handler: &ConnectionHandler, error: Option<&io::Error>) {
    let (peer, protocol) = (handler.peer.address, handler.peer.protocol);
    let frame_error = error.and_then(|error| error.get_ref()?.downcast_ref::<FrameError>());
    match (handler.device(), frame_error, error) {
        (Some(device), Some(error), _) => {
            let (reason, remedy) = websocket::explain(*error);
            log_limited!(info, "protocol error", reason, device = %device.id(), %peer, protocol, %error, remedy);
        }
        (Some(_), None, _) => {}
        (None, Some(error), _) => {
            let (reason, remedy) = websocket::explain(*error);
            handler.slot.count_rejection(reason);
            log_limited!(info, "connect refused", reason, %peer, protocol, %error, remedy);
        }
        (None, None, error) => {
            handler.slot.count_rejection("closed_before_connect");
            log_limited!(
                info,
                "connection closed before CONNECT",
                "closed_before_connect",
                %peer,
                protocol,
                error = error.map(tracing::field::display),
                remedy = "see the log of the client: Node.js does this if it does not trust the CA of the hub \
                          (`ferrohub ca export`), or connects to a name that the hub's certificate does not have"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_in_the_guide() {
        let guide = include_str!("../../../../../docs/how-to/troubleshoot-clients.md");
        let errors = [
            ProtocolError::Unexpected(PacketKind::Connect),
            ProtocolError::Unexpected(PacketKind::ConnAck),
            ProtocolError::QoS2NotSupported,
            ProtocolError::BufferedInputOverflow,
            ProtocolError::ConnectTimeout,
            ProtocolError::KeepAliveTimeout,
            ProtocolError::PingTimeout,
            DecodeError::ProtocolLevel(4).into(),
            DecodeError::ProtocolName.into(),
            DecodeError::TooLarge { size: 2, limit: 1 }.into(),
            DecodeError::TooManyFilters { limit: 1 }.into(),
            DecodeError::Wildcard.into(),
            DecodeError::EmptyTopic.into(),
            DecodeError::RemainingLength.into(),
        ];
        let frames = [FrameError::Text, FrameError::Length];
        let reasons = errors.iter().map(explain);
        for (reason, remedy) in reasons.chain(frames.map(websocket::explain)) {
            assert!(guide.contains(&format!("`{reason}`")) && !remedy.is_empty(), "the guide lacks {reason}");
        }
    }

    #[test]
    fn an_old_or_new_version_of_mqtt_is_named() {
        for (level, name) in [(5, "MQTT 5"), (3, "MQTT 3.1:")] {
            let (reason, remedy) = explain(&DecodeError::ProtocolLevel(level).into());
            assert_eq!(reason, "mqtt_version");
            assert!(remedy.contains(name) && remedy.ends_with("MQTT 3.1.1"), "{remedy}");
        }
    }
}
