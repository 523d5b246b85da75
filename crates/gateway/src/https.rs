//! The HTTPS endpoint: serves HTTP/1.1 and HTTP/2 connections and gives each request to its head, with limits and a
//! graceful shutdown.

use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::http::{HeaderValue, Method, Version, header};
use axum::response::{IntoResponse as _, Response};
use ferrohub_core::faults::FaultPoint;
use ferrohub_core::panics::record_panic;
use ferrohub_core::request_peer::with_peer;
use ferrohub_core::{Hub, Operation, log_limited};
use ferrohub_model::{ErrorCode, HubError};
use futures_util::FutureExt as _;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tower::ServiceExt as _;
use tracing::debug;

use crate::heads::amqp;
use crate::heads::blob;
use crate::heads::mqtt::{self, MqttLimits};
use crate::heads::rest::{self, ApiError, ErrorFormat};
use crate::http::{
    HttpConnection, HttpContext, HttpLimits, RequestBody, Subprotocol, accept_upgrade, without_trailing_slash,
};
use crate::metrics::GatewayMetrics;
use crate::transport::peer::Peer;
use crate::transport::tcp::Accepted;
use crate::transport::websocket::WebSocketIo;
use crate::transport::write_timeout::{Unsent, WriteTimeout};

/// Maximum number of concurrent requests on one HTTP/2 connection, as RFC 9113 recommends (5.1.2). hyper cannot change it
/// once a connection is authenticated, so it also bounds what a peer that is not authenticated can hold.
const HTTP2_STREAMS: u32 = 100;
/// Maximum bytes of request bodies of one HTTP/2 connection that have arrived and are not read, for example while a token
/// is verified. One request may use all of it.
const HTTP2_WINDOW: u32 = 256 * 1024;
/// How long an idle connection stays open. Longer than the minute or two of usual client connection pools: if the hub
/// closed first, a request in flight would fail.
const KEEP_ALIVE: Duration = Duration::from_secs(240);
/// How much longer than calls in flight a connection may take to close when the hub stops.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(5);
/// Maximum size of the headers of one request, in bytes. They contain the properties of a message, up to 27 KiB, and a
/// token: 11 KiB for one of Entra with the maximum of 200 groups.
const HEADER_BYTES: usize = 32 * 1024;

/// The paths of WebSocket, and what is spoken there. Python's service client uses the second one.
const WEBSOCKET_PATHS: [(&str, &[Subprotocol]); 2] = [
    ("/$iothub/websocket", &[Subprotocol::Mqtt, Subprotocol::Amqp]),
    ("/$servicebus/websocket", &[Subprotocol::Amqp]),
];
/// Paths below these contain the name of a file, which is compared as it is.
const FILE_PATHS: [&str; 3] = [blob::PATH, blob::IMPORT_EXPORT_PATH, rest::FILES_PATH];

/// Serves HTTPS connections. Every connection has a clone.
#[derive(Clone)]
pub(crate) struct Server {
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
}

struct Shared {
    context: HttpContext,
    mqtt: MqttLimits,
    amqp: amqp::Server,
    /// Routes that any client may use, such as health.
    public_routes: Router,
}

impl Server {
    pub(crate) fn new(
        hub: Arc<Hub>,
        limits: HttpLimits,
        mqtt: MqttLimits,
        amqp: amqp::Server,
        metrics: GatewayMetrics,
        public_routes: Router,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let public_routes = public_routes
            .method_not_allowed_fallback(async || {
                let error = HubError::new(ErrorCode::GenericMethodNotAllowed, "Method not allowed.");
                ApiError::new(error, ErrorFormat::Registry)
            })
            .fallback(async || {
                let error = HubError::new(ErrorCode::GenericNotFound, "The resource does not exist.");
                ApiError::new(error, ErrorFormat::Registry)
            });
        let context = HttpContext::new(hub, limits, metrics);
        Self { shared: Arc::new(Shared { context, mqtt, amqp, public_routes }), stop }
    }

