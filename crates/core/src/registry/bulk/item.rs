//! An item of a bulk request: what it changes, given the stored identity.

use ferrohub_model::bulk::{BulkError, ImportMode, RegistryItem};
use ferrohub_model::device::{AuthenticationType, Device};
use ferrohub_model::module::Module;
use ferrohub_model::twin::TwinChange;
use ferrohub_model::{DeviceId, ErrorCode, HubError, IdentityId, ModuleId, Timestamp};
use serde::Deserialize as _;
use serde_json::Value;

use crate::registry::already_exists;
use crate::registry::{
    Identity, IfMatch, apply_device, apply_module, is_system_module, not_found, system_module_error,
    wrong_etag,
};

/// An item whose ids are valid.
#[derive(Debug)]
pub(crate) struct Item {
    /// Its number in the request or page.
    pub(crate) number: usize,
    pub(crate) id: IdentityId,
    pub(super) mode: ImportMode,
    pub(super) item: RegistryItem,
}

/// What an item changes.
#[derive(Debug)]
pub(super) enum Intent {
    /// Adds an identity, with the changes of its twin.
    Create(Identity, Option<TwinChange>),
    /// Replaces an identity, and sections of its twin.
    Update(Identity, Option<TwinChange>),
    /// Deletes the identity, if it has the etag.
    Delete(Option<String>),
    /// Merges a change into the twin, if it has the etag.
    Twin(TwinChange, IfMatch),
}

impl Item {
    /// Reads an item. An item that cannot be read is an error of its own, so that it does not fail the others.
    pub(crate) fn parse(number: usize, json: Value) -> Result<Self, BulkError> {
        let text = |name: &str| json.get(name).and_then(Value::as_str).map(str::to_owned);
        let (device_id, module_id, operation) =
            (text("id").unwrap_or_default(), text("moduleId"), text("importMode"));
        let failed = |code: ErrorCode, error_status: String| BulkError {
            device_id: device_id.clone(),
            module_id: module_id.clone(),
            error_code: code.name().to_owned(),
            error_status,
            operation: operation.clone(),
        };
        let item = RegistryItem::deserialize(&json).map_err(|error| {
            failed(ErrorCode::IotHubFormatError, format!("The item is not valid: {error}."))
        })?;
        let invalid = |what: &str, error: &dyn std::fmt::Display| {
            failed(ErrorCode::ArgumentInvalid, format!("The {what} id is not valid: {error}."))
        };
        let device = DeviceId::new(&item.id).map_err(|error| invalid("device", &error))?;
        let id = match item.module_id.as_deref().filter(|module| !module.is_empty()) {
            None => IdentityId::device(&device),
            Some(module) => IdentityId::module(
                &device,
                &ModuleId::new(module).map_err(|error| invalid("module", &error))?,
            ),
        };
        Ok(Self { number, id, mode: item.import_mode.unwrap_or_default(), item })
    }

    /// Returns whether the mode depends on no etag of the request, so that an item whose identity was changed meanwhile can
    /// be tried again.
    pub(super) fn is_unconditional(&self) -> bool {
        matches!(self.mode, ImportMode::CreateOrUpdate | ImportMode::Update)
    }

    /// Returns what the item changes. `old` is the stored identity.
    ///
    /// # Errors
    /// Those of a single request: the identity exists or does not exist, its etag differs, or the item is not valid.
    pub(super) fn intent(&self, old: Option<&Identity>, now: Timestamp) -> Result<Intent, HubError> {
        use ImportMode as Mode;
        if is_system_module(&self.id) {
            return self.intent_of_system_module(old);
        }
        let existing = || old.ok_or_else(|| not_found(&self.id));
        match self.mode {
            Mode::Create if old.is_some() => Err(already_exists(&self.id)),
            Mode::Create => self.create(now),
            Mode::CreateOrUpdate => old.map_or_else(|| self.create(now), |old| self.update(old, now)),
            Mode::CreateOrUpdateIfMatchEtag => match old {
                None => self.create(now),
                Some(old) => self.check_etag(old).and_then(|()| self.update(old, now)),
            },
            Mode::Update => self.update(existing()?, now),
            Mode::UpdateIfMatchEtag => {
                let old = existing()?;
                self.check_etag(old)?;
                self.update(old, now)
            }
            Mode::Delete => existing().map(|_| Intent::Delete(None)),
            Mode::DeleteIfMatchEtag => {
                let old = existing()?;
                self.check_etag(old)?;
                Ok(Intent::Delete(Some(old.etag.clone())))
            }
            Mode::UpdateTwin | Mode::UpdateTwinIfMatchEtag => self.twin_intent(existing()?),
        }
    }

