//! The admin listener: health and metrics, for the local machine.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use ferrohub_core::Hub;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tracing::warn;

#[derive(Clone)]
struct Admin {
    hub: Arc<Hub>,
    registry: Arc<Registry>,
}

pub(crate) async fn serve(listener: TcpListener, hub: Arc<Hub>, registry: Arc<Registry>) {
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Admin { hub, registry });
    if let Err(error) = axum::serve(listener, router).await {
        warn!(%error, "the admin listener stopped");
    }
}

async fn readyz(State(admin): State<Admin>) -> (StatusCode, String) {
    match admin.hub.readiness().await {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(problems) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", problems.join("\n"))),
    }
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let mut text = String::new();
    match encode(&mut text, &admin.registry) {
        Ok(()) => {
            ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
                .into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
