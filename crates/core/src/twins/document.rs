//! A twin as stored by the hub, and its changes.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferrohub_model::twin::{
    DeviceTwin, METADATA, Properties, SectionChange, Twin, TwinChange, TwinProperties, VERSION,
};
use ferrohub_model::{ErrorCode, HubError, Timestamp, device};
use serde_json::json;

use super::section::{Section, merge_tags, versioned};
use super::{Configured, TwinLimits};
use crate::registry::{Identity, thumbprints};

/// How a service's change is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateMode {
    /// Objects are merged, `null` deletes a key, and other keys stay.
    Merge,
    /// Each section in the change is replaced as a whole.
    Replace,
}

/// A twin without the members that come from its identity.
#[derive(Debug, Clone, PartialEq)]
pub struct TwinDocument {
    /// The tags: set by services, not visible to the device.
    pub tags: Properties,
    /// The desired properties: set by services.
    pub desired: Section,
    /// The reported properties: set by the device.
    pub reported: Section,
    /// Number of changes of tags and desired properties, starting at 1. The etag is derived from it.
    pub updates: u64,
    /// The model id that the device announced; empty if it never announced one.
    pub model_id: String,
    /// What configurations have done to the twin.
    pub configured: Configured,
}

impl Default for TwinDocument {
    fn default() -> Self {
        Self {
            tags: Properties::new(),
            desired: Section::default(),
            reported: Section::default(),
            updates: 1,
            model_id: String::new(),
            configured: Configured::default(),
        }
    }
}

const TAGS: &str = "tags";
const DESIRED: &str = "properties.desired";
const REPORTED: &str = "properties.reported";

/// Removes `$metadata` and `$version`. Clients read them in a section and often send them back.
fn without_annotations(section: &Properties) -> Properties {
    section.iter().filter(|(key, _)| *key != METADATA && *key != VERSION).map(cloned_entry).collect()
}

/// Returns the change that removes every property of a section.
fn removal_of_all(section: &Properties) -> SectionChange {
    let nulls: Properties = section.keys().map(|key| (key.clone(), serde_json::Value::Null)).collect();
    nulls.into()
}

fn cloned_entry((key, value): (&String, &serde_json::Value)) -> (String, serde_json::Value) {
    (key.clone(), value.clone())
}

/// Applies a change of desired properties. `null` deletes in both modes, so in a replacement a `null` key is left out.
fn apply_to_section(mode: UpdateMode, old: &Section, change: &Properties, now: Timestamp) -> Section {
    let mut new = old.clone();
    match mode {
        UpdateMode::Merge => new.merge(change, now, true),
        UpdateMode::Replace => new.replace(change, now, true),
    }
    new
}

impl TwinDocument {
    /// Returns the etag, without quotes. A new twin has `AAAAAAAAAAE=`.
    #[must_use]
    pub fn etag(&self) -> String {
        STANDARD.encode(self.updates.to_be_bytes())
    }

