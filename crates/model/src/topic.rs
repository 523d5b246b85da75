//! The MQTT topics of the hub, written and read in one place for the hub and the device SDK.

use std::fmt;

use crate::percent;

/// What a device subscribes to in order to be called.
pub const METHODS_FILTER: &str = "$iothub/methods/POST/#";
const METHOD_REQUEST: &str = "$iothub/methods/POST/";
const METHOD_RESPONSE: &str = "$iothub/methods/res/";

/// The topic of a method request, `$iothub/methods/POST/{name}/?$rid={request id}`, to be formatted
/// straight into a send buffer.
#[derive(Debug, Clone, Copy)]
pub struct MethodRequest<'a, R> {
    /// The method's name, not encoded.
    pub name: &'a str,
    /// To be echoed by the device; needs no encoding.
    pub request_id: &'a R,
}

impl<R: fmt::Display> fmt::Display for MethodRequest<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{METHOD_REQUEST}{}/?$rid={}", percent::Encoded(self.name), self.request_id)
    }
}

/// Takes the topic of a method request apart: the decoded name and the request id.
#[must_use]
pub fn parse_method_request(topic: &str) -> Option<(String, &str)> {
    let (name, query) = topic.strip_prefix(METHOD_REQUEST)?.split_once('/')?;
    Some((percent::decode(name)?, request_id(query)?))
}

/// The topic of a method response: `$iothub/methods/res/{status}/?$rid={request id}`.
#[must_use]
pub fn method_response(status: i32, request_id: &str) -> String {
    format!("{METHOD_RESPONSE}{status}/?$rid={request_id}")
}

/// Whether a topic is meant as a method response, well-formed or not.
#[must_use]
pub fn is_method_response(topic: &str) -> bool {
    topic.starts_with(METHOD_RESPONSE)
}

/// Takes the topic of a method response apart: the status and the request id.
#[must_use]
pub fn parse_method_response(topic: &str) -> Option<(i32, &str)> {
    let (status, query) = topic.strip_prefix(METHOD_RESPONSE)?.split_once('/')?;
    Some((status.parse().ok()?, request_id(query)?))
}

fn request_id(query: &str) -> Option<&str> {
    query.strip_prefix('?')?.split('&').find_map(|part| {
        let (name, value) = part.split_once('=')?;
        (name == "$rid" || name == "%24rid").then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_come_apart_as_they_were_put_together() {
        let topic = MethodRequest { name: "re boot/é", request_id: &"1a" }.to_string();
        assert_eq!(topic, "$iothub/methods/POST/re%20boot%2F%C3%A9/?$rid=1a");
        assert_eq!(parse_method_request(&topic), Some(("re boot/é".to_owned(), "1a")));
        assert_eq!(parse_method_response(&method_response(-3, "x")), Some((-3, "x")));
        assert_eq!(parse_method_response("$iothub/methods/res/200/?a=b&$rid=7"), Some((200, "7")));
    }

    #[test]
    fn broken_topics_are_none() {
        for topic in [
            "$iothub/methods/res/",
            "$iothub/methods/res/x/?$rid=1",
            "$iothub/methods/res/200",
            "$iothub/methods/res/200/$rid=1",
            "$iothub/methods/res/200/?rid=1",
        ] {
            assert_eq!(parse_method_response(topic), None, "{topic}");
        }
    }
}
