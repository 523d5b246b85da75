//! The background task of a client: connects, serves calls, renews tokens, and reconnects.
//!
//! Invariant: a response is sent on the connection that delivered the call, or not at all. The hub ends a call together
//! with its connection, and may use the same request id for another call on a later connection.

mod cloud_to_device;
mod connect;
mod desired;
mod disconnect;
mod link;
mod methods;
mod renew;
mod serve;
mod subscribe;
mod telemetry;
mod twins;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use ferrohub_mqtt::client::Session;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::channel::Channel;
use crate::cloud_to_device::{Message, UnacknowledgedMessages};
use crate::config::Config;
use crate::error::{Error, ends_reconnecting};
use crate::feature::{Feature, Features};
use crate::methods::Handlers;
use crate::retry::Backoff;
use crate::status::{ConnectionStatus, DisconnectReason};
use crate::telemetry::EventQueue;
use crate::twins::{DesiredUpdate, TwinQueue};
use connect::Connected;
use desired::DesiredTracker;
use methods::Calls;
use subscribe::Subscriptions;
use telemetry::Events;
use twins::TwinRequests;

/// The state that the client and its task share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) handlers: Handlers,
    pub(crate) status: watch::Sender<ConnectionStatus>,
    /// One permit per open call, across connections: handlers outlive a connection.
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) event_queue: Arc<EventQueue>,
    pub(crate) twin: TwinQueue,
    pub(crate) desired: Arc<Channel<DesiredUpdate>>,
    pub(crate) messages: Arc<Channel<Message>>,
    pub(crate) unacknowledged: Arc<UnacknowledgedMessages>,
    /// The features that the application has used. Open streams add to them.
    pub(crate) used_features: AtomicU8,
    /// Wakes the task after a change of this state.
    pub(crate) wake: Arc<Notify>,
}

impl Shared {
    pub(crate) fn new(config: Config) -> Self {
        let wake = Arc::new(Notify::new());
        let (status, _) = watch::channel(ConnectionStatus::disconnected(DisconnectReason::NeverConnected));
        Self {
            permits: Arc::new(Semaphore::new(config.max_concurrent_methods)),
            event_queue: Arc::new(EventQueue::new(config.offline.clone())),
            config,
            handlers: Handlers::default(),
            status,
            twin: TwinQueue::default(),
            desired: Arc::default(),
            messages: Arc::default(),
            unacknowledged: Arc::new(UnacknowledgedMessages::new(wake.clone())),
            used_features: AtomicU8::new(0),
            wake,
        }
    }

    /// Marks a feature as used, and wakes the task to subscribe.
    pub(crate) fn use_feature(&self, feature: Feature) {
        self.used_features.fetch_or(feature as u8, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// The features to subscribe to.
    fn wanted_features(&self) -> Features {
        let mut wanted = Features::from_bits(self.used_features.load(Ordering::Relaxed));
        if self.desired.receiver_id().is_some() {
            wanted = wanted.with(Feature::Desired).with(Feature::TwinResponses);
        }
        if self.messages.receiver_id().is_some() {
            wanted = wanted.with(Feature::Messages);
        }
        wanted
    }

    /// Accepts events and requests: a task has started.
    pub(crate) fn open(&self) {
        self.event_queue.open();
        self.twin.open();
    }

    /// Fails queued events and requests: the task has ended.
    fn close(&self, error: &Error) {
        self.event_queue.close(error);
        self.twin.close(error);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.desired.close();
        self.messages.close();
    }
}

/// A command of the client to its task. A closed channel means `Disconnect`, too.
pub(crate) enum Command {
    Disconnect,
}

/// Why a connection, or the wait for one, ended.
enum ExitReason {
    Requested,
    Lost(Error),
}

pub(crate) struct Driver {
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    calls: Calls,
    events: Events,
    twin: TwinRequests,
    desired: DesiredTracker,
    session: Session,
    subscriptions: Subscriptions,
    mode: Mode,
    /// The error of operations that are pending when the task ends.
    final_error: Error,
}

/// The purpose of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Everything.
    Serving,
    /// Finishing operations in flight, because the next connection is about to take over.
    Renewing,
    /// Finishing operations that were started before `disconnect`. Commands are no longer read.
    Draining,
}

impl Driver {
    pub(crate) fn new(shared: Arc<Shared>, commands: mpsc::Receiver<Command>) -> Self {
        Self {
            shared,
            commands,
            calls: Calls::default(),
            events: Events::default(),
            twin: TwinRequests::default(),
            desired: DesiredTracker::default(),
            session: Session::default(),
            subscriptions: Subscriptions::default(),
            mode: Mode::Serving,
            final_error: Error::closed(),
        }
    }

