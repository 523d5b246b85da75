//! An event as readers get it. Each head renders it for its protocol.

use bytes::Bytes;
use ferrohub_model::Timestamp;

use super::{EventIdentity, EventProperties, EventSource, PropertyValue};

/// An event in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// The partition that it is in.
    pub partition: u16,
    /// The sequence number in the partition, from 0.
    pub sequence: u64,
    /// When the event was appended (Azure: enqueued). Never earlier than `enqueued` of the preceding event in the
    /// partition.
    pub enqueued: Timestamp,
    /// What the event reports.
    pub source: EventSource,
    /// The identity that it belongs to.
    pub identity: EventIdentity,
    /// The properties that its sender set.
    pub properties: EventProperties,
    /// The body: the bytes of one AMQP data section.
    pub body: Bytes,
}

impl StoredEvent {
    /// Returns the offset: a reader can continue after it. Offset and sequence number are two numbers in Azure Event Hubs;
    /// here the offset is the sequence number as text.
    #[must_use]
    pub fn offset(&self) -> String {
        self.sequence.to_string()
    }

    /// Returns the properties that the hub adds, with the names of Azure IoT Hub: system properties in the JSON of an
    /// event, message annotations in AMQP.
    pub fn hub_properties(&self) -> impl Iterator<Item = (&'static str, PropertyValue<'_>)> {
        let EventIdentity { id, generation_id, auth } = &self.identity;
        let module_id = id.module_str();
        let auth_method = auth.map(|auth| auth.to_json(module_id.is_some()));
        [
            Some(("iothub-connection-device-id", PropertyValue::String(id.device_str()))),
            module_id.map(|module| ("iothub-connection-module-id", PropertyValue::String(module))),
            auth_method.map(|json| ("iothub-connection-auth-method", PropertyValue::String(json))),
            Some(("iothub-connection-auth-generation-id", PropertyValue::String(generation_id))),
            Some(("iothub-enqueuedtime", PropertyValue::Timestamp(self.enqueued))),
            Some(("iothub-message-source", PropertyValue::String(self.source.name()))),
        ]
        .into_iter()
        .flatten()
    }
}

#[cfg(test)]
mod tests {
    use ferrohub_model::IdentityId;

    use super::*;
    use crate::telemetry::AuthMethod;

    fn hub_properties(id: &str, auth: Option<AuthMethod>) -> Vec<(&'static str, String)> {
        let event = StoredEvent {
            partition: 0,
            sequence: 7,
            enqueued: Timestamp::from_unix_millis(1),
            source: EventSource::TwinChange,
            identity: EventIdentity {
                id: IdentityId::parse(id).unwrap(),
                generation_id: "17".to_owned(),
                auth,
            },
            properties: EventProperties::new(),
            body: Bytes::new(),
        };
        assert_eq!(event.offset(), "7");
        event.hub_properties().map(|(name, value)| (name, value.to_string())).collect()
    }

    #[test]
    fn the_hub_adds_its_properties_under_the_names_of_azure() {
        let text = |pairs: Vec<(&'static str, String)>| {
            pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        let auth =
            r#"{"scope":"module","type":"x509Certificate","issuer":"external","acceptingIpFilterRule":null}"#;
        assert_eq!(
            text(hub_properties("d/m", Some(AuthMethod::Thumbprint))),
            [
                "iothub-connection-device-id=d",
                "iothub-connection-module-id=m",
                &format!("iothub-connection-auth-method={auth}"),
                "iothub-connection-auth-generation-id=17",
                "iothub-enqueuedtime=1970-01-01T00:00:00.001Z",
                "iothub-message-source=twinChangeEvents",
            ]
        );
        let names: Vec<_> = hub_properties("d", None).into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            [
                "iothub-connection-device-id",
                "iothub-connection-auth-generation-id",
                "iothub-enqueuedtime",
                "iothub-message-source"
            ]
        );
    }
}