    /// Returns the twin's version: starts at 2 and grows by 1 with each change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.updates + self.reported.version
    }

    /// Returns the change with each section that it clears written out: every property of this twin as `null`. This is
    /// the form in which the device and the readers of events receive it.
    #[must_use]
    pub fn expanded<'a>(&self, change: &'a TwinChange) -> Cow<'a, TwinChange> {
        let (clears_tags, clears_desired) = (
            change.tags == Some(SectionChange::Clear),
            change.desired_change() == Some(&SectionChange::Clear),
        );
        if !clears_tags && !clears_desired {
            return Cow::Borrowed(change);
        }
        let mut expanded = change.clone();
        if clears_tags {
            expanded.tags = Some(removal_of_all(&self.tags));
        }
        if let (true, Some(properties)) = (clears_desired, &mut expanded.properties) {
            properties.desired = Some(removal_of_all(&self.desired.values));
        }
        Cow::Owned(expanded)
    }

    /// Returns the twin after a service's change of tags, desired properties or both.
    ///
    /// # Errors
    /// `ArgumentInvalid`; its message names the key or limit.
    pub fn with_change(
        &self,
        mode: UpdateMode,
        change: &TwinChange,
        now: Timestamp,
        limits: &TwinLimits,
    ) -> Result<Self, HubError> {
        let mut new = self.clone();
        let change = &*self.expanded(change);
        if let Some(tags) = tags(change) {
            limits.check_change(TAGS, tags)?;
            if mode == UpdateMode::Replace {
                new.tags.clear();
            }
            merge_tags(&mut new.tags, tags);
            limits.check_section(TAGS, &new.tags, limits.tags_bytes)?;
        }
        if let Some(desired) = desired(change) {
            let desired = without_annotations(desired);
            limits.check_change(DESIRED, &desired)?;
            new.desired = apply_to_section(mode, &self.desired, &desired, now);
            limits.check_section(DESIRED, &new.desired.values, limits.desired_bytes)?;
        }
        if tags(change).is_some() || desired(change).is_some() {
            new.updates += 1;
        }
        Ok(new)
    }

    /// Returns the notification that the device receives after a change of desired properties led to this twin: the
    /// change itself, nulls included, or all desired properties after a replacement; with `$version`. Returns `None` if
    /// `change` has no desired properties. `change` is [`expanded`](Self::expanded) by the twin before the change.
    #[must_use]
    pub fn desired_notice(&self, mode: UpdateMode, change: &TwinChange) -> Option<Properties> {
        let change = desired(change)?;
        Some(match mode {
            UpdateMode::Merge => versioned(without_annotations(change), self.desired.version),
            UpdateMode::Replace => self.desired.for_device(),
        })
    }

    /// Returns the body of the twin change event for a service's merge that led to this twin: the change, nulls
    /// included, with version and metadata. `change` is [`expanded`](Self::expanded) by the twin before the change.
    #[must_use]
    pub fn change_event_body(&self, change: &TwinChange) -> Properties {
        let mut body = self.event_body();
        if let Some(tags) = tags(change) {
            body.insert("tags".to_owned(), tags.clone().into());
        }
        if let Some(desired) = desired(change) {
            let section = self.desired.change_with_metadata(&without_annotations(desired));
            body.insert("properties".to_owned(), json!({ "desired": section }));
        }
        body
    }

    /// Returns the body of the twin change event for a device's change of reported properties that led to this twin.
    #[must_use]
    pub fn reported_event_body(&self, patch: &Properties) -> Properties {
        let mut body = self.event_body();
        let section = self.reported.change_with_metadata(&without_annotations(patch));
        body.insert("properties".to_owned(), json!({ "reported": section }));
        body
    }

    fn event_body(&self) -> Properties {
        [("version".to_owned(), self.version().into())].into_iter().collect()
    }

    /// Returns the twin after configurations changed its desired properties by `patch`, and left `configured`. Without a
    /// patch, neither its etag nor its versions change.
    ///
    /// # Errors
    /// `ArgumentInvalid`; its message names the key or limit.
    pub fn with_configured(
        &self,
        patch: &Properties,
        configured: Configured,
        now: Timestamp,
        limits: &TwinLimits,
    ) -> Result<Self, HubError> {
        let mut new = Self { configured, ..self.clone() };
        if !patch.is_empty() {
            limits.check_change(DESIRED, patch)?;
            new.desired.merge(patch, now, true);
            limits.check_section(DESIRED, &new.desired.values, limits.desired_bytes)?;
            new.updates += 1;
        }
        Ok(new)
    }

    /// Returns the twin after the device changed its reported properties. `if_version` is the required current version
    /// of the reported properties; `None` accepts any.
    ///
    /// # Errors
    /// `ArgumentInvalid`; its message names the key or limit. `PreconditionFailed` if the version differs.
    pub fn with_reported(
        &self,
        patch: &Properties,
        if_version: Option<u64>,
        now: Timestamp,
        limits: &TwinLimits,
    ) -> Result<Self, HubError> {
        if if_version.is_some_and(|version| version != self.reported.version) {
            let text = format!("The reported properties are at version {}.", self.reported.version);
            return Err(HubError::new(ErrorCode::PreconditionFailed, text));
        }
        let patch = without_annotations(patch);
        limits.check_change(REPORTED, &patch)?;
        let mut new = self.clone();
        new.reported.merge(&patch, now, false);
        limits.check_section(REPORTED, &new.reported.values, limits.reported_bytes)?;
        Ok(new)
    }

    /// Returns the twin as its device reads it.
    #[must_use]
    pub fn for_device(&self) -> DeviceTwin {
        DeviceTwin { desired: self.desired.for_device(), reported: self.reported.for_device() }
    }

    /// Returns the twin as a service reads it. `connected` is whether the identity has a connection now.
    #[must_use]
    pub fn for_service(&self, identity: &Identity, connected: bool) -> Twin {
        let is_device = identity.id.module_str().is_none();
        Twin {
            device_id: identity.id.device_str().to_owned(),
            module_id: identity.id.module_str().map(str::to_owned),
            etag: Some(self.etag()),
            device_etag: Some(identity.etag.clone()),
            status: Some(identity.status),
            status_reason: identity.status_reason.clone(),
            status_update_time: Some(identity.status_updated),
            connection_state: Some(device::ConnectionState::of(connected)),
            last_activity_time: Some(identity.last_activity),
            cloud_to_device_message_count: Some(identity.messages),
            authentication_type: Some(identity.authentication.kind()),
            x509_thumbprint: Some(thumbprints(&identity.authentication)),
            model_id: Some(self.model_id.clone()),
            version: Some(self.version()),
            tags: Some(self.tags.clone()),
            properties: Some(TwinProperties {
                desired: Some(self.desired.for_service()),
                reported: Some(self.reported.for_service()),
            }),
            configurations: self.configured.configurations.clone(),
            capabilities: is_device.then_some(device::Capabilities { iot_edge: identity.iot_edge }),
            device_scope: identity.device_scope.clone(),
            parent_scopes: is_device.then(|| identity.parent_scopes.clone()),
        }
    }
}

fn tags(change: &TwinChange) -> Option<&Properties> {
    change.tags.as_ref()?.properties()
}

fn desired(change: &TwinChange) -> Option<&Properties> {
    change.desired_change()?.properties()
}

#[cfg(test)]
mod tests;
