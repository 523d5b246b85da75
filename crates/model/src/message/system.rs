//! The system properties of messages.

/// A system property. It has a different name in each protocol. The numbers are stored: a new property is the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SystemProperty {
    /// The message id, chosen by the sender.
    MessageId,
    /// The id of the message that this one answers or belongs to.
    CorrelationId,
    /// The id of the sender.
    UserId,
    /// The destination.
    To,
    /// The expiry time, ISO 8601.
    Expiry,
    /// Media type of the body.
    ContentType,
    /// Encoding of the body, such as `utf-8`.
    ContentEncoding,
    /// When the device created the message, ISO 8601.
    CreationTime,
    /// The output of the module that sent it.
    OutputName,
    /// The interface of the device's model.
    InterfaceId,
    /// The component of the device's model.
    Component,
    /// The schema of the message.
    Schema,
    /// The feedback that the sender of a message to a device wants.
    Ack,
    /// Legacy distributed tracing: the id.
    DiagnosticId,
    /// Legacy distributed tracing: the context.
    DiagnosticContext,
    /// Distributed tracing: the state.
    TraceState,
}

/// The names of a property in an MQTT topic, in the headers of an HTTP request, and in an event.
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
    /// Iterates over all system properties.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|names| names.property)
    }

    /// Returns the number under which events store the property.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    /// Returns the property with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        NAMES.get(usize::from(number)).map(|names| names.property)
    }

    fn names(self) -> &'static Names {
        &NAMES[self as usize]
    }

    /// Returns the decoded key in the property bag of an MQTT topic.
    #[must_use]
    pub fn mqtt_key(self) -> &'static str {
        self.names().mqtt
    }

    /// Returns the HTTP header in lower case.
    #[must_use]
    pub fn http_header(self) -> &'static str {
        self.names().http
    }

    /// Returns the name in an event.
    #[must_use]
    pub fn event_name(self) -> &'static str {
        self.names().event
    }

    /// Returns the property with this decoded key in an MQTT topic.
    #[must_use]
    pub fn from_mqtt_key(key: &str) -> Option<Self> {
        NAMES.iter().find(|names| names.mqtt == key).map(|names| names.property)
    }

    /// Returns the property of this HTTP header, given in lower case.
    #[must_use]
    pub fn from_http_header(name: &str) -> Option<Self> {
        NAMES.iter().find(|names| names.http == name).map(|names| names.property)
    }

    /// Returns the property with this name in an event.
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
            assert_eq!(SystemProperty::from_number(names.property.number()), Some(names.property));
            assert_eq!(SystemProperty::from_mqtt_key(names.mqtt), Some(names.property));
            assert_eq!(SystemProperty::from_http_header(names.http), Some(names.property));
            assert_eq!(SystemProperty::from_event_name(names.event), Some(names.property));
            assert_eq!(names.http, names.http.to_ascii_lowercase());
        }
        assert_eq!(SystemProperty::all().count(), SystemProperty::TraceState as usize + 1);
        assert_eq!(SystemProperty::from_number(16), None);
    }

    #[test]
    fn stored_numbers_keep_their_meaning() {
        let keys: Vec<_> = SystemProperty::all().map(SystemProperty::mqtt_key).collect();
        assert_eq!(
            keys.join(" "),
            "$.mid $.cid $.uid $.to $.exp $.ct $.ce $.ctime $.on $.ifid $.sub $.schema iothub-ack $.diagid $.diagctx \
             $.tracestate"
        );
    }
}