    /// Serves one TLS connection: HTTP/2 if ALPN selected it, otherwise HTTP/1.1.
    pub(crate) fn serve(self, accepted: Accepted) -> impl Future<Output = ()> {
        let is_http2 = accepted.stream.alpn_protocol() == Some(b"h2");
        self.serve_stream(accepted, is_http2)
    }

    /// Serves one connection, with HTTP/2 or HTTP/1.1.
    pub(crate) async fn serve_stream<S>(mut self, accepted: Accepted<S>, is_http2: bool)
    where
        S: AsyncRead + AsyncWrite + Unsent + Unpin + Send + 'static,
    {
        let Accepted { stream, peer, slot } = accepted;
        let connection = HttpConnection::new(slot);
        let service = service_fn({
            let (server, connection, peer) = (self.clone(), connection.clone(), peer.clone());
            move |request| {
                let handled = server.clone().handle_request(connection.clone(), peer.clone(), request);
                with_peer(peer.address, handled)
            }
        });
        let stream = TokioIo::new(WriteTimeout::new(stream, self.shared.context.limits.write_timeout));
        // A connection that sends no request within the time-out is closed.
        let first_request_timeout = {
            let (connection, limit) = (connection.clone(), self.shared.context.limits.request_timeout);
            async move {
                tokio::time::sleep(limit).await;
                if connection.has_received_request() {
                    std::future::pending::<()>().await;
                }
            }
        };
        // Calls in flight end within the hub's shutdown time-out.
        let shutdown_timeout = self.shared.context.hub.limits().shutdown_timeout + SHUTDOWN_MARGIN;
        let result = if is_http2 {
            let http = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(Duration::from_secs(60))
                .max_header_list_size(HEADER_BYTES as u32)
                .max_concurrent_streams(HTTP2_STREAMS)
                .initial_connection_window_size(HTTP2_WINDOW)
                .initial_stream_window_size(HTTP2_WINDOW)
                .serve_connection(stream, service);
            serve_until_shutdown(
                http,
                &mut self.stop,
                first_request_timeout,
                http2::Connection::graceful_shutdown,
                shutdown_timeout,
            )
            .await
        } else {
            let http = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(KEEP_ALIVE)
                .max_buf_size(HEADER_BYTES)
                .serve_connection(stream, service)
                .with_upgrades();
            serve_until_shutdown(
                http,
                &mut self.stop,
                first_request_timeout,
                http1::UpgradeableConnection::graceful_shutdown,
                shutdown_timeout,
            )
            .await
        };
        record_end(&connection, &peer, &self.stop, result);
        let Some((upgrade, subprotocol, slot)) = connection.take_upgrade() else { return };
        match (upgrade.await, subprotocol) {
            (Ok(upgraded), Subprotocol::Mqtt) => {
                let stream = WebSocketIo::new(TokioIo::new(upgraded));
                let peer = Peer { protocol: "mqtt-ws", ..peer };
                mqtt::serve(stream, peer, self.shared.context.hub.clone(), self.shared.mqtt.clone(), slot)
                    .await;
            }
            (Ok(upgraded), Subprotocol::Amqp) => {
                let stream = WebSocketIo::new(TokioIo::new(upgraded));
                let peer = Peer { protocol: "amqp-ws", ..peer };
                self.shared.amqp.clone().serve(Accepted { stream, peer, slot }).await;
            }
            (Err(error), _) => {
                debug!(reason = "upgrade_failed", peer = %peer.address, %error, "WebSocket upgrade failed");
            }
        }
    }

