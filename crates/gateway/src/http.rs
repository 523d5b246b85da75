//! What the heads on HTTP share: the state of a connection, limits, bodies, permits.

mod body;
mod connection;
mod download;
mod query;
mod request_body;
mod request_id;
mod request_path;
mod retry_after;
mod transfer_permits;
mod websocket_upgrade;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use ferrohub_core::Hub;

use crate::admission::{CallerConnections, CallerProtocol};
use crate::metrics::GatewayMetrics;

pub(crate) use body::read_body;
pub(crate) use connection::{HttpConnection, NotAdmitted};
pub(crate) use download::{DownloadBody, download_body, next_deadline};
pub(crate) use query::query;
pub(crate) use request_body::RequestBody;
pub(crate) use request_id::{REQUEST_ID, fresh_request_id, random_hex};
pub(crate) use request_path::without_trailing_slash;
pub(crate) use retry_after::set_retry_after;
pub(crate) use transfer_permits::{TransferLimitReached, TransferPermit, TransferPermits};
pub(crate) use websocket_upgrade::{Subprotocol, accept_upgrade};

/// The challenge of a response with status 401 (RFC 9110, 11.6.1): the scheme of the tokens that the hub accepts.
pub(crate) const CHALLENGE: HeaderValue = HeaderValue::from_static("SharedAccessSignature");

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

/// State that the handlers of all requests share.
#[derive(Clone)]
pub(crate) struct HttpContext(Arc<HttpContextInner>);

pub(crate) struct HttpContextInner {
    pub(crate) hub: Arc<Hub>,
    pub(crate) limits: HttpLimits,
    pub(crate) metrics: GatewayMetrics,
    pub(crate) transfer_permits: TransferPermits,
    pub(crate) caller_connections: Arc<CallerConnections>,
}

impl HttpContext {
    pub(crate) fn new(hub: Arc<Hub>, limits: HttpLimits, metrics: GatewayMetrics) -> Self {
        let transfer_permits = TransferPermits::new(limits.file_transfers, limits.file_transfers_per_device);
        let caller_connections = CallerConnections::new(limits.connections_per_caller, CallerProtocol::Https);
        Self(Arc::new(HttpContextInner { hub, limits, metrics, transfer_permits, caller_connections }))
    }
}

impl Deref for HttpContext {
    type Target = HttpContextInner;

    fn deref(&self) -> &HttpContextInner {
        &self.0
    }
}

/// Returns the `Authorization` header; `None` if it is missing or not visible ASCII.
pub(crate) fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()
}
