//! What an imported item depends on: the edge device that it belongs to, or the device of a module.
//!
//! A scope contains the generation id of an edge device. An edge device that is imported into another hub has another
//! generation there, so the scopes of its children are replaced by its own scope in this hub.

use ferrohub_model::IdentityId;
use ferrohub_model::bulk::ImportMode;

use super::item::Item;
use crate::hub::Hub;
use crate::registry::{Identity, device_of_scope, is_system_module};
use crate::store::StoreError;

impl Hub {
    /// Returns whether everything exists that the item depends on, and replaces the scope of its parent by the one that the
    /// parent has in this hub.
    pub(crate) async fn resolve_dependencies(&self, item: &mut Item) -> Result<bool, StoreError> {
        let creates = matches!(
            item.mode,
            ImportMode::Create | ImportMode::CreateOrUpdate | ImportMode::CreateOrUpdateIfMatchEtag
        );
        let updates = matches!(item.mode, ImportMode::Update | ImportMode::UpdateIfMatchEtag);
        if is_system_module(&item.id) {
            // The hub creates it with its edge device.
            return Ok(!creates || self.store.identity(&item.id).await?.is_some());
        }
        if item.id.module_str().is_some() {
            let device = IdentityId::parse(item.id.device_str()).ok();
            let Some(device) = device.filter(|_| creates) else { return Ok(true) };
            return Ok(self.store.identity(&device).await?.is_some());
        }
        match parent_scope(item).filter(|_| creates || updates) {
            None => Ok(true),
            Some(scope) => self.resolve_parent(item, &scope).await,
        }
    }

    async fn resolve_parent(&self, item: &mut Item, scope: &str) -> Result<bool, StoreError> {
        // A text that is no scope is an error of the item, not something to wait for.
        let Some(parent) = device_of_scope(scope).map(IdentityId::from) else { return Ok(true) };
        let found: Option<Identity> = self.store.identity(&parent).await?;
        let current = found.filter(|parent| parent.iot_edge).and_then(|parent| parent.device_scope);
        let Some(current) = current else { return Ok(false) };
        if !is_edge(item) {
            item.item.device_scope = Some(current.clone());
        }
        item.item.parent_scopes = Some(vec![current]);
        Ok(true)
    }
}

fn is_edge(item: &Item) -> bool {
    item.item.capabilities.is_some_and(|capabilities| capabilities.iot_edge)
}

/// Returns the scope of the parent that the item names. Removes the own scope of an edge device, which the hub sets.
fn parent_scope(item: &mut Item) -> Option<String> {
    let own = item.item.device_scope.as_deref().and_then(device_of_scope).map(IdentityId::from);
    if own.as_ref() == Some(&item.id) {
        item.item.device_scope = None;
    }
    let parents = item.item.parent_scopes.as_deref().unwrap_or_default();
    let parent = parents.first().or(item.item.device_scope.as_ref().filter(|_| !is_edge(item)));
    parent.filter(|scope| !scope.is_empty()).cloned()
}
