//! Opens, runs and drains all listeners of the gateway.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ferrohub_core::Hub;
use ferrohub_core::metrics::Outcomes;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tracing::warn;

use crate::admin::{self, Guard, MetricsSource};
use crate::admission::UnauthenticatedSlots;
use crate::heads::amqp::{self, AmqpLimits};
use crate::heads::mqtt::{self, MqttLimits};
use crate::heads::rest::description_routes;
use crate::health::{self, Audience, Readiness};
use crate::http::HttpLimits;
use crate::https;
use crate::metrics::GatewayMetrics;
use crate::system_metrics::SystemMetrics;
use crate::transport::accept_errors::AcceptErrors;
use crate::transport::tcp::{Accepted, Acceptor, ListenerContext, accept};
use crate::transport::tls::{PkiError, ServerCertificate, server_config};

/// Length of a listener's queue of connections that are not accepted yet.
const BACKLOG: u32 = 4096;

/// The addresses to listen on. There may be several per listener, because a host name can have several addresses.
#[derive(Debug, Clone)]
pub struct ListenAddresses {
    /// MQTT over TLS.
    pub mqtt: Vec<SocketAddr>,
    /// AMQP over TLS.
    pub amqp: Vec<SocketAddr>,
    /// HTTPS, and MQTT and AMQP over WebSocket.
    pub https: Vec<SocketAddr>,
    /// Health and metrics: without TLS, or with TLS and a token.
    pub admin: Vec<SocketAddr>,
}

/// Limits of the gateway.
#[derive(Debug, Clone)]
pub struct GatewayLimits {
    /// Maximum number of open connections.
    pub connections: usize,
    /// Maximum number of unauthenticated connections.
    pub unauthenticated_connections: usize,
    /// Time-out of the TLS handshake.
    pub handshake_timeout: Duration,
    /// Limits of the MQTT endpoint.
    pub mqtt: MqttLimits,
    /// Limits of the AMQP endpoint.
    pub amqp: AmqpLimits,
    /// Maximum size of the body of an HTTP request, in bytes.
    pub http_body_bytes: usize,
    /// Time-out for a client to send an HTTP request.
    pub http_request_timeout: Duration,
    /// Maximum time that an HTTPS client may read nothing of a response.
    pub https_write_timeout: Duration,
    /// Maximum number of open HTTPS connections of one policy, principal or device.
    pub https_connections_per_caller: usize,
    /// Maximum number of open AMQP connections of one policy or principal.
    pub amqp_connections_per_caller: usize,
    /// Maximum number of concurrent file transfers of devices; services have the same number again.
    pub file_transfers: usize,
    /// Maximum number of concurrent file transfers of one device.
    pub file_transfers_per_device: usize,
    /// Maximum time without progress of a file transfer.
    pub file_idle_timeout: Duration,
}

impl GatewayLimits {
    pub(crate) fn http(&self) -> HttpLimits {
        HttpLimits {
            body_bytes: self.http_body_bytes,
            request_timeout: self.http_request_timeout,
            write_timeout: self.https_write_timeout,
            connections_per_caller: self.https_connections_per_caller,
            file_transfers: self.file_transfers,
            file_transfers_per_device: self.file_transfers_per_device,
            file_idle_timeout: self.file_idle_timeout,
        }
    }

    pub(crate) fn listener_context(&self, metrics: GatewayMetrics, panics: Outcomes) -> ListenerContext {
        ListenerContext {
            sockets: Arc::new(Semaphore::new(self.connections.min(Semaphore::MAX_PERMITS))),
            unauthenticated_slots: UnauthenticatedSlots::new(self.unauthenticated_connections),
            handshake_timeout: self.handshake_timeout,
            accept_errors: Arc::new(AcceptErrors::new(metrics.accept_failures.clone())),
            panics,
            metrics,
        }
    }
}

