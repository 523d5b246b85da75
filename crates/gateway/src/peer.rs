//! Who is at the other end of a transport, before it has said anything.

use std::net::SocketAddr;

use ferrohub_core::auth::PeerCertificate;

/// The other end of a TLS connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// What it presented in the handshake.
    pub(crate) certificate: Option<PeerCertificate>,
    /// The protocol it speaks, for the log: `mqtt`, `mqtt-ws`, `https`.
    pub(crate) protocol: &'static str,
}
