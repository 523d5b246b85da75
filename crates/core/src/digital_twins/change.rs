//! Reading and changing digital twins, for services.

use ferrohub_model::digital_twin::DigitalTwinPatch;
use ferrohub_model::twin::Properties;
use ferrohub_model::{DeviceId, HubError, IdentityId};

use super::{desired_change, view};
use crate::callers::ServiceCaller;
use crate::metrics::count;
use crate::operations::Operation;
use crate::registry::{IfMatch, not_found};
use crate::store::store_failed;
use crate::twins::ServiceUpdate;

/// The digital twin of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct DigitalTwin {
    /// The JSON document.
    pub document: Properties,
    /// The etag, without quotes: that of the twin.
    pub etag: String,
}

impl ServiceCaller {
    /// Returns the digital twin of a device.
    ///
    /// # Errors
    ///
    /// `DeviceNotFound`.
    pub async fn get_digital_twin(&self, device: &DeviceId) -> Result<DigitalTwin, HubError> {
        let hub = self.permit(Operation::GetDigitalTwin)?;
        let id = IdentityId::device(device);
        let found = hub.store.twin(&id).await.map_err(store_failed)?;
        let (_, twin) = found.ok_or_else(|| not_found(&id))?;
        count(&hub.metrics.twin_operations, "read_as_digital_twin");
        Ok(DigitalTwin { document: view(device.as_str(), &twin), etag: twin.etag() })
    }

    /// Applies a patch to the digital twin of a device, and notifies the device. Returns the new etag. Runs to completion even
    /// if the caller is cancelled.
    ///
    /// # Errors
    ///
    /// `DeviceNotFound`; `PreconditionFailed` if the etag is another one; `InvalidDigitalTwinPatch` or
    /// `InvalidDigitalTwinPatchPath` if an operation cannot be applied; `ArgumentInvalid` if a name, a value or the twin
    /// exceeds a limit. Nothing is changed then.
    pub async fn patch_digital_twin(
        &self,
        device: &DeviceId,
        patch: DigitalTwinPatch,
        if_match: IfMatch,
    ) -> Result<String, HubError> {
        let hub = self.permit(Operation::PatchDigitalTwin)?;
        let update = ServiceUpdate::derived(move |twin| desired_change(twin, &patch));
        let twin = hub.change_twin(&IdentityId::device(device), update, if_match).await?;
        Ok(twin.etag.unwrap_or_default())
    }
}
