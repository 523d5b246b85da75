//! One HTTPS connection: HTTP/1.1 or HTTP/2, routes, limits, graceful end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use ferrohub_core::Hub;
use ferrohub_core::metrics::count;
use ferrohub_model::{ErrorCode, HubError};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::sync::watch;
use tracing::debug;

use super::error::{ApiError, Shape};
use super::{devices, management, method, websocket};
use crate::listener::{Accepted, Place};
use crate::metrics::GatewayMetrics;
use crate::mqtt::MqttLimits;

/// Requests that one HTTP/2 connection may have open.
const HTTP2_STREAMS: u32 = 256;
/// Bytes of one request's headers.
const HEADER_BYTES: usize = 32 * 1024;

/// Limits of the HTTPS head.
#[derive(Debug, Clone)]
pub(crate) struct HttpLimits {
    pub(crate) body_bytes: usize,
    pub(crate) request_timeout: Duration,
}

/// What every handler may need.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) hub: Arc<Hub>,
    pub(crate) limits: HttpLimits,
    pub(crate) mqtt: MqttLimits,
    pub(crate) metrics: GatewayMetrics,
}

/// One connection, shared by the requests on it.
#[derive(Clone)]
pub(super) struct Socket(Arc<Mutex<SocketState>>);

struct SocketState {
    place: Option<Place>,
    /// Whether a request on it was allowed.
    trusted: bool,
    /// There once a request asked for MQTT instead of HTTP.
    upgrade: Option<OnUpgrade>,
}

impl Socket {
    fn new(place: Place) -> Self {
        Self(Arc::new(Mutex::new(SocketState { place: Some(place), trusted: false, upgrade: None })))
    }

    fn lock(&self) -> MutexGuard<'_, SocketState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request begins: it is not dropped because strangers are many.
    fn begin_request(&self) -> bool {
        self.lock().place.as_ref().is_some_and(Place::known)
    }

    /// The request that [`Socket::begin_request`] told to be a stranger's has ended.
    fn end_request(&self, was_stranger: bool, allowed: bool) {
        let mut socket = self.lock();
        socket.trusted |= allowed;
        // A device on its way to a WebSocket is still a stranger.
        if was_stranger
            && !socket.trusted
            && let Some(place) = &mut socket.place
        {
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
        let api = Api { hub, limits, mqtt, metrics };
        let router = Router::new()
            .route("/devices", get(devices::list))
            .route("/devices/{id}", get(devices::get).put(devices::put).delete(devices::delete))
            .route("/twins/{id}/methods", post(method::invoke_on_device))
            .route("/twins/{id}/modules/{module}/methods", post(method::invoke_on_module))
            .route("/$iothub/websocket", get(websocket::upgrade))
            .nest("/ferrohub", management::routes())
            .method_not_allowed_fallback(async || {
                ApiError::new(
                    HubError::new(ErrorCode::GenericMethodNotAllowed, "Method not allowed."),
                    Shape::A,
                )
            })
            .with_state(api.clone())
            .merge(extra_routes)
            .fallback(async || {
                ApiError::new(HubError::new(ErrorCode::GenericNotFound, "No such resource."), Shape::A)
            })
            .layer(middleware::from_fn_with_state(api.clone(), count_request));
        Self { api, router, stop }
    }

    pub(crate) async fn serve(mut self, accepted: Accepted) {
        let Accepted { stream, peer, place } = accepted;
        let socket = Socket::new(place);
        let router = self.router.layer(axum::Extension(socket.clone())).layer(axum::Extension(peer.clone()));
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.api.limits.request_timeout)
            .max_buf_size(HEADER_BYTES)
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(60))
            .max_header_list_size(HEADER_BYTES as u32)
            .max_concurrent_streams(HTTP2_STREAMS);
        let service = TowerToHyperService::new(router);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            result = connection.as_mut() => Some(result),
            () = stopped(&mut self.stop) => None,
        };
        let result = match ended {
            Some(result) => result,
            None => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            debug!(peer = %peer.address, %error, "HTTPS connection ended");
        }
        let (upgrade, place) = {
            let mut socket = socket.lock();
            (socket.upgrade.take(), socket.place.take())
        };
        if let (Some(upgrade), Some(place)) = (upgrade, place) {
            websocket::serve(upgrade, peer, self.api.hub, self.api.mqtt, place).await;
        }
    }
}

/// Ends when the hub begins to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn count_request(
    state: axum::extract::State<Api>,
    axum::Extension(socket): axum::Extension<Socket>,
    request: Request,
    next: Next,
) -> Response {
    let was_stranger = socket.begin_request();
    let response = next.run(request).await;
    socket.end_request(was_stranger, response.status().is_success());
    let class = match response.status().as_u16() {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    };
    count(&state.metrics.requests, class);
    response
}
