//! The peer of a connection, as far as it is known after the TLS handshake.

use std::net::SocketAddr;

use ferrohub_core::auth::PeerCertificate;

/// The peer of a TLS connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Its address and port.
    pub(crate) address: SocketAddr,
    /// The client certificate that it presented in the handshake.
    pub(crate) certificate: Option<PeerCertificate>,
    /// The protocol, for the log: `mqtt`, `mqtt-ws`, `amqp`, `amqp-ws`, `https`.
    pub(crate) protocol: &'static str,
}
