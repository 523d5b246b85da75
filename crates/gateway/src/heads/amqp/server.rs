//! What all AMQP connections share.

use std::ops::Deref;
use std::sync::Arc;

use ferrohub_core::Hub;
use ferrohub_model::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::{AmqpLimits, driver};
use crate::admission::{CallerConnections, CallerProtocol};
use crate::metrics::GatewayMetrics;
use crate::transport::tcp::Accepted;

/// Serves AMQP connections. Every connection has a clone.
#[derive(Clone)]
pub(crate) struct Server {
    context: AmqpContext,
    stop: watch::Receiver<bool>,
}

/// The part of it that connections read.
#[derive(Clone)]
pub(super) struct AmqpContext(Arc<AmqpContextInner>);

pub(super) struct AmqpContextInner {
    pub(super) hub: Arc<Hub>,
    pub(super) limits: AmqpLimits,
    pub(super) metrics: GatewayMetrics,
    pub(super) caller_connections: Arc<CallerConnections>,
    /// When the hub started: what readers of events get as the time at which the event hub was created, which is not stored.
    pub(super) started: Timestamp,
}

impl Deref for AmqpContext {
    type Target = AmqpContextInner;

    fn deref(&self) -> &AmqpContextInner {
        &self.0
    }
}

impl Server {
    /// `connections_per_caller` is the maximum number of open connections of one caller.
    pub(crate) fn new(
        hub: Arc<Hub>,
        limits: AmqpLimits,
        connections_per_caller: usize,
        metrics: GatewayMetrics,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let caller_connections = CallerConnections::new(connections_per_caller, CallerProtocol::Amqp);
        let started = hub.now();
        let context = AmqpContextInner { hub, limits, metrics, caller_connections, started };
        Self { context: AmqpContext(Arc::new(context)), stop }
    }

    /// Serves one connection until it ends.
    pub(crate) fn serve<S>(self, accepted: Accepted<S>) -> impl Future<Output = ()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Accepted { stream, peer, slot } = accepted;
        driver::serve(stream, peer, self.context, slot, self.stop)
    }
}
