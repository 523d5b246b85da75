//! The one background task of a client: it connects, serves calls, renews tokens, and comes back after a loss.
//!
//! Its invariant: an answer is sent on the connection that brought the call, or not at all. The hub ends a call
//! together with its connection, and request ids are its own affair: on a later connection the same id may name
//! somebody else's call.

mod calls;
mod connect;
mod disconnect;
mod link;
mod renew;
mod serve;

use std::sync::Arc;
use std::time::Duration;

use ferrohub_mqtt::client::Session;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::config::Config;
use crate::error::Error;
use crate::method::Handlers;
use crate::reconnect::Backoff;
use crate::status::{DisconnectReason, Status};
use calls::Calls;
use connect::Connected;

/// What client and task share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) handlers: Handlers,
    pub(crate) status: watch::Sender<Status>,
    /// One permit per call that is worked on, over all connections: handlers outlive them.
    pub(crate) permits: Arc<Semaphore>,
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
    session: Session,
    /// Whether the hub knows that this device takes method calls.
    subscribed: bool,
    /// Set by `disconnect`: commands are not looked at any more.
    leaving: bool,
}

impl Driver {
    pub(crate) fn new(shared: Arc<Shared>, commands: mpsc::Receiver<Command>) -> Self {
        Self {
            shared,
            commands,
            calls: Calls::default(),
            session: Session::default(),
            subscribed: false,
            leaving: false,
        }
    }

    /// Runs until the application wants no more, or nothing more can be done.
    pub(crate) async fn run(mut self) {
        let reason = match self.drive().await {
            Ending::Requested => DisconnectReason::Requested,
            Ending::Lost(error) => DisconnectReason::Failed(error),
        };
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
        }
    }

    async fn wait(&mut self, wait: Duration) -> Result<(), Ending> {
        tokio::select! {
            () = sleep(wait) => Ok(()),
            _ = self.commands.recv() => Err(Ending::Requested),
        }
    }

    fn status(&self, status: Status) {
        self.shared.status.send_replace(status);
    }
}
