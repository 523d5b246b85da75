//! The orderly end.

use tokio::time::Instant;
use tracing::debug;

use super::link::Link;
use super::{Driver, ExitReason, Mode};

impl Driver {
    /// Takes no more calls, lets handlers finish for a while, sends their answers, and says goodbye.
    pub(super) async fn disconnect(&mut self, mut link: Link) {
        self.shared.event_queue.drain();
        self.shared.twin.drain();
        let deadline = Instant::now() + self.shared.config.shutdown_timeout;
        match self.drain(&mut link, Mode::Draining, deadline).await {
            Ok(true) | Err(ExitReason::Requested) => {}
            Ok(false) => debug!(open_calls = self.calls.len(), "disconnecting before all was done"),
            Err(ExitReason::Lost(error)) => debug!(%error, "the connection was lost while disconnecting"),
        }
        self.calls.cancel_all();
        link.close().await;
    }
}
