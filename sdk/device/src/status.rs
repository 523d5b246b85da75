//! The connection state of a client.

use std::time::Duration;

use tokio::sync::watch;

use crate::error::Error;

/// The state of the connection to the hub, as the client sees it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConnectionStatus {
    /// Not connected until [`connect`](crate::DeviceClient::connect) is called.
    Disconnected {
        /// The reason.
        reason: DisconnectReason,
    },
    /// An attempt to connect, for the first time or again, is in progress.
    Connecting,
    /// Connected and subscribed. A token is renewed without leaving this state.
    Connected,
    /// The connection was lost; the next attempt starts after a delay.
    #[non_exhaustive]
    WaitingToReconnect {
        /// The delay.
        delay: Duration,
        /// Why the connection ended, or why the previous attempt failed.
        cause: Error,
    },
}

/// Why a client is not connected.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// [`connect`](crate::DeviceClient::connect) was not called yet.
    NeverConnected,
    /// The application disconnected or dropped the client.
    Requested,
    /// The first attempt failed, the hub does not accept the credential, or the time limit of the
    /// [`RetryPolicy`](crate::RetryPolicy) has passed.
    Failed(Error),
}

/// Watches the [`ConnectionStatus`] of a client. Returns the latest status; earlier ones that were not read are
/// skipped. Each watcher is independent of the others.
#[derive(Debug, Clone)]
pub struct ConnectionStatusWatcher {
    pub(crate) receiver: watch::Receiver<ConnectionStatus>,
}

impl ConnectionStatusWatcher {
    /// Returns the current status.
    #[must_use]
    pub fn current(&self) -> ConnectionStatus {
        self.receiver.borrow().clone()
    }

    /// Waits for the next change. Returns `None` when the client is dropped.
    pub async fn next(&mut self) -> Option<ConnectionStatus> {
        self.receiver.changed().await.ok()?;
        Some(self.receiver.borrow_and_update().clone())
    }

    /// Waits until `condition` holds for the status. Returns `None` when the client is dropped.
    pub async fn wait_for(
        &mut self,
        mut condition: impl FnMut(&ConnectionStatus) -> bool,
    ) -> Option<ConnectionStatus> {
        self.receiver.wait_for(|status| condition(status)).await.ok().map(|status| status.clone())
    }
}

impl ConnectionStatus {
    /// Returns whether the client is connected now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected)
    }

    pub(crate) fn disconnected(reason: DisconnectReason) -> Self {
        Self::Disconnected { reason }
    }
}
