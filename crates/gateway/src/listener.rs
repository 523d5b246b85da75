//! Accepts connections and runs their TLS handshakes, with limits on number and time. Nothing is allocated for TLS
//! before the peer has sent its first byte.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ferrohub_core::auth::PeerCertificate;
use ferrohub_core::metrics::count;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;
use tracing::{debug, warn};

use crate::admission::{UnauthenticatedSlot, UnauthenticatedSlots};
use crate::metrics::GatewayMetrics;
use crate::peer::Peer;
use crate::tls::{self, TlsStream};

/// State that all listeners share.
#[derive(Debug, Clone)]
pub(crate) struct ListenerContext {
    /// One permit per open socket.
    pub(crate) sockets: Arc<Semaphore>,
    /// Slots for unauthenticated connections.
    pub(crate) unauthenticated_slots: Arc<UnauthenticatedSlots>,
    /// Time-out of the TLS handshake.
    pub(crate) handshake_timeout: Duration,
    pub(crate) metrics: GatewayMetrics,
}

/// A connection after its TLS handshake.
pub(crate) struct Accepted {
    pub(crate) stream: TlsStream<TcpStream>,
    pub(crate) peer: Peer,
    pub(crate) slot: ConnectionSlot,
}

/// The permit of an open socket and its slot for unauthenticated connections. Keep it as long as the socket.
pub(crate) struct ConnectionSlot {
    metrics: GatewayMetrics,
    _permit: OwnedSemaphorePermit,
    unauthenticated: UnauthenticatedSlot,
}

impl ConnectionSlot {
    /// Marks the connection as authenticated, so that it can no longer be evicted. Call this before starting anything
    /// that must not be cancelled half-way. Returns false if the connection has already been evicted; the caller must
    /// then end it.
    #[must_use]
    pub(crate) fn mark_authenticated(&self) -> bool {
        self.unauthenticated.release()
    }

    /// Marks the connection as unauthenticated again, after a failed authentication.
    pub(crate) fn readmit(&mut self) {
        self.unauthenticated.readmit();
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.metrics.sockets.dec();
    }
}

/// Accepts connections until `stop` is true, and runs `serve` for each. Returns when the last connection has ended.
pub(crate) async fn accept<F>(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    protocol: &'static str,
    context: ListenerContext,
    mut stop: watch::Receiver<bool>,
    serve: impl Fn(Accepted) -> F + Clone + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
            // Join tasks as they finish, not only when the listener stops.
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                if ended.is_err_and(|error| error.is_cancelled()) {
                    count(&context.metrics.rejected, "evicted");
                }
                continue;
            }
        };
        let (socket, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // The usual reason is a lack of file descriptors: wait until some are free instead of spinning.
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(_permit) = context.sockets.clone().try_acquire_owned() else {
            count(&context.metrics.rejected, "too_many_sockets");
            continue;
        };
        let unauthenticated = tokio::select! {
            unauthenticated = context.unauthenticated_slots.acquire() => unauthenticated,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        context.metrics.sockets.inc();
        let eviction = unauthenticated.eviction();
        let slot = ConnectionSlot { metrics: context.metrics.clone(), _permit, unauthenticated };
        let (tls, limit, serve) = (tls.clone(), context.handshake_timeout, serve.clone());
        // Each future is boxed separately: a connection in its handshake needs no memory for `serve` and vice versa,
        // and the task itself is little more than a pointer to the current future.
        let handshake = Box::pin(tokio::time::timeout(limit, handshake(socket, tls)));
        let task = tasks.spawn(async move {
            let result = handshake.await;
            let Some(stream) = handshake_stream(result, &slot.metrics, address, protocol) else { return };
            let certificate = stream.peer_certificates().and_then(PeerCertificate::new);
            let peer = Peer { address, certificate, protocol };
            Box::pin(serve(Accepted { stream, peer, slot })).await;
        });
        eviction.set_task(task);
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

async fn handshake(socket: TcpStream, tls: Arc<ServerConfig>) -> io::Result<TlsStream<TcpStream>> {
    socket.set_nodelay(true)?;
    socket.readable().await?;
    TlsStream::accept(socket, tls).await
}

/// Returns the stream of a successful handshake; counts and logs a failed one.
fn handshake_stream<T>(
    result: Result<io::Result<T>, Elapsed>,
    metrics: &GatewayMetrics,
    peer: SocketAddr,
    protocol: &str,
) -> Option<T> {
    let (reason, error) = match result {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => (tls::refusal(&error).map_or("handshake_failed", |(reason, _)| reason), error),
        Err(elapsed) => ("handshake_timeout", elapsed.into()),
    };
    record_rejection(metrics, peer, protocol, reason, &error);
    None
}

fn record_rejection(
    metrics: &GatewayMetrics,
    peer: SocketAddr,
    protocol: &str,
    reason: &'static str,
    error: &io::Error,
) {
    count(&metrics.rejected, reason);
    debug!(%peer, protocol, reason, %error, "TLS handshake failed");
}
