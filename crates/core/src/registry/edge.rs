//! Edge devices: their scopes, the parent of a device, and the system modules of an edge device.
//!
//! A scope names one generation of an edge device: it consists of the device id and the generation id. The
//! `deviceScope` of a leaf device is the scope of its parent edge device, and so is its one entry in `parentScopes`.
//! The `deviceScope` of an edge device is its own scope; its entry in `parentScopes` is the scope of its parent edge
//! device.

use ferrohub_model::device::{Device, Status};
use ferrohub_model::{DeviceId, ErrorCode, HubError, IdentityId, ModuleId, SharedAccessKey, Timestamp};

use super::etag::fresh_etag;
use super::identity::fresh_generation_id;
use super::{Authentication, Identity};

const EDGE_SCOPE_PREFIX: &str = "ms-azure-iot-edge://";
/// The modules that the hub creates with every edge device.
const SYSTEM_MODULES: [&str; 2] = ["$edgeAgent", "$edgeHub"];
/// `managedBy` of the system modules.
const EDGE_MANAGED_BY: &str = "IotEdge";
/// Maximum number of levels in a hierarchy of edge devices.
pub(crate) const MAX_EDGE_LEVELS: usize = 5;

/// Returns whether `id` is a system module. Only the hub creates and deletes these.
pub(crate) fn is_system_module(id: &IdentityId) -> bool {
    id.module_str().is_some_and(|module| SYSTEM_MODULES.contains(&module))
}

/// Returns the error for a scope that is malformed or not allowed for this device.
pub(crate) fn invalid_scope(text: impl Into<std::borrow::Cow<'static, str>>) -> HubError {
    HubError::new(ErrorCode::InvalidDeviceScope, text)
}

/// Returns the edge device that a scope names. That device may have been deleted, or re-created with another
/// generation.
pub(crate) fn device_of_scope(scope: &str) -> Option<DeviceId> {
    let (id, _generation) = scope.strip_prefix(EDGE_SCOPE_PREFIX)?.rsplit_once('-')?;
    DeviceId::new(id).ok()
}

/// Returns the ids of an edge device's system modules.
pub(crate) fn system_module_ids(device: &IdentityId) -> Vec<IdentityId> {
    let Ok(device) = DeviceId::new(device.device_str()) else { return Vec::new() };
    let modules = SYSTEM_MODULES.into_iter().filter_map(|module| ModuleId::new(module).ok());
    modules.map(|module| IdentityId::module(&device, &module)).collect()
}

/// Returns the system modules of a new edge device, with new keys.
pub(crate) fn system_modules(device: &IdentityId, now: Timestamp) -> Vec<Identity> {
    system_module_ids(device).into_iter().map(|id| edge_module(id, now)).collect()
}

/// Returns a new module of an edge device, with new keys. The runtime of the edge device manages it.
pub(crate) fn edge_module(id: IdentityId, now: Timestamp) -> Identity {
    Identity {
        id,
        generation_id: fresh_generation_id(now),
        etag: fresh_etag(),
        status: Status::Enabled,
        status_reason: None,
        status_updated: Timestamp::NEVER,
        authentication: Authentication::Sas {
            primary: SharedAccessKey::generate(),
            secondary: SharedAccessKey::generate(),
        },
        iot_edge: false,
        device_scope: None,
        parent_scopes: Vec::new(),
        managed_by: Some(EDGE_MANAGED_BY.to_owned()),
        connection_state_updated: Timestamp::NEVER,
        last_activity: Timestamp::NEVER,
        messages: 0,
    }
}

/// `deviceScope` and `parentScopes` of a device.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EdgeScopes {
    pub(super) device_scope: Option<String>,
    pub(super) parent_scopes: Vec<String>,
}

