//! Why a TLS handshake failed, and what to do about it.

use std::fmt;
use std::io;
use std::time::Duration;

use rustls::{AlertDescription, Error, PeerIncompatible};

use super::client_certificates::refusal;

/// Why a handshake failed.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    /// The peer closed the connection before it sent a byte, as port scanners and checks of load balancers do.
    NothingSent,
    /// The first bytes are not TLS.
    Plaintext(Plaintext),
    /// TLS or the transport failed.
    Failed(io::Error),
    /// The handshake was not finished in this time.
    Timeout(Duration),
}

/// What a peer sent instead of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plaintext {
    Mqtt,
    Http,
    Other,
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingSent => f.write_str("the connection was closed before the TLS handshake"),
            Self::Plaintext(Plaintext::Mqtt) => f.write_str("MQTT without TLS"),
            Self::Plaintext(Plaintext::Http) => f.write_str("HTTP without TLS"),
            Self::Plaintext(Plaintext::Other) => f.write_str("the first bytes are not TLS"),
            Self::Timeout(limit) => {
                write!(f, "the TLS handshake was not finished within {} s", limit.as_secs_f32())
            }
            Self::Failed(error) => match tls_error(error) {
                Some(Error::AlertReceived(alert)) => write!(f, "the client sent the TLS alert {alert:?}"),
                Some(tls) => match refusal(error) {
                    Some(refusal) => f.write_str(refusal.error),
                    None => write!(f, "{tls}"),
                },
                None if is_closed(error) => {
                    f.write_str("the client closed the connection in the TLS handshake")
                }
                None => write!(f, "{error}"),
            },
        }
    }
}

impl HandshakeError {
    /// Returns a fixed word for log and metrics, and what to do.
    pub(crate) fn explain(&self) -> (&'static str, &'static str) {
        match self {
            Self::NothingSent => ("nothing_sent", "none: a port scanner or a check of a load balancer"),
            Self::Plaintext(Plaintext::Mqtt) => ("mqtt_without_tls", "turn TLS on in the client"),
            Self::Plaintext(Plaintext::Http) => {
                ("http_without_tls", "use https:// on the port of listen.https")
            }
            Self::Plaintext(Plaintext::Other) => ("no_tls", "use a client with TLS on this port"),
            Self::Timeout(_) => (
                "handshake_timeout",
                "the client must begin with a TLS ClientHello; check that the network between does not lose packets",
            ),
            Self::Failed(error) => match tls_error(error) {
                Some(tls) => match refusal(error) {
                    Some(refusal) => (refusal.reason, refusal.remedy),
                    None => explain_tls(tls),
                },
                None if is_closed(error) => (
                    "handshake_closed",
                    "see the log of the client: Node.js closes without an alert if it does not trust the CA of the hub \
                     (`ferrohub ca export`), or connects to a name that the hub's certificate does not have",
                ),
                None => ("handshake_failed", "none: the network failed"),
            },
        }
    }
}

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}

fn explain_tls(error: &Error) -> (&'static str, &'static str) {
    use AlertDescription as Alert;
    match error {
        Error::AlertReceived(Alert::UnknownCA) => (
            "untrusted_ca",
            "the client does not trust the CA of the hub: install the certificate that `ferrohub ca export` prints",
        ),
        Error::AlertReceived(Alert::BadCertificate | Alert::CertificateUnknown) => (
            "certificate_refused_by_client",
            "the client does not trust the CA of the hub (`ferrohub ca export`), or connects to a name that the hub's \
             certificate does not have",
        ),
        Error::AlertReceived(Alert::CertificateExpired) => (
            "certificate_refused_by_client",
            "compare the clocks of the client and the hub; renew the hub's certificate if it has expired",
        ),
        Error::AlertReceived(Alert::UnsupportedCertificate) => (
            "certificate_refused_by_client",
            "the client does not accept the hub's kind of certificate: use one of another kind in tls.certificate",
        ),
        Error::AlertReceived(Alert::ProtocolVersion) => ("tls_version", TLS_VERSION),
        Error::AlertReceived(Alert::HandshakeFailure | Alert::InsufficientSecurity) => {
            ("no_common_cipher", NO_COMMON_CIPHER)
        }
        Error::AlertReceived(_) => ("client_alert", "see the log of the client"),
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired
            // Clients of TLS 1.1 and older do not have this extension.
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
        ) => ("tls_version", TLS_VERSION),
        Error::PeerIncompatible(
            PeerIncompatible::NoCipherSuitesInCommon
            | PeerIncompatible::NoKxGroupsInCommon
            | PeerIncompatible::NoSignatureSchemesInCommon
            | PeerIncompatible::NoEcPointFormatsInCommon
            | PeerIncompatible::NamedGroupsExtensionRequired
            | PeerIncompatible::EcPointsExtensionRequired,
        ) => ("no_common_cipher", NO_COMMON_CIPHER),
        Error::PeerIncompatible(_) => ("tls_incompatible", "update the TLS library of the client"),
        Error::NoApplicationProtocol => {
            ("no_common_protocol", "offer http/1.1 or h2 with ALPN, or use the port of listen.mqtt for MQTT")
        }
        _ => ("handshake_failed", "update the TLS library of the client, or see its log"),
    }
}

