//! `/healthz` and `/readyz`, which need no authentication.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use ferrohub_core::Hub;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long a result is returned without asking the hub again: a flood of requests must not load the store.
const READINESS_LIFETIME: Duration = Duration::from_secs(1);

/// Answers whether the hub is ready.
pub(crate) struct Readiness {
    hub: Arc<Hub>,
    last: Mutex<Option<(Instant, bool)>>,
}

impl Readiness {
    pub(crate) fn new(hub: Arc<Hub>) -> Arc<Self> {
        Arc::new(Self { hub, last: Mutex::default() })
    }

    /// Returns whether the hub is ready. Concurrent callers share one check.
    async fn is_ready(&self) -> bool {
        let mut last = self.last.lock().await;
        match *last {
            Some((at, ready)) if at.elapsed() < READINESS_LIFETIME => ready,
            _ => {
                let ready = self.hub.is_ready().await;
                *last = Some((Instant::now(), ready));
                ready
            }
        }
    }
}

/// Returns the routes `/healthz` and `/readyz`.
pub(crate) fn routes(readiness: Arc<Readiness>) -> Router {
    Router::new().route("/healthz", get(async || "ok\n")).route("/readyz", get(readyz)).with_state(readiness)
}

async fn readyz(State(readiness): State<Arc<Readiness>>) -> (StatusCode, &'static str) {
    if readiness.is_ready().await {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}
