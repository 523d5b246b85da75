//! Message properties as headers of a request or a response.
//!
//! Each system property has its own header; `iothub-app-{name}` is an application property. Header names are
//! case-insensitive in HTTP and always lower case here.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use ferrohub_model::message::{MessageProperties, SystemProperty};
use ferrohub_model::{ErrorCode, HubError, percent};

/// Prefix of the headers of application properties.
pub(super) const APPLICATION_PREFIX: &str = "iothub-app-";

/// Reads the properties from the headers of a request.
pub(super) fn read_properties(headers: &HeaderMap) -> Result<MessageProperties, HubError> {
    let mut properties = MessageProperties::default();
    for (name, value) in headers {
        let system = SystemProperty::from_http_header(name.as_str());
        let application = name.as_str().strip_prefix(APPLICATION_PREFIX).filter(|name| !name.is_empty());
        if system.is_none() && application.is_none() {
            continue;
        }
        let value = value.to_str().map_err(|_| {
            let text = format!("The header {name} contains characters other than visible ASCII.");
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

/// Writes properties to the headers of a response. Names and values that a header cannot contain are percent-encoded.
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
    // Both contain only characters that a header may contain, so the default is never used.
    shown.unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_survive_a_round_trip_through_headers() {
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
    fn characters_not_allowed_in_headers_are_percent_encoded() {
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
    fn property_headers_with_non_ascii_bytes_are_refused() {
        let mut headers = HeaderMap::new();
        headers.insert("iothub-app-a", HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(read_properties(&headers).unwrap_err().code, ErrorCode::ArgumentInvalid);
        headers.remove("iothub-app-a");
        headers.insert("user-agent", HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(read_properties(&headers), Ok(MessageProperties::default()));
    }
}
