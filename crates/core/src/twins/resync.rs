//! What a device is sent when a change of its desired properties did not reach its connection.

use bytes::Bytes;
use ferrohub_model::twin::Properties;
use tracing::{error, warn};

use super::section::with_removals;
use crate::close_reason::CloseReason;
use crate::hub::Hub;
use crate::node::{Connection, DesiredNotice};

impl Hub {
    /// Sends all desired properties to each connection that has lost a change of them, and then ends the connection: a patch
    /// cannot remove what the lost change may have removed, so the device must read its twin. Never returns.
    pub async fn run_twin_resync(&self) {
        loop {
            let connection = self.connections.next_desired_gap().await;
            self.resync_twin(&connection).await;
        }
    }

    async fn resync_twin(&self, connection: &Connection) {
        warn!(
            device = %connection.id,
            "a change of desired properties did not reach the connection; the device is sent all of them, and disconnected"
        );
        let twin = match self.store.twin(&connection.id).await {
            Ok(Some((identity, twin))) if identity.generation_id == connection.generation_id => twin,
            Ok(_) => return connection.close(CloseReason::Deleted),
            Err(error) => {
                error!(device = %connection.id, %error, "cannot read the twin");
                return connection.close(CloseReason::StoreFailed);
            }
        };
        let patch = connection
            .pending_desired_patches()
            .iter()
            .filter_map(|patch| serde_json::from_slice::<Properties>(patch).ok())
            .fold(twin.desired.for_device(), |all, patch| with_removals(all, &patch));
        let patch: Bytes = serde_json::to_vec(&patch).unwrap_or_default().into();
        connection.resync_desired(DesiredNotice { version: twin.desired.version, patch });
    }
}
