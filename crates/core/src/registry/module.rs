//! Conversion of modules between their JSON form and the registry.

use ferrohub_model::device::{ConnectionState, Status};
use ferrohub_model::module::Module;
use ferrohub_model::{HubError, IdentityId, Timestamp};

use super::Identity;
use super::authentication::{authentication_view, invalid, resolve_authentication};
use super::etag::fresh_etag;
use super::identity::fresh_generation_id;

/// Maximum length of `managedBy`, in characters.
const MAX_MANAGED_BY: usize = 128;

/// Returns the identity after a create or update request: a new one, or `old` with the members that the request sets.
///
/// # Errors
/// `ArgumentInvalid` if a member of the request is not valid.
pub(crate) fn apply_module(
    id: &IdentityId,
    request: &Module,
    old: Option<&Identity>,
    now: Timestamp,
) -> Result<Identity, HubError> {
    if !request.device_id.is_empty() && request.device_id != id.device_str() {
        return Err(invalid("deviceId in the body differs from the one in the path"));
    }
    if !request.module_id.is_empty() && Some(request.module_id.as_str()) != id.module_str() {
        return Err(invalid("moduleId in the body differs from the one in the path"));
    }
    if request.managed_by.as_ref().is_some_and(|name| name.chars().count() > MAX_MANAGED_BY) {
        return Err(invalid("managedBy must have at most 128 characters"));
    }
    let old_authentication = old.map(|old| &old.authentication);
    Ok(Identity {
        id: id.clone(),
        generation_id: old.map_or_else(|| fresh_generation_id(now), |old| old.generation_id.clone()),
        etag: fresh_etag(),
        status: Status::Enabled,
        status_reason: None,
        status_updated: Timestamp::NEVER,
        authentication: resolve_authentication(request.authentication.as_ref(), old_authentication)?,
        iot_edge: false,
        device_scope: None,
        parent_scopes: Vec::new(),
        managed_by: request.managed_by.clone().or_else(|| old.and_then(|old| old.managed_by.clone())),
        connection_state_updated: old.map_or(Timestamp::NEVER, |old| old.connection_state_updated),
        last_activity: old.map_or(Timestamp::NEVER, |old| old.last_activity),
        messages: old.map_or(0, |old| old.messages),
    })
}

/// Converts a module to its JSON form, keys included.
#[must_use]
pub(crate) fn to_module(identity: &Identity, connected: bool) -> Module {
    Module {
        module_id: identity.id.module_str().unwrap_or_default().to_owned(),
        managed_by: identity.managed_by.clone(),
        device_id: identity.id.device_str().to_owned(),
        generation_id: Some(identity.generation_id.clone()),
        etag: Some(identity.etag.clone()),
        connection_state: Some(ConnectionState::of(connected)),
        connection_state_updated_time: Some(identity.connection_state_updated),
        last_activity_time: Some(identity.last_activity),
        cloud_to_device_message_count: Some(identity.messages),
        authentication: Some(authentication_view(&identity.authentication)),
    }
}

#[cfg(test)]
mod tests {
    use ferrohub_model::ErrorCode;

    use super::*;

    #[test]
    fn a_module_keeps_members_that_a_request_omits() {
        let id = IdentityId::parse("d/m").unwrap();
        let now = Timestamp::from_unix_seconds(1);
        let first = apply_module(&id, &Module::new("d", "m").with_managed_by("me"), None, now).unwrap();
        let second = apply_module(&id, &Module::default(), Some(&first), now).unwrap();
        assert_eq!(second.managed_by.as_deref(), Some("me"));
        assert_eq!(
            (&second.authentication, &second.generation_id),
            (&first.authentication, &first.generation_id)
        );
        assert_ne!(second.etag, first.etag);
        for invalid in [
            Module::new("other", "m"),
            Module::new("d", "other"),
            Module::new("d", "m").with_managed_by("m".repeat(129)),
        ] {
            let error = apply_module(&id, &invalid, None, now).unwrap_err();
            assert_eq!(error.code, ErrorCode::ArgumentInvalid);
        }
    }
}
