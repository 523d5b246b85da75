//! One HTTPS connection: HTTP/1.1 or HTTP/2, routes, limits, graceful end.

use std::convert::Infallible;
use std::fmt::Display;
use std::future::poll_fn;
use std::ops::Deref;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use ferrohub_core::Hub;
use ferrohub_core::faults::Point;
use ferrohub_model::{ErrorCode, HubError};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::watch;
use tower::ServiceExt as _;
use tracing::debug;

use super::error::{ApiError, Shape};
use super::transfers::Transfers;
use super::{
    cloud_to_device, device_events, devices, events, faults, files, keys, management, messages, method,
    modules, statistics, twins, websocket,
};
use crate::listener::{Accepted, Place};
use crate::metrics::GatewayMetrics;
use crate::mqtt::MqttLimits;
use crate::peer::Peer;
use crate::seldom::Seldom;

/// Requests that one HTTP/2 connection may have open.
const HTTP2_STREAMS: u32 = 256;
/// How long a connection may wait for the next request. Pools of clients keep theirs for a minute or two, and a
/// connection that is closed under a request on its way looks like a failure.
const KEEP_ALIVE: Duration = Duration::from_secs(240);
/// How much longer than calls a connection may take to end when the hub stops.
const STOPPING: Duration = Duration::from_secs(5);
/// Bytes of one request's headers.
const HEADER_BYTES: usize = 32 * 1024;

/// Limits of the HTTPS head.
#[derive(Debug, Clone)]
pub(crate) struct HttpLimits {
    pub(crate) body_bytes: usize,
    pub(crate) request_timeout: Duration,
    /// Files of devices that may come and go at once, and as many again of services.
    pub(crate) file_transfers: usize,
    /// Files of one device that may come and go at once.
    pub(crate) file_transfers_per_device: usize,
    /// How long a file that comes or goes may stand still.
    pub(crate) file_idle_timeout: Duration,
}

/// What every handler may need.
#[derive(Clone)]
pub(crate) struct Api(Arc<ApiInner>);

pub(crate) struct ApiInner {
    pub(crate) hub: Arc<Hub>,
    pub(crate) limits: HttpLimits,
    pub(crate) mqtt: MqttLimits,
    pub(crate) metrics: GatewayMetrics,
    pub(crate) transfers: Transfers,
}

impl Deref for Api {
    type Target = ApiInner;

    fn deref(&self) -> &ApiInner {
        &self.0
    }
}

/// One connection, shared by the requests on it.
#[derive(Clone)]
pub(super) struct Socket(Arc<SocketInner>);

struct SocketInner {
    /// Whether a request has come.
    asked: AtomicBool,
    /// Whether a request on it was allowed: then nothing about strangers matters any more.
    trusted: AtomicBool,
    state: Mutex<SocketState>,
}

struct SocketState {
    place: Option<Place>,
    /// There once a request asked for MQTT instead of HTTP.
    upgrade: Option<OnUpgrade>,
}

impl Socket {
    fn new(place: Place) -> Self {
        let state = Mutex::new(SocketState { place: Some(place), upgrade: None });
        Self(Arc::new(SocketInner { asked: AtomicBool::new(false), trusted: AtomicBool::new(false), state }))
    }

    fn lock(&self) -> MutexGuard<'_, SocketState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_trusted(&self) -> bool {
        self.0.trusted.load(Ordering::Relaxed)
    }

    /// A request begins: it is not dropped because strangers are many.
    fn begin_request(&self) -> bool {
        self.0.asked.store(true, Ordering::Relaxed);
        !self.is_trusted() && self.lock().place.as_ref().is_some_and(Place::known)
    }

    /// The request that [`Socket::begin_request`] told to be a stranger's has ended.
    fn end_request(&self, was_stranger: bool, allowed: bool) {
        if self.is_trusted() {
            return;
        }
        if allowed {
            self.0.trusted.store(true, Ordering::Relaxed);
        } else if was_stranger && let Some(place) = &mut self.lock().place {
            // A device on its way to a WebSocket is still a stranger.
            place.unknown();
        }
    }

    /// Leaves HTTP once the answer to this request is written.
    pub(super) fn become_websocket(&self, upgrade: OnUpgrade) {
        self.lock().upgrade = Some(upgrade);
    }
}

