//! The properties of a message that have a meaning of their own.

/// A property with a meaning, and a name of its own in each protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SystemProperty {
    /// Names the message; the sender's choice.
    MessageId,
    /// The message that this one answers, or belongs to.
    CorrelationId,
    /// Who sent it.
    UserId,
    /// Where it is meant to go.
    To,
    /// When it is of no more use, ISO 8601.
    Expiry,
    /// Media type of the body.
    ContentType,
    /// Encoding of the body, such as `utf-8`.
    ContentEncoding,
    /// When the device made it, ISO 8601.
    CreationTime,
    /// The output of a module that it left through.
    OutputName,
    /// Interface of the device's model that it belongs to.
    InterfaceId,
    /// Component of the device's model that it belongs to.
    Component,
    /// What kind of message it is.
    Schema,
    /// Which feedback the sender of a message to a device wants.
    Ack,
    /// Distributed tracing of old: the id.
    DiagnosticId,
    /// Distributed tracing of old: the context.
    DiagnosticContext,
    /// Distributed tracing: the state.
    TraceState,
}

/// A property's names: in an MQTT topic, in the header of an HTTP request, and where events are read.
struct Names {
    property: SystemProperty,
    mqtt: &'static str,
    http: &'static str,
    event: &'static str,
}

const fn names(
    property: SystemProperty,
    mqtt: &'static str,
    http: &'static str,
    event: &'static str,
) -> Names {
    Names { property, mqtt, http, event }
}

/// In the order of the variants.
const NAMES: [Names; 16] = [
    names(SystemProperty::MessageId, "$.mid", "iothub-messageid", "message-id"),
    names(SystemProperty::CorrelationId, "$.cid", "iothub-correlationid", "correlation-id"),
    names(SystemProperty::UserId, "$.uid", "iothub-userid", "user-id"),
    names(SystemProperty::To, "$.to", "iothub-to", "to"),
    names(SystemProperty::Expiry, "$.exp", "iothub-expiry", "absolute-expiry-time"),
    names(SystemProperty::ContentType, "$.ct", "iothub-contenttype", "content-type"),
    names(SystemProperty::ContentEncoding, "$.ce", "iothub-contentencoding", "content-encoding"),
    names(SystemProperty::CreationTime, "$.ctime", "iothub-creationtimeutc", "iothub-creation-time-utc"),
    names(SystemProperty::OutputName, "$.on", "iothub-outputname", "iothub-outputname"),
    names(SystemProperty::InterfaceId, "$.ifid", "iothub-interface-id", "iothub-interface-id"),
    names(SystemProperty::Component, "$.sub", "dt-subject", "dt-subject"),
    names(SystemProperty::Schema, "$.schema", "iothub-messageschema", "iothub-message-schema"),
    names(SystemProperty::Ack, "iothub-ack", "iothub-ack", "iothub-ack"),
    names(SystemProperty::DiagnosticId, "$.diagid", "iothub-diagid", "Diagnostic-Id"),
    names(SystemProperty::DiagnosticContext, "$.diagctx", "iothub-diagctx", "Correlation-Context"),
    names(SystemProperty::TraceState, "$.tracestate", "tracestate", "tracestate"),
];

impl SystemProperty {
    /// Every one of them.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|names| names.property)
    }

    fn names(self) -> &'static Names {
        &NAMES[self as usize]
    }

    /// Its key in the property bag of an MQTT topic, decoded.
    #[must_use]
    pub fn mqtt_key(self) -> &'static str {
        self.names().mqtt
    }

    /// The HTTP header that carries it, in small letters.
    #[must_use]
    pub fn http_header(self) -> &'static str {
        self.names().http
    }

    /// What readers of events call it.
    #[must_use]
    pub fn event_name(self) -> &'static str {
        self.names().event
    }

    /// The property with that key in an MQTT topic.
    #[must_use]
    pub fn from_mqtt_key(key: &str) -> Option<Self> {
        NAMES.iter().find(|names| names.mqtt == key).map(|names| names.property)
    }

    /// The property that this HTTP header carries, its name in small letters.
    #[must_use]
    pub fn from_http_header(name: &str) -> Option<Self> {
        NAMES.iter().find(|names| names.http == name).map(|names| names.property)
    }

    /// The property that readers of events call so.
    #[must_use]
    pub fn from_event_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|names| names.event == name).map(|names| names.property)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_variants_and_no_name_is_used_twice() {
        for (index, names) in NAMES.iter().enumerate() {
            assert_eq!(names.property as usize, index);
            assert_eq!(SystemProperty::from_mqtt_key(names.mqtt), Some(names.property));
            assert_eq!(SystemProperty::from_http_header(names.http), Some(names.property));
            assert_eq!(SystemProperty::from_event_name(names.event), Some(names.property));
            assert_eq!(names.http, names.http.to_ascii_lowercase());
        }
        assert_eq!(SystemProperty::all().count(), SystemProperty::TraceState as usize + 1);
    }
}
