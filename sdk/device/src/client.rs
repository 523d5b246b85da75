//! The client: the handle of the application.

mod cloud_to_device;
mod files;
mod methods;
mod telemetry;
mod twins;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::builder::Builder;
use crate::config::Config;
use crate::driver::{Command, Driver, Shared};
use crate::error::Error;
use crate::status::{ConnectionStatus, ConnectionStatusWatcher, DisconnectReason};

/// The client of a device or module. Cheap to clone; all clones share one connection.
///
/// [`connect`](Self::connect) starts a background task. It sends and receives, renews tokens and reconnects until
/// [`disconnect`](Self::disconnect) is called or the last clone is dropped. A handler that owns a clone keeps the
/// client alive.
#[derive(Clone)]
pub struct DeviceClient {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    task: Mutex<Option<Task>>,
}

/// The handle of the background task. Its channel is closed when the task has ended.
#[derive(Clone)]
struct Task {
    commands: mpsc::Sender<Command>,
    disconnecting: Arc<AtomicBool>,
}

impl DeviceClient {
    /// Builds a client from a connection string, `HostName=…;DeviceId=…;SharedAccessKey=…`. It may also have `ModuleId`
    /// and `GatewayHostName`, and `SharedAccessSignature` instead of the key. A port in `HostName` is the MQTT port.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn from_connection_string(text: &str) -> Result<Self, Error> {
        Self::builder_from_connection_string(text)?.build()
    }

    /// Returns a builder with the settings of a connection string. With `x509=true`, set the certificate with
    /// [`Builder::x509`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the text cannot be read. The error does not
    /// repeat a secret.
    pub fn builder_from_connection_string(text: &str) -> Result<Builder, Error> {
        Builder::from_connection_string(text)
    }

    /// Returns a builder for a device of the hub `host`, which may have a port (for MQTT).
    pub fn builder(host: &str, device_id: &str) -> Builder {
        Builder::new(host, device_id)
    }

    pub(crate) fn new(config: Config) -> Self {
        Self { inner: Arc::new(Inner { shared: Arc::new(Shared::new(config)), task: Mutex::new(None) }) }
    }

    /// Connects, and returns when the device is connected and subscribed: methods with a handler can be called from
    /// then on. Returns at once if the client is connected, and waits if it is reconnecting.
    ///
    /// Dropping the future does not stop the attempt; [`disconnect`](Self::disconnect) does.
    ///
    /// # Errors
    /// The error of the first attempt, which is not repeated. [`ErrorKind::Closed`](crate::ErrorKind::Closed) if
    /// `disconnect` stopped it.
    pub async fn connect(&self) -> Result<(), Error> {
        let (mut status, started) = loop {
            match self.start() {
                Ok(task) => break task,
                Err(disconnecting) => disconnecting.closed().await,
            }
        };
        let settled = |status: &ConnectionStatus| match status {
            ConnectionStatus::Connected | ConnectionStatus::Disconnected { .. } => true,
            // A failed first attempt ends the task, so that attempt succeeded and the connection was lost since.
            ConnectionStatus::WaitingToReconnect { .. } => started,
            ConnectionStatus::Connecting => false,
        };
        match status.wait_for(settled).await {
            Some(ConnectionStatus::Connected | ConnectionStatus::WaitingToReconnect { .. }) => Ok(()),
            Some(ConnectionStatus::Disconnected { reason: DisconnectReason::Failed(error) }) => Err(error),
            _ => Err(Error::closed()),
        }
    }

    /// Starts the task if it does not run, and returns whether it was started. If a task is disconnecting, returns its
    /// channel, which is closed when it has ended.
    fn start(&self) -> Result<(ConnectionStatusWatcher, bool), mpsc::Sender<Command>> {
        let mut slot = self.inner.task.lock().unwrap_or_else(PoisonError::into_inner);
        match &*slot {
            Some(task) if task.commands.is_closed() => {}
            Some(task) if task.disconnecting.load(Ordering::Relaxed) => return Err(task.commands.clone()),
            Some(_) => return Ok((self.status(), false)),
            None => {}
        }
        let (commands, receiver) = mpsc::channel(1);
        // Before the status is read: the previous task left another one.
        self.inner.shared.status.send_replace(ConnectionStatus::Connecting);
        self.inner.shared.open();
        tokio::spawn(Driver::new(self.inner.shared.clone(), receiver).run());
        *slot = Some(Task { commands, disconnecting: Arc::default() });
        Ok((self.status(), true))
    }

    /// Disconnects gracefully: accepts no more calls, waits for handlers to finish and for events and requests to be
    /// acknowledged, sends the responses, and sends DISCONNECT. Returns when this is done, at the latest after the
    /// builder's [`shutdown_timeout`](Builder::shutdown_timeout). A handler that takes longer is not stopped, but its
    /// response is not sent. Operations that are still not acknowledged fail with
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed).
    ///
    /// The client can connect again.
    pub async fn disconnect(&self) {
        let task = self.inner.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(task) = task {
            if !task.disconnecting.swap(true, Ordering::Relaxed) {
                // Fails only if the task has ended already.
                let _ = task.commands.send(Command::Disconnect).await;
            }
            task.commands.closed().await;
        }
    }

    /// Returns a watcher of the connection status.
    #[must_use]
    pub fn status(&self) -> ConnectionStatusWatcher {
        ConnectionStatusWatcher { receiver: self.inner.shared.status.subscribe() }
    }

    /// Returns the id of the device.
    #[must_use]
    pub fn device_id(&self) -> &str {
        self.inner.shared.config.identity.device_str()
    }

    /// Returns the id of the module, if the client is a module.
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
