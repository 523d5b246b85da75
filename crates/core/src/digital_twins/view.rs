//! The digital twin of a twin, as services read it.

use ferrohub_model::digital_twin::{COMPONENT_MARKER, DIGITAL_TWIN_ID, METADATA, MODEL};
use ferrohub_model::twin::Properties;
use serde_json::Value;

use super::as_component;
use crate::twins::{LAST_UPDATED, LAST_UPDATED_VERSION, Section, TwinDocument};

/// Members of a reported value with which a device acknowledges a desired value.
const ACK_VALUE: &str = "value";
const ACK_CODE: &str = "ac";
const ACK_VERSION: &str = "av";
const ACK_DESCRIPTION: &str = "ad";

/// The values of properties and their metadata: a section of a twin, or a component in it.
#[derive(Clone, Copy, Default)]
struct Part<'a> {
    values: Option<&'a Properties>,
    metadata: Option<&'a Properties>,
}

impl<'a> Part<'a> {
    fn of(section: &'a Section) -> Self {
        Self { values: Some(&section.values), metadata: Some(&section.metadata) }
    }

    fn value(self, name: &str) -> Option<&'a Value> {
        self.values?.get(name)
    }

    fn metadata(self, name: &str) -> Option<&'a Properties> {
        self.metadata?.get(name)?.as_object()
    }

    /// Returns the members of a component. If the value is no object, it has none.
    fn component(self, name: &str) -> Self {
        Self { values: self.value(name).and_then(Value::as_object), metadata: self.metadata(name) }
    }
}

/// Returns the digital twin: reported values of properties, components with theirs, and in `$metadata` what is known about
/// each property.
#[must_use]
pub fn view(device_id: &str, twin: &TwinDocument) -> Properties {
    let (desired, reported) = (Part::of(&twin.desired), Part::of(&twin.reported));
    let mut view = Properties::new();
    view.insert(DIGITAL_TWIN_ID.to_owned(), device_id.into());
    let mut metadata = Properties::new();
    metadata.insert(MODEL.to_owned(), twin.model_id.clone().into());
    for name in names(desired, reported) {
        if as_component(desired.value(name)).is_some() || as_component(reported.value(name)).is_some() {
            view.insert(name.clone(), component(desired.component(name), reported.component(name)).into());
        } else {
            add_property(&mut view, &mut metadata, name, desired, reported);
        }
    }
    view.insert(METADATA.to_owned(), metadata.into());
    view
}

fn component(desired: Part<'_>, reported: Part<'_>) -> Properties {
    let (mut view, mut metadata) = (Properties::new(), Properties::new());
    for name in names(desired, reported).filter(|name| *name != COMPONENT_MARKER) {
        add_property(&mut view, &mut metadata, name, desired, reported);
    }
    view.insert(METADATA.to_owned(), metadata.into());
    view
}

/// Returns the names in either part, each once.
fn names<'a>(desired: Part<'a>, reported: Part<'a>) -> impl Iterator<Item = &'a String> {
    let only_desired = desired.values.into_iter().flat_map(Properties::keys);
    let only_desired = only_desired.filter(move |name| reported.value(name).is_none());
    reported.values.into_iter().flat_map(Properties::keys).chain(only_desired)
}

/// Adds the reported value of a property to its view, and what is known about it to the metadata.
fn add_property(
    view: &mut Properties,
    metadata: &mut Properties,
    name: &str,
    desired: Part<'_>,
    reported: Part<'_>,
) {
    let mut about = Properties::new();
    let mut add = |key: &str, value: Option<&Value>| {
        if let Some(value) = value {
            about.insert(key.to_owned(), value.clone());
        }
    };
    if let Some(value) = desired.value(name) {
        add("desiredValue", Some(value));
        add("desiredVersion", desired.metadata(name).and_then(|metadata| metadata.get(LAST_UPDATED_VERSION)));
    }
    if let Some(value) = reported.value(name) {
        let value = match acknowledgement(value) {
            None => value,
            Some((value, ack)) => {
                add("ackVersion", ack.get(ACK_VERSION));
                add("ackCode", ack.get(ACK_CODE));
                add("ackDescription", ack.get(ACK_DESCRIPTION));
                value
            }
        };
        add("lastUpdateTime", reported.metadata(name).and_then(|metadata| metadata.get(LAST_UPDATED)));
        view.insert(name.to_owned(), value.clone());
    }
    metadata.insert(name.to_owned(), about.into());
}

