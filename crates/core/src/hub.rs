//! The hub: all operations that devices, services and the operator can perform, independent of protocol and storage.
//!
//! [`Hub`] implements the rules on top of ports (traits for storage, event log, bus and clock). Protocol front ends
//! call [`Hub`] only.

mod activity;
mod authorize;
mod connect;
mod devices;
mod edge;
mod emit;
mod events;
mod faults;
mod files;
mod identities;
mod invoke_method;
mod keys;
mod management;
mod messages;
mod modules;
mod readiness;
mod statistics;
mod twins;

pub use authorize::{DeviceCaller, ModuleCaller};
pub use connect::{ConnectRefusal, ConnectRequest, Connected};
pub use events::{DeviceMessage, ReadRequest};
pub use faults::{Delivery, RefusedRequest};
pub use files::{BlobDenied, BlobGrant, LockedNotification};
pub use invoke_method::MethodCall;
pub use management::PolicyKey;

use std::sync::Arc;

use ferrohub_model::{ErrorCode, HubError, SharedAccessKey};
use futures_util::future::try_join_all;
use tokio::sync::watch;
use tracing::{error, info};

use crate::auth::{Authorities, Authority, EntraTokenVerifier, Policies, Policy, PolicySource};
use crate::blobs::{FileStorage, UrlSigningKeys};
use crate::bus::Bus;
use crate::clock::Clock;
use crate::connections::{CloseReason, Connections};
use crate::events::{ConnectionEvents, EventLog, EventSettings, EventSource, ManagedEventLog};
use crate::health::Health;
use crate::limits::Limits;
use crate::log_limited;
use crate::messages::{Queues, run_expiry};
use crate::metrics::Metrics;
use crate::store::{Store, StoreError, StoredPolicy};

/// Settings of a hub.
pub struct HubSettings {
    /// The hub's host name, as it appears in tokens, user names and connection strings.
    pub host: String,
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
}

/// A running hub.
pub struct Hub {
    host: String,
    limits: Limits,
    store: Arc<dyn Store>,
    events: Arc<ManagedEventLog>,
    /// `Some` if the event log includes connection state events.
    connection_events: Option<Arc<ConnectionEvents>>,
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    connections: Arc<Connections>,
    policies: Policies,
    authorities: Authorities,
    entra: Option<EntraTokenVerifier>,
    metrics: Metrics,
    files: Option<FileStorage>,
    url_signing_keys: UrlSigningKeys,
    identity_locks: twins::IdentityLocks,
    recent_activity: Arc<activity::RecentActivity>,
    queues: Arc<Queues>,
    /// Expires messages and message locks.
    message_expiry_task: tokio::task::AbortHandle,
    health: Health,
    fault_injector: faults::FaultInjector,
    /// Serializes changes of policies and certificate authorities, which are read-modify-write.
    management: tokio::sync::Mutex<()>,
    /// `true` once shutdown has begun. Event readers subscribe to it.
    stopping: watch::Sender<bool>,
}

