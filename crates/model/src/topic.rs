//! The MQTT topics of the hub: formatting and parsing, for both the hub and the device SDK.

use std::fmt;

use crate::message::MessageProperties;
use crate::{IdentityId, percent};

/// The topic filter for method requests.
pub const METHODS_FILTER: &str = "$iothub/methods/POST/#";
const METHOD_REQUEST: &str = "$iothub/methods/POST/";
const METHOD_RESPONSE: &str = "$iothub/methods/res/";

/// The topic of a method request, `$iothub/methods/POST/{name}/?$rid={request id}`. Can be formatted directly into a
/// send buffer.
#[derive(Debug, Clone, Copy)]
pub struct MethodRequest<'a, R> {
    /// The method's name, not percent-encoded.
    pub name: &'a str,
    /// The request id, which the device repeats in its response; needs no encoding.
    pub request_id: &'a R,
}

impl<R: fmt::Display> fmt::Display for MethodRequest<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{METHOD_REQUEST}{}/?$rid={}", percent::TopicLevel(self.name), self.request_id)
    }
}

/// Parses the topic of a method request. Returns the decoded name and the request id.
#[must_use]
pub fn parse_method_request(topic: &str) -> Option<(String, &str)> {
    let (name, query) = topic.strip_prefix(METHOD_REQUEST)?.split_once('/')?;
    Some((percent::decode(name)?, request_id(query)?))
}

/// Returns the topic of a method response: `$iothub/methods/res/{status}/?$rid={request id}`.
#[must_use]
pub fn method_response(status: i32, request_id: &str) -> String {
    format!("{METHOD_RESPONSE}{status}/?$rid={request_id}")
}

/// Returns whether a topic is one for method responses, well-formed or not.
#[must_use]
pub fn is_method_response(topic: &str) -> bool {
    topic.starts_with(METHOD_RESPONSE)
}

/// Parses the topic of a method response. Returns the status and the request id. The status is `None` if it is not an
/// integer of 32 bits.
#[must_use]
pub fn parse_method_response(topic: &str) -> Option<(Option<i32>, &str)> {
    let (status, query) = topic.strip_prefix(METHOD_RESPONSE)?.split_once('/')?;
    Some((parse_status(status), request_id(query)?))
}

/// Parses the status of a method response. `200.0` is 200: Microsoft's Python client formats the number that the
/// application passes, and that may be a float.
fn parse_status(text: &str) -> Option<i32> {
    text.parse().ok().or_else(|| {
        let (whole, fraction) = text.split_once('.')?;
        let is_whole = !fraction.is_empty() && fraction.bytes().all(|digit| digit == b'0');
        is_whole.then(|| whole.parse().ok())?
    })
}

/// The topic filter for responses to twin requests.
pub const TWIN_RESPONSES_FILTER: &str = "$iothub/twin/res/#";
/// The topic filter for changes of desired properties.
pub const DESIRED_FILTER: &str = "$iothub/twin/PATCH/properties/desired/#";
const TWIN: &str = "$iothub/twin/";
const TWIN_GET: &str = "$iothub/twin/GET/";
const TWIN_REPORT: &str = "$iothub/twin/PATCH/properties/reported/";
const TWIN_RESPONSE: &str = "$iothub/twin/res/";
const TWIN_DESIRED: &str = "$iothub/twin/PATCH/properties/desired/";

/// A device's request to its twin, with the request id that the response repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TwinRequest<'a> {
    /// `$iothub/twin/GET/?$rid={request id}`: reads the twin.
    Get {
        /// The request id of the device.
        request_id: &'a str,
    },
    /// `$iothub/twin/PATCH/properties/reported/?$rid={request id}[&$version={version}]`: changes the reported
    /// properties.
    Report {
        /// The request id of the device.
        request_id: &'a str,
        /// Apply the change only to this version.
        if_version: Option<u64>,
    },
    /// A change of the reported properties whose `$version` is not a version.
    InvalidVersion {
        /// The request id of the device.
        request_id: &'a str,
        /// The text of `$version`.
        version: &'a str,
    },
}

impl<'a> TwinRequest<'a> {
    /// Returns the request id of the device.
    #[must_use]
    pub fn request_id(&self) -> &'a str {
        match self {
            Self::Get { request_id }
            | Self::Report { request_id, .. }
            | Self::InvalidVersion { request_id, .. } => request_id,
        }
    }
}