/// A listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The operating system returned an error.
    #[error("cannot listen on {address} for {listener}: {source}; {}", remedy(.listener, .source))]
    Io {
        /// The listener: `MQTT`, `AMQP`, `HTTPS` or `admin`.
        listener: &'static str,
        /// The address.
        address: SocketAddr,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The certificate is not usable.
    #[error(transparent)]
    Tls(#[from] PkiError),
}

fn remedy(listener: &str, error: &io::Error) -> String {
    let key = format!("listen.{}", listener.to_ascii_lowercase());
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!("run as root, grant CAP_NET_BIND_SERVICE or set {key}"),
        io::ErrorKind::AddrInUse => format!("stop the program that uses the port, or set {key}"),
        _ => format!("check {key}"),
    }
}

/// Settings of the admin listener.
pub struct AdminOptions {
    /// Names and addresses that clients may use for it, besides loopback ones.
    pub names: Vec<String>,
    /// The token that clients must present. With a token the listener uses TLS.
    pub token: Option<String>,
    /// All metrics.
    pub registry: Arc<Registry>,
    /// The metrics that are read for each request.
    pub system: SystemMetrics,
}

/// Parameters of [`Gateway::serve`].
pub struct ServeOptions {
    /// The hub behind all protocols.
    pub hub: Arc<Hub>,
    /// The server certificate.
    pub certificate: Arc<ServerCertificate>,
    /// Limits of the gateway.
    pub limits: GatewayLimits,
    /// Metrics of the gateway.
    pub metrics: GatewayMetrics,
    /// Settings of the admin listener.
    pub admin: AdminOptions,
    /// Additional routes for the HTTPS listener.
    pub extra_routes: axum::Router,
}

/// Open listeners.
pub struct Gateway {
    mqtt: Vec<TcpListener>,
    amqp: Vec<TcpListener>,
    https: Vec<TcpListener>,
    admin: Vec<TcpListener>,
}

impl Gateway {
    /// Opens the listeners. [`Gateway::local_addrs`] returns the actual addresses.
    ///
    /// # Errors
    ///
    /// If an address cannot be bound.
    pub fn bind(addresses: &ListenAddresses) -> Result<Self, BindError> {
        Ok(Self {
            mqtt: bind_all("MQTT", &addresses.mqtt)?,
            amqp: bind_all("AMQP", &addresses.amqp)?,
            https: bind_all("HTTPS", &addresses.https)?,
            admin: bind_all("admin", &addresses.admin)?,
        })
    }

    /// Returns the actual addresses, with the assigned ports.
    #[must_use]
    pub fn local_addrs(&self) -> ListenAddresses {
        let addresses =
            |listeners: &[TcpListener]| listeners.iter().filter_map(|l| l.local_addr().ok()).collect();
        ListenAddresses {
            mqtt: addresses(&self.mqtt),
            amqp: addresses(&self.amqp),
            https: addresses(&self.https),
            admin: addresses(&self.admin),
        }
    }

