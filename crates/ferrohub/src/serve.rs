//! Assembles a hub from its configuration and runs it until it receives a stop signal.

mod authorities;
mod entra;
mod files;
mod limits;
mod listen;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use ferrohub_bus::LocalBus;
use ferrohub_core::auth::{Policy, PolicySource};
use ferrohub_core::clock::Clock;
use ferrohub_core::connections::Connections;
use ferrohub_core::metrics::Metrics;
use ferrohub_core::store::Store;
use ferrohub_core::{Hub, HubPorts, HubSettings};
use ferrohub_gateway::tls::{CertificateFiles, PrivateCa, RequiredHost, ServerCertificate};
use ferrohub_gateway::{AdminOptions, Gateway, GatewayMetrics, ServeOptions, SystemMetrics};
use ferrohub_model::{Right, Rights, Timestamp};
use ferrohub_store::{SqliteEventLog, SqliteStore, StoreMetrics};
use prometheus_client::registry::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::endpoints::{self, Endpoints};
use crate::logging;

/// How often the server certificate is checked.
const CERTIFICATE_CHECK_INTERVAL: Duration = Duration::from_secs(3600);

/// The wall clock of the operating system.
struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_unix_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// Runs a hub until SIGTERM or SIGINT.
pub(crate) fn run(config: Config) -> anyhow::Result<()> {
    let _flush = logging::start(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (stop, stopping) = watch::channel(false);
        tokio::spawn(stop_on_signal(stop)?);
        serve(config, stopping).await
    })
}

/// Returns a future that handles signals: the first one stops the hub, the second one ends the process immediately.
fn stop_on_signal(stop: watch::Sender<bool>) -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        for is_second in [false, true] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if is_second {
                warn!("received a second stop signal: exiting now");
                logging::flush();
                std::process::exit(130);
            }
            info!("received a stop signal: waiting for calls in flight");
            let _ = stop.send(true);
        }
    })
}

async fn serve(config: Config, stopping: watch::Receiver<bool>) -> anyhow::Result<()> {
    Server::open(&config).await?.run(stopping).await
}

/// A hub that listens. It serves connections when [`Server::run`] is called.
pub(crate) struct Server {
    gateway: Gateway,
    options: ServeOptions,
    endpoints: Endpoints,
    private_ca: Option<PrivateCa>,
}

impl Server {
    /// Opens the store and the listeners, and assembles the hub.
    pub(crate) async fn open(config: &Config) -> anyhow::Result<Self> {
        let addresses = listen::addresses(config)?;
        let mut registry = Registry::default();
        logging::metrics().register(&mut registry);
        let store = SqliteStore::open(&config.data_dir, StoreMetrics::register(&mut registry))?;
        endpoints::announce_start(&config.data_dir)?;
        let log_metrics = StoreMetrics::register_for_events(&mut registry);
        let events = SqliteEventLog::open(&store, config.events.partitions, log_metrics)?;
        let blobs =
            if files::are_in_folder(&config.files) { Some(store.claim_blobs_folder()?) } else { None };
        let (certificate, private_ca) = certificate(config)?;
        let authorities = authorities::read(&config.device_cas)?;
        let gateway = listen::bind(addresses)?;
        let local_addrs = gateway.local_addrs();

        let entra = entra::set_up(config, &local_addrs.https)?;

        let metrics = Metrics::register(&mut registry);
        let gateway_metrics = GatewayMetrics::register(&mut registry);
        let system = SystemMetrics::register(&mut registry, env!("CARGO_PKG_VERSION"), &config.data_dir);
        let limits = limits::core_limits(config);
        let connections = Arc::new(Connections::new(limits.in_flight_methods_per_device));
        let settings = HubSettings {
            host: config.hostname.clone(),
            limits,
            policies: policies(config),
            authorities,
            entra: entra.verifier,
            events: limits::event_settings(&config.events),
        };
        let (store, clock): (Arc<dyn Store>, Arc<dyn Clock>) = (Arc::new(store), Arc::new(SystemClock));
        let ports = HubPorts {
            files: files::set_up(config, &local_addrs.https, blobs, &store, &clock).await?,
            events: Arc::new(events),
            bus: Arc::new(LocalBus::new(connections.clone())),
            store,
            clock,
            connections,
        };
        let hub = Hub::start(settings, ports, metrics).await?;

        let first = |addresses: &[SocketAddr]| addresses.first().copied().context("no address to listen on");
        let endpoints = Endpoints {
            hostname: config.hostname.clone(),
            mqtt: first(&local_addrs.mqtt)?,
            https: first(&local_addrs.https)?,
            admin: first(&local_addrs.admin)?,
            ca_certificate: private_ca
                .as_ref()
                .map(|ca| ca.certificate_path().to_string_lossy().into_owned()),
            file_notifications: config.files.enabled && config.files.notifications,
            pid: Some(std::process::id()),
        };
        endpoints.write(&config.data_dir)?;
        let options = ServeOptions {
            hub: Arc::new(hub),
            certificate: Arc::new(certificate),
            limits: limits::gateway_limits(&config.limits, &config.files),
            metrics: gateway_metrics,
            admin: AdminOptions {
                names: listen::admin_names(config),
                token: config.listen.admin_token.clone(),
                registry: Arc::new(registry),
                system,
            },
            extra_routes: entra.routes,
        };
        Ok(Self { gateway, options, endpoints, private_ca })
    }