impl fmt::Display for TwinRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get { request_id } => write!(f, "{TWIN_GET}?$rid={request_id}"),
            Self::Report { request_id, if_version: None } => write!(f, "{TWIN_REPORT}?$rid={request_id}"),
            Self::Report { request_id, if_version: Some(version) } => {
                write!(f, "{TWIN_REPORT}?$rid={request_id}&$version={version}")
            }
            Self::InvalidVersion { request_id, version } => {
                write!(f, "{TWIN_REPORT}?$rid={request_id}&$version={version}")
            }
        }
    }
}

/// Returns whether a topic is one for twin requests, well-formed or not.
#[must_use]
pub fn is_twin_request(topic: &str) -> bool {
    topic.starts_with(TWIN)
}

/// Parses the topic of a twin request.
#[must_use]
pub fn parse_twin_request(topic: &str) -> Option<TwinRequest<'_>> {
    if let Some(query) = topic.strip_prefix(TWIN_GET) {
        return Some(TwinRequest::Get { request_id: request_id(query)? });
    }
    let query = topic.strip_prefix(TWIN_REPORT)?;
    let request_id = request_id(query)?;
    Some(match parameter(query, "version").map(|version| (version, version.parse())) {
        None => TwinRequest::Report { request_id, if_version: None },
        Some((_, Ok(version))) => TwinRequest::Report { request_id, if_version: Some(version) },
        Some((version, Err(_))) => TwinRequest::InvalidVersion { request_id, version },
    })
}

/// The topic of a response to a twin request, `$iothub/twin/res/{status}/?$rid={request id}[&$version={version}]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TwinResponse<'a> {
    /// 200 with the twin, 204 for a stored change, or an error status.
    pub status: u16,
    /// The request id of the request.
    pub request_id: &'a str,
    /// The new version of the reported properties, after a change of them.
    pub version: Option<u64>,
}

impl fmt::Display for TwinResponse<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{TWIN_RESPONSE}{}/?$rid={}", self.status, self.request_id)?;
        self.version.map_or(Ok(()), |version| write!(f, "&$version={version}"))
    }
}

/// Parses the topic of a response to a twin request.
#[must_use]
pub fn parse_twin_response(topic: &str) -> Option<TwinResponse<'_>> {
    let (status, query) = topic.strip_prefix(TWIN_RESPONSE)?.split_once('/')?;
    let version = parameter(query, "version").and_then(|version| version.parse().ok());
    Some(TwinResponse { status: status.parse().ok()?, request_id: request_id(query)?, version })
}

/// The topic of a change of desired properties, `$iothub/twin/PATCH/properties/desired/?$version={version}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DesiredPatchTopic {
    /// The version of the desired properties after the change.
    pub version: u64,
}

impl fmt::Display for DesiredPatchTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{TWIN_DESIRED}?$version={}", self.version)
    }
}

/// Parses the topic of a change of desired properties.
#[must_use]
pub fn parse_desired_patch(topic: &str) -> Option<DesiredPatchTopic> {
    let version = parameter(topic.strip_prefix(TWIN_DESIRED)?, "version")?.parse().ok()?;
    Some(DesiredPatchTopic { version })
}

/// Returns the topic for telemetry of a device or module, `devices/{device}[/modules/{module}]/messages/events/`. The
/// properties of a message follow it.
#[must_use]
pub fn telemetry(id: &IdentityId) -> String {
    let mut topic = id.resource_path();
    topic.remove(0);
    topic.push_str("/messages/events/");
    topic
}

/// Returns the property bag in a telemetry topic of `id`: the text after [`telemetry`]. The slashes before and after
/// the bag are optional. `None` for any other topic.
#[must_use]
pub fn parse_telemetry<'a>(topic: &'a str, id: &IdentityId) -> Option<&'a str> {
    match strip_identity_prefix(topic, id)?.strip_prefix("/messages/events")? {
        "" => Some(""),
        rest => rest.strip_prefix('/').map(|bag| bag.strip_suffix('/').unwrap_or(bag)),
    }
}

