//! Values that tests of adapters store.

use bytes::Bytes;
use ferrohub_core::registry::{Authentication, Identity};
use ferrohub_core::telemetry::{
    AuthMethod, Batch, EventIdentity, EventProperties, EventSource, NewEvent, PropertyName, PropertyValue,
};
use ferrohub_model::device::Status;
use ferrohub_model::message::SystemProperty;
use ferrohub_model::{IdentityId, SharedAccessKey, Timestamp};

/// A batch of events with these bodies.
#[must_use]
pub fn batch(partition: u16, from: &str, millis: i64, bodies: &[&[u8]]) -> Batch {
    let event = |body: &&[u8]| NewEvent { properties: properties(), body: Bytes::copy_from_slice(body) };
    Batch {
        partition,
        source: EventSource::Telemetry,
        identity: EventIdentity {
            id: id(from),
            generation_id: "17".to_owned(),
            auth: Some(AuthMethod::Thumbprint),
        },
        now: Timestamp::from_unix_millis(millis),
        events: bodies.iter().map(event).collect(),
    }
}

/// Properties of several types.
fn properties() -> EventProperties {
    let mut properties = EventProperties::new();
    properties.push(PropertyName::System(SystemProperty::MessageId), PropertyValue::Ulong(7));
    properties.push(PropertyName::Application("a"), PropertyValue::String("1"));
    properties.push(PropertyName::Application("n"), PropertyValue::Double(0.5));
    properties
}

#[must_use]
pub fn id(text: &str) -> IdentityId {
    IdentityId::parse(text).unwrap()
}

/// An identity with every field set to a value other than its default.
#[must_use]
pub fn identity(text: &str) -> Identity {
    Identity {
        id: id(text),
        generation_id: "17".to_owned(),
        etag: "one".to_owned(),
        status: Status::Disabled,
        status_reason: Some("in repair".to_owned()),
        status_updated: Timestamp::from_unix_millis(1_700_000_000_123),
        authentication: Authentication::Sas {
            primary: SharedAccessKey::from_bytes(&[1; 32]).unwrap(),
            secondary: SharedAccessKey::from_bytes(&[2; 16]).unwrap(),
        },
        iot_edge: true,
        device_scope: Some("ms-azure-iot-edge://edge-1".to_owned()),
        parent_scopes: vec!["ms-azure-iot-edge://\"a\"".to_owned(), "b\nc".to_owned()],
        managed_by: Some("IotEdge".to_owned()),
        connection_state_updated: Timestamp::from_unix_millis(5),
        last_activity: Timestamp::from_unix_millis(-62_135_596_800_000),
        messages: 0,
    }
}
