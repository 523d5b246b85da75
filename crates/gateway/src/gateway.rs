//! The gateway as a whole: opens the listeners, runs them, drains them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ferrohub_core::Hub;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tracing::warn;

use crate::admin;
use crate::admission::UnauthenticatedSlots;
use crate::https::{self, HttpLimits};
use crate::listener::{Accepted, ListenerContext, accept};
use crate::metrics::GatewayMetrics;
use crate::mqtt::{self, MqttLimits};
use crate::tls::{PkiError, ServerCertificate, server_config};

/// Waiting connections the operating system keeps for a listener.
const BACKLOG: u32 = 4096;

/// Where to listen. Each may be several addresses: a name stands for all of its addresses.
#[derive(Debug, Clone)]
pub struct ListenAddresses {
    /// MQTT over TLS.
    pub mqtt: Vec<SocketAddr>,
    /// HTTPS and MQTT over WebSocket.
    pub https: Vec<SocketAddr>,
    /// Health and metrics, without TLS.
    pub admin: Vec<SocketAddr>,
}

/// Limits of the gateway.
#[derive(Debug, Clone)]
pub struct GatewayLimits {
    /// Connections that may be open at once.
    pub connections: usize,
    /// Sockets whose peer may be unknown at once.
    pub unauthenticated_connections: usize,
    /// How long a stranger may take for the TLS handshake.
    pub handshake_timeout: Duration,
    /// Of the MQTT head.
    pub mqtt: MqttLimits,
    /// Largest body of an HTTP request, in bytes.
    pub http_body_bytes: usize,
    /// How long a caller may take to send a request.
    pub http_request_timeout: Duration,
    /// Files of devices that may come and go at once, and as many again of services.
    pub file_transfers: usize,
    /// Files of one device that may come and go at once.
    pub file_transfers_per_device: usize,
    /// How long a file that comes or goes may stand still.
    pub file_idle_timeout: Duration,
}

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The operating system said no.
    #[error("cannot listen on {address} for {listener}: {source}")]
    Io {
        /// Which listener.
        listener: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The certificate is not usable.
    #[error(transparent)]
    Tls(#[from] PkiError),
}

/// What the listeners serve.
pub struct ServeOptions {
    /// The hub behind all protocols.
    pub hub: Arc<Hub>,
    /// The server's certificate.
    pub certificate: Arc<ServerCertificate>,
    /// Limits of the gateway.
    pub limits: GatewayLimits,
    /// What the gateway counts.
    pub metrics: GatewayMetrics,
    /// All metrics, for the admin listener.
    pub registry: Arc<Registry>,
    /// More routes for the HTTPS listener.
    pub extra_routes: axum::Router,
}

/// Open listeners.
pub struct Gateway {
    mqtt: Vec<TcpListener>,
    https: Vec<TcpListener>,
    admin: Vec<TcpListener>,
}

impl Gateway {
    /// Opens the listeners. The addresses they really have are in [`Gateway::local_addrs`].
    pub fn bind(addresses: &ListenAddresses) -> Result<Self, BindError> {
        Ok(Self {
            mqtt: bind_all("MQTT", &addresses.mqtt)?,
            https: bind_all("HTTPS", &addresses.https)?,
            admin: bind_all("admin", &addresses.admin)?,
        })
    }

    /// Where it listens, ports filled in.
    #[must_use]
    pub fn local_addrs(&self) -> ListenAddresses {
        let addresses =
            |listeners: &[TcpListener]| listeners.iter().filter_map(|l| l.local_addr().ok()).collect();
        ListenAddresses {
            mqtt: addresses(&self.mqtt),
            https: addresses(&self.https),
            admin: addresses(&self.admin),
        }
    }

    /// Serves until `stop` turns true, then stops accepting, lets the hub drain, and returns when the
    /// last connection has ended.
    pub async fn serve(self, options: ServeOptions, stop: watch::Receiver<bool>) -> Result<(), BindError> {
        let ServeOptions { hub, certificate, limits, metrics, registry, extra_routes } = options;
        let mut mqtt_tls = server_config(certificate.clone(), &[])?;
        // A device has one connection at a time; browsers and back ends open several.
        mqtt_tls.send_tls13_tickets = 1;
        let mqtt_tls = Arc::new(mqtt_tls);
        let https_tls = Arc::new(server_config(certificate, &[b"h2", b"http/1.1"])?);
        let context = ListenerContext {
            sockets: Arc::new(Semaphore::new(limits.connections)),
            unauthenticated_slots: UnauthenticatedSlots::new(limits.unauthenticated_connections),
            handshake_timeout: limits.handshake_timeout,
            metrics: metrics.clone(),
        };
        let mut tasks = JoinSet::new();
        for listener in self.mqtt {
            let (hub, limits) = (hub.clone(), limits.mqtt.clone());
            let serve = move |accepted: Accepted| {
                mqtt::serve(accepted.stream, accepted.peer, hub.clone(), limits.clone(), accepted.slot)
            };
            tasks.spawn(accept(listener, mqtt_tls.clone(), "mqtt", context.clone(), stop.clone(), serve));
        }
        let http_limits = HttpLimits {
            body_bytes: limits.http_body_bytes,
            request_timeout: limits.http_request_timeout,
            file_transfers: limits.file_transfers,
            file_transfers_per_device: limits.file_transfers_per_device,
            file_idle_timeout: limits.file_idle_timeout,
        };
        let server = https::Server::new(
            hub.clone(),
            http_limits,
            limits.mqtt.clone(),
            metrics,
            extra_routes,
            stop.clone(),
        );
        for listener in self.https {
            let server = server.clone();
            let serve = move |accepted: Accepted| server.clone().serve(accepted);
            tasks.spawn(accept(listener, https_tls.clone(), "https", context.clone(), stop.clone(), serve));
        }
        // Health is told to the very end, so these are not waited for.
        let mut admin_tasks = JoinSet::new();
        for listener in self.admin {
            admin_tasks.spawn(admin::serve(listener, hub.clone(), registry.clone()));
        }
        let mut stopping = stop.clone();
        let _ = stopping.wait_for(|stop| *stop).await;
        hub.drain().await;
        // What devices acknowledged, and what they are still to be told, needs the store.
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(hub.limits().shutdown_timeout, ended).await.is_err() {
            warn!("connections are left that have not ended in time");
        }
        hub.close().await;
        while tasks.join_next().await.is_some() {}
        Ok(())
    }
}

fn bind_all(listener: &'static str, addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, BindError> {
    addresses
        .iter()
        .map(|address| bind(*address).map_err(|source| BindError::Io { listener, address: *address, source }))
        .collect()
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restarted hub gets its port back while old connections linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
