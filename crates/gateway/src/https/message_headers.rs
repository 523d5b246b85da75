//! The properties of a message as headers of a request or an answer.
//!
//! Those with a meaning have headers of their own; `iothub-app-{name}` carries one of the application. Names of headers
//! are small letters here, whatever the sender wrote: HTTP does not tell them apart.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use ferrohub_model::message::{MessageProperties, SystemProperty};
use ferrohub_model::{ErrorCode, HubError, percent};

/// What the names of the application's properties have before them.
pub(super) const APPLICATION_PREFIX: &str = "iothub-app-";

/// The properties that a request's headers carry.
pub(super) fn read_properties(headers: &HeaderMap) -> Result<MessageProperties, HubError> {
    let mut properties = MessageProperties::default();
    for (name, value) in headers {
        let system = SystemProperty::from_http_header(name.as_str());
        let application = name.as_str().strip_prefix(APPLICATION_PREFIX).filter(|name| !name.is_empty());
        if system.is_none() && application.is_none() {
            continue;
        }
        let value = value.to_str().map_err(|_| {
            let text = format!("The header {name} holds something else than visible ASCII characters.");
            HubError::new(ErrorCode::ArgumentInvalid, text)
        })?;
        match (system, application) {
            (Some(property), _) => properties.system.insert(property, value.to_owned()),
            (None, Some(name)) => properties.application.insert(name.to_owned(), value.to_owned()),
            (None, None) => None,
        };
    }
    Ok(properties)
}

/// Puts properties among an answer's headers. What a header cannot hold is percent-encoded.
pub(super) fn write_properties(properties: &MessageProperties, headers: &mut HeaderMap) {
    for (property, text) in &properties.system {
        headers.insert(HeaderName::from_static(property.http_header()), header_value(text));
    }
    for (name, text) in &properties.application {
        let name = HeaderName::try_from(format!("{APPLICATION_PREFIX}{name}"))
            .or_else(|_| HeaderName::try_from(format!("{APPLICATION_PREFIX}{}", percent::encode(name))));
        if let Ok(name) = name {
            headers.insert(name, header_value(text));
        }
    }
}

fn header_value(text: &str) -> HeaderValue {
    let visible = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let shown =
        if visible { HeaderValue::from_str(text) } else { HeaderValue::try_from(percent::encode(text)) };
    // Neither holds a character that a header may not have.
    shown.unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_come_back_from_headers() {
        let properties = MessageProperties {
            system: [(SystemProperty::MessageId, "m 1".to_owned()), (SystemProperty::Ack, "full".to_owned())]
                .into(),
            application: [("a".to_owned(), "1".to_owned()), ("b!".to_owned(), String::new())].into(),
        };
        let mut headers = HeaderMap::new();
        write_properties(&properties, &mut headers);
        assert_eq!(headers.get("iothub-messageid").unwrap(), "m 1");
        assert_eq!(headers.get("iothub-app-a").unwrap(), "1");
        assert_eq!(read_properties(&headers), Ok(properties));
    }

    #[test]
    fn what_a_header_cannot_hold_is_encoded() {
        let properties = MessageProperties {
            system: [(SystemProperty::UserId, "é".to_owned())].into(),
            application: [("a b".to_owned(), "x\ny".to_owned())].into(),
        };
        let mut headers = HeaderMap::new();
        write_properties(&properties, &mut headers);
        assert_eq!(headers.get("iothub-userid").unwrap(), "%C3%A9");
        assert_eq!(headers.get("iothub-app-a%20b").unwrap(), "x%0Ay");
    }

    #[test]
    fn bytes_beyond_ascii_are_refused() {
        let mut headers = HeaderMap::new();
        headers.insert("iothub-app-a", HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(read_properties(&headers).unwrap_err().code, ErrorCode::ArgumentInvalid);
        headers.remove("iothub-app-a");
        headers.insert("user-agent", HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(read_properties(&headers), Ok(MessageProperties::default()));
    }
}
