//! The hub itself: its rules over its ports. Protocol heads hold one of these and nothing else.

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
mod statistics;
mod twins;

pub use authorize::DeviceCaller;
pub use connect::{ConnectRefusal, ConnectRequest, Connected};
pub use events::{DeviceMessage, ReadRequest};
pub use faults::{Delivery, RefusedRequest};
pub use files::{BlobDenied, BlobGrant, LockedNotification};
pub use invoke_method::MethodCall;
pub use management::WhichKey;

use std::sync::Arc;

use ferrohub_model::{ErrorCode, HubError, SharedAccessKey};
use futures_util::future::try_join_all;
use tokio::sync::watch;
use tracing::{error, info};

use crate::auth::{Authorities, Authority, Entra, Policies, Policy, PolicySource};
use crate::blobs::{FileStorage, UrlSigningKeys};
use crate::bus::Bus;
use crate::clock::Clock;
use crate::connections::{CloseReason, Connection, Connections};
use crate::events::{ConnectionEvents, EventLog, EventSettings, EventSource, TelemetryLog};
use crate::limits::Limits;
use crate::messages::{Queues, run_expiry};
use crate::metrics::Metrics;
use crate::store::{Store, StoreError, StoredPolicy};

/// What a hub needs to know before it starts.
pub struct HubSettings {
    /// The hub's name: what tokens, user names and connection strings carry.
    pub host: String,
    /// What it refuses to exceed.
    pub limits: Limits,
    /// Policies that the configuration sets; they hide stored ones of the same name.
    pub policies: Vec<Policy>,
    /// Authorities that the configuration vouches for.
    pub authorities: Vec<Authority>,
    /// Bearer tokens, if they are accepted.
    pub entra: Option<Entra>,
    /// What goes into the event log, how long it stays and who reads it.
    pub events: EventSettings,
}

/// What a hub stands on.
pub struct HubPorts {
    /// What survives a restart.
    pub store: Arc<dyn Store>,
    /// What devices send, for back ends to read.
    pub events: Arc<dyn EventLog>,
    /// Who holds a device's connection.
    pub bus: Arc<dyn Bus>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The connections of this node.
    pub connections: Arc<Connections>,
    /// Where devices upload files to, if they may.
    pub files: Option<FileStorage>,
}

/// One hub.
pub struct Hub {
    host: String,
    limits: Limits,
    store: Arc<dyn Store>,
    events: Arc<TelemetryLog>,
    /// There if the event log tells of connections.
    connection_events: Option<Arc<ConnectionEvents>>,
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    connections: Arc<Connections>,
    policies: Policies,
    authorities: Authorities,
    entra: Option<Entra>,
    metrics: Metrics,
    files: Option<FileStorage>,
    url_signing_keys: UrlSigningKeys,
    identity_locks: twins::IdentityLocks,
    recent_activity: Arc<activity::RecentActivity>,
    queues: Arc<Queues>,
    /// Ends messages whose time is up.
    message_expiry_task: tokio::task::AbortHandle,
    fault_injector: faults::FaultInjector,
    /// One writer at a time for policies and authorities, which are read-modify-write.
    management: tokio::sync::Mutex<()>,
    /// True once it begins to stop; readers of events wait for that as well.
    stopping: watch::Sender<bool>,
}

impl Hub {
    /// Starts a hub on its ports: loads policies and authorities, and makes the default policies
    /// where there are none yet.
    pub async fn start(settings: HubSettings, ports: HubPorts, metrics: Metrics) -> Result<Self, StoreError> {
        let HubPorts { store, events, bus, clock, connections, files } = ports;
        let queues = Queues::new(
            store.clone(),
            bus.clone(),
            clock.clone(),
            settings.limits.messages.clone(),
            metrics.clone(),
        );
        let message_expiry_task = tokio::spawn(run_expiry(queues.clone())).abort_handle();
        let events = Arc::new(TelemetryLog::new(events, settings.events, &metrics));
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
            management: tokio::sync::Mutex::new(()),
            stopping: watch::Sender::new(false),
        };
        // None of whoever was connected when the hub went without a goodbye is so any more.
        let left = hub.store.mark_all_disconnected(hub.clock.now()).await?;
        if left > 0 {
            info!(identities = left, "the hub ended while these were connected");
        }
        hub.load_policies(settings.policies).await?;
        hub.load_authorities(settings.authorities).await?;
        hub.load_url_keys().await?;
        tokio::spawn(hub.events.run_retention(hub.clock.clone(), hub.stopping.subscribe()));
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
            // At once, so that they share a commit.
            try_join_all(stored.iter().map(|policy| self.store.save_policy(policy))).await?;
            info!("made the default shared access policies with new keys");
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

    async fn load_authorities(&self, configured: Vec<Authority>) -> Result<(), StoreError> {
        for stored in self.store.authorities().await? {
            match Authority::new(&stored.name, stored.certificate, stored.verified, false) {
                Ok(mut authority) => {
                    authority.verification_code = stored.verification_code;
                    self.authorities.insert(authority);
                }
                Err(reason) => {
                    error!(name = stored.name, %reason, "a stored certificate authority is not usable")
                }
            }
        }
        configured.into_iter().for_each(|authority| self.authorities.insert(authority));
        Ok(())
    }

    /// The hub's name.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What it refuses to exceed.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What time it is for the hub.
    #[must_use]
    pub fn now(&self) -> ferrohub_model::Timestamp {
        self.clock.now()
    }

    /// Whether it is fit to serve: not stopping, and the store answers.
    pub async fn is_ready(&self) -> bool {
        !self.is_stopping() && self.store.ping().await.is_ok()
    }

    /// Begins to stop: new connects and calls are refused, calls in flight may finish within the grace period,
    /// then connections are told to close. What their ends leave to be written can be until [`Hub::close`].
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

    /// Ends it once it has [drained](Hub::drain) and its connections are gone: everything is on disk when this returns.
    pub async fn close(&self) {
        self.recent_activity.write(&*self.store).await;
        self.message_expiry_task.abort();
        self.store.close().await;
        // Last, for changes of what is in the store are told here.
        if let Some(connection_events) = &self.connection_events {
            connection_events.flush().await;
        }
        self.events.close().await;
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Closes the connections of this node that `wanted` picks.
    fn close_where(&self, reason: CloseReason, wanted: impl Fn(&Connection) -> bool) {
        for connection in self.connections.select(wanted) {
            connection.close(reason);
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.message_expiry_task.abort();
    }
}

/// A store that fails is the hub's fault, not the caller's; the log has the cause.
fn store_failed(error: StoreError) -> HubError {
    if matches!(error, StoreError::Closed) {
        return HubError::new(ErrorCode::ServiceUnavailable, "The hub is stopping.");
    }
    error!(%error, "the store failed");
    HubError::new(ErrorCode::ServerError, "The hub could not reach its store.")
}
