//! Graceful disconnect.

use tokio::time::Instant;
use tracing::debug;

use super::link::Link;
use super::{Driver, ExitReason, Mode};

impl Driver {
    /// Accepts no more calls, waits for open operations within the shutdown time-out, and sends DISCONNECT.
    pub(super) async fn disconnect(&mut self, mut link: Link) {
        self.shared.event_queue.drain();
        self.shared.twin.stop_accepting();
        let deadline = Instant::now() + self.shared.config.shutdown_timeout;
        match self.drain(&mut link, Mode::Draining, deadline).await {
            Ok(true) | Err(ExitReason::Requested) => {}
            Ok(false) => {
                debug!(open_calls = self.calls.len(), "shutdown time-out: disconnecting with open operations")
            }
            Err(ExitReason::Lost(error)) => debug!(%error, "the connection was lost while disconnecting"),
        }
        self.calls.cancel_all();
        link.close().await;
    }
}
