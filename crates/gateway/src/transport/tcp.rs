//! Accepts connections and runs their TLS handshakes, with limits on number and time. Nothing is allocated for TLS
//! before the peer has sent its first byte.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use ferrohub_core::auth::PeerCertificate;
use ferrohub_core::background::Stop;
use ferrohub_core::log_limited;
use ferrohub_core::metrics::{Outcomes, count};
use ferrohub_core::panics::catch_panic;
use prometheus_client::metrics::gauge::Gauge;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;
use tracing::debug;

use crate::admission::{Eviction, UnauthenticatedSlot, UnauthenticatedSlots};
use crate::metrics::GatewayMetrics;
use crate::transport::accept_errors::{AcceptErrors, AcceptFailure};
use crate::transport::peer::Peer;
use crate::transport::tls::{self, HandshakeError, TlsStream};

/// Number of bytes that tell TLS from other protocols.
const FIRST_BYTES: usize = 16;

/// How long a listener waits after an error before it accepts again: an evicted connection has closed its socket then.
const RETRY_DELAY: Duration = Duration::from_millis(10);
/// How long a listener waits for the socket of an evicted connection.
const EVICTION_TIMEOUT: Duration = Duration::from_secs(1);

/// The outcome of a handshake, which has a time-out.
type HandshakeResult = Result<Result<TlsStream<TcpStream>, HandshakeError>, Elapsed>;

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
    pub(crate) accept_errors: Arc<AcceptErrors>,
    /// Panics of connections, by protocol.
    pub(crate) panics: Outcomes,
}

impl ListenerContext {
    /// Admits a new connection once a slot for unauthenticated connections is free. `None` if the maximum number of
    /// sockets is open and all belong to authenticated connections. Cancel-safe: dropping the future admits nothing.
    pub(crate) async fn admit(&self) -> Option<ConnectionSlot> {
        let Some(permit) = self.socket_permit().await else {
            count(&self.metrics.rejected, "too_many_sockets");
            return None;
        };
        let unauthenticated = self.unauthenticated_slots.acquire().await;
        self.metrics.sockets.inc();
        let GatewayMetrics { sockets, rejected, .. } = &self.metrics;
        let (sockets, rejected) = (sockets.clone(), rejected.clone());
        Some(ConnectionSlot { sockets, rejected, _permit: permit, unauthenticated })
    }

    /// Takes the permit of a socket. If all are in use, evicts the oldest unauthenticated connection. `None` if all
    /// belong to authenticated connections. Cancel-safe.
    async fn socket_permit(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(permit) = self.sockets.clone().try_acquire_owned() {
                return Some(permit);
            }
            if !self.unauthenticated_slots.evict_oldest().await {
                return None;
            }
            // Another listener may be faster.
            let permit = tokio::time::timeout(EVICTION_TIMEOUT, self.sockets.clone().acquire_owned()).await;
            if let Ok(Ok(permit)) = permit {
                return Some(permit);
            }
        }
    }

    /// Does what is possible after an error of accept(2), so that the next attempt may succeed.
    async fn recover(&self, error: &io::Error) {
        match self.accept_errors.record(error) {
            AcceptFailure::OutOfFiles => {
                // Without an unauthenticated connection, files become free when others close theirs.
                let _ = self.unauthenticated_slots.evict_oldest().await;
            }
            AcceptFailure::Other => {}
            AcceptFailure::PeerGone => return,
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

/// A connection after its TLS handshake.
pub(crate) struct Accepted<S = TlsStream<TcpStream>> {
    pub(crate) stream: S,
    pub(crate) peer: Peer,
    pub(crate) slot: ConnectionSlot,
}

/// The permit of an open socket and its slot for unauthenticated connections. Keep it as long as the socket.
///
/// Every connection has one, so it has only the metrics that it needs.
pub(crate) struct ConnectionSlot {
    sockets: Gauge<i64, AtomicI64>,
    rejected: Outcomes,
    _permit: OwnedSemaphorePermit,
    unauthenticated: UnauthenticatedSlot,
}

impl ConnectionSlot {
    /// Returns the handle that evicts the connection while it is unauthenticated.
    pub(crate) fn eviction(&self) -> Arc<Eviction> {
        self.unauthenticated.eviction()
    }

    /// Marks the connection as authenticated, so that it can no longer be evicted. Call this before starting anything
    /// that must not be cancelled half-way. Marking it again has no effect. Returns false if the connection has already
    /// been evicted; the caller must then end it.
    #[must_use]
    pub(crate) fn mark_authenticated(&self) -> bool {
        self.unauthenticated.release()
    }

    /// Counts the end of the connection before its authentication.
    pub(crate) fn count_rejection(&self, reason: &'static str) {
        count(&self.rejected, reason);
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.sockets.dec();
    }
}

/// A listener and the tasks of its connections. They outlive a panic of [`accept`], which then goes on with them.
pub(crate) struct Acceptor {
    /// `None` when it accepts no more.
    listener: Option<TcpListener>,
    tasks: JoinSet<()>,
}

impl Acceptor {
    pub(crate) fn new(listener: TcpListener) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { listener: Some(listener), tasks: JoinSet::new() }))
    }
}

