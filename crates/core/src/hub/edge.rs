//! Who stands above a device: checked when it changes, with what is in the registry.

use ferrohub_model::{HubError, IdentityId};

use super::{Hub, store_failed};
use crate::registry::{Identity, MAX_EDGE_LEVELS, device_of_scope, invalid_scope};

impl Hub {
    /// Whether the parent that a device gets is an edge device of this hub, and not one below it. What stays as it was
    /// is not looked at: an edge device may go and leave its children where they are.
    pub(super) async fn check_parent(&self, new: &Identity, old: Option<&Identity>) -> Result<(), HubError> {
        let known = old.is_some_and(|old| {
            let as_leaf = old.device_scope.as_ref().filter(|_| !old.iot_edge);
            old.parent_scopes == new.parent_scopes || new.parent_scopes.first() == as_leaf
        });
        let Some(scope) = new.parent_scopes.first().filter(|_| !known) else { return Ok(()) };
        let mut above = self.edge_device(scope).await?;
        // It counts itself, if it is one of them.
        for _ in usize::from(new.iot_edge)..MAX_EDGE_LEVELS {
            if above.id == new.id {
                return Err(invalid_scope("an edge device cannot stand below itself"));
            }
            match above.parent_scopes.first() {
                None => return Ok(()),
                // Its own parent may have gone meanwhile.
                Some(next) => match self.edge_device(next).await {
                    Ok(next) => above = next,
                    Err(_) => return Ok(()),
                },
            }
        }
        Err(invalid_scope(format!("more than {MAX_EDGE_LEVELS} edge devices above each other")))
    }

    async fn edge_device(&self, scope: &str) -> Result<Identity, HubError> {
        let unknown = || invalid_scope(format!("{scope} is not the scope of an edge device"));
        let id = IdentityId::from(device_of_scope(scope).ok_or_else(unknown)?);
        let found = self.store.identity(&id).await.map_err(store_failed)?;
        found.filter(|one| one.iot_edge && one.device_scope.as_deref() == Some(scope)).ok_or_else(unknown)
    }
}
