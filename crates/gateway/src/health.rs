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

/// The reasons why the hub is not ready, or `Ok`.
type Outcome = Result<(), Arc<[String]>>;

/// Answers whether the hub is ready, and the reasons if it is not.
pub(crate) struct Readiness {
    hub: Arc<Hub>,
    last: Mutex<Option<(Instant, Outcome)>>,
}

impl Readiness {
    pub(crate) fn new(hub: Arc<Hub>) -> Arc<Self> {
        Arc::new(Self { hub, last: Mutex::default() })
    }

    /// Checks that the hub is ready. Concurrent callers share one check.
    ///
    /// # Errors
    ///
    /// The reasons, for the operator.
    async fn check(&self) -> Outcome {
        let mut last = self.last.lock().await;
        match &*last {
            Some((at, outcome)) if at.elapsed() < READINESS_LIFETIME => outcome.clone(),
            _ => {
                let outcome = self.hub.readiness().await.map_err(Arc::from);
                *last = Some((Instant::now(), outcome.clone()));
                outcome
            }
        }
    }
}

/// Who asks for the health of the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Operators, who are told why the hub is not ready. The reasons may contain paths.
    Operators,
    /// Everyone.
    Public,
}

/// Returns the routes `/healthz` and `/readyz`.
pub(crate) fn routes(readiness: Arc<Readiness>, audience: Audience) -> Router {
    let readyz = move |State(readiness): State<Arc<Readiness>>| async move {
        match readiness.check().await {
            Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
            Err(reasons) if audience == Audience::Operators => {
                (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", reasons.join("\n")))
            }
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n".to_owned()),
        }
    };
    Router::new().route("/healthz", get(async || "ok\n")).route("/readyz", get(readyz)).with_state(readiness)
}
