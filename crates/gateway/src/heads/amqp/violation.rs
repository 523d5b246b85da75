//! Why a connection ends, and what a client did wrong and how to mend it, for the log.

use std::io;

use ferrohub_amqp::ProtocolError;
use ferrohub_core::log_limited;
use ferrohub_mqtt::websocket::FrameError;
use tracing::debug;

use super::connection_handler::ConnectionHandler;
use crate::transport::websocket;

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum End {
    #[error("the client closed the connection")]
    Closed,
    #[error("the client closed the transport")]
    Lost,
    #[error("the client violated the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    #[error("the hub refused the credentials")]
    Refused,
    #[error("the client does not read")]
    SlowReader,
    #[error("the credential is no longer valid")]
    Revoked,
    #[error("the hub needs the slot for another connection")]
    Evicted,
    #[error("the hub stops")]
    Stopping,
}

/// Returns a fixed word for log and metrics, and what to do.
fn explain(error: &ProtocolError) -> (&'static str, &'static str) {
    match error {
        ProtocolError::ProtocolHeader => (
            "amqp_header",
            "use a client for AMQP 1.0 with TLS (also the cause: AMQP 0-9-1, HTTP or MQTT on the port of listen.amqp)",
        ),
        ProtocolError::HandshakeTimeout => (
            "amqp_handshake_timeout",
            "send a token to $cbs, or use SASL PLAIN, within limits.connect_timeout_seconds",
        ),
        ProtocolError::IdleTimeout => {
            ("amqp_idle_timeout", "send empty frames within the idle time-out of the hub; check the network")
        }
        ProtocolError::UnauthenticatedInput | ProtocolError::BufferedInputOverflow => {
            ("amqp_too_much_before_token", "send a token to $cbs, or use SASL PLAIN, before anything else")
        }
        _ => ("amqp_protocol_error", "use a client for AMQP 1.0"),
    }
}

/// Returns what is wrong with the WebSocket frames of a client, if the connection ended because of that.
fn frame_error(error: Option<&io::Error>) -> Option<FrameError> {
    error?.get_ref()?.downcast_ref().copied()
}

/// Logs the end of a connection, and counts it if the client had not authenticated.
pub(super) fn record(handler: &ConnectionHandler, end: End, error: Option<&io::Error>) {
    let (peer, protocol) = (handler.peer.address, handler.peer.protocol);
    match (end, handler.is_authenticated()) {
        (End::Protocol(error), true) => {
            let (reason, remedy) = explain(&error);
            log_limited!(info, "protocol error", reason, %peer, protocol, %error, remedy);
        }
        (End::Protocol(error), false) => {
            let (reason, remedy) = explain(&error);
            handler.slot.count_rejection(reason);
            log_limited!(info, "connect refused", reason, %peer, protocol, %error, remedy);
        }
        (End::Lost, authenticated) if frame_error(error).is_some() => {
            let error = frame_error(error);
            let (reason, remedy) = error.map_or(("websocket_error", ""), websocket::explain);
            let error = error.map(tracing::field::display);
            if authenticated {
                log_limited!(info, "protocol error", reason, %peer, protocol, error, remedy);
            } else {
                handler.slot.count_rejection(reason);
                log_limited!(info, "connect refused", reason, %peer, protocol, error, remedy);
            }
        }
        (End::Lost | End::Closed, false) => {
            handler.slot.count_rejection("closed_before_token");
            log_limited!(
                info,
                "connection closed before it was authenticated",
                "closed_before_token",
                %peer,
                protocol,
                error = error.map(tracing::field::display),
                remedy = "see the log of the client, and the refusals of its token above: it may not trust the CA of \
                          the hub (`ferrohub ca export`)"
            );
        }
        // The reason is in the log already.
        (End::Refused, _) => handler.slot.count_rejection("sasl_refused"),
        (End::Revoked, _) => {
            log_limited!(
                info,
                "connection closed",
                "credential_ended",
                %peer,
                protocol,
                remedy = "the client must send a new token to $cbs before the old one expires; see also \
                          `ferrohub policy list`"
            );
        }
        (End::SlowReader, authenticated) => {
            if !authenticated {
                handler.slot.count_rejection("slow_reader");
            }
            log_limited!(
                info,
                "connection closed",
                "slow_reader",
                %peer,
                protocol,
                remedy = "the client must read what the hub sends within limits.write_timeout_seconds"
            );
        }
        (end, _) => debug!(%peer, protocol, reason = %end, "AMQP connection closed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_in_the_guide() {
        let guide = include_str!("../../../../../docs/how-to/troubleshoot-clients.md");
        let errors = [
            ProtocolError::ProtocolHeader,
            ProtocolError::HandshakeTimeout,
            ProtocolError::IdleTimeout,
            ProtocolError::UnauthenticatedInput,
            ProtocolError::BufferedInputOverflow,
            ProtocolError::Unexpected("begin"),
        ];
        let reasons = errors.iter().map(|error| explain(error).0);
        let links = [
            "link_before_token",
            "unknown_address",
            "closed_before_token",
            "credential_ended",
            "slow_reader",
            "other_policy",
            "sasl_refused",
            "too_many_connections",
            "no_right",
        ];
        for reason in reasons.chain(links) {
            assert!(guide.contains(&format!("`{reason}`")), "the guide lacks {reason}");
        }
    }
}
