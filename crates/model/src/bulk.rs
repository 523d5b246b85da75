//! The JSON of requests that change many identities: bulk requests, and the lines of an import or export.

use serde::{Deserialize, Serialize};

use crate::device::{Authentication, Capabilities, Status};
use crate::names::serde_by_name;
use crate::twin::Properties;

/// What to do with an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ImportMode {
    /// Create the identity; it must not exist.
    Create,
    /// Create the identity, or replace its settings.
    #[default]
    CreateOrUpdate,
    /// The same; an existing identity must have the etag of the item.
    CreateOrUpdateIfMatchEtag,
    /// Replace the settings of the identity, which must exist.
    Update,
    /// The same; the identity must have the etag of the item.
    UpdateIfMatchEtag,
    /// Delete the identity.
    Delete,
    /// Delete the identity, which must have the etag of the item.
    DeleteIfMatchEtag,
    /// Merge tags and desired properties into the twin.
    UpdateTwin,
    /// The same; the twin must have the twin etag of the item.
    UpdateTwinIfMatchEtag,
}

impl ImportMode {
    /// All modes.
    pub const ALL: &[Self] = &[
        Self::Create,
        Self::CreateOrUpdate,
        Self::CreateOrUpdateIfMatchEtag,
        Self::Update,
        Self::UpdateIfMatchEtag,
        Self::Delete,
        Self::DeleteIfMatchEtag,
        Self::UpdateTwin,
        Self::UpdateTwinIfMatchEtag,
    ];

    /// Returns the name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::CreateOrUpdate => "createOrUpdate",
            Self::CreateOrUpdateIfMatchEtag => "createOrUpdateIfMatchETag",
            Self::Update => "update",
            Self::UpdateIfMatchEtag => "updateIfMatchETag",
            Self::Delete => "delete",
            Self::DeleteIfMatchEtag => "deleteIfMatchETag",
            Self::UpdateTwin => "updateTwin",
            Self::UpdateTwinIfMatchEtag => "updateTwinIfMatchETag",
        }
    }
}

serde_by_name!(ImportMode, ImportMode::ALL);

/// An identity with its twin: an item of a bulk request, or a line of an import or export. Azure calls it
/// `ExportImportDevice`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegistryItem {
    /// The device.
    pub id: String,
    /// The module of the device; `None` for the device itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module_id: Option<String>,
    /// The etag of the identity, which modes with `IfMatchETag` compare.
    #[serde(rename = "eTag", alias = "etag")]
    pub etag: Option<String>,
    /// What to do; `None` is [`ImportMode::CreateOrUpdate`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import_mode: Option<ImportMode>,
    /// Whether the device may authenticate.
    pub status: Option<Status>,
    /// Why it has this status.
    pub status_reason: Option<String>,
    /// How it authenticates. Keys that are missing or empty stay; those of a new identity are generated.
    pub authentication: Option<Authentication>,
    /// The etag of the twin, which `updateTwinIfMatchETag` compares.
    #[serde(rename = "twinETag", alias = "twinEtag")]
    pub twin_etag: Option<String>,
    /// The tags; `None` keeps them.
    pub tags: Option<Properties>,
    /// The properties of the twin.
    pub properties: Option<ItemProperties>,
    /// Whether it is an edge device.
    pub capabilities: Option<Capabilities>,
    /// The scope of the edge device that it belongs to, or its own.
    pub device_scope: Option<String>,
    /// The scopes of its parent.
    pub parent_scopes: Option<Vec<String>>,
    /// Who manages the module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<String>,
}

/// The properties of a twin in a [`RegistryItem`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ItemProperties {
    /// The desired properties; `None` keeps them. Metadata and versions are ignored.
    pub desired: Option<Properties>,
    /// The reported properties. Only a device changes them, so requests ignore them.
    pub reported: Option<Properties>,
}

/// The response to a bulk request. Azure calls it `BulkRegistryOperationResult`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkResult {
    /// Whether no item failed.
    pub is_successful: bool,
    /// The items that failed. The others are done.
    #[serde(default)]
    pub errors: Vec<BulkError>,
    /// Items that were done in part. A Ferrohub does an item as a whole or not at all, so there are none.
    #[serde(default)]
    pub warnings: Vec<BulkWarning>,
}

