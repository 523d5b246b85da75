//! The one background task of a client: it connects, serves calls, renews tokens, and comes back after a loss.
//!
//! Its invariant: an answer is sent on the connection that brought the call, or not at all. The hub ends a call
//! together with its connection, and request ids are its own affair: on a later connection the same id may name
//! somebody else's call.

mod calls;
mod connect;
mod desired;
mod disconnect;
mod events;
mod link;
mod messages;
mod renew;
mod serve;
mod subscribe;
mod twin;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use ferrohub_mqtt::client::Session;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::config::Config;
use crate::error::Error;
use crate::feature::{Feature, Features};
use crate::feed::Feed;
use crate::message::{Inbox, Message};
use crate::method::Handlers;
use crate::outbox::Outbox;
use crate::reconnect::Backoff;
use crate::status::{DisconnectReason, Status};
use crate::twin::{DesiredUpdate, TwinQueue};
use calls::Calls;
use connect::Connected;
use desired::Desired;
use events::Events;
use subscribe::Subscriptions;
use twin::TwinRequests;

/// What client and task share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) handlers: Handlers,
    pub(crate) status: watch::Sender<Status>,
    /// One permit per call that is worked on, over all connections: handlers outlive them.
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) twin: TwinQueue,
    pub(crate) desired: Arc<Feed<DesiredUpdate>>,
    pub(crate) messages: Arc<Feed<Message>>,
    pub(crate) inbox: Arc<Inbox>,
    /// What the application has used; more follows from who reads.
    pub(crate) used: AtomicU8,
    /// Tells the task that there is something new in here.
    pub(crate) wake: Arc<Notify>,
}

impl Shared {
    pub(crate) fn new(config: Config) -> Self {
        let wake = Arc::new(Notify::new());
        let (status, _) = watch::channel(Status::disconnected(DisconnectReason::NotConnectedYet));
        Self {
            permits: Arc::new(Semaphore::new(config.max_concurrent_methods)),
            outbox: Arc::new(Outbox::new(config.offline.clone())),
            config,
            handlers: Handlers::default(),
            status,
            twin: TwinQueue::default(),
            desired: Arc::default(),
            messages: Arc::default(),
            inbox: Arc::new(Inbox::new(wake.clone())),
            used: AtomicU8::new(0),
            wake,
        }
    }

    /// The application uses this from now on.
    pub(crate) fn uses(&self, feature: Feature) {
        self.used.fetch_or(feature as u8, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// What the hub has to know that the device listens to.
    fn wanted(&self) -> Features {
        let mut wanted = Features::from_bits(self.used.load(Ordering::Relaxed));
        if self.desired.reader().is_some() {
            wanted = wanted.with(Feature::Desired).with(Feature::TwinAnswers);
        }
        if self.messages.reader().is_some() {
            wanted = wanted.with(Feature::Messages);
        }
        wanted
    }

    /// A task begins: what is asked of it is taken.
    pub(crate) fn open(&self) {
        self.outbox.open();
        self.twin.open();
    }

    /// The task ended: whoever waits for something is told.
    fn close(&self, error: &Error) {
        self.outbox.close(error);
        self.twin.close(error);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.desired.end();
        self.messages.end();
    }
}

/// What a client asks of its task. That the channel closes means the same as `Disconnect`.
pub(crate) enum Command {
    Disconnect,
}

/// Why a connection, or the wait for one, is over.
enum Ending {
    Requested,
    Lost(Error),
}

pub(crate) struct Driver {
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    calls: Calls,
    events: Events,
    twin: TwinRequests,
    desired: Desired,
    session: Session,
    subscriptions: Subscriptions,
    mode: Mode,
    /// What those who still wait are told at the end.
    end: Error,
}

/// What a connection is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Everything.
    Serving,
    /// To bring what is under way to its end, because the next connection is about to take over.
    Renewing,
    /// To bring to its end what was asked before `disconnect`. Commands are not looked at any more.
    Leaving,
}

impl Driver {
    pub(crate) fn new(shared: Arc<Shared>, commands: mpsc::Receiver<Command>) -> Self {
        Self {
            shared,
            commands,
            calls: Calls::default(),
            events: Events::default(),
            twin: TwinRequests::default(),
            desired: Desired::default(),
            session: Session::default(),
            subscriptions: Subscriptions::default(),
            mode: Mode::Serving,
            end: Error::closed(),
        }
    }

    /// Runs until the application wants no more, or nothing more can be done.
    pub(crate) async fn run(mut self) {
        let reason = match self.drive().await {
            Ending::Requested => DisconnectReason::Requested,
            Ending::Lost(error) => {
                self.end = error.clone();
                DisconnectReason::Failed(error)
            }
        };
        // Before anybody can see the end.
        self.close();
        info!(device = %self.shared.config.identity, ?reason, "disconnected");
        self.status(Status::disconnected(reason));
    }

    async fn drive(&mut self) -> Ending {
        let mut backoff = Backoff::default();
        let mut connected = match self.connect().await {
            Ok(connected) => connected,
            Err(ending) => return ending,
        };
        loop {
            info!(device = %self.shared.config.identity, "connected");
            self.status(Status::Connected);
            let since = Instant::now();
            let error = match self.serve(&mut connected).await {
                Ending::Requested => {
                    self.disconnect(connected.link).await;
                    return Ending::Requested;
                }
                Ending::Lost(error) => error,
            };
            self.calls.end();
            self.session = connected.link.into_session();
            self.events_lost_their_connection(since.elapsed());
            self.repeat_twin_requests();
            self.messages_lost_their_connection();
            backoff.connected_for(since.elapsed(), &self.shared.config.reconnect);
            connected = match self.reconnect(&mut backoff, error).await {
                Ok(connected) => connected,
                Err(ending) => return ending,
            };
        }
    }

    async fn reconnect(&mut self, backoff: &mut Backoff, mut cause: Error) -> Result<Connected, Ending> {
        let lost = Instant::now();
        loop {
            let policy = &self.shared.config.reconnect;
            let wait = backoff.next(policy);
            if cause.kind().ends_reconnecting()
                || policy.give_up.is_some_and(|limit| lost.elapsed() + wait >= limit)
            {
                return Err(Ending::Lost(cause));
            }
            warn!(device = %self.shared.config.identity, error = %cause, ?wait, "connection lost");
            self.status(Status::Waiting { wait, cause });
            self.wait(wait).await?;
            cause = match self.connect().await {
                Ok(connected) => return Ok(connected),
                Err(Ending::Requested) => return Err(Ending::Requested),
                Err(Ending::Lost(error)) => error,
            };
            self.events.could_not_connect();
        }
    }

    async fn wait(&mut self, wait: Duration) -> Result<(), Ending> {
        tokio::select! {
            () = sleep(wait) => Ok(()),
            _ = self.commands.recv() => Err(Ending::Requested),
        }
    }

    /// A connection begins.
    fn begin(&mut self, connected: &mut Connected) {
        self.subscriptions = std::mem::take(&mut connected.subscriptions);
        self.mode = Mode::Serving;
        self.shared.outbox.connected();
        self.desired.missed(Instant::now());
    }

    fn close(&mut self) {
        self.messages_lost_their_connection();
        self.events.fail(&self.end);
        self.twin.fail(&self.end);
        self.shared.close(&self.end);
    }

    fn status(&self, status: Status) {
        self.shared.status.send_replace(status);
    }
}

impl Drop for Driver {
    /// Also when a runtime that ends drops the task.
    fn drop(&mut self) {
        self.close();
    }
}
