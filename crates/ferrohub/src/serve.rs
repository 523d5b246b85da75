//! Assembles a hub from its configuration and runs it until it receives a stop signal.

mod authorities;
mod certificates;
mod entra;
mod file_budget;
mod files;
mod limits;
mod listen;
mod signals;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use ferrohub_bus::LocalBus;
use ferrohub_core::clock::Clock;
use ferrohub_core::metrics::Metrics;
use ferrohub_core::node::Connections;
use ferrohub_core::policies::{Policy, PolicySource};
use ferrohub_core::store::Store;
use ferrohub_core::{Hub, HubPorts, HubSettings};
use ferrohub_gateway::tls::PrivateCa;
use ferrohub_gateway::{AdminOptions, Gateway, GatewayMetrics, ServeOptions, SystemMetrics};
use ferrohub_model::{Right, Rights, Timestamp};
use ferrohub_store::{SqliteEventLog, SqliteStore, StoreMetrics};
use prometheus_client::registry::Registry;
use tokio::sync::{Notify, watch};
use tracing::info;

use crate::config::{AuthorityConfig, Config, LimitsConfig};
use crate::endpoints::{self, Endpoints};
use crate::logging;
use certificates::CertificateFiles;
use file_budget::FileBudget;

/// The name of this node. The data folder is locked, so it has only one.
const NODE: &str = "local";

/// The wall clock of the operating system.
struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_unix_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// Runs a hub until SIGTERM or SIGINT. SIGHUP reloads certificates.
/// `log_file` is the file that standard error is written to, if it is to be rotated.
pub(crate) fn run(config: Config, log_file: Option<PathBuf>) -> anyhow::Result<()> {
    let _flush = logging::start(&config.log, log_file)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let signals = signals::handle()?;
        Server::open(&config).await?.run(signals.stopping, signals.reload).await
    })
}

/// A hub that listens. It serves connections when [`Server::run`] is called.
pub(crate) struct Server {
    gateway: Gateway,
    options: ServeOptions,
    endpoints: Endpoints,
    private_ca: Option<PrivateCa>,
    device_cas: Vec<AuthorityConfig>,
}

impl Server {
    /// Opens the store and the listeners, and assembles the hub.
    pub(crate) async fn open(config: &Config) -> anyhow::Result<Self> {
        let addresses = listen::addresses(config)?;
        let file_budget = FileBudget::claim()?;
        let mut registry = Registry::default();
        logging::metrics().register(&mut registry);
        let store = SqliteStore::open_with(
            &config.data_dir,
            StoreMetrics::register(&mut registry),
            config.queries.store_settings()?,
        )?;
        endpoints::announce_start(&config.data_dir)?;
        let log_metrics = StoreMetrics::register_for_events(&mut registry);
        let events = SqliteEventLog::open(&store, config.events.partitions, log_metrics)?;
        let blobs =
            if files::are_in_folder(&config.files) { Some(store.claim_blobs_folder()?) } else { None };
        let (certificate, private_ca) = certificates::load(config)?;
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
            node: NODE.to_owned(),
            limits,
            policies: policies(config),
            authorities,
            entra: entra.verifier,
            events: limits::event_settings(&config.events),
        };
        let (store, clock): (Arc<dyn Store>, Arc<dyn Clock>) = (Arc::new(store), Arc::new(SystemClock));
        let ports = HubPorts {
            files: files::set_up(config, &local_addrs.https, blobs, &store, &clock, metrics.panics.clone())
                .await?,
            containers: files::containers(&config.files)?,
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
            amqp: Some(first(&local_addrs.amqp)?),
            https: first(&local_addrs.https)?,
            admin: first(&local_addrs.admin)?,
            ca_certificate: private_ca
                .as_ref()
                .map(|ca| ca.certificate_path().to_string_lossy().into_owned()),
            file_notifications: config.files.enabled && config.files.notifications,
            pid: Some(std::process::id()),
        };
        endpoints.write(&config.data_dir)?;
        let limits = limits::gateway_limits(&config.limits, &config.files);
        let options = ServeOptions {
            hub,
            certificate: Arc::new(certificate),
            limits: file_budget.fit(limits, LimitsConfig::default().connections),
            metrics: gateway_metrics,
            admin: AdminOptions {
                names: listen::admin_names(config),
                token: config.listen.admin_token.clone(),
                registry: Arc::new(registry),
                system,
            },
            extra_routes: entra.routes,
        };
        Ok(Self { gateway, options, endpoints, private_ca, device_cas: config.device_cas.clone() })
    }

    /// Returns the addresses that the hub listens on.
    pub(crate) fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Serves until `stopping` becomes true, then drains. `reload` makes it read the files with certificates again.
    pub(crate) async fn run(
        self,
        stopping: watch::Receiver<bool>,
        reload: Arc<Notify>,
    ) -> anyhow::Result<()> {
        let Self { gateway, options, endpoints, private_ca, device_cas } = self;
        let files = Arc::new(CertificateFiles {
            server: options.certificate.clone(),
            private_ca,
            device_cas,
            hub: options.hub.clone(),
        });
        let (hub, background) = (options.hub.clone(), options.hub.background().clone());
        background.start("certificate renewal", move |stop| files.clone().keep_current(reload.clone(), stop));
        let reloading = hub.clone();
        background.start("reloads", move |stop| {
            let hub = reloading.clone();
            async move { stop.run(hub.run_reloads()).await }
        });
        let running = hub.clone();
        background.start("import and export", move |stop| running.clone().run_import_export_jobs(stop));
        let configuring = hub.clone();
        background.start("configurations", move |stop| configuring.clone().run_configurations(stop));
        background.start("twin resync", move |stop| {
            let hub = hub.clone();
            async move { stop.run(hub.run_twin_resync()).await }
        });
        info!(
            hostname = endpoints.hostname, mqtt = %endpoints.mqtt,
            amqp = endpoints.amqp.map(tracing::field::display), https = %endpoints.https, admin = %endpoints.admin, "the hub is ready"
        );
        gateway.serve(options, stopping).await?;
        info!("the hub stopped");
        Ok(())
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
