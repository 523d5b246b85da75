//! Serves HTTPS connections: HTTP/1.1 and HTTP/2, routes, limits, graceful shutdown.

use std::convert::Infallible;
use std::future::poll_fn;
use std::ops::Deref;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Method, Version, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use ferrohub_core::faults::FaultPoint;
use ferrohub_core::request_peer::with_peer;
use ferrohub_core::{Hub, log_limited};
use ferrohub_model::{ErrorCode, HubError};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tower::ServiceExt as _;
use tracing::debug;

use super::caller_connections::{CallerConnections, claimed_caller};
use super::connection::HttpConnection;
use super::error::{ApiError, ErrorFormat, registry_error};
use super::request_body::RequestBody;
use super::request_path::without_trailing_slash;
use super::transfer_permits::TransferPermits;
use super::{
    cloud_to_device, device_events, device_messages, devices, events, faults, files, keys, management,
    method, modules, statistics, twins, websocket,
};
use crate::listener::Accepted;
use crate::metrics::GatewayMetrics;
use crate::mqtt::MqttLimits;
use crate::peer::Peer;
use crate::write_timeout::{Unsent, WriteTimeout};

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

/// Limits of the HTTPS endpoint.
#[derive(Debug, Clone)]
pub(crate) struct HttpLimits {
    pub(crate) body_bytes: usize,
    pub(crate) request_timeout: Duration,
    /// Maximum time that a client may read nothing of a response.
    pub(crate) write_timeout: Duration,
    /// Maximum number of open connections of one caller.
    pub(crate) connections_per_caller: usize,
    /// Maximum number of concurrent file transfers of devices; services have the same number again.
    pub(crate) file_transfers: usize,
    /// Maximum number of concurrent file transfers of one device.
    pub(crate) file_transfers_per_device: usize,
    /// Maximum time without progress of a file transfer.
    pub(crate) file_idle_timeout: Duration,
}

/// State that all handlers share.
#[derive(Clone)]
pub(crate) struct Api(Arc<ApiInner>);

pub(crate) struct ApiInner {
    pub(crate) hub: Arc<Hub>,
    pub(crate) limits: HttpLimits,
    pub(crate) mqtt: MqttLimits,
    pub(crate) metrics: GatewayMetrics,
    pub(crate) transfer_permits: TransferPermits,
    pub(super) caller_connections: Arc<CallerConnections>,
}

impl Deref for Api {
    type Target = ApiInner;

    fn deref(&self) -> &ApiInner {
        &self.0
    }
}

/// Serves HTTPS connections.
#[derive(Clone)]
pub(crate) struct Server {
    api: Api,
    /// All routes except method calls.
    router: Router,
    stop: watch::Receiver<bool>,
}

impl Server {
    pub(crate) fn new(
        hub: Arc<Hub>,
        limits: HttpLimits,
        mqtt: MqttLimits,
        metrics: GatewayMetrics,
        extra_routes: Router,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let transfer_permits = TransferPermits::new(limits.file_transfers, limits.file_transfers_per_device);
        let caller_connections = CallerConnections::new(limits.connections_per_caller);
        let api =
            Api(Arc::new(ApiInner { hub, limits, mqtt, metrics, transfer_permits, caller_connections }));
        let router = Router::new()
            .route("/devices", get(devices::list))
            .route("/devices/{id}", get(devices::get).put(devices::put).delete(devices::delete))
            .route("/devices/{id}/messages/events", post(device_events::send))
            .route("/devices/{id}/modules", get(modules::list))
            .route(
                "/devices/{id}/modules/{module}",
                get(modules::get).put(modules::put).delete(modules::delete),
            )
            .route("/statistics/devices", get(statistics::devices))
            .route("/statistics/service", get(statistics::service))
            .route("/messages/events", get(events::read))
            .route("/messages/events/partitions", get(events::partitions))
            .route("/devices/{id}/modules/{module}/messages/events", post(device_events::send))
            .route("/twins/{id}", get(twins::get).patch(twins::patch).put(twins::put))
            .route("/twins/{id}/modules/{module}", get(twins::get).patch(twins::patch).put(twins::put))
            .merge(message_routes())
            .route("/$iothub/websocket", get(websocket::upgrade))
            .merge(files::routes())
            .nest("/ferrohub", management::routes().merge(keys::routes()).merge(faults::routes()))
            .with_state(api.clone())
            .merge(extra_routes.layer(map_response(mark_public)))
            .method_not_allowed_fallback(async || method_not_allowed())
            .fallback(async || {
                ApiError::new(
                    HubError::new(ErrorCode::GenericNotFound, "The resource does not exist."),
                    ErrorFormat::Registry,
                )
            });
        Self { api, router, stop }
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
        let stream = TokioIo::new(WriteTimeout::new(stream, self.api.limits.write_timeout));
        // A connection that sends no request within the time-out is closed.
        let first_request_timeout = {
            let (connection, limit) = (connection.clone(), self.api.limits.request_timeout);
            async move {
                tokio::time::sleep(limit).await;
                if connection.has_received_request() {
                    std::future::pending::<()>().await;
                }
            }
        };
        // Calls in flight end within the hub's shutdown time-out.
        let shutdown_timeout = self.api.hub.limits().shutdown_timeout + SHUTDOWN_MARGIN;
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
        if let Some((upgrade, slot)) = connection.take_upgrade() {
            websocket::serve(upgrade, peer, self.api.hub.clone(), self.api.mqtt.clone(), slot).await;
        }
    }

