//! What a client is doing about its connection.

use std::time::Duration;

use tokio::sync::watch;

use crate::error::Error;

/// The state of the connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Status {
    /// There is none, and none is coming until [`connect`](crate::DeviceClient::connect) is called.
    Disconnected {
        /// Why.
        reason: DisconnectReason,
    },
    /// The first connection, or one after a loss, is being made.
    Connecting,
    /// There is one, and the hub knows what the device listens to. A token is renewed without leaving this state.
    Connected,
    /// It was lost; the next attempt comes after a wait.
    WaitingToReconnect {
        /// How long.
        delay: Duration,
        /// What ended the connection, or the attempt before.
        cause: Error,
    },
}

/// Why there is no connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// Nobody called [`connect`](crate::DeviceClient::connect) yet.
    NeverConnected,
    /// The application asked for it, or dropped the client.
    Requested,
    /// It cannot be made: the first attempt failed, the hub does not accept the credential, or the
    /// [`ReconnectPolicy`](crate::ReconnectPolicy) gave up.
    Failed(Error),
}

/// Follows the [`Status`] of a client. It always tells the latest; states that passed while nobody looked are skipped.
#[derive(Debug, Clone)]
pub struct StatusWatch {
    pub(crate) receiver: watch::Receiver<Status>,
}

impl StatusWatch {
    /// The status now.
    #[must_use]
    pub fn current(&self) -> Status {
        self.receiver.borrow().clone()
    }

    /// Waits for a status that was not seen yet. `None` once the client is gone.
    pub async fn next(&mut self) -> Option<Status> {
        self.receiver.changed().await.ok()?;
        Some(self.receiver.borrow_and_update().clone())
    }

    /// Waits until the status is one that `wanted` picks. `None` once the client is gone.
    pub async fn wait_for(&mut self, mut wanted: impl FnMut(&Status) -> bool) -> Option<Status> {
        self.receiver.wait_for(|status| wanted(status)).await.ok().map(|status| status.clone())
    }
}

impl Status {
    /// Whether there is a connection now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected)
    }

    pub(crate) fn disconnected(reason: DisconnectReason) -> Self {
        Self::Disconnected { reason }
    }
}
