//! A twin as stored by the hub, and its changes.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferrohub_model::twin::{
    DeviceTwin, METADATA, Properties, SectionChange, Twin, TwinChange, TwinProperties, VERSION,
};
use ferrohub_model::{ErrorCode, HubError, Timestamp, device};
use serde_json::json;

use super::TwinLimits;
use super::section::{Section, merge_tags, versioned};
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
}

impl Default for TwinDocument {
    fn default() -> Self {
        Self {
            tags: Properties::new(),
            desired: Section::default(),
            reported: Section::default(),
            updates: 1,
            model_id: String::new(),
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
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(value: Value) -> Properties {
        serde_json::from_value(value).unwrap()
    }

    fn change(value: Value) -> TwinChange {
        serde_json::from_value(value).unwrap()
    }

    fn update(twin: &TwinDocument, mode: UpdateMode, value: Value) -> Result<TwinDocument, HubError> {
        twin.with_change(mode, &change(value), Timestamp::from_unix_seconds(0), &TwinLimits::default())
    }

    #[test]
    fn a_new_twin_has_azures_etag_and_versions() {
        let twin = TwinDocument::default();
        assert_eq!((twin.etag().as_str(), twin.version()), ("AAAAAAAAAAE=", 2));
        assert_eq!((twin.desired.version, twin.reported.version), (1, 1));
    }

    #[test]
    fn each_change_increments_the_matching_versions() {
        let twin = TwinDocument::default();
        let tagged = update(&twin, UpdateMode::Merge, json!({ "tags": { "a": 1 } })).unwrap();
        assert_eq!(
            (tagged.etag().as_str(), tagged.version(), tagged.desired.version),
            ("AAAAAAAAAAI=", 3, 1)
        );
        let both = json!({ "tags": { "a": null }, "properties": { "desired": { "b": 1 } } });
        let both = update(&tagged, UpdateMode::Merge, both).unwrap();
        assert_eq!((both.version(), both.desired.version, both.tags.len()), (4, 2, 0));
        let now = Timestamp::from_unix_seconds(0);
        let limits = TwinLimits::default();
        let reported = both.with_reported(&object(json!({ "c": 1 })), Some(1), now, &limits).unwrap();
        assert_eq!((reported.version(), reported.reported.version, reported.etag()), (5, 2, both.etag()));
        let stale = reported.with_reported(&object(json!({ "c": 2 })), Some(1), now, &limits).unwrap_err();
        assert_eq!(stale.code, ErrorCode::PreconditionFailed);
    }

    #[test]
    fn a_replacement_only_replaces_the_sections_in_it() {
        let twin = TwinDocument::default();
        let both = json!({ "tags": { "a": 1 }, "properties": { "desired": { "b": { "c": 1 } } } });
        let twin = update(&twin, UpdateMode::Merge, both).unwrap();
        let desired = json!({ "properties": { "desired": { "d": 1, "$version": 2, "$metadata": {} } } });
        let twin = update(&twin, UpdateMode::Replace, desired.clone()).unwrap();
        assert_eq!(Value::from(twin.desired.values.clone()), json!({ "d": 1 }));
        assert_eq!(Value::from(twin.tags.clone()), json!({ "a": 1 }));
        let notice = twin.desired_notice(UpdateMode::Replace, &change(desired)).unwrap();
        assert_eq!(Value::from(notice), json!({ "d": 1, "$version": 3 }));
    }

    #[test]
    fn a_device_receives_a_change_with_its_nulls() {
        let desired = json!({ "properties": { "desired": { "a": null, "b": { "c": null } } } });
        let twin = update(&TwinDocument::default(), UpdateMode::Merge, desired.clone()).unwrap();
        let notice = twin.desired_notice(UpdateMode::Merge, &change(desired)).unwrap();
        assert_eq!(Value::from(notice), json!({ "a": null, "b": { "c": null }, "$version": 2 }));
        assert_eq!(twin.desired_notice(UpdateMode::Merge, &change(json!({ "tags": {} }))), None);
    }

    #[test]
    fn null_for_a_section_removes_all_of_it_and_the_device_receives_a_null_for_each_property() {
        let both = json!({ "tags": { "t": 1 }, "properties": { "desired": { "a": { "b": 1 }, "c": 2 } } });
        let full = update(&TwinDocument::default(), UpdateMode::Merge, both).unwrap();
        let clear = change(json!({ "tags": null, "properties": { "desired": null } }));
        for mode in [UpdateMode::Merge, UpdateMode::Replace] {
            let now = Timestamp::from_unix_seconds(0);
            let empty = full.with_change(mode, &clear, now, &TwinLimits::default()).unwrap();
            assert_eq!((empty.tags.len(), empty.desired.values.len()), (0, 0));
            assert_eq!((empty.updates, empty.desired.version), (full.updates + 1, 3));
            assert_ne!(empty.etag(), full.etag());
            let notice = empty.desired_notice(mode, &full.expanded(&clear)).unwrap();
            let expected = match mode {
                UpdateMode::Merge => json!({ "a": null, "c": null, "$version": 3 }),
                UpdateMode::Replace => json!({ "$version": 3 }),
            };
            assert_eq!(Value::from(notice), expected);
        }
        let empty =
            update(&full, UpdateMode::Merge, json!({ "tags": null, "properties": { "desired": null } }))
                .unwrap();
        let event = Value::from(empty.change_event_body(&full.expanded(&clear)));
        assert_eq!((&event["tags"], &event["version"]), (&json!({ "t": null }), &json!(4)));
        let section = &event["properties"]["desired"];
        assert_eq!(
            (&section["a"], &section["c"], &section["$version"]),
            (&Value::Null, &Value::Null, &json!(3))
        );
        assert_eq!(section.as_object().unwrap().len(), 4);

        let again = update(&empty, UpdateMode::Merge, json!({ "properties": { "desired": null } })).unwrap();
        assert_eq!(
            (again.updates, again.desired.version),
            (4, 4),
            "an empty section also gets a new version"
        );
        let notice = again.desired_notice(UpdateMode::Merge, &empty.expanded(&clear)).unwrap();
        assert_eq!(Value::from(notice), json!({ "$version": 4 }));
        let unrelated = change(json!({ "properties": {} }));
        assert_eq!(*full.expanded(&unrelated), unrelated);
    }

    #[test]
    fn twin_change_events_have_the_change_and_its_metadata() {
        let first =
            json!({ "tags": { "t": 1 }, "properties": { "desired": { "a": { "b": 1, "c": 2 }, "d": 1 } } });
        let twin = update(&TwinDocument::default(), UpdateMode::Merge, first).unwrap();
        let second =
            json!({ "tags": { "t": null }, "properties": { "desired": { "a": { "b": 3 }, "d": null } } });
        let twin = update(&twin, UpdateMode::Merge, second.clone()).unwrap();
        let time = "1970-01-01T00:00:00Z";
        let stamp = json!({ "$lastUpdated": time, "$lastUpdatedVersion": 3 });
        let mut a = stamp.clone();
        a["b"] = stamp.clone();
        let mut metadata = stamp;
        metadata["a"] = a;
        assert_eq!(
            Value::from(twin.change_event_body(&change(second))),
            json!({
                "version": 4,
                "tags": { "t": null },
                "properties": { "desired": {
                    "a": { "b": 3 }, "d": null, "$metadata": metadata, "$version": 3,
                } },
            })
        );
        let limits = TwinLimits::default();
        let patch = object(json!({ "r": [1] }));
        let twin = twin.with_reported(&patch, None, Timestamp::from_unix_seconds(0), &limits).unwrap();
        let stamp = json!({ "$lastUpdated": time });
        assert_eq!(
            Value::from(twin.reported_event_body(&patch)),
            json!({
                "version": 5,
                "properties": { "reported": {
                    "r": [1], "$metadata": { "$lastUpdated": time, "r": stamp }, "$version": 2,
                } },
            })
        );
    }

    #[test]
    fn a_change_with_one_invalid_member_is_refused() {
        let twin = TwinDocument::default();
        for invalid in [
            json!({ "tags": { "a": 1 }, "properties": { "desired": { "b.c": 1 } } }),
            json!({ "tags": { "a": vec!["x".repeat(4096); 3] } }),
            json!({ "tags": { "a": [1, null] } }),
            json!({ "properties": { "desired": { "a": i64::MAX } } }),
            json!({ "properties": { "desired": { "a": vec!["x".repeat(4096); 9] } } }),
        ] {
            assert_eq!(
                update(&twin, UpdateMode::Merge, invalid).unwrap_err().code,
                ErrorCode::ArgumentInvalid
            );
        }
    }
}
