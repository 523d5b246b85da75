//! Serves in-memory connections with everything but sockets and TLS: for instruction counts.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use ferrohub_core::Hub;
use ferrohub_core::panics::catch_panic;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::watch;

use crate::gateway::GatewayLimits;
use crate::heads::amqp;
use crate::heads::mqtt::{self, MqttLimits};
use crate::heads::rest::description_routes;
use crate::health::{self, Audience, Readiness};
use crate::https::Server;
use crate::metrics::GatewayMetrics;
use crate::transport::peer::Peer;
use crate::transport::tcp::{Accepted, ListenerContext};
use crate::transport::write_timeout::Unsent;

/// How many bytes one side of a connection may send before the other side reads.
const BUFFER_SIZE: usize = 64 * 1024;

/// The protocol endpoints without listeners. Each connection is a pair of in-memory streams: the gateway serves one, the
/// caller gets the other. It creates the streams itself, so it cannot serve a socket without TLS.
///
/// Admission, authentication and all limits except the handshake's are those of [`Gateway`](crate::Gateway). Connections
/// end when this is dropped.
pub struct InMemoryGateway {
    hub: Arc<Hub>,
    mqtt: MqttLimits,
    server: Server,
    context: ListenerContext,
    /// The HTTP server stops when it is dropped.
    _stop: watch::Sender<bool>,
}

impl InMemoryGateway {
    /// Creates the endpoints of a hub.
    #[must_use]
    pub fn new(hub: Arc<Hub>, limits: &GatewayLimits, metrics: GatewayMetrics) -> Self {
        let (stop, stopped) = watch::channel(false);
        let health = health::routes(Readiness::new(hub.clone()), Audience::Public);
        let routes = Router::new().merge(health).merge(description_routes());
        let amqp = amqp::Server::new(
            hub.clone(),
            limits.amqp.clone(),
            limits.amqp_connections_per_caller,
            metrics.clone(),
            stopped.clone(),
        );
        let mqtt = limits.mqtt.clone();
        let server = Server::new(hub.clone(), limits.http(), mqtt, amqp, metrics.clone(), routes, stopped);
        let context = limits.listener_context(metrics, hub.metrics().panics.clone());
        Self { hub, mqtt: limits.mqtt.clone(), server, context, _stop: stop }
    }

    /// Opens an MQTT connection and returns the client's side. `None` if the maximum number of connections is open.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub async fn connect_mqtt(&self) -> Option<DuplexStream> {
        let (hub, limits) = (self.hub.clone(), self.mqtt.clone());
        self.connect("mqtt", |Accepted { stream, peer, slot }| mqtt::serve(stream, peer, hub, limits, slot))
            .await
    }

    /// Opens an HTTP/1.1 connection and returns the client's side. `None` if the maximum number of connections is open.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub async fn connect_http(&self) -> Option<DuplexStream> {
        let server = self.server.clone();
        self.connect("https", |accepted| server.serve_stream(accepted, false)).await
    }

    async fn connect<F>(
        &self,
        protocol: &'static str,
        serve: impl FnOnce(Accepted<DuplexStream>) -> F,
    ) -> Option<DuplexStream>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let slot = self.context.admit().await?;
        let eviction = slot.eviction();
        let (client, stream) = duplex(BUFFER_SIZE);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let peer = Peer { address, certificate: None, protocol };
        let serving = serve(Accepted { stream, peer, slot });
        let task = tokio::spawn(catch_panic(self.context.panics.clone(), protocol, serving));
        eviction.set_task(task.abort_handle());
        Some(client)
    }
}

impl Unsent for DuplexStream {
    /// An in-memory stream is its own transport.
    fn unsent(&self) -> usize {
        0
    }
}