    /// Runs until the application disconnects or an error ends the client.
    pub(crate) async fn run(mut self) {
        let reason = match self.drive().await {
            ExitReason::Requested => DisconnectReason::Requested,
            ExitReason::Lost(error) => {
                self.final_error = error.clone();
                DisconnectReason::Failed(error)
            }
        };
        // Before the status changes.
        self.close();
        info!(device = %self.shared.config.identity, ?reason, "disconnected");
        self.set_status(ConnectionStatus::disconnected(reason));
    }

    async fn drive(&mut self) -> ExitReason {
        let mut backoff = Backoff::default();
        let mut connected = match self.connect().await {
            Ok(connected) => connected,
            Err(ending) => return ending,
        };
        loop {
            info!(device = %self.shared.config.identity, "connected");
            self.set_status(ConnectionStatus::Connected);
            let since = Instant::now();
            let error = match self.serve(&mut connected).await {
                ExitReason::Requested => {
                    self.disconnect(connected.link).await;
                    return ExitReason::Requested;
                }
                ExitReason::Lost(error) => error,
            };
            self.calls.cancel_all();
            self.session = connected.link.into_session();
            self.on_events_disconnected(since.elapsed());
            self.resend_twin_requests();
            self.on_messages_disconnected();
            backoff.reset_after(since.elapsed(), &self.shared.config.retry);
            connected = match self.reconnect(&mut backoff, error).await {
                Ok(connected) => connected,
                Err(ending) => return ending,
            };
        }
    }

    async fn reconnect(&mut self, backoff: &mut Backoff, mut cause: Error) -> Result<Connected, ExitReason> {
        let lost = Instant::now();
        loop {
            let policy = &self.shared.config.retry;
            let delay = backoff.next_delay(policy);
            if ends_reconnecting(cause.kind())
                || policy.give_up_after.is_some_and(|limit| lost.elapsed() + delay >= limit)
            {
                return Err(ExitReason::Lost(cause));
            }
            warn!(device = %self.shared.config.identity, error = %cause, ?delay, "connection lost");
            self.set_status(ConnectionStatus::WaitingToReconnect { delay, cause });
            self.wait(delay).await?;
            cause = match self.connect().await {
                Ok(connected) => return Ok(connected),
                Err(ExitReason::Requested) => return Err(ExitReason::Requested),
                Err(ExitReason::Lost(error)) => error,
            };
            self.events.connect_failed();
        }
    }

    async fn wait(&mut self, delay: Duration) -> Result<(), ExitReason> {
        tokio::select! {
            () = sleep(delay) => Ok(()),
            _ = self.commands.recv() => Err(ExitReason::Requested),
        }
    }

    /// Resets the state for a new connection.
    fn connection_started(&mut self, connected: &mut Connected) {
        self.subscriptions = std::mem::take(&mut connected.subscriptions);
        self.mode = Mode::Serving;
        self.shared.event_queue.connected();
        self.desired.connected(Instant::now());
    }

    fn close(&mut self) {
        self.on_messages_disconnected();
        self.events.fail(&self.final_error);
        self.twin.fail(&self.final_error);
        self.shared.close(&self.final_error);
    }

    fn set_status(&self, status: ConnectionStatus) {
        self.shared.status.send_replace(status);
    }
}

impl Drop for Driver {
    /// Runs, too, if the runtime shuts down and drops the task.
    fn drop(&mut self) {
        self.close();
    }
}