/// A topic filter for messages to a device or module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessagesFilter {
    /// `devices/{device}[/modules/{module}]/messages/devicebound/#`
    Messages,
    /// `devices/{device}/modules/{module}/inputs/#`
    Inputs,
    /// `devices/{device}/modules/{module}/#`: both.
    Both,
}

/// Parses a topic filter for messages to `id`. Ids may contain `#` and `+`, so they are compared as text, not as
/// wildcards.
#[must_use]
pub fn parse_messages_filter(filter: &str, id: &IdentityId) -> Option<MessagesFilter> {
    let rest = strip_identity_prefix(filter, id)?;
    match (rest, id.module_str()) {
        ("/messages/devicebound/#", _) => Some(MessagesFilter::Messages),
        ("/inputs/#", Some(_)) => Some(MessagesFilter::Inputs),
        ("/#", Some(_)) => Some(MessagesFilter::Both),
        _ => None,
    }
}

/// Longest topic in bytes.
const MAX_TOPIC: usize = u16::MAX as usize;

/// The topic of a message to a device or module, `devices/{device}[/modules/{module}]/messages/devicebound/{bag}`, or
/// of one to an input of a module, `devices/{device}/modules/{module}/inputs/{input}/{bag}`.
#[derive(Debug, Clone, Copy)]
pub struct MessageTopic<'a> {
    /// The receiver.
    pub id: &'a IdentityId,
    /// The input of the module, if the message is for one; not percent-encoded.
    pub input: Option<&'a str>,
    /// The properties of the message.
    pub properties: &'a MessageProperties,
}

impl MessageTopic<'_> {
    /// Returns whether the encoded topic fits into the maximum length of an MQTT string (MQTT-1.5.3).
    #[must_use]
    pub fn fits(&self) -> bool {
        struct RemainingBytes(usize);
        impl fmt::Write for RemainingBytes {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0 = self.0.checked_sub(text.len()).ok_or(fmt::Error)?;
                Ok(())
            }
        }
        fmt::Write::write_fmt(&mut RemainingBytes(MAX_TOPIC), format_args!("{self}")).is_ok()
    }
}

impl fmt::Display for MessageTopic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "devices/{}", self.id.device_str())?;
        if let Some(module) = self.id.module_str() {
            write!(f, "/modules/{module}")?;
        }
        match self.input {
            None => f.write_str("/messages/devicebound/")?,
            Some(input) => write!(f, "/inputs/{}/", percent::TopicLevel(input))?,
        }
        self.properties.fmt(f)
    }
}

/// Parses the topic of a message to `id`. Returns the input, if the message is for one, and the properties.
#[must_use]
pub fn parse_message(topic: &str, id: &IdentityId) -> Option<(Option<String>, MessageProperties)> {
    let rest = strip_identity_prefix(topic, id)?;
    let (input, bag) = match rest.strip_prefix("/inputs/").filter(|_| id.module_str().is_some()) {
        Some(rest) => {
            let (input, bag) = rest.split_once('/')?;
            (Some(percent::decode(input)?), bag)
        }
        None => (None, rest.strip_prefix("/messages/devicebound/")?),
    };
    Some((input, MessageProperties::parse_property_bag(bag).ok()?))
}

/// Returns the text after `devices/{device}[/modules/{module}]`.
fn strip_identity_prefix<'a>(topic: &'a str, id: &IdentityId) -> Option<&'a str> {
    let rest = topic.strip_prefix("devices/")?.strip_prefix(id.device_str())?;
    match id.module_str() {
        None => Some(rest),
        Some(module) => rest.strip_prefix("/modules/")?.strip_prefix(module),
    }
}

fn request_id(query: &str) -> Option<&str> {
    parameter(query, "rid")
}