    /// The system modules come and go with their edge device. An item can replace their keys and change their twins, as a
    /// line of an export does that is imported again.
    fn intent_of_system_module(&self, old: Option<&Identity>) -> Result<Intent, HubError> {
        use ImportMode as Mode;
        let old = old.ok_or_else(|| system_module_error(&self.id))?;
        match self.mode {
            Mode::Delete | Mode::DeleteIfMatchEtag => Err(system_module_error(&self.id)),
            Mode::UpdateTwin | Mode::UpdateTwinIfMatchEtag => self.twin_intent(old),
            Mode::UpdateIfMatchEtag => {
                self.check_etag(old)?;
                self.update_system_module(old)
            }
            Mode::Create | Mode::CreateOrUpdate | Mode::CreateOrUpdateIfMatchEtag | Mode::Update => {
                self.update_system_module(old)
            }
        }
    }

    fn update_system_module(&self, old: &Identity) -> Result<Intent, HubError> {
        let authentication =
            self.item.authentication.clone().filter(|authentication| {
                authentication.kind.is_none_or(|kind| kind == AuthenticationType::Sas)
            });
        let request = Module { authentication, ..Module::default() };
        Ok(Intent::Update(apply_module(&self.id, &request, Some(old), Timestamp::NEVER)?, self.twin_change()))
    }

    fn twin_intent(&self, old: &Identity) -> Result<Intent, HubError> {
        let change = self.twin_change().ok_or_else(|| {
            HubError::new(ErrorCode::ArgumentInvalid, format!("The item of {} changes no twin.", old.id))
        })?;
        let if_match = match (self.mode, &self.item.twin_etag) {
            (ImportMode::UpdateTwinIfMatchEtag, etag) => IfMatch::parse(etag.as_deref().unwrap_or_default()),
            _ => IfMatch::Any,
        };
        Ok(Intent::Twin(change, if_match))
    }

    fn check_etag(&self, old: &Identity) -> Result<(), HubError> {
        let expected = IfMatch::parse(self.item.etag.as_deref().unwrap_or_default());
        if expected.matches(&old.etag) { Ok(()) } else { Err(wrong_etag()) }
    }

    fn create(&self, now: Timestamp) -> Result<Intent, HubError> {
        Ok(Intent::Create(self.identity(None, now)?, self.twin_change()))
    }

    fn update(&self, old: &Identity, now: Timestamp) -> Result<Intent, HubError> {
        Ok(Intent::Update(self.identity(Some(old), now)?, self.twin_change()))
    }

    /// Returns the identity with the settings of the item.
    fn identity(&self, old: Option<&Identity>, now: Timestamp) -> Result<Identity, HubError> {
        let item = &self.item;
        if self.id.module_str().is_some() {
            let request = Module {
                managed_by: item.managed_by.clone(),
                authentication: item.authentication.clone(),
                ..Module::default()
            };
            return apply_module(&self.id, &request, old, now);
        }
        let request = Device {
            status: item.status,
            status_reason: item.status_reason.clone(),
            authentication: item.authentication.clone(),
            capabilities: item.capabilities,
            device_scope: item.device_scope.clone(),
            parent_scopes: item.parent_scopes.clone(),
            ..Device::default()
        };
        apply_device(&self.id, &request, old, now)
    }

    fn twin_change(&self) -> Option<TwinChange> {
        let desired = self.item.properties.as_ref().and_then(|properties| properties.desired.clone());
        let tags = self.item.tags.clone();
        if desired.is_none() && tags.is_none() {
            return None;
        }
        let mut change = TwinChange::default();
        if let Some(desired) = desired {
            change = TwinChange::desired(desired);
        }
        Some(match tags {
            Some(tags) => change.and_tags(tags),
            None => change,
        })
    }
}
