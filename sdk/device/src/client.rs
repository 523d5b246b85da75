//! The handle that applications hold.

mod events;
mod files;
mod messages;
mod methods;
mod twin;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::builder::Builder;
use crate::config::Config;
use crate::driver::{Command, Driver, Shared};
use crate::error::Error;
use crate::status::{DisconnectReason, Status, StatusWatch};

/// A device, or a module of one, at its hub. Cheap to clone; all clones are the same client.
///
/// [`connect`](Self::connect) starts one background task, which sends and receives, renews tokens and comes back after
/// a loss until [`disconnect`](Self::disconnect), or until the last clone is dropped – a handler that holds a clone
/// keeps it alive.
#[derive(Clone)]
pub struct DeviceClient {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    task: Mutex<Option<Task>>,
}

/// The background task, seen from outside. Its channel is closed when it has ended.
#[derive(Clone)]
struct Task {
    commands: mpsc::Sender<Command>,
    disconnecting: Arc<AtomicBool>,
}

impl DeviceClient {
    /// A client from `HostName=…;DeviceId=…;SharedAccessKey=…`, as portals and command lines hand it out; also with
    /// `ModuleId`, `GatewayHostName`, or `SharedAccessSignature` in place of the key.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn from_connection_string(text: &str) -> Result<Self, Error> {
        Self::builder_from_connection_string(text)?.build()
    }

    /// A builder that begins with a connection string; `x509=true` is understood, and the certificate comes with
    /// [`Builder::x509`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), without repeating a secret.
    pub fn builder_from_connection_string(text: &str) -> Result<Builder, Error> {
        Builder::from_connection_string(text)
    }

    /// A builder for a device of the hub `host`, which may have a port.
    #[must_use]
    pub fn builder(host: &str, device_id: &str) -> Builder {
        Builder::new(host, device_id)
    }

    pub(crate) fn new(config: Config) -> Self {
        Self { inner: Arc::new(Inner { shared: Arc::new(Shared::new(config)), task: Mutex::new(None) }) }
    }

    /// Connects, and returns once the hub knows what the device listens to: with a handler registered, it can be
    /// called. Does nothing on a client that is connected; waits with one that is coming back.
    ///
    /// Dropping the future does not stop the attempt; [`disconnect`](Self::disconnect) does.
    ///
    /// # Errors
    /// What the first attempt met; it is not repeated. [`ErrorKind::Closed`](crate::ErrorKind::Closed) if it was
    /// stopped by `disconnect`.
    pub async fn connect(&self) -> Result<(), Error> {
        let (mut status, begun) = loop {
            match self.start() {
                Ok(started) => break started,
                Err(disconnecting) => disconnecting.closed().await,
            }
        };
        let settled = |status: &Status| match status {
            Status::Connected | Status::Disconnected { .. } => true,
            // The first attempt was not in vain, or it would be the end: the connection has been lost since.
            Status::WaitingToReconnect { .. } => begun,
            Status::Connecting => false,
        };
        match status.wait_for(settled).await {
            Some(Status::Connected | Status::WaitingToReconnect { .. }) => Ok(()),
            Some(Status::Disconnected { reason: DisconnectReason::Failed(error) }) => Err(error),
            _ => Err(Error::closed()),
        }
    }

    /// Makes sure that the task runs, and tells whether it did not before. Where one is about to end, gives the channel
    /// that closes when it has.
    fn start(&self) -> Result<(StatusWatch, bool), mpsc::Sender<Command>> {
        let mut slot = self.inner.task.lock().unwrap_or_else(PoisonError::into_inner);
        match &*slot {
            Some(task) if task.commands.is_closed() => {}
            Some(task) if task.disconnecting.load(Ordering::Relaxed) => return Err(task.commands.clone()),
            Some(_) => return Ok((self.status(), false)),
            None => {}
        }
        let (commands, receiver) = mpsc::channel(1);
        // Before anybody can look: the last task left another status.
        self.inner.shared.status.send_replace(Status::Connecting);
        self.inner.shared.open();
        tokio::spawn(Driver::new(self.inner.shared.clone(), receiver).run());
        *slot = Some(Task { commands, disconnecting: Arc::default() });
        Ok((self.status(), true))
    }

    /// Disconnects in good order: takes no more calls, lets handlers finish and events and requests be acknowledged for
    /// the builder's [`shutdown_timeout`](Builder::shutdown_timeout), sends answers, says goodbye. Returns when all this is done. A handler
    /// that takes longer is not stopped, but its answer goes nowhere; who waits for an acknowledgement is told
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed).
    ///
    /// The client can be connected again.
    pub async fn disconnect(&self) {
        let task = self.inner.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(task) = task {
            if !task.disconnecting.swap(true, Ordering::Relaxed) {
                // It fails only when the task has ended by itself.
                let _ = task.commands.send(Command::Disconnect).await;
            }
            task.commands.closed().await;
        }
    }

    /// Follows the state of the connection.
    #[must_use]
    pub fn status(&self) -> StatusWatch {
        StatusWatch { receiver: self.inner.shared.status.subscribe() }
    }

    /// The device's id.
    #[must_use]
    pub fn device_id(&self) -> &str {
        self.inner.shared.config.identity.device_str()
    }

    /// The module's id, if the client is a module.
    #[must_use]
    pub fn module_id(&self) -> Option<&str> {
        self.inner.shared.config.identity.module_str()
    }
}

impl fmt::Debug for DeviceClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceClient")
            .field("host", &self.inner.shared.config.host)
            .field("identity", &self.inner.shared.config.identity)
            .field("status", &self.status().current())
            .finish_non_exhaustive()
    }
}
