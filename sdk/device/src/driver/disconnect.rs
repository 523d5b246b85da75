//! The orderly end.

use tokio::time::Instant;
use tracing::debug;

use super::link::Link;
use super::{Driver, Ending, Mode};

impl Driver {
    /// Takes no more calls, lets handlers finish for a while, sends their answers, and says goodbye.
    pub(super) async fn disconnect(&mut self, mut link: Link) {
        self.shared.outbox.shut();
        self.shared.twin.shut();
        let deadline = Instant::now() + self.shared.config.grace;
        match self.leave(&mut link, Mode::Leaving, deadline).await {
            Ok(true) | Err(Ending::Requested) => {}
            Ok(false) => debug!(open = self.calls.len(), "disconnecting before all was done"),
            Err(Ending::Lost(error)) => debug!(%error, "the connection was lost while disconnecting"),
        }
        self.calls.end();
        link.close().await;
    }
}
