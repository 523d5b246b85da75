//! The twin of a connected device or module: it reads the twin and writes its reported properties.

use std::sync::Arc;

use bytes::Bytes;
use ferrohub_model::twin::{self, DeviceTwin, Properties};
use ferrohub_model::{ErrorCode, HubError, IdentityId};
use tracing::{debug, error};

use crate::callers::ConnectedDevice;
use crate::hub::Hub;
use crate::metrics::count;
use crate::operations::Operation;
use crate::registry::not_found;
use crate::store::store_failed;
use crate::telemetry::{EventSource, HubEvent};
use crate::twins::TwinDocument;
use crate::uncancelled::run_uncancelled;

impl ConnectedDevice {
    /// Returns its own twin as JSON text. If it is subscribed to its desired properties, it is notified of every change
    /// after this state.
    pub async fn get_own_twin(&self) -> Result<Bytes, HubError> {
        let (hub, id) = (self.permit(Operation::GetOwnTwin)?, self.id());
        let found = hub.store.twin(id).await.map_err(store_failed)?;
        let (_, twin) = found.ok_or_else(|| not_found(id))?;
        let view: DeviceTwin = twin.for_device();
        let text = serde_json::to_vec(&view).map_err(|error| {
            error!(%error, "cannot serialize a twin");
            HubError::new(
                ErrorCode::ServerError,
                "The hub cannot serialize the twin; the log of the hub says why.",
            )
        })?;
        count(&hub.metrics.twin_operations, "read_by_device");
        hub.connections.mark_desired_read(self.connection(), twin.desired.version);
        Ok(text.into())
    }

    /// Merges a patch (JSON text) into its reported properties. With `if_version`, only if that is their current version.
    /// Returns their new version.
    pub async fn patch_reported(&self, patch: &[u8], if_version: Option<u64>) -> Result<u64, HubError> {
        let (hub, id) = (self.permit(Operation::PatchReportedProperties)?, self.id());
        let patch = twin::parse_properties(patch).map_err(|error| {
            HubError::new(ErrorCode::IotHubFormatError, format!("The patch is not a JSON object: {error}."))
        })?;
        if !hub.emits(EventSource::TwinChange) {
            return hub.report_and_emit(id, patch, if_version).await;
        }
        let (panics, hub, id) = (&hub.metrics.panics, hub.clone(), id.clone());
        run_uncancelled(panics, async move { hub.report_and_emit(&id, patch, if_version).await }).await
    }
}

impl Hub {
    async fn report_and_emit(
        &self,
        id: &IdentityId,
        patch: Properties,
        if_version: Option<u64>,
    ) -> Result<u64, HubError> {
        let _order_lock = self.lock_event_order(EventSource::TwinChange, id).await;
        let (now, limits) = (self.clock.now(), self.limits.twins.clone());
        let patch = Arc::new(patch);
        let (identity, twin) = {
            let patch = patch.clone();
            let change = move |twin: &TwinDocument| twin.with_reported(&patch, if_version, now, &limits);
            self.change_document(id, Box::new(change)).await?
        };
        count(&self.metrics.twin_operations, "reported_by_device");
        debug!(device = %id, version = twin.reported.version, "reported properties updated");
        self.configurations.reported(id, &patch);
        self.emit(&identity, HubEvent::TwinUpdated, || twin.reported_event_body(&patch).into()).await;
        Ok(twin.reported.version)
    }
}