    /// Serves until `stop` becomes true, then stops accepting, drains the hub, and returns when the last connection has
    /// ended.
    ///
    /// # Errors
    ///
    /// If TLS cannot be set up with the certificate.
    pub async fn serve(self, options: ServeOptions, stop: watch::Receiver<bool>) -> Result<(), BindError> {
        let ServeOptions { hub, certificate, limits, metrics, admin, extra_routes } = options;
        let mut mqtt_tls = server_config(certificate.clone(), &[])?;
        // A device has one connection at a time, so one ticket is enough; HTTPS clients open several.
        mqtt_tls.send_tls13_tickets = 1;
        let mqtt_tls = Arc::new(mqtt_tls);
        let amqp_tls = Arc::new(server_config(certificate.clone(), &[])?);
        let https_tls = Arc::new(server_config(certificate.clone(), &[b"h2", b"http/1.1"])?);
        let admin_tls = Arc::new(server_config(certificate.clone(), &[b"http/1.1"])?);
        let context = limits.listener_context(metrics.clone(), hub.metrics().panics.clone());
        let amqp_server = amqp::Server::new(
            hub.clone(),
            limits.amqp.clone(),
            limits.amqp_connections_per_caller,
            metrics.clone(),
            stop.clone(),
        );
        let mut tasks = JoinSet::new();
        let background = hub.background().clone();
        for listener in self.mqtt {
            let (hub, limits) = (hub.clone(), limits.mqtt.clone());
            let serve = move |accepted: Accepted| {
                mqtt::serve(accepted.stream, accepted.peer, hub.clone(), limits.clone(), accepted.slot)
            };
            let (acceptor, tls, context) = (Acceptor::new(listener), mqtt_tls.clone(), context.clone());
            tasks.spawn(background.supervise("MQTT listener", stop.clone().into(), move |stop| {
                accept(acceptor.clone(), tls.clone(), "mqtt", context.clone(), stop, serve.clone())
            }));
        }
        for listener in self.amqp {
            let server = amqp_server.clone();
            let serve = move |accepted: Accepted| server.clone().serve(accepted);
            let (acceptor, tls, context) = (Acceptor::new(listener), amqp_tls.clone(), context.clone());
            tasks.spawn(background.supervise("AMQP listener", stop.clone().into(), move |stop| {
                accept(acceptor.clone(), tls.clone(), "amqp", context.clone(), stop, serve.clone())
            }));
        }
        let readiness = Readiness::new(hub.clone());
        let server = https::Server::new(
            hub.clone(),
            limits.http(),
            limits.mqtt.clone(),
            amqp_server,
            metrics,
            extra_routes
                .merge(health::routes(readiness.clone(), Audience::Public))
                .merge(description_routes()),
            stop.clone(),
        );
        for listener in self.https {
            let server = server.clone();
            let serve = move |accepted: Accepted| server.clone().serve(accepted);
            let (acceptor, tls, context) = (Acceptor::new(listener), https_tls.clone(), context.clone());
            tasks.spawn(background.supervise("HTTPS listener", stop.clone().into(), move |stop| {
                accept(acceptor.clone(), tls.clone(), "https", context.clone(), stop, serve.clone())
            }));
        }
        // The admin listener reports health until the end, so its tasks are not awaited.
        let (_never_stops, never) = watch::channel(false);
        let mut admin_tasks = JoinSet::new();
        let source = MetricsSource {
            hub: hub.clone(),
            registry: admin.registry,
            system: Arc::new(admin.system),
            certificate,
        };
        let uses_tls = admin.token.is_some();
        let router = admin::router(source, readiness, Arc::new(Guard::new(&admin.names, admin.token)));
        for listener in self.admin {
            let router = router.clone();
            if uses_tls {
                let timeout = limits.https_write_timeout;
                let serve = move |accepted: Accepted| admin::serve_tls(accepted, router.clone(), timeout);
                let (acceptor, tls, context) = (Acceptor::new(listener), admin_tls.clone(), context.clone());
                admin_tasks.spawn(background.supervise(
                    "admin listener",
                    never.clone().into(),
                    move |stop| {
                        accept(acceptor.clone(), tls.clone(), "admin", context.clone(), stop, serve.clone())
                    },
                ));
            } else {
                let plain = Arc::new(admin::PlainListener::new(
                    listener,
                    router,
                    limits.https_write_timeout,
                    &context,
                ));
                admin_tasks.spawn(
                    background
                        .supervise("admin listener", never.clone().into(), move |_| plain.clone().serve()),
                );
            }
        }
        let mut stopping = stop.clone();
        let _ = stopping.wait_for(|stop| *stop).await;
        hub.drain().await;
        // The store must stay open until connections have stored acknowledgements and sent pending responses.
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(hub.limits().shutdown_timeout, ended).await.is_err() {
            let connections = context.metrics.sockets.get();
            warn!(connections, "some connections did not close within the shutdown time-out");
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
    // Lets a restarted hub bind its port while old connections are in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