/// Returns the scopes of a device after a create or update request. Members that the request omits or repeats stay.
///
/// # Errors
/// `InvalidDeviceScope` if the request names several parents or changes the own scope of an edge device.
pub(super) fn resolve_edge_scopes(
    id: &IdentityId,
    generation_id: &str,
    request: &Device,
    old: Option<&Identity>,
    iot_edge: bool,
) -> Result<EdgeScopes, HubError> {
    let was_edge = old.is_some_and(|old| old.iot_edge);
    let old_scope = old.and_then(|old| old.device_scope.clone());
    let old_parent = old.and_then(|old| old.parent_scopes.first().cloned()).or_else(|| {
        // The scope of a leaf device is that of its parent.
        old_scope.clone().filter(|_| !was_edge)
    });
    let requested_parent = match request.parent_scopes.as_deref() {
        None => None,
        Some([]) => Some(None),
        Some([one]) => Some(Some(one.clone()).filter(|one| !one.is_empty())),
        Some(_) => return Err(invalid_scope("a device has at most one parent")),
    };
    let new_parent = requested_parent.filter(|requested| *requested != old_parent);
    let requested_scope =
        request.device_scope.clone().map(|scope| Some(scope).filter(|scope| !scope.is_empty()));
    let new_scope = requested_scope.filter(|requested| *requested != old_scope);
    if iot_edge {
        let own = match old_scope.filter(|_| was_edge) {
            Some(own) => own,
            None => format!("{EDGE_SCOPE_PREFIX}{}-{generation_id}", id.device_str()),
        };
        if new_scope.flatten().is_some_and(|requested| requested != own) {
            return Err(invalid_scope("the hub sets deviceScope of an edge device; it cannot be changed"));
        }
        let parent = new_parent.unwrap_or(old_parent);
        return Ok(EdgeScopes { device_scope: Some(own), parent_scopes: parent.into_iter().collect() });
    }
    let parent = match (new_scope, new_parent) {
        (Some(Some(scope)), Some(Some(parent))) if scope != parent => {
            return Err(invalid_scope("deviceScope and parentScopes name different edge devices"));
        }
        // A client that supports only one of the two members sends the other empty.
        (Some(Some(scope)), _) | (_, Some(Some(scope))) => Some(scope),
        (Some(None), _) | (_, Some(None)) => None,
        (None, None) => old_parent,
    };
    Ok(EdgeScopes { device_scope: parent.clone(), parent_scopes: parent.into_iter().collect() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::apply_device;
    use super::*;

    const PARENT_A: &str = "ms-azure-iot-edge://a-1";
    const PARENT_B: &str = "ms-azure-iot-edge://b-2";

    fn apply(request: Value, old: Option<&Identity>) -> Result<Identity, ErrorCode> {
        let request: Device = serde_json::from_value(request).unwrap();
        let id = IdentityId::parse("d-1").unwrap();
        apply_device(&id, &request, old, Timestamp::from_unix_seconds(1)).map_err(|error| error.code)
    }

    fn scopes(identity: &Identity) -> (Option<&str>, Vec<&str>) {
        let parents = identity.parent_scopes.iter().map(String::as_str);
        (identity.device_scope.as_deref(), parents.collect())
    }

    #[test]
    fn a_leaf_has_one_parent_given_by_either_member() {
        for request in [
            json!({ "deviceScope": PARENT_A }),
            json!({ "parentScopes": [PARENT_A] }),
            json!({ "deviceScope": PARENT_A, "parentScopes": [] }),
            json!({ "deviceScope": PARENT_A, "parentScopes": [PARENT_A] }),
        ] {
            assert_eq!(scopes(&apply(request, None).unwrap()), (Some(PARENT_A), vec![PARENT_A]));
        }
        for request in [
            json!({ "deviceScope": PARENT_A, "parentScopes": [PARENT_B] }),
            json!({ "parentScopes": [PARENT_A, PARENT_B] }),
        ] {
            assert_eq!(apply(request, None).unwrap_err(), ErrorCode::InvalidDeviceScope);
        }
        let leaf = apply(json!({ "deviceScope": PARENT_A }), None).unwrap();
        for (request, scope) in [
            (json!({}), Some(PARENT_A)),
            (json!({ "deviceScope": PARENT_A, "parentScopes": [PARENT_A] }), Some(PARENT_A)),
            (json!({ "deviceScope": PARENT_B, "parentScopes": [PARENT_A] }), Some(PARENT_B)),
            (json!({ "deviceScope": PARENT_A, "parentScopes": [PARENT_B] }), Some(PARENT_B)),
            (json!({ "deviceScope": "", "parentScopes": [PARENT_A] }), None),
            (json!({ "deviceScope": "" }), None),
            (json!({ "parentScopes": [] }), None),
        ] {
            let changed = apply(request, Some(&leaf)).unwrap();
            assert_eq!(scopes(&changed), (scope, scope.into_iter().collect()));
        }
    }

    #[test]
    fn an_edge_device_keeps_its_scope() {
        let edge =
            apply(json!({ "capabilities": { "iotEdge": true }, "parentScopes": [PARENT_A] }), None).unwrap();
        let own = edge.device_scope.clone().unwrap();
        assert_eq!(own, format!("ms-azure-iot-edge://d-1-{}", edge.generation_id));
        assert_eq!(device_of_scope(&own), DeviceId::new("d-1").ok());
        let again = json!({ "deviceScope": own, "parentScopes": [PARENT_B] });
        assert_eq!(scopes(&apply(again, Some(&edge)).unwrap()), (Some(&*own), vec![PARENT_B]));
        let other = apply(json!({ "deviceScope": PARENT_A }), Some(&edge));
        assert_eq!(other.unwrap_err(), ErrorCode::InvalidDeviceScope);

        let off = json!({ "capabilities": { "iotEdge": false }, "deviceScope": own });
        let leaf = apply(off, Some(&edge)).unwrap();
        assert_eq!(scopes(&leaf), (Some(PARENT_A), vec![PARENT_A]), "it keeps its parent edge device");
        let on = json!({ "capabilities": { "iotEdge": true }, "deviceScope": PARENT_A });
        assert_eq!(scopes(&apply(on, Some(&leaf)).unwrap()), (Some(&*own), vec![PARENT_A]));
    }

    #[test]
    fn a_malformed_scope_names_no_device() {
        for malformed in
            ["", "a", "ms-azure-iot-edge://", "ms-azure-iot-edge://a", "ms-azure-iot-edge://a b-1"]
        {
            assert_eq!(device_of_scope(malformed), None, "{malformed}");
        }
    }
}