/// Returns the value of `$name` in `?$name=value&…`; the dollar sign may be percent-encoded.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.strip_prefix('?')?.split('&').find_map(|part| {
        let (key, value) = part.split_once('=')?;
        let key = key.strip_prefix('$').or_else(|| key.strip_prefix("%24"))?;
        (key == name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn method_topics_are_parsed_as_formatted() {
        let topic = MethodRequest { name: "re boot/é", request_id: &"1a" }.to_string();
        assert_eq!(topic, "$iothub/methods/POST/re boot%2Fé/?$rid=1a");
        assert_eq!(parse_method_request(&topic), Some(("re boot/é".to_owned(), "1a")));
        for name in ["thermostat1*getMaxMinReport", "a+b#c%d?e\\f", "m:1;x=(y)@[z]", "%2A", "100%"] {
            let topic = MethodRequest { name, request_id: &"1" }.to_string();
            assert_eq!(
                topic.matches(['+', '#', '?', '\\']).count(),
                1,
                "only the query begins with ?: {topic}"
            );
            assert_eq!(parse_method_request(&topic), Some((name.to_owned(), "1")));
        }
        let encoded = "$iothub/methods/POST/thermostat1%2AgetMaxMinReport/?$rid=1";
        assert_eq!(parse_method_request(encoded), Some(("thermostat1*getMaxMinReport".to_owned(), "1")));
        assert_eq!(parse_method_response(&method_response(-3, "x")), Some((Some(-3), "x")));
        assert_eq!(parse_method_response("$iothub/methods/res/200/?a=b&$rid=7"), Some((Some(200), "7")));
    }

    #[test]
    fn the_status_of_a_method_response_is_a_whole_number_of_32_bits() {
        let status = |text: &str| {
            let topic = format!("$iothub/methods/res/{text}/?$rid=7");
            parse_method_response(&topic).map(|(status, request_id)| (status, request_id.to_owned()))
        };
        for (text, value) in [
            ("200", Some(200)),
            ("200.0", Some(200)),
            ("-1.00", Some(-1)),
            ("2147483647", Some(i32::MAX)),
            ("2147483648", None),
            ("2147483648.0", None),
            ("200.5", None),
            ("200.", None),
            (".0", None),
            ("None", None),
            ("undefined", None),
            ("abc", None),
            ("", None),
        ] {
            assert_eq!(status(text), Some((value, "7".to_owned())), "{text}");
        }
        assert_eq!(parse_method_response("$iothub/methods/res/200/"), None);
        assert_eq!(parse_method_response("$iothub/methods/res/200"), None);
    }

    #[test]
    fn twin_topics_are_parsed_as_formatted() {
        for request in [
            TwinRequest::Get { request_id: "a-b" },
            TwinRequest::Report { request_id: "1", if_version: None },
            TwinRequest::Report { request_id: "1", if_version: Some(7) },
            TwinRequest::InvalidVersion { request_id: "1", version: "abc" },
            TwinRequest::InvalidVersion { request_id: "1", version: "18446744073709551616" },
            TwinRequest::InvalidVersion { request_id: "1", version: "" },
        ] {
            let topic = request.to_string();
            assert!(is_twin_request(&topic));
            assert_eq!(parse_twin_request(&topic), Some(request));
        }
        for response in [
            TwinResponse { status: 200, request_id: "a-b", version: None },
            TwinResponse { status: 204, request_id: "a-b", version: Some(12) },
        ] {
            assert_eq!(parse_twin_response(&response.to_string()), Some(response));
        }
        let topic = DesiredPatchTopic { version: 3 }.to_string();
        assert_eq!(topic, "$iothub/twin/PATCH/properties/desired/?$version=3");
        assert_eq!(parse_desired_patch(&topic), Some(DesiredPatchTopic { version: 3 }));
        for topic in [
            "$iothub/twin/GET",
            "$iothub/twin/GET/",
            "$iothub/twin/GET/?x=1",
            "$iothub/twin/PATCH/properties/reported/?$version=x",
            "$iothub/twin/PATCH/properties/desired/?$rid=1",
            "$iothub/twin/PUT/?$rid=1",
        ] {
            assert!(is_twin_request(topic));
            assert_eq!(parse_twin_request(topic), None, "{topic}");
        }
    }

    #[test]
    fn telemetry_topics_belong_to_one_sender() {
        let device = IdentityId::parse("d+1").unwrap();
        let module = IdentityId::parse("d+1/m").unwrap();
        for (id, topic) in
            [(&device, "devices/d+1/messages/events/"), (&module, "devices/d+1/modules/m/messages/events/")]
        {
            assert_eq!(telemetry(id), topic);
            assert_eq!(parse_telemetry(topic, id), Some(""));
            assert_eq!(parse_telemetry(topic.trim_end_matches('/'), id), Some(""));
            assert_eq!(parse_telemetry(&format!("{topic}a=b%2F"), id), Some("a=b%2F"));
            assert_eq!(parse_telemetry(&format!("{topic}a=b/"), id), Some("a=b"));
            assert_eq!(parse_telemetry(&topic.replace("events", "eventsx"), id), None);
            assert_eq!(parse_telemetry(&topic.replace("d+1", "d+2"), id), None);
        }
        assert_eq!(parse_telemetry("devices/d+1/messages/events/", &module), None);
    }

    #[test]
    fn filters_for_messages_are_compared_as_text() {
        let filter = |filter: &str, id: &str| parse_messages_filter(filter, &IdentityId::parse(id).unwrap());
        assert_eq!(filter("devices/d/messages/devicebound/#", "d"), Some(MessagesFilter::Messages));
        assert_eq!(filter("devices/d+#/messages/devicebound/#", "d+#"), Some(MessagesFilter::Messages));
        assert_eq!(filter("devices/d/modules/m/inputs/#", "d/m"), Some(MessagesFilter::Inputs));
        assert_eq!(filter("devices/d/modules/m/#", "d/m"), Some(MessagesFilter::Both));
        let module = filter("devices/d/modules/m/messages/devicebound/#", "d/m");
        assert_eq!(module, Some(MessagesFilter::Messages));
        for (other, id) in [
            ("devices/+/messages/devicebound/#", "d"),
            ("devices/e/messages/devicebound/#", "d"),
            ("devices/d/#", "d"),
            ("devices/d/inputs/#", "d"),
            ("devices/d/messages/devicebound/", "d"),
            ("devices/d/messages/devicebound/a/#", "d"),
            ("devices/d/messages/devicebound/#", "d/m"),
            ("devices/d/modules/n/inputs/#", "d/m"),
            ("#", "d"),
        ] {
            assert_eq!(filter(other, id), None, "{other}");
        }
    }

    #[test]
    fn message_topics_are_parsed_as_formatted() {
        let properties = MessageProperties {
            system: [(crate::message::SystemProperty::To, "/devices/d/messages/deviceBound".to_owned())]
                .into(),
            application: [("a/b".to_owned(), "c d".to_owned())].into(),
        };
        let (device, module) = (IdentityId::parse("d+1").unwrap(), IdentityId::parse("d/m").unwrap());
        let topic = MessageTopic { id: &device, input: None, properties: &properties }.to_string();
        assert_eq!(
            topic,
            "devices/d+1/messages/devicebound/%24.to=%2Fdevices%2Fd%2Fmessages%2FdeviceBound&a%2Fb=c%20d"
        );
        assert_eq!(parse_message(&topic, &device), Some((None, properties.clone())));
        let topic = MessageTopic { id: &module, input: Some("in/1*é"), properties: &properties }.to_string();
        assert!(topic.starts_with("devices/d/modules/m/inputs/in%2F1*é/%24.to="), "{topic}");
        assert_eq!(parse_message(&topic, &module), Some((Some("in/1*é".to_owned()), properties)));
        assert_eq!(parse_message("devices/d/messages/devicebound/", &device), None);
    }

    #[test]
    fn a_topic_of_exactly_the_maximum_length_fits() {
        let device = IdentityId::parse("d").unwrap();
        let fits = |value: String| {
            let properties = MessageProperties {
                application: [("a".to_owned(), value)].into(),
                ..MessageProperties::default()
            };
            let topic = MessageTopic { id: &device, input: None, properties: &properties };
            (topic.fits(), topic.to_string().len())
        };
        let room = MAX_TOPIC - "devices/d/messages/devicebound/a=".len();
        assert_eq!(fits("x".repeat(room)), (true, MAX_TOPIC));
        assert_eq!(fits("x".repeat(room + 1)), (false, MAX_TOPIC + 1));
        assert!(!fits("%".repeat(room / 3 + 1)).0, "the encoded length counts");
    }

    #[test]
    fn malformed_topics_are_refused() {
        for topic in [
            "$iothub/methods/res/",
            "$iothub/methods/res/200",
            "$iothub/methods/res/200/$rid=1",
            "$iothub/methods/res/200/?rid=1",
        ] {
            assert_eq!(parse_method_response(topic), None, "{topic}");
        }
    }
}