/// Accepts connections until `stop` is true, and runs `serve` for each. Returns when the last connection has ended.
pub(crate) async fn accept<F>(
    acceptor: Arc<Mutex<Acceptor>>,
    tls: Arc<ServerConfig>,
    protocol: &'static str,
    context: ListenerContext,
    mut stop: Stop,
    serve: impl Fn(Accepted) -> F + Clone + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut acceptor = acceptor.lock().await;
    let Acceptor { listener, tasks } = &mut *acceptor;
    while let Some(open) = &*listener {
        let accepted = tokio::select! {
            accepted = open.accept() => accepted,
            () = stop.requested() => break,
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
                tokio::select! {
                    () = context.recover(&error) => continue,
                    () = stop.requested() => break,
                }
            }
        };
        let slot = tokio::select! {
            slot = context.admit() => slot,
            () = stop.requested() => break,
        };
        let Some(slot) = slot else { continue };
        let eviction = slot.eviction();
        let (tls, limit, serve) = (tls.clone(), context.handshake_timeout, serve.clone());
        let panics = context.panics.clone();
        let handshake = Box::pin(tokio::time::timeout(limit, handshake(socket, tls)));
        // Called after the handshake, and not inlined in the task: the task would keep the memory of each variable that
        // is borrowed there, such as that of the stream.
        let begin = move |result: HandshakeResult| {
            let stream = handshake_stream(result, limit, &slot.rejected, address, protocol)?;
            let certificate = stream.peer_certificates().and_then(PeerCertificate::new);
            let peer = Peer { address, certificate, protocol };
            // A panic that no head has caught ends the connection.
            Some(Box::pin(catch_panic(panics, protocol, serve(Accepted { stream, peer, slot }))))
        };
        let task = tasks.spawn(serve_after(handshake, begin));
        eviction.set_task(task);
    }
    // Closes the socket.
    *listener = None;
    while tasks.join_next().await.is_some() {}
}

/// Waits for the handshake, then for the connection that `begin` returns.
///
/// Each future is boxed separately: a connection in its handshake needs no memory for what follows and vice versa, and the
/// task itself is little more than a pointer to the current future.
async fn serve_after<R, F: Future>(
    handshake: Pin<Box<impl Future<Output = R>>>,
    begin: impl FnOnce(R) -> Option<Pin<Box<F>>>,
) {
    if let Some(serving) = begin(handshake.await) {
        let _ = serving.await;
    }
}

async fn handshake(
    socket: TcpStream,
    tls: Arc<ServerConfig>,
) -> Result<TlsStream<TcpStream>, HandshakeError> {
    socket.set_nodelay(true)?;
    let mut first = [0; FIRST_BYTES];
    let length = socket.peek(&mut first).await?;
    if length == 0 {
        return Err(HandshakeError::NothingSent);
    }
    match tls::plaintext(first.get(..length).unwrap_or_default()) {
        Some(plaintext) => Err(HandshakeError::Plaintext(plaintext)),
        None => Ok(TlsStream::accept(socket, tls).await?),
    }
}

