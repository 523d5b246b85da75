//! Many identities in one request: create, update and delete them with their twins, and replace their keys.
//!
//! An item is done as a whole or not at all, whatever happens to the others. The items are written in two commits: devices
//! first, then modules, which may belong to a device that the same request creates.

mod apply;
mod dependencies;
mod item;
mod keys;

use ferrohub_model::bulk::{BulkError, BulkResult};
use ferrohub_model::{ErrorCode, HubError, IdentityId};
use serde_json::Value;

use crate::callers::ServiceCaller;
use crate::operations::Operation;
use crate::uncancelled::run_uncancelled;
pub(crate) use apply::{CommitGroups, Settle, Settled};
pub(crate) use item::Item;

/// The maximum number of items in a request, as in Azure.
const MAX_ITEMS: usize = 100;

impl ServiceCaller {
    /// Creates, updates and deletes devices and modules with their twins, as the mode of each item says. An item is a
    /// [`RegistryItem`](ferrohub_model::bulk::RegistryItem) in JSON. Runs to completion even if the caller is cancelled.
    ///
    /// # Errors
    ///
    /// `TooManyDevices` for more than 100 items, and `DeviceDefinedMultipleTimes` if two items are about the same identity:
    /// nothing is changed then. All other errors are in the result.
    pub async fn change_identities(&self, items: Vec<Value>) -> Result<BulkResult, HubError> {
        let hub = self.permit(Operation::ChangeIdentities)?;
        check_number(items.len())?;
        let mut errors = Vec::new();
        let items: Vec<Item> = items
            .into_iter()
            .enumerate()
            .filter_map(|(number, item)| Item::parse(number, item).map_err(|error| errors.push(error)).ok())
            .collect();
        check_distinct(items.iter().map(|item| &item.id))?;
        let worker = hub.clone();
        let failed = run_uncancelled(&hub.metrics.panics, async move {
            Ok::<_, HubError>(worker.apply_items(items).await)
        });
        errors.extend(failed.await?);
        Ok(BulkResult { is_successful: errors.is_empty(), errors, warnings: Vec::new() })
    }
}

fn check_number(items: usize) -> Result<(), HubError> {
    if items > MAX_ITEMS {
        let text = format!("A request must have at most {MAX_ITEMS} items; this one has {items}.");
        return Err(HubError::new(ErrorCode::TooManyDevices, text));
    }
    Ok(())
}

fn check_distinct<'a>(ids: impl Iterator<Item = &'a IdentityId>) -> Result<(), HubError> {
    let mut seen = std::collections::BTreeSet::new();
    for id in ids {
        if !seen.insert(id) {
            let text = format!("Two items of the request are about {id}.");
            return Err(HubError::new(ErrorCode::DeviceDefinedMultipleTimes, text));
        }
    }
    Ok(())
}

/// Returns the error of an item that failed.
fn bulk_error(id: &IdentityId, operation: &str, error: &HubError) -> BulkError {
    BulkError {
        device_id: id.device_str().to_owned(),
        module_id: id.module_str().map(str::to_owned),
        error_code: error.code.name().to_owned(),
        error_status: error.message.to_string(),
        operation: Some(operation.to_owned()),
    }
}