/// An item of a bulk request that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkError {
    /// The device.
    pub device_id: String,
    /// The module, if the item is one.
    #[serde(default)]
    pub module_id: Option<String>,
    /// The name of the error, as in `iothub-errorcode`.
    pub error_code: String,
    /// The reason.
    #[serde(default)]
    pub error_status: String,
    /// The name of the import mode.
    #[serde(default)]
    pub operation: Option<String>,
}

/// An item of a bulk request that was done in part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkWarning {
    /// The device.
    pub device_id: String,
    /// The name of the warning, such as `DeviceRegisteredWithoutTwin`.
    pub warning_code: String,
    /// The reason.
    #[serde(default)]
    pub warning_status: String,
}

/// Which keys of many identities to replace. The request names them as in the JSON of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenewedKey {
    /// The primary keys.
    Primary,
    /// The secondary keys.
    Secondary,
    /// Both keys.
    Both,
}

impl RenewedKey {
    /// Returns the name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Primary => "primaryKey",
            Self::Secondary => "secondaryKey",
            Self::Both => "both",
        }
    }
}

serde_by_name!(RenewedKey, &[Self::Primary, Self::Secondary, Self::Both]);

/// A request for new keys of many identities, by which the Azure CLI renews keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkKeyRequest {
    /// Which keys to replace.
    pub policy_key: RenewedKey,
    /// The identities.
    pub devices: Vec<KeyOwner>,
}

/// An identity whose keys are replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyOwner {
    /// The device.
    pub id: String,
    /// The module of the device; `None` for the device itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module_id: Option<String>,
}

/// The response to a [`BulkKeyRequest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkKeyResult {
    /// Which keys were replaced.
    pub policy_key: RenewedKey,
    /// The identities whose keys were not replaced.
    pub errors: Vec<BulkKeyError>,
    /// The new keys.
    pub rotated_keys: Vec<NewKeys>,
}

/// An identity whose keys were not replaced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkKeyError {
    /// The identity.
    #[serde(flatten)]
    pub owner: KeyOwner,
    /// The name of the error, as in `iothub-errorcode`.
    pub error_code: String,
    /// The reason.
    pub error_status: String,
}

/// The new keys of an identity, in base64.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewKeys {
    /// The identity.
    #[serde(flatten)]
    pub owner: KeyOwner,
    /// The primary key, if it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_key: Option<String>,
    /// The secondary key, if it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secondary_key: Option<String>,
}

impl std::fmt::Debug for NewKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewKeys").field("owner", &self.owner).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn modes_are_read_in_any_case_and_unknown_ones_are_refused() {
        let mode = |name: &str| serde_json::from_value::<ImportMode>(json!(name));
        for mode_of in ImportMode::ALL {
            assert_eq!(mode(&mode_of.name().to_uppercase()).unwrap(), *mode_of);
        }
        assert_eq!(mode("CreateOrUpdateIfMatchEtag").unwrap(), ImportMode::CreateOrUpdateIfMatchEtag);
        assert!(mode("replace").is_err());
    }

    #[test]
    fn an_item_may_have_nulls_and_members_that_the_hub_does_not_know() {
        let item: RegistryItem = serde_json::from_value(json!({
            "id": "d", "eTag": "x", "importMode": null, "tags": null, "properties": null, "authentication": null,
            "capabilities": null, "new": 1, "twinETag": "y"
        }))
        .unwrap();
        let expected = RegistryItem {
            id: "d".to_owned(),
            etag: Some("x".to_owned()),
            twin_etag: Some("y".to_owned()),
            ..RegistryItem::default()
        };
        assert_eq!(item, expected);
    }

    #[test]
    fn new_keys_are_not_in_debug_output() {
        let owner = KeyOwner { id: "d".to_owned(), module_id: None };
        let keys = NewKeys { owner, primary_key: Some("secret".to_owned()), secondary_key: None };
        assert!(!format!("{keys:?}").contains("secret"));
        assert_eq!(serde_json::to_value(&keys).unwrap(), json!({ "id": "d", "primaryKey": "secret" }));
    }
}