/// Returns the value of a property and its acknowledgement, if the device reported it with one.
fn acknowledgement(reported: &Value) -> Option<(&Value, &Properties)> {
    let ack = reported.as_object()?;
    ack.get(ACK_CODE)?;
    Some((ack.get(ACK_VALUE)?, ack))
}

#[cfg(test)]
mod tests {
    use ferrohub_model::Timestamp;
    use ferrohub_model::twin::TwinChange;
    use serde_json::json;

    use super::*;
    use crate::twins::{TwinLimits, UpdateMode};

    fn object(value: Value) -> Properties {
        match value {
            Value::Object(object) => object,
            other => panic!("not an object: {other}"),
        }
    }

    fn twin(desired: &[Value], reported: Value) -> TwinDocument {
        let (limits, now) = (TwinLimits::default(), Timestamp::from_unix_seconds(0));
        let twin = TwinDocument { model_id: "dtmi:example:Room;1".to_owned(), ..TwinDocument::default() };
        let twin = desired.iter().fold(twin, |twin, desired| {
            let change = TwinChange::desired(object(desired.clone()));
            twin.with_change(UpdateMode::Merge, &change, now, &limits).unwrap()
        });
        twin.with_reported(&object(reported), None, now, &limits).unwrap()
    }

    const TIME: &str = "1970-01-01T00:00:00.0000000Z";

    #[test]
    fn properties_and_components_have_their_values_and_metadata() {
        let desired = [
            json!({ "interval": 5, "thermostat1": { "__t": "c", "targetTemperature": 20 } }),
            json!({ "thermostat1": { "__t": "c", "targetTemperature": 21 }, "thermostat2": { "__t": "c" } }),
        ];
        let reported = json!({
            "serialNumber": "x",
            "config": { "value": 1, "rate": { "ac": 1 } },
            "thermostat1": {
                "__t": "c",
                "maxTemperature": 30,
                "targetTemperature": { "value": 20, "ac": 200, "av": 2, "ad": "done" },
                "mode": { "value": { "value": 1 }, "ac": 203, "av": 0 },
            },
        });
        let expected = json!({
            "$dtId": "d",
            "serialNumber": "x",
            "config": { "value": 1, "rate": { "ac": 1 } },
            "thermostat1": {
                "maxTemperature": 30,
                "targetTemperature": 20,
                "mode": { "value": 1 },
                "$metadata": {
                    "maxTemperature": { "lastUpdateTime": TIME },
                    "targetTemperature": {
                        "desiredValue": 21,
                        "desiredVersion": 3,
                        "ackVersion": 2,
                        "ackCode": 200,
                        "ackDescription": "done",
                        "lastUpdateTime": TIME,
                    },
                    "mode": { "ackVersion": 0, "ackCode": 203, "lastUpdateTime": TIME },
                },
            },
            "thermostat2": { "$metadata": {} },
            "$metadata": {
                "$model": "dtmi:example:Room;1",
                "interval": { "desiredValue": 5, "desiredVersion": 2 },
                "serialNumber": { "lastUpdateTime": TIME },
                "config": { "lastUpdateTime": TIME },
            },
        });
        assert_eq!(Value::from(view("d", &twin(&desired, reported))), expected);
    }

    #[test]
    fn a_device_without_a_model_has_an_empty_digital_twin() {
        let empty = json!({ "$dtId": "d", "$metadata": { "$model": "" } });
        assert_eq!(Value::from(view("d", &TwinDocument::default())), empty);
    }

    #[test]
    fn what_is_marked_in_one_section_is_a_component() {
        let found = view("d", &twin(&[json!({ "a": { "__t": "c", "x": 1 } })], json!({ "a": 7 })));
        let metadata = json!({ "x": { "desiredValue": 1, "desiredVersion": 2 } });
        assert_eq!(found["a"], json!({ "$metadata": metadata }));
        assert_eq!(found["$metadata"].get("a"), None);
        // Another marker is a property like any other.
        let found = view("d", &twin(&[], json!({ "a": { "__t": "x", "y": 1 } })));
        assert_eq!(found["a"], json!({ "__t": "x", "y": 1 }));
    }
}