impl Hub {
    /// Starts a hub: loads policies, certificate authorities and URL signing keys, and starts the background tasks.
    ///
    /// Creates the default policies if the store has no policies.
    pub async fn start(settings: HubSettings, ports: HubPorts, metrics: Metrics) -> Result<Self, StoreError> {
        let HubPorts { store, events, bus, clock, connections, files } = ports;
        let queues = Queues::new(
            store.clone(),
            bus.clone(),
            clock.clone(),
            settings.limits.messages.clone(),
            metrics.clone(),
        );
        let health = Health::new(metrics.failed_tasks.clone());
        let expiry = health.supervise("message expiry", run_expiry(queues.clone()));
        let message_expiry_task = tokio::spawn(expiry).abort_handle();
        let events = Arc::new(ManagedEventLog::new(events, settings.events, &metrics));
        events.check_clock(clock.now()).await?;
        let connection_events = if events.settings().sources.contains(&EventSource::ConnectionState) {
            let (partitions, now) = (events.state().await?, clock.now());
            Some(Arc::new(ConnectionEvents::new(events.clone(), settings.host.clone(), &partitions, now)))
        } else {
            None
        };
        let hub = Self {
            host: settings.host,
            fault_injector: faults::FaultInjector::new(&settings.limits),
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
            url_signing_keys: UrlSigningKeys::default(),
            identity_locks: twins::IdentityLocks::default(),
            recent_activity: Arc::default(),
            queues,
            message_expiry_task,
            health,
            management: tokio::sync::Mutex::new(()),
            stopping: watch::Sender::new(false),
        };
        // After a crash, no device is connected.
        let marked = hub.store.mark_all_disconnected(hub.clock.now()).await?;
        if marked > 0 {
            info!(
                identities = marked,
                "the hub was not stopped cleanly; marked its connected identities as disconnected"
            );
        }
        hub.load_policies(settings.policies).await?;
        hub.authorities.replace(hub.read_authorities(settings.authorities).await?);
        hub.load_url_keys().await?;
        let retention = hub.events.run_retention(hub.clock.clone(), hub.stopping.subscribe());
        tokio::spawn(hub.health.supervise("event retention", retention));
        Ok(hub)
    }

    async fn load_policies(&self, configured: Vec<Policy>) -> Result<(), StoreError> {
        let mut stored = self.store.policies().await?;
        if stored.is_empty() {
            stored.extend(crate::auth::DEFAULT_POLICIES.map(|(name, rights)| StoredPolicy {
                name: name.to_owned(),
                rights,
                primary_key: SharedAccessKey::generate(),
                secondary_key: SharedAccessKey::generate(),
            }));
            // Concurrently, so that they share a commit.
            try_join_all(stored.iter().map(|policy| self.store.save_policy(policy))).await?;
            info!("created the default shared access policies with new keys");
        }
        for policy in stored {
            self.policies.insert(Policy {
                name: policy.name.into(),
                rights: policy.rights,
                primary_key: policy.primary_key,
                secondary_key: policy.secondary_key,
                source: PolicySource::Store,
            });
        }
        configured.into_iter().for_each(|policy| self.policies.insert(policy));
        Ok(())
    }

    /// Returns the certificate authorities of the store and of the configuration, which override stored ones.
    async fn read_authorities(&self, configured: Vec<Authority>) -> Result<Vec<Authority>, StoreError> {
        let mut authorities = Vec::new();
        for stored in self.store.authorities().await? {
            match Authority::new(&stored.name, stored.certificate, stored.verified, false) {
                Ok(mut authority) => {
                    authority.verification_code = stored.verification_code;
                    authorities.push(authority);
                }
                Err(error) => {
                    error!(name = stored.name, %error, "cannot use a stored certificate authority")
                }
            }
        }
        authorities.extend(configured);
        Ok(authorities)
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

    /// Returns the health of the background tasks. Run every task that must not end in [`Health::supervise`].
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
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

    /// Closes the hub after it was [drained](Hub::drain) and its connections have ended. All data is persisted when
    /// this returns.
    pub async fn close(&self) {
        self.recent_activity.write(&*self.store).await;
        self.message_expiry_task.abort();
        self.store.close().await;
        // The event log closes last because changes in the store emit events.
        if let Some(connection_events) = &self.connection_events {
            connection_events.flush().await;
        }
        self.events.close().await;
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.message_expiry_task.abort();
    }
}

/// Maps a store error to the error for the caller, and logs the cause.
fn store_failed(error: StoreError) -> HubError {
    if matches!(error, StoreError::Closed) {
        return HubError::new(ErrorCode::ServiceUnavailable, "The hub is stopping.");
    }
    // Requests that are not authorized read the store, too.
    log_limited!(error, "a store operation failed", "store_failed", %error);
    if matches!(error, StoreError::DiskFull(_)) {
        return HubError::new(ErrorCode::ServiceUnavailable, "The hub's disk is full; its log says which.");
    }
    HubError::new(ErrorCode::ServerError, "The hub cannot access its store; its log says why.")
}
