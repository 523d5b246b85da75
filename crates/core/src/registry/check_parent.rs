//! Validation of a device's parent edge device when the device changes.

use ferrohub_model::{HubError, IdentityId};

use crate::hub::Hub;
use crate::registry::{Identity, MAX_EDGE_LEVELS, device_of_scope, invalid_scope};
use crate::store::store_failed;

impl Hub {
    /// Checks that a device's new parent is an edge device of this hub that is not below the device itself, and that
    /// edge devices are not nested too deeply.
    ///
    /// An unchanged parent is not checked: when an edge device is deleted, its children keep it as their parent.
    pub(crate) async fn check_parent(&self, new: &Identity, old: Option<&Identity>) -> Result<(), HubError> {
        let is_unchanged = old.is_some_and(|old| {
            let as_leaf = old.device_scope.as_ref().filter(|_| !old.iot_edge);
            old.parent_scopes == new.parent_scopes || new.parent_scopes.first() == as_leaf
        });
        let Some(scope) = new.parent_scopes.first().filter(|_| !is_unchanged) else { return Ok(()) };
        let mut ancestor = self.edge_device(scope).await?;
        // If the device is an edge device, it is a level itself.
        for _ in usize::from(new.iot_edge)..MAX_EDGE_LEVELS {
            if ancestor.id == new.id {
                return Err(invalid_scope("an edge device cannot be below itself"));
            }
            match ancestor.parent_scopes.first() {
                None => return Ok(()),
                // The ancestor's own parent may have been deleted.
                Some(next) => match self.edge_device(next).await {
                    Ok(next) => ancestor = next,
                    Err(_) => return Ok(()),
                },
            }
        }
        Err(invalid_scope(format!("edge devices can be nested at most {MAX_EDGE_LEVELS} levels deep")))
    }

    async fn edge_device(&self, scope: &str) -> Result<Identity, HubError> {
        let unknown = || invalid_scope(format!("{scope} is not the scope of an edge device"));
        let id = IdentityId::from(device_of_scope(scope).ok_or_else(unknown)?);
        let found = self.store.identity(&id).await.map_err(store_failed)?;
        found
            .filter(|device| device.iot_edge && device.device_scope.as_deref() == Some(scope))
            .ok_or_else(unknown)
    }
}