/// Returns the stream of a successful handshake; counts and logs a failed one.
fn handshake_stream<T>(
    result: Result<Result<T, HandshakeError>, Elapsed>,
    limit: Duration,
    rejected: &Outcomes,
    peer: SocketAddr,
    protocol: &str,
) -> Option<T> {
    let error = match result {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => error,
        Err(_) => HandshakeError::Timeout(limit),
    };
    let (reason, remedy) = error.explain();
    count(rejected, reason);
    if matches!(error, HandshakeError::NothingSent) {
        debug!(reason, %peer, protocol, %error, "TLS handshake failed");
    } else {
        log_limited!(info, "TLS handshake failed", reason, %peer, protocol, %error, remedy);
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use ferrohub_core::background::Background;
    use rustls::server::ResolvesServerCertUsingSni;
    use tokio::io::AsyncReadExt as _;
    use tokio::sync::watch;

    use super::*;

    /// Panics when it is cloned for the second connection.
    struct PlantedPanic(Arc<AtomicU32>);

    impl Clone for PlantedPanic {
        fn clone(&self) -> Self {
            assert!(self.0.fetch_add(1, Ordering::SeqCst) != 1, "planted");
            Self(self.0.clone())
        }
    }

    #[test]
    fn a_task_holds_neither_the_stream_nor_the_connection() {
        type Stream = [u8; 1000];
        let begin = |stream: Stream| {
            let length = stream.len();
            Some(Box::pin(async move {
                std::future::ready(()).await;
                assert_eq!(stream.len(), length);
            }))
        };
        let task = serve_after(Box::pin(async { [0; 1000] }), begin);
        assert!(size_of_val(&task) <= 64, "{}", size_of_val(&task));
    }

    #[tokio::test]
    async fn a_listener_that_panics_is_started_again_and_keeps_its_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let resolver = Arc::new(ResolvesServerCertUsingSni::new());
        let tls = Arc::new(tls.with_no_client_auth().with_cert_resolver(resolver));
        let metrics = GatewayMetrics::default();
        let context = ListenerContext {
            sockets: Arc::new(Semaphore::new(10)),
            unauthenticated_slots: UnauthenticatedSlots::new(10),
            handshake_timeout: Duration::from_secs(60),
            accept_errors: Arc::new(AcceptErrors::new(metrics.accept_failures.clone())),
            metrics: metrics.clone(),
            panics: Outcomes::default(),
        };
        let (background, stop) = (Background::default(), watch::Sender::new(false));
        let acceptor = Acceptor::new(listener);
        let clones = Arc::new(AtomicU32::new(0));
        let planted = clones.clone();
        let task = tokio::spawn(background.supervise("listener", stop.subscribe().into(), move |stop| {
            // Not cloned here: the clones are counted.
            let planted = PlantedPanic(planted.clone());
            let serve = move |_| {
                let _ = &planted;
                async {}
            };
            accept(acceptor.clone(), tls.clone(), "test", context.clone(), stop, serve)
        }));
        let sockets_are = async |count: i64| {
            while metrics.sockets.get() != count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let mut first = TcpStream::connect(address).await.unwrap();
        sockets_are(1).await;
        // Its socket is closed by the panic.
        let mut second = TcpStream::connect(address).await.unwrap();
        assert_eq!(second.read(&mut [0]).await.unwrap_or(0), 0);
        assert_eq!(background.problems().len(), 1);
        let third = TcpStream::connect(address).await.unwrap();
        sockets_are(2).await;
        let open = tokio::time::timeout(Duration::from_millis(1), first.read(&mut [0])).await;
        assert!(open.is_err(), "the first connection is still open");
        drop(first);
        drop(third);
        stop.send_replace(true);
        task.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "a listener that stops closes its socket");
    }
}
