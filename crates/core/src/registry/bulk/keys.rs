//! New keys for many identities.

use ferrohub_model::bulk::{BulkKeyError, BulkKeyRequest, BulkKeyResult, KeyOwner, NewKeys, RenewedKey};
use ferrohub_model::{DeviceId, ErrorCode, HubError, IdentityId, KeyChange, ModuleId};
use futures_util::future::join_all;

use super::{check_distinct, check_number};
use crate::callers::ServiceCaller;
use crate::operations::Operation;
use crate::registry::{Authentication, Identity, IfMatch};

impl ServiceCaller {
    /// Replaces keys of devices and modules by new random keys, and closes the connections that authenticated with one that
    /// was removed. Returns the new keys, and the identities that failed.
    ///
    /// # Errors
    ///
    /// `TooManyDevices` for more than 100 identities, and `DeviceDefinedMultipleTimes` if one is named twice: nothing is changed
    /// then.
    pub async fn regenerate_keys(&self, request: &BulkKeyRequest) -> Result<BulkKeyResult, HubError> {
        let hub = self.permit(Operation::RegenerateKeys)?;
        check_number(request.devices.len())?;
        let ids: Vec<_> = request.devices.iter().map(identity_of).collect();
        // Of two new keys of an identity, the first would not be valid any more.
        check_distinct(ids.iter().flatten())?;
        let which = request.policy_key;
        let change = match which {
            RenewedKey::Primary => KeyChange::Primary,
            RenewedKey::Secondary => KeyChange::Secondary,
            RenewedKey::Both => KeyChange::Both,
        };
        let changed =
            join_all(ids.into_iter().map(async |id| hub.change_key(&id?, change, &IfMatch::Any).await));
        let mut result = BulkKeyResult { policy_key: which, errors: Vec::new(), rotated_keys: Vec::new() };
        for (owner, changed) in request.devices.iter().zip(changed.await) {
            match changed {
                Ok(identity) => result.rotated_keys.push(new_keys(owner, which, &identity)),
                Err(error) => result.errors.push(BulkKeyError {
                    owner: owner.clone(),
                    error_code: error.code.name().to_owned(),
                    error_status: error.message.to_string(),
                }),
            }
        }
        Ok(result)
    }
}

fn identity_of(owner: &KeyOwner) -> Result<IdentityId, HubError> {
    let invalid = |error: &dyn std::fmt::Display| {
        HubError::new(ErrorCode::ArgumentInvalid, format!("The id is not valid: {error}."))
    };
    let device = DeviceId::new(&owner.id).map_err(|error| invalid(&error))?;
    match owner.module_id.as_deref().filter(|module| !module.is_empty()) {
        None => Ok(device.into()),
        Some(module) => {
            let module = ModuleId::new(module).map_err(|error| invalid(&error))?;
            Ok(IdentityId::module(&device, &module))
        }
    }
}

fn new_keys(owner: &KeyOwner, which: RenewedKey, identity: &Identity) -> NewKeys {
    let mut keys = NewKeys { owner: owner.clone(), primary_key: None, secondary_key: None };
    if let Authentication::Sas { primary, secondary } = &identity.authentication {
        keys.primary_key = (which != RenewedKey::Secondary).then(|| primary.to_base64());
        keys.secondary_key = (which != RenewedKey::Primary).then(|| secondary.to_base64());
    }
    keys
}
