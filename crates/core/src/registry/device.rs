//! Conversion of devices between their JSON form and the registry.

use ferrohub_model::device::{self, ConnectionState, Device};
use ferrohub_model::{HubError, IdentityId, Timestamp};

use super::Identity;
use super::authentication::{authentication_view, invalid, resolve_authentication};
use super::edge::{EdgeScopes, resolve_edge_scopes};
use super::etag::fresh_etag;
use super::identity::fresh_generation_id;

/// Maximum length of a status reason, in characters.
const MAX_STATUS_REASON: usize = 128;

/// Returns the identity after a create or update request: a new one, or `old` with the members that the request sets.
///
/// # Errors
/// `ArgumentInvalid` or `InvalidDeviceScope` if a member of the request is not valid.
pub fn apply_device(
    id: &IdentityId,
    request: &Device,
    old: Option<&Identity>,
    now: Timestamp,
) -> Result<Identity, HubError> {
    if !request.device_id.is_empty() && request.device_id != id.device_str() {
        return Err(invalid("deviceId in the body differs from the one in the path"));
    }
    if request.status_reason.as_ref().is_some_and(|reason| reason.chars().count() > MAX_STATUS_REASON) {
        return Err(invalid("statusReason must have at most 128 characters"));
    }
    let authentication =
        resolve_authentication(request.authentication.as_ref(), old.map(|old| &old.authentication))?;
    let status = request.status.or(old.map(|old| old.status)).unwrap_or_default();
    let generation_id = old.map_or_else(|| fresh_generation_id(now), |old| old.generation_id.clone());
    let iot_edge = request.capabilities.map_or_else(|| old.is_some_and(|old| old.iot_edge), |c| c.iot_edge);
    let EdgeScopes { device_scope, parent_scopes } =
        resolve_edge_scopes(id, &generation_id, request, old, iot_edge)?;
    Ok(Identity {
        id: id.clone(),
        generation_id,
        etag: fresh_etag(),
        status,
        status_reason: request.status_reason.clone(),
        status_updated: match old {
            Some(old) if old.status == status => old.status_updated,
            Some(_) => now,
            None => Timestamp::NEVER,
        },
        authentication,
        iot_edge,
        device_scope,
        parent_scopes,
        managed_by: old.and_then(|old| old.managed_by.clone()),
        connection_state_updated: old.map_or(Timestamp::NEVER, |old| old.connection_state_updated),
        last_activity: old.map_or(Timestamp::NEVER, |old| old.last_activity),
        messages: old.map_or(0, |old| old.messages),
    })
}

/// Converts a device to its JSON form, keys included.
#[must_use]
pub fn to_device(identity: &Identity, connected: bool) -> Device {
    Device {
        device_id: identity.id.device_str().to_owned(),
        generation_id: Some(identity.generation_id.clone()),
        etag: Some(identity.etag.clone()),
        connection_state: Some(ConnectionState::of(connected)),
        status: Some(identity.status),
        status_reason: identity.status_reason.clone(),
        connection_state_updated_time: Some(identity.connection_state_updated),
        status_updated_time: Some(identity.status_updated),
        last_activity_time: Some(identity.last_activity),
        cloud_to_device_message_count: Some(identity.messages),
        authentication: Some(authentication_view(&identity.authentication)),
        capabilities: Some(device::Capabilities { iot_edge: identity.iot_edge }),
        device_scope: identity.device_scope.clone(),
        parent_scopes: Some(identity.parent_scopes.clone()),
    }
}

#[cfg(test)]
mod tests {
    use ferrohub_model::ErrorCode;

    use super::*;
    use crate::registry::Authentication;

    fn device(json: &str) -> Device {
        serde_json::from_str(json).unwrap()
    }

    fn id() -> IdentityId {
        IdentityId::parse("d1").unwrap()
    }

    #[test]
    fn keys_are_generated_kept_and_replaced() {
        let now = Timestamp::from_unix_seconds(1);
        let first = apply_device(&id(), &device(r#"{"deviceId":"d1"}"#), None, now).unwrap();
        let Authentication::Sas { primary, .. } = &first.authentication else { panic!() };
        let kept =
            apply_device(&id(), &device(r#"{"authentication":{"type":"sas"}}"#), Some(&first), now).unwrap();
        assert_eq!(kept.authentication, first.authentication);
        assert_ne!(kept.etag, first.etag);
        let json = r#"{"authentication":{"symmetricKey":{"primaryKey":"AAECAwQFBgcICQoLDA0ODw=="}}}"#;
        let replaced = apply_device(&id(), &device(json), Some(&first), now).unwrap();
        let Authentication::Sas { primary: new, secondary } = &replaced.authentication else { panic!() };
        assert_ne!(new, primary);
        assert!(
            matches!(&first.authentication, Authentication::Sas { secondary: old, .. } if old == secondary)
        );
    }

    #[test]
    fn an_invalid_request_is_refused() {
        let now = Timestamp::from_unix_seconds(1);
        for json in [
            r#"{"deviceId":"other"}"#,
            r#"{"authentication":{"type":"selfSigned"}}"#,
            r#"{"authentication":{"type":"selfSigned","x509Thumbprint":{"primaryThumbprint":"zz"}}}"#,
            r#"{"authentication":{"symmetricKey":{"primaryKey":"c2hvcnQ="}}}"#,
        ] {
            assert_eq!(
                apply_device(&id(), &device(json), None, now).unwrap_err().code,
                ErrorCode::ArgumentInvalid,
                "{json}"
            );
        }
    }
}
