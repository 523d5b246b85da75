//! The address of the client whose request the current task serves, for the log.
//!
//! Operations of the hub do not depend on the client's address, so it is not a parameter of every one of them.

use std::net::SocketAddr;

use tracing::field::{DisplayValue, display};

tokio::task_local! {
    static PEER: SocketAddr;
}

/// Runs `future`; log lines that it writes about refused requests name `peer`.
pub fn with_peer<F: Future>(peer: SocketAddr, future: F) -> impl Future<Output = F::Output> {
    PEER.scope(peer, future)
}

/// Returns the address of the client of this request as a log field. `None` outside of [`with_peer`].
#[must_use]
pub fn peer() -> Option<DisplayValue<SocketAddr>> {
    PEER.try_with(|peer| display(*peer)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_peer_is_known_during_the_request_only() {
        let address = SocketAddr::from(([192, 0, 2, 1], 40_000));
        assert!(peer().is_none());
        let seen = with_peer(address, async { peer().map(|peer| peer.to_string()) }).await;
        assert_eq!(seen.as_deref(), Some("192.0.2.1:40000"));
        assert!(peer().is_none());
    }
}