    /// Handles one request.
    async fn handle_request(
        self,
        connection: HttpConnection,
        peer: Peer,
        mut request: Request<Incoming>,
    ) -> Result<Response, Infallible> {
        connection.begin_request();
        if let Some(uri) = without_trailing_slash(request.uri(), &FILE_PATHS) {
            *request.uri_mut() = uri;
        }
        let is_head = request.method() == Method::HEAD;
        let found = rest::find(request.method(), request.uri().path());
        let wanted = found.as_ref().and_then(rest::Found::operation);
        let panics = &self.shared.context.hub.metrics().panics;
        let responding = self.respond(&connection, &peer, request, found);
        let (operation, mut response) = match AssertUnwindSafe(responding).catch_unwind().await {
            Ok(responded) => responded,
            Err(panic) => {
                record_panic(panics, "https", &*panic);
                let text = "The hub failed while it processed the request; the log of the hub says why.";
                let error = HubError::new(ErrorCode::ServerError, text);
                (wanted, ApiError::new(error, ErrorFormat::Registry).into_response())
            }
        };
        if is_head {
            remove_body(&mut response);
        }
        self.shared.context.metrics.requests.count(operation, response.status().as_u16());
        Ok(response)
    }

    /// Gives a request to its head. Also returns the operation that it asks for, if it is one.
    async fn respond(
        &self,
        connection: &HttpConnection,
        peer: &Peer,
        request: Request<Incoming>,
        found: Option<rest::Found>,
    ) -> (Option<Operation>, Response) {
        let path = request.uri().path();
        let operation = found.as_ref().and_then(rest::Found::operation);
        if self.shared.context.hub.has_fault(FaultPoint::Request)
            && let Some(response) =
                rest::injected_response(&self.shared.context.hub, request.method().as_str(), path)
        {
            let _body = self.split(connection, request);
            return (operation, response);
        }
        if !has_one_host(&request) {
            let _body = self.split(connection, request);
            let error =
                HubError::new(ErrorCode::ArgumentInvalid, "The request must have exactly one Host header.");
            return (operation, ApiError::new(error, ErrorFormat::Registry).into_response());
        }
        if let Some(found) = found {
            let (head, body) = self.split(connection, request);
            return (operation, rest::serve(&self.shared.context, connection, peer, found, head, body).await);
        }
        if blob::is_below(path) {
            let (head, body) = self.split(connection, request);
            return Box::pin(blob::serve(&self.shared.context, connection, head, body)).await;
        }
        if let Some((_, subprotocols)) = WEBSOCKET_PATHS.iter().find(|(websocket, _)| path == *websocket) {
            return (None, self.upgrade(connection, request, subprotocols));
        }
        let (head, body) = self.split(connection, request);
        let request = Request::from_parts(head, Body::new(body));
        (None, Box::pin(self.shared.public_routes.clone().oneshot(request)).await.into_response())
    }

    /// Upgrades the connection to WebSocket.
    fn upgrade(
        &self,
        connection: &HttpConnection,
        mut request: Request<Incoming>,
        subprotocols: &[Subprotocol],
    ) -> Response {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let _body = self.split(connection, request);
            return rest::method_not_allowed(HeaderValue::from_static("GET,HEAD"));
        }
        accept_upgrade(connection, &mut request, subprotocols)
            .unwrap_or_else(|error| ApiError::new(error, ErrorFormat::Registry).into_response())
    }

    /// Splits a request. The client can still send the body of a request that is refused.
    fn split(
        &self,
        connection: &HttpConnection,
        request: Request<Incoming>,
    ) -> (axum::http::request::Parts, RequestBody) {
        let (head, body) = request.into_parts();
        let timeout = self.shared.context.limits.request_timeout;
        let body = RequestBody::new(body, &head.headers, timeout, connection.clone());
        (head, body)
    }
}

/// Removes the body of a response to HEAD. Its length stays in the headers (RFC 9110, 9.3.2).
fn remove_body(response: &mut Response) {
    let length = response.body().size_hint().exact();
    if let Some(length) = length.filter(|_| !response.headers().contains_key(header::CONTENT_LENGTH)) {
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    *response.body_mut() = Body::empty();
}

/// Returns whether the request names its host once (RFC 9112, 3.2). In HTTP/2, `:authority` replaces the header.
fn has_one_host(request: &Request<Incoming>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => !host.is_empty(),
        (None, _) => request.version() < Version::HTTP_11 || request.uri().authority().is_some(),
        (Some(_), Some(_)) => false,
    }
}