const TLS_VERSION: &str = "the client must support TLS 1.2 or 1.3";
const NO_COMMON_CIPHER: &str =
    "the client must support ECDHE with AES-GCM or ChaCha20-Poly1305, and P-256, P-384 or X25519";

/// The verbs of HTTP requests; `PRI` begins HTTP/2.
const VERBS: [&str; 8] = ["GET ", "POST ", "PUT ", "PATCH ", "DELETE ", "HEAD ", "OPTIONS ", "PRI "];

/// Returns what a peer sent if its first bytes are not those of a TLS record with a handshake message.
pub(crate) fn plaintext(first: &[u8]) -> Option<Plaintext> {
    const HANDSHAKE: u8 = 22;
    const CONNECT: u8 = 0x10;
    match first {
        [] | [HANDSHAKE, ..] => None,
        [CONNECT, ..] => Some(Plaintext::Mqtt),
        first if VERBS.iter().any(|verb| first.starts_with(verb.as_bytes())) => Some(Plaintext::Http),
        _ => Some(Plaintext::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_what_was_sent_instead_of_tls() {
        for (bytes, expected) in [
            (&b"\x16\x03\x01\x02\x00"[..], None),
            (b"\x16", None),
            (b"\x10", Some(Plaintext::Mqtt)),
            (b"\x10\x1a\0\x04MQTT\x05", Some(Plaintext::Mqtt)),
            (b"GET / HTTP/1.1\r\n", Some(Plaintext::Http)),
            (b"PRI * HTTP/2.0\r\n", Some(Plaintext::Http)),
            (b"OPTIONS *", Some(Plaintext::Http)),
            (b"SSH-2.0-OpenSSH", Some(Plaintext::Other)),
            (b"AMQP\x03\x01\0\0", Some(Plaintext::Other)),
            (b"\x80\x2e\x01\x03\x01", Some(Plaintext::Other)),
            (b"hello", Some(Plaintext::Other)),
            (b"\0", Some(Plaintext::Other)),
        ] {
            assert_eq!(plaintext(bytes), expected, "{bytes:?}");
        }
    }

    fn reason(error: Error) -> &'static str {
        HandshakeError::Failed(io::Error::new(io::ErrorKind::InvalidData, error)).explain().0
    }

    #[test]
    fn each_kind_of_failure_has_its_reason() {
        let guide = include_str!("../../../../../docs/how-to/troubleshoot-clients.md");
        for (error, expected) in [
            (Error::AlertReceived(AlertDescription::UnknownCA), "untrusted_ca"),
            (Error::AlertReceived(AlertDescription::BadCertificate), "certificate_refused_by_client"),
            (Error::AlertReceived(AlertDescription::CertificateUnknown), "certificate_refused_by_client"),
            (Error::AlertReceived(AlertDescription::CertificateExpired), "certificate_refused_by_client"),
            (Error::AlertReceived(AlertDescription::InternalError), "client_alert"),
            (Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled), "tls_version"),
            (Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon), "no_common_cipher"),
            (Error::NoApplicationProtocol, "no_common_protocol"),
            (PeerIncompatible::NullCompressionRequired.into(), "tls_incompatible"),
            (Error::DecryptError, "handshake_failed"),
        ] {
            assert_eq!(reason(error.clone()), expected, "{error}");
            assert!(guide.contains(&format!("`{expected}`")), "the guide lacks {expected}");
        }
        let closed = HandshakeError::Failed(io::ErrorKind::UnexpectedEof.into());
        assert_eq!(closed.explain().0, "handshake_closed");
    }
}
