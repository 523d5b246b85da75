//! The admin listener: health and metrics. On a loopback address it is plain HTTP. With a token it uses TLS, and each
//! request must present the token.

mod guard;
mod text_format;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use ferrohub_core::Hub;
use ferrohub_core::metrics::Outcomes;
use ferrohub_core::panics::catch_panic;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::ServiceExt as _;
use tracing::debug;

pub(crate) use guard::Guard;

use crate::health::{self, Audience, Readiness};
use crate::system_metrics::SystemMetrics;
use crate::transport::accept_errors::AcceptErrors;
use crate::transport::tcp::{Accepted, ListenerContext};
use crate::transport::tls::ServerCertificate;
use crate::transport::write_timeout::WriteTimeout;

const OPENMETRICS: &str = "application/openmetrics-text";
/// Maximum number of open connections without TLS: each takes a file from the hub.
const PLAIN_CONNECTIONS: usize = 32;
/// How long the listener waits after an error before it accepts again.
const RETRY_DELAY: Duration = Duration::from_millis(50);
/// How long a connection of the admin listener may be idle.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// Maximum size of the headers of one request, in bytes.
const HEADER_BYTES: usize = 16 * 1024;

/// What the metrics endpoint reads.
#[derive(Clone)]
pub(crate) struct MetricsSource {
    pub(crate) hub: Arc<Hub>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) system: Arc<SystemMetrics>,
    pub(crate) certificate: Arc<ServerCertificate>,
}

/// Returns the routes of the admin listener.
pub(crate) fn router(source: MetricsSource, readiness: Arc<Readiness>, guard: Arc<Guard>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .with_state(source)
        .merge(health::routes(readiness, Audience::Operators))
        .fallback(async || (StatusCode::NOT_FOUND, "The paths are /healthz, /readyz and /metrics.\n"))
        .layer(from_fn_with_state(guard, guard::check))
}

fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT).max_buf_size(HEADER_BYTES);
    http
}

/// The listener for plain HTTP, on a loopback address.
pub(crate) struct PlainListener {
    listener: TcpListener,
    router: Router,
    write_timeout: Duration,
    errors: Arc<AcceptErrors>,
    panics: Outcomes,
    permits: Arc<Semaphore>,
}

impl PlainListener {
    pub(crate) fn new(
        listener: TcpListener,
        router: Router,
        write_timeout: Duration,
        context: &ListenerContext,
    ) -> Self {
        Self {
            listener,
            router,
            write_timeout,
            errors: context.accept_errors.clone(),
            panics: context.panics.clone(),
            permits: Arc::new(Semaphore::new(PLAIN_CONNECTIONS)),
        }
    }

    /// Serves connections. Clients beyond [`PLAIN_CONNECTIONS`] wait until others have closed. Never returns.
    pub(crate) async fn serve(self: Arc<Self>) {
        while let Ok(permit) = self.permits.clone().acquire_owned().await {
            let socket = match self.listener.accept().await {
                Ok((socket, _)) => socket,
                Err(error) => {
                    self.errors.record(&error);
                    tokio::time::sleep(RETRY_DELAY).await;
                    continue;
                }
            };
            let (router, write_timeout) = (self.router.clone(), self.write_timeout);
            tokio::spawn(catch_panic(self.panics.clone(), "admin", async move {
                let service =
                    service_fn(|request: Request<Incoming>| router.clone().oneshot(request.map(Body::new)));
                let served = http()
                    .serve_connection(TokioIo::new(WriteTimeout::new(socket, write_timeout)), service)
                    .await;
                if let Err(error) = served {
                    debug!(%error, "admin connection closed");
                }
                drop(permit);
            }));
        }
    }
}

/// Serves one TLS connection. Once a request has presented the token, the connection cannot be evicted.
pub(crate) async fn serve_tls(accepted: Accepted, router: Router, write_timeout: Duration) {
    let Accepted { stream, peer, slot } = accepted;
    let slot = Arc::new(Mutex::new(slot));
    let service = service_fn(|request: Request<Incoming>| {
        let (router, slot) = (router.clone(), slot.clone());
        async move {
            let response = router.oneshot(request.map(Body::new)).await;
            if let Ok(response) = &response
                && response.status().is_success()
            {
                // Returns false if the connection is being evicted, which ends this task.
                let _ = slot.lock().unwrap_or_else(PoisonError::into_inner).mark_authenticated();
            }
            response
        }
    });
    let served =
        http().serve_connection(TokioIo::new(WriteTimeout::new(stream, write_timeout)), service).await;
    if let Err(error) = served {
        debug!(peer = %peer.address, %error, "admin connection closed");
    }
}

async fn metrics(State(source): State<MetricsSource>, headers: HeaderMap) -> Response {
    source.system.refresh(&source.hub, &source.certificate).await;
    let mut text = String::new();
    if encode(&mut text, &source.registry).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    if accepts_openmetrics(&headers) {
        let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        ([(header::CONTENT_TYPE, media)], text).into_response()
    } else {
        let media = "text/plain; version=0.0.4; charset=utf-8";
        ([(header::CONTENT_TYPE, media)], text_format::from_openmetrics(&text)).into_response()
    }
}

/// Returns whether the `Accept` header names OpenMetrics. Prometheus does; curl and most other tools expect text.
fn accepts_openmetrics(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let is_openmetrics = parts.next().is_some_and(|media| media.eq_ignore_ascii_case(OPENMETRICS));
            let is_refused = |part: &str| {
                part.strip_prefix("q=").is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q == 0.0))
            };
            is_openmetrics && !parts.any(is_refused)
        })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn openmetrics_is_sent_only_to_clients_that_name_it() {
        let accepts = |text| {
            accepts_openmetrics(&[(header::ACCEPT, HeaderValue::from_static(text))].into_iter().collect())
        };
        // Prometheus 2.42.
        assert!(accepts(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        ));
        assert!(accepts("text/html, Application/OpenMetrics-Text"));
        assert!(!accepts("*/*"));
        assert!(!accepts("text/plain"));
        assert!(!accepts("application/openmetrics-text;q=0, text/plain"));
        assert!(!accepts_openmetrics(&HeaderMap::new()));
    }
}
