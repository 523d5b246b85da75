//! Events and the state of the event log as JSON.

use std::collections::BTreeMap;

use ferrohub_core::telemetry::{EventLogState, PartitionState, PropertyName, StoredEvent};
use ferrohub_model::message::{Event, EventLogInfo, Partition};

/// Renders an event. JSON has the values of properties as text, whatever type they have.
pub(super) fn event(event: StoredEvent) -> Event {
    let mut system_properties = BTreeMap::new();
    let mut properties = BTreeMap::new();
    for (name, value) in event.properties.iter() {
        match name {
            PropertyName::System(property) => {
                system_properties.insert(property.event_name().to_owned(), value.to_string())
            }
            PropertyName::Application(name) => properties.insert(name.to_owned(), value.to_string()),
        };
    }
    system_properties
        .extend(event.hub_properties().map(|(name, value)| (name.to_owned(), value.to_string())));
    Event {
        partition: event.partition,
        sequence_number: event.sequence,
        offset: event.offset(),
        enqueued_time: event.enqueued,
        system_properties,
        properties,
        body: Vec::from(event.body).into(),
    }
}

/// Renders the state of the event log.
pub(super) fn log_info(state: EventLogState) -> EventLogInfo {
    let EventLogState { consumer_groups, partitions } = state;
    let partitions =
        (0..).zip(&partitions).map(|(partition, state)| partition_info(partition, state)).collect();
    EventLogInfo { consumer_groups, partitions }
}

fn partition_info(partition: u16, state: &PartitionState) -> Partition {
    Partition {
        partition,
        begin_sequence_number: state.begin,
        next_sequence_number: state.next,
        last_enqueued_time: state.last_enqueued,
        is_empty: state.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ferrohub_core::telemetry::{AuthMethod, EventIdentity, EventProperties, EventSource, PropertyValue};
    use ferrohub_model::message::SystemProperty;
    use ferrohub_model::{IdentityId, Timestamp};

    use super::*;

    #[test]
    fn an_event_has_its_properties_as_text_and_the_properties_of_the_hub() {
        let mut properties = EventProperties::new();
        properties
            .push(PropertyName::System(SystemProperty::ContentType), PropertyValue::String("text/plain"));
        properties.push(PropertyName::System(SystemProperty::MessageId), PropertyValue::Ulong(7));
        properties.push(PropertyName::Application("z"), PropertyValue::Double(0.5));
        properties.push(PropertyName::Application("a"), PropertyValue::String("1"));
        let stored = StoredEvent {
            partition: 3,
            sequence: 7,
            enqueued: Timestamp::from_unix_millis(1_700_000_000_123),
            source: EventSource::Telemetry,
            identity: EventIdentity {
                id: IdentityId::parse("dev1").unwrap(),
                generation_id: "17".to_owned(),
                auth: Some(AuthMethod::DeviceKey),
            },
            properties,
            body: Bytes::from_static(b"{\"a\":1}"),
        };
        let expected = r#"{"partition":3,"sequenceNumber":7,"offset":"7","enqueuedTime":"2023-11-14T22:13:20.123Z","systemProperties":{"content-type":"text/plain","iothub-connection-auth-generation-id":"17","iothub-connection-auth-method":"{\"scope\":\"device\",\"type\":\"sas\",\"issuer\":\"iothub\",\"acceptingIpFilterRule\":null}","iothub-connection-device-id":"dev1","iothub-enqueuedtime":"2023-11-14T22:13:20.123Z","iothub-message-source":"Telemetry","message-id":"7"},"properties":{"a":"1","z":"0.5"},"body":"{\"a\":1}"}"#;
        assert_eq!(serde_json::to_string(&event(stored)).unwrap(), expected);
    }
}