/// Logs the end of a connection. It ends without a request if a client verifies the hub's certificate after the handshake
/// and refuses it; Node.js may do so.
fn record_end(
    connection: &HttpConnection,
    peer: &Peer,
    stop: &watch::Receiver<bool>,
    result: Result<(), ConnectionError>,
) {
    let (reason, error) = match result {
        Ok(()) => ("closed_before_request", None),
        Err(ConnectionError { reason, error }) => (reason, Some(error)),
    };
    if connection.has_received_request() || *stop.borrow() {
        debug!(reason, peer = %peer.address, error, "HTTPS connection closed");
        return;
    }
    let remedy = match reason {
        "closed_before_request" | "connection_failed" => {
            "see the log of the client: Node.js does this if it does not trust the CA of the hub (`ferrohub ca export`), \
             or connects to a name that the hub's certificate does not have"
        }
        "headers_too_large" => "send at most 32 KiB of headers",
        "request_timeout" => "send a request within limits.http_request_timeout_seconds",
        _ => "use HTTP/1.1 or HTTP/2 on this port, MQTT on the port of listen.mqtt",
    };
    connection.count_rejection(reason);
    log_limited!(info, "HTTPS connection closed before its first request", reason, peer = %peer.address, error, remedy);
}

/// Why a connection ended.
struct ConnectionError {
    /// A fixed word for log and metrics.
    reason: &'static str,
    error: String,
}

impl From<hyper::Error> for ConnectionError {
    fn from(error: hyper::Error) -> Self {
        let reason = if error.is_parse_too_large() {
            "headers_too_large"
        } else if error.is_parse() {
            "malformed_request"
        } else if error.is_timeout() {
            "request_timeout"
        } else {
            "connection_failed"
        };
        Self { reason, error: error.to_string() }
    }
}

/// Runs a connection until it closes. When the hub stops, `shut_down` starts the graceful shutdown: requests in flight
/// complete, within `shutdown_timeout`. When `first_request_timeout` completes, the connection is closed at once.
async fn serve_until_shutdown<C, T>(
    connection: C,
    stop: &mut watch::Receiver<bool>,
    first_request_timeout: impl Future<Output = ()>,
    shut_down: impl FnOnce(Pin<&mut C>),
    shutdown_timeout: Duration,
) -> Result<(), ConnectionError>
where
    C: Future<Output = Result<T, hyper::Error>>,
{
    let mut connection = pin!(connection);
    let mut stopped = pin!(stop.wait_for(|stop| *stop));
    let mut first_request_timeout = pin!(first_request_timeout);
    let convert = |result: Result<T, hyper::Error>| result.map(drop).map_err(ConnectionError::from);
    let ended = poll_fn(|cx| {
        if let Poll::Ready(result) = connection.as_mut().poll(cx) {
            return Poll::Ready(Some(convert(result)));
        }
        if first_request_timeout.as_mut().poll(cx).is_ready() {
            let error = "no request within the time-out".to_owned();
            return Poll::Ready(Some(Err(ConnectionError { reason: "request_timeout", error })));
        }
        stopped.as_mut().poll(cx).map(|_| None)
    });
    match ended.await {
        Some(result) => result,
        None => {
            shut_down(connection.as_mut());
            // A slow file transfer must not keep the hub from stopping.
            match Box::pin(tokio::time::timeout(shutdown_timeout, connection)).await {
                Ok(result) => convert(result),
                Err(_) => {
                    let error = "the connection did not close within the shutdown time-out".to_owned();
                    Err(ConnectionError { reason: "shutdown_timeout", error })
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the size of the future that the function returns, without calling it.
    fn size_of_future<A, F: Future>(_: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }

    /// The hub has one of these futures per HTTPS connection: its size must not grow unnoticed.
    #[test]
    fn a_connection_is_small() {
        let size = size_of_future(|(server, accepted): (Server, Accepted)| server.serve(accepted));
        assert!(size <= 7752, "{size}");
    }
}
