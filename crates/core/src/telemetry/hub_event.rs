//! Hub events: events that the hub itself emits, with Azure's schemas.

use ferrohub_model::message::SystemProperty;
use ferrohub_model::{Guid, IdentityId, Timestamp};
use serde_json::{Value, json};

use super::log::NewEvent;
use super::properties::{EventProperties, PropertyName, PropertyValue};
use super::settings::EventSource;

/// What happened to a device or module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HubEvent {
    Created,
    Deleted,
    TwinUpdated,
    TwinReplaced,
    Connected,
    Disconnected,
}

impl HubEvent {
    pub(crate) fn source(self) -> EventSource {
        match self {
            Self::Created | Self::Deleted => EventSource::DeviceLifecycle,
            Self::TwinUpdated | Self::TwinReplaced => EventSource::TwinChange,
            Self::Connected | Self::Disconnected => EventSource::ConnectionState,
        }
    }

    /// Returns the value of the property `opType`.
    fn operation(self) -> &'static str {
        match self {
            Self::Created => "createDeviceIdentity",
            Self::Deleted => "deleteDeviceIdentity",
            Self::TwinUpdated => "updateTwin",
            Self::TwinReplaced => "replaceTwin",
            Self::Connected => "deviceConnected",
            Self::Disconnected => "deviceDisconnected",
        }
    }

    /// Returns the value of the property `iothub-message-schema`.
    fn schema(self) -> &'static str {
        match self.source() {
            EventSource::Telemetry => "",
            EventSource::TwinChange => "twinChangeNotification",
            EventSource::DeviceLifecycle => "deviceLifecycleNotification",
            EventSource::ConnectionState => "deviceConnectionStateNotification",
        }
    }

    /// Creates the event for the log.
    pub(crate) fn to_event(self, hub: &str, id: &IdentityId, now: Timestamp, body: &Value) -> NewEvent {
        // Azure's schema requires a correlation id in each event.
        let correlation = Guid::random().to_string();
        let system = [
            (SystemProperty::ContentType, "application/json"),
            (SystemProperty::ContentEncoding, "utf-8"),
            (SystemProperty::UserId, hub),
            (SystemProperty::CorrelationId, &correlation),
        ];
        let now = now.to_string();
        let application = [
            ("hubName", hub),
            ("deviceId", id.device_str()),
            ("operationTimestamp", &now),
            ("opType", self.operation()),
            ("iothub-message-schema", self.schema()),
        ];
        let module = id.module_str().map(|module| ("moduleId", module));
        let mut properties = EventProperties::new();
        for (property, value) in system {
            properties.push(PropertyName::System(property), PropertyValue::String(value));
        }
        for (name, value) in application.into_iter().chain(module) {
            properties.push(PropertyName::Application(name), PropertyValue::String(value));
        }
        NewEvent { properties, body: body.to_string().into() }
    }
}

/// Returns the body of a connection event.
pub(crate) fn connection_event_body(sequence_number: u64) -> Value {
    json!({ "sequenceNumber": format!("{sequence_number:064x}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_event_has_the_documented_properties() {
        let id = IdentityId::parse("d/m").unwrap();
        let now = Timestamp::from_unix_seconds(0);
        let event = HubEvent::Connected.to_event("hub", &id, now, &connection_event_body(255));
        let text = |property| event.properties.get(property).and_then(PropertyValue::as_str);
        assert_eq!(text(SystemProperty::ContentType), Some("application/json"));
        assert_eq!(text(SystemProperty::UserId), Some("hub"));
        assert_eq!(text(SystemProperty::CorrelationId).map(str::len), Some(36));
        let application: Vec<_> = event.properties.application().collect();
        assert_eq!(
            application,
            [
                ("hubName", "hub"),
                ("deviceId", "d"),
                ("operationTimestamp", "1970-01-01T00:00:00Z"),
                ("opType", "deviceConnected"),
                ("iothub-message-schema", "deviceConnectionStateNotification"),
                ("moduleId", "m"),
            ]
            .map(|(name, value)| (name, PropertyValue::String(value)))
        );
        let number = format!("{{\"sequenceNumber\":\"{}ff\"}}", "0".repeat(62));
        assert_eq!(event.body, number.as_bytes());
    }
}
