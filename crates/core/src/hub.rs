//! The hub: assembles the features and the ports, starts and stops. It knows no rule of a feature.
//!
//! What a feature does to the hub is in `impl Hub` in the folder of the feature.

mod reload;
mod tasks;

use std::sync::Arc;

use tokio::sync::watch;
use tracing::info;

use crate::auth::{Authorities, Authority, EntraTokenVerifier};
use crate::background::{Background, Leases};
use crate::bus::Bus;
use crate::clock::Clock;
use crate::close_reason::CloseReason;
use crate::cloud_to_device::Queues;
use crate::configurations::Configurations;
use crate::connections::RecentActivity;
use crate::delivery::PeekLock;
use crate::faults::FaultInjector;
use crate::files::{FileStorage, NotificationQueue, UrlSigningKeys};
use crate::import_export::{ExternalContainers, JobWorker};
use crate::jobs::ActiveJobs;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::node::Connections;
use crate::policies::{Policies, Policy};
use crate::queries::QuerySlots;
use crate::store::{Store, StoreError};
use crate::telemetry::{ConnectionEvents, EventLog, EventSettings, EventSource, ManagedEventLog};
use crate::twins::IdentityLocks;

/// Settings of a hub.
pub struct HubSettings {
    /// The hub's host name, as it appears in tokens, user names and connection strings.
    pub host: String,
    /// The name of this node among those that share the store. It must stay the same when the node is started again:
    /// the node then takes over its own leases.
    pub node: String,
    /// Limits that the hub enforces.
    pub limits: Limits,
    /// Policies from the configuration. They override stored policies of the same name.
    pub policies: Vec<Policy>,
    /// Certificate authorities from the configuration.
    pub authorities: Vec<Authority>,
    /// Verifier of Microsoft Entra bearer tokens, or `None` if they are not accepted.
    pub entra: Option<EntraTokenVerifier>,
    /// Sources, retention and consumer groups of the event log.
    pub events: EventSettings,
}

/// The ports that a hub uses.
pub struct HubPorts {
    /// The persistent store.
    pub store: Arc<dyn Store>,
    /// The event log, which services read.
    pub events: Arc<dyn EventLog>,
    /// Routes calls and notifications to the node that has a device's connection.
    pub bus: Arc<dyn Bus>,
    /// The source of the current time.
    pub clock: Arc<dyn Clock>,
    /// The connections of this node.
    pub connections: Arc<Connections>,
    /// Where devices upload files to, or `None` if file upload is disabled.
    pub files: Option<FileStorage>,
    /// Storage outside the hub that jobs may use, or `None` if they may use none.
    pub containers: Option<Arc<dyn ExternalContainers>>,
}

/// A running hub.
pub struct Hub {
    pub(crate) host: String,
    pub(crate) limits: Limits,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) events: Arc<ManagedEventLog>,
    /// `Some` if the event log includes connection state events.
    pub(crate) connection_events: Option<Arc<ConnectionEvents>>,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) policies: Policies,
    pub(crate) authorities: Authorities,
    pub(crate) entra: Option<EntraTokenVerifier>,
    pub(crate) metrics: Metrics,
    pub(crate) files: Option<FileStorage>,
    pub(crate) containers: Option<Arc<dyn ExternalContainers>>,
    pub(crate) job_worker: JobWorker,
    pub(crate) url_signing_keys: Arc<UrlSigningKeys>,
    pub(crate) notifications: Arc<PeekLock<NotificationQueue>>,
    pub(crate) identity_locks: IdentityLocks,
    pub(crate) query_slots: QuerySlots,
    pub(crate) jobs: Arc<ActiveJobs>,
    pub(crate) recent_activity: Arc<RecentActivity>,
    pub(crate) queues: Arc<Queues>,
    pub(crate) configurations: Configurations,
    /// Leases of work that must happen once in the hub.
    pub(crate) leases: Leases,
    pub(crate) background: Background,
    pub(crate) fault_injector: Arc<FaultInjector>,
    /// Serializes changes of policies and certificate authorities, which are read-modify-write.
    pub(crate) management: tokio::sync::Mutex<()>,
    /// `true` once shutdown has begun. Event readers subscribe to it.
    pub(crate) stopping: watch::Sender<bool>,
}