    /// Handles one request. Method calls bypass the router: there may be thousands per second, and routing would cost
    /// as much as the call itself.
    async fn handle_request(
        self,
        connection: HttpConnection,
        peer: Peer,
        mut request: Request<Incoming>,
    ) -> Result<Response, Infallible> {
        let was_unauthenticated = connection.begin_request();
        // The caller is only a claim until the request succeeds.
        let caller = if connection.is_authenticated() {
            None
        } else {
            claimed_caller(request.headers(), request.uri())
        };
        if let Some(uri) = without_trailing_slash(request.uri()) {
            *request.uri_mut() = uri;
        }
        if self.api.hub.has_fault(FaultPoint::Request)
            && let Some(response) =
                faults::injected_response(&self.api, request.method().as_str(), request.uri().path())
        {
            let _body = self.request_body(&connection, request);
            connection.end_request(was_unauthenticated, false, None);
            self.api.metrics.requests.count(response.status().as_u16());
            return Ok(response);
        }
        let response = match method::parse_target(request.uri().path()) {
            _ if !has_one_host(&request) => {
                let _body = self.request_body(&connection, request);
                let text = "The request must have exactly one Host header.";
                registry_error(HubError::new(ErrorCode::ArgumentInvalid, text)).into_response()
            }
            _ if caller.as_deref().is_some_and(|caller| self.api.caller_connections.is_full(caller)) => {
                let _body = self.request_body(&connection, request);
                self.api.caller_connections.refusal().into_response()
            }
            Some(target) if request.method() == Method::POST => {
                method::invoke(&self.api, &connection, target, request).await
            }
            Some(_) => {
                let _body = self.request_body(&connection, request);
                ([(header::ALLOW, HeaderValue::from_static("POST"))], method_not_allowed()).into_response()
            }
            None => {
                request.extensions_mut().insert(connection.clone());
                request.extensions_mut().insert(peer);
                let (head, body) = request.into_parts();
                let limit = self.api.limits.request_timeout;
                let body = RequestBody::new(body, &head.headers, limit, connection.clone());
                let request = Request::from_parts(head, Body::new(body));
                self.router.oneshot(request).await.into_response()
            }
        };
        let status = response.status();
        let allowed = status.is_success() && response.extensions().get::<Public>().is_none();
        let caller = caller.map(|caller| (&self.api.caller_connections, caller));
        connection.end_request(was_unauthenticated, allowed, caller);
        self.api.metrics.requests.count(status.as_u16());
        Ok(response)
    }

    /// Returns the body of a refused request, which the client can still send.
    fn request_body(&self, connection: &HttpConnection, request: Request<Incoming>) -> RequestBody {
        let (head, body) = request.into_parts();
        RequestBody::new(body, &head.headers, self.api.limits.request_timeout, connection.clone())
    }
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

/// Routes of cloud-to-device messages. Clients differ in the capitalisation of the queue names.
fn message_routes() -> Router<Api> {
    let mut router = Router::new()
        .route("/devices/{id}/commands", delete(cloud_to_device::purge))
        .route("/devices/{id}/modules/{module}/commands", delete(cloud_to_device::purge));
    for queue in ["deviceBound", "devicebound"] {
        router = router.route(&format!("/messages/{queue}"), post(cloud_to_device::send));
        for path in ["/devices/{id}", "/devices/{id}/modules/{module}"] {
            let path = format!("{path}/messages/{queue}");
            router = router
                .route(&path, get(device_messages::receive))
                .route(&format!("{path}/{{token}}"), delete(device_messages::complete))
                .route(&format!("{path}/{{token}}/abandon"), post(device_messages::abandon));
        }
    }
    for queue in ["serviceBound", "servicebound"] {
        let path = format!("/messages/{queue}/feedback");
        router = router
            .route(&path, get(cloud_to_device::receive_feedback))
            .route(&format!("{path}/{{token}}"), delete(cloud_to_device::complete_feedback))
            .route(&format!("{path}/{{token}}/abandon"), post(cloud_to_device::abandon_feedback));
    }
    router
}

/// Marks a response that any client gets: it does not authenticate the connection.
#[derive(Clone)]
struct Public;

async fn mark_public(mut response: Response) -> Response {
    response.extensions_mut().insert(Public);
    response
}

fn method_not_allowed() -> ApiError {
    ApiError::new(
        HubError::new(ErrorCode::GenericMethodNotAllowed, "Method not allowed."),
        ErrorFormat::Registry,
    )
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