    /// Returns the addresses that the hub listens on.
    pub(crate) fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Serves until `stopping` becomes true, then drains.
    pub(crate) async fn run(self, stopping: watch::Receiver<bool>) -> anyhow::Result<()> {
        let Self { gateway, options, endpoints, private_ca } = self;
        let (hub, health) = (options.hub.clone(), options.hub.health().clone());
        let renewal = renew_certificate(options.certificate.clone(), private_ca);
        let renewal = tokio::spawn(health.supervise("certificate renewal", renewal));
        let activity = async move { hub.run_activity_writer().await };
        let activity = tokio::spawn(health.supervise("activity writer", activity));
        let maintenance = files::run_file_maintenance(options.hub.clone());
        let file_maintenance = tokio::spawn(health.supervise("file maintenance", maintenance));
        info!(
            hostname = endpoints.hostname, mqtt = %endpoints.mqtt, https = %endpoints.https,
            admin = %endpoints.admin, "the hub is ready"
        );
        gateway.serve(options, stopping).await?;
        renewal.abort();
        activity.abort();
        file_maintenance.abort();
        info!("the hub stopped");
        Ok(())
    }
}

/// Loads the configured certificate, or issues one with the hub's private CA.
fn certificate(config: &Config) -> anyhow::Result<(ServerCertificate, Option<PrivateCa>)> {
    if let (Some(certificate), Some(private_key)) = (&config.tls.certificate, &config.tls.private_key) {
        let files = CertificateFiles { certificate: certificate.clone(), private_key: private_key.clone() };
        let host =
            RequiredHost { name: config.hostname.clone(), allow_other_names: config.tls.allow_other_names };
        return Ok((ServerCertificate::load(files, Some(host))?, None));
    }
    let mut names = vec![config.hostname.clone()];
    names.extend(config.tls.names.iter().cloned());
    for name in ["localhost", "127.0.0.1", "::1"] {
        names.push(name.to_owned());
    }
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    let folder = std::path::absolute(config.data_dir.join("tls"))?;
    let ca = PrivateCa::new(&folder, names);
    let files = ca.ensure(SystemTime::now()).context("cannot create the hub's certificates")?;
    Ok((ServerCertificate::load(files, None)?, Some(ca)))
}

/// Renews the certificate of the private CA before it expires, and reloads configured files that were replaced.
async fn renew_certificate(certificate: Arc<ServerCertificate>, private_ca: Option<PrivateCa>) {
    let mut known = std::fs::read(&certificate.files().certificate).ok();
    loop {
        tokio::time::sleep(CERTIFICATE_CHECK_INTERVAL).await;
        if let Some(ca) = &private_ca
            && let Err(error) = ca.ensure(SystemTime::now())
        {
            error!(%error, "cannot renew the server certificate");
        }
        let current = std::fs::read(&certificate.files().certificate).ok();
        if current != known {
            match certificate.reload() {
                Ok(()) => {
                    info!("loaded the renewed server certificate");
                    known = current;
                }
                Err(error) => {
                    error!(%error, "cannot load the new server certificate; the previous one stays in use")
                }
            }
        }
    }
}

fn policies(config: &Config) -> Vec<Policy> {
    let policy = |policy: &crate::config::PolicyConfig| {
        let rights: Vec<Right> = policy.rights.iter().filter_map(|name| Right::from_name(name)).collect();
        Policy {
            name: policy.name.as_str().into(),
            rights: Rights::of(&rights),
            primary_key: policy.primary_key.clone(),
            secondary_key: policy.secondary_key.clone(),
            source: PolicySource::Configuration,
        }
    };
    config.policies.iter().map(policy).collect()
}