impl Hub {
    /// Starts a hub: loads policies, certificate authorities and URL signing keys, and starts the background tasks.
    ///
    /// Creates the default policies if the store has no policies.
    pub async fn start(
        settings: HubSettings,
        ports: HubPorts,
        metrics: Metrics,
    ) -> Result<Arc<Self>, StoreError> {
        let HubPorts { store, events, bus, clock, connections, files, containers } = ports;
        let background = Background::new(metrics.failed_tasks.clone());
        let queues = Queues::new(
            store.clone(),
            bus.clone(),
            clock.clone(),
            settings.limits.messages.clone(),
            metrics.clone(),
        );
        let events = Arc::new(ManagedEventLog::new(events, settings.events, &metrics));
        events.check_clock(clock.now()).await?;
        let connection_events = if events.settings().sources.contains(&EventSource::ConnectionState) {
            let (partitions, now) = (events.state().await?, clock.now());
            Some(Arc::new(ConnectionEvents::new(events.clone(), settings.host.clone(), &partitions, now)))
        } else {
            None
        };
        let notifications = PeekLock::of_notifications(
            store.clone(),
            clock.clone(),
            settings.limits.files.notifications.clone(),
            metrics.clone(),
        );
        let query_slots = QuerySlots::new(&settings.limits.queries);
        let leases = Leases { store: store.clone(), clock: clock.clone(), node: settings.node.clone() };
        let job_worker = JobWorker::new(leases.of_task("import-export"));
        let configurations = Configurations::new(settings.limits.configurations.clone());
        let jobs = Arc::new(ActiveJobs::new(&settings.limits.jobs));
        let hub = Self {
            host: settings.host,
            fault_injector: Arc::new(FaultInjector::new(&settings.limits)),
            limits: settings.limits,
            store,
            events,
            connection_events,
            bus,
            clock,
            connections,
            policies: Policies::default(),
            authorities: Authorities::default(),
            entra: settings.entra,
            metrics,
            files,
            containers,
            job_worker,
            url_signing_keys: Arc::default(),
            notifications,
            identity_locks: IdentityLocks::default(),
            query_slots,
            jobs,
            recent_activity: Arc::default(),
            queues,
            configurations,
            leases,
            background,
            management: tokio::sync::Mutex::new(()),
            stopping: watch::Sender::new(false),
        };
        // After a crash, no device is connected.
        let marked = hub.store.mark_all_disconnected(&settings.node, hub.clock.now()).await?;
        if marked > 0 {
            info!(
                identities = marked,
                "the hub was not stopped cleanly; marked its connected identities as disconnected"
            );
        }
        hub.load_policies(settings.policies).await?;
        hub.authorities.replace(hub.read_authorities(settings.authorities).await?);
        hub.load_url_keys().await?;
        hub.read_configurations().await?;
        let hub = Arc::new(hub);
        hub.start_tasks();
        Ok(hub)
    }

    /// Returns the hub's host name.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the limits that the hub enforces.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the hub's metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Returns the current time of the hub's clock.
    #[must_use]
    pub fn now(&self) -> ferrohub_model::Timestamp {
        self.clock.now()
    }

    /// Returns the background tasks. Every task that must not end runs there.
    #[must_use]
    pub fn background(&self) -> &Background {
        &self.background
    }

    /// Begins a graceful shutdown: refuses new connects and method calls, waits up to
    /// [`Limits::shutdown_timeout`] for calls in flight, then closes all connections.
    ///
    /// The store stays open until [`Hub::close`], so that the ends of the connections can be persisted.
    pub async fn drain(&self) {
        self.stopping.send_replace(true);
        let deadline = tokio::time::Instant::now() + self.limits.shutdown_timeout;
        while self.metrics.calls_in_flight.get() > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        for connection in self.connections.select(|_| true) {
            self.disconnected(&connection, CloseReason::Stopping).await;
        }
    }

    /// Closes the hub after it was [drained](Hub::drain) and its connections have ended: stops the background tasks.
    /// All data is persisted when this returns.
    pub async fn close(&self) {
        self.background.stop().await;
        self.recent_activity.write(&*self.store).await;
        self.store.close().await;
        // The event log closes last because changes in the store emit events.
        if let Some(connection_events) = &self.connection_events {
            connection_events.flush().await;
        }
        self.events.close().await;
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.background.abort();
    }
}