/// Serves HTTPS connections.
#[derive(Clone)]
pub(crate) struct Server {
    api: Api,
    /// Everything but method calls.
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
        let transfers = Transfers::new(limits.file_transfers, limits.file_transfers_per_device);
        let api = Api(Arc::new(ApiInner { hub, limits, mqtt, metrics, transfers }));
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
            .method_not_allowed_fallback(async || method_not_allowed())
            .with_state(api.clone())
            .merge(extra_routes)
            .fallback(async || {
                ApiError::new(HubError::new(ErrorCode::GenericNotFound, "No such resource."), Shape::A)
            });
        Self { api, router, stop }
    }

    /// Serves one connection: HTTP/2 if that was agreed on in the handshake, else HTTP/1.1.
    pub(crate) async fn serve(self, accepted: Accepted) {
        let Accepted { stream, peer, place } = accepted;
        let is_http2 = stream.alpn_protocol() == Some(b"h2");
        let socket = Socket::new(place);
        let service = service_fn({
            let (server, socket, peer) = (self.clone(), socket.clone(), peer.clone());
            move |request| server.clone().answer(socket.clone(), peer.clone(), request)
        });
        let stream = TokioIo::new(stream);
        // Whoever has nothing to ask, or takes for ever to ask it, is sent away.
        let first = {
            let (socket, limit) = (socket.clone(), self.api.limits.request_timeout);
            async move {
                tokio::time::sleep(limit).await;
                if socket.0.asked.load(Ordering::Relaxed) {
                    std::future::pending::<()>().await;
                }
            }
        };
        // Calls that are in flight end within the hub's own grace.
        let patience = self.api.hub.limits().shutdown_grace + STOPPING;
        let result = if is_http2 {
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(Duration::from_secs(60))
                .max_header_list_size(HEADER_BYTES as u32)
                .max_concurrent_streams(HTTP2_STREAMS)
                .serve_connection(stream, service);
            until_stopped(connection, self.stop, first, http2::Connection::graceful_shutdown, patience).await
        } else {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(KEEP_ALIVE)
                .max_buf_size(HEADER_BYTES)
                .serve_connection(stream, service)
                .with_upgrades();
            until_stopped(
                connection,
                self.stop,
                first,
                http1::UpgradeableConnection::graceful_shutdown,
                patience,
            )
            .await
        };
        if let Err(error) = result {
            debug!(peer = %peer.address, %error, "HTTPS connection ended");
        }
        let (upgrade, place) = {
            let mut socket = socket.lock();
            (socket.upgrade.take(), socket.place.take())
        };
        if let (Some(upgrade), Some(place)) = (upgrade, place) {
            websocket::serve(upgrade, peer, self.api.hub.clone(), self.api.mqtt.clone(), place).await;
        }
    }

    /// Answers one request. Method calls, of which there may be thousands a second, go straight to where they are
    /// served; a general router would cost as much as the call itself.
    async fn answer(
        self,
        socket: Socket,
        peer: Peer,
        mut request: Request<Incoming>,
    ) -> Result<Response, Infallible> {
        let was_stranger = socket.begin_request();
        if self.api.hub.has_fault(Point::Request)
            && let Some(refusal) = faults::refusal(&self.api, request.method().as_str(), request.uri().path())
        {
            socket.end_request(was_stranger, false);
            self.api.metrics.requests.count(refusal.status().as_u16());
            return Ok(refusal);
        }
        let response = match method::target(request.uri().path()) {
            Some(target) if request.method() == Method::POST => {
                method::invoke(&self.api, target, request).await
            }
            Some(_) => method_not_allowed().into_response(),
            None => {
                request.extensions_mut().insert(socket.clone());
                request.extensions_mut().insert(peer);
                self.router.oneshot(request.map(Body::new)).await.into_response()
            }
        };
        let status = response.status();
        socket.end_request(was_stranger, status.is_success());
        self.api.metrics.requests.count(status.as_u16());
        Ok(response)
    }
}

/// Messages to devices. Clients differ in how they write the names of the queues.
fn message_routes() -> Router<Api> {
    let mut router = Router::new()
        .route("/devices/{id}/commands", delete(cloud_to_device::purge))
        .route("/devices/{id}/modules/{module}/commands", delete(cloud_to_device::purge));
    for queue in ["deviceBound", "devicebound"] {
        router = router.route(&format!("/messages/{queue}"), post(cloud_to_device::send));
        for path in ["/devices/{id}", "/devices/{id}/modules/{module}"] {
            let path = format!("{path}/messages/{queue}");
            router = router
                .route(&path, get(messages::receive))
                .route(&format!("{path}/{{token}}"), delete(messages::complete))
                .route(&format!("{path}/{{token}}/abandon"), post(messages::abandon));
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

fn method_not_allowed() -> ApiError {
    ApiError::new(HubError::new(ErrorCode::GenericMethodNotAllowed, "Method not allowed."), Shape::A)
}

/// Runs a connection; when the hub begins to stop, the connection is told and finishes what it began. When
/// `given_up` ends before it does, it ends at once.
async fn until_stopped<C, T, E>(
    connection: C,
    mut stop: watch::Receiver<bool>,
    given_up: impl Future<Output = ()> + Send + 'static,
    shut_down: impl FnOnce(Pin<&mut C>),
    patience: Duration,
) -> Result<(), String>
where
    C: Future<Output = Result<T, E>>,
    E: Display,
{
    let mut connection = pin!(connection);
    let mut stopped = Seldom::new(async move {
        let _ = stop.wait_for(|stop| *stop).await;
    });
    let mut given_up = Seldom::new(given_up);
    let text = |result: Result<T, E>| result.map(drop).map_err(|error| error.to_string());
    let ended = poll_fn(|cx| {
        if let Poll::Ready(result) = connection.as_mut().poll(cx) {
            return Poll::Ready(Some(text(result)));
        }
        if given_up.poll(cx).is_ready() {
            return Poll::Ready(Some(Err("no request came in time".to_owned())));
        }
        stopped.poll(cx).map(|()| None)
    });
    match ended.await {
        Some(result) => result,
        None => {
            shut_down(connection.as_mut());
            // Whoever takes for ever to send a file, or to take one, does not keep the hub from stopping.
            match Box::pin(tokio::time::timeout(patience, connection)).await {
                Ok(result) => text(result),
                Err(_) => Err("the hub stopped".to_owned()),
            }
        }
    }
}
