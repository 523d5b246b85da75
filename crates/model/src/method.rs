//! The JSON of a direct method call in the REST API.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use serde_json::value::RawValue;

/// Longest method name, in bytes.
pub const MAX_METHOD_NAME_LENGTH: usize = 100;
/// Largest payload either way, in bytes.
pub const MAX_PAYLOAD_SIZE: usize = 128 * 1024;
/// Default time-out of a device's response, in seconds.
pub const DEFAULT_RESPONSE_TIMEOUT: u32 = 30;
/// Allowed time-outs of a device's response, in seconds.
pub const RESPONSE_TIMEOUT_RANGE: std::ops::RangeInclusive<i64> = 5..=300;
/// Allowed time-outs of waiting until the device is connected, in seconds.
pub const CONNECT_TIMEOUT_RANGE: std::ops::RangeInclusive<i64> = 0..=300;

/// Why a text is not a method name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMethodName {
    /// Empty or only spaces.
    #[error("methodName must not be blank")]
    Blank,
    /// Longer than [`MAX_METHOD_NAME_LENGTH`].
    #[error("methodName must have at most {MAX_METHOD_NAME_LENGTH} characters")]
    TooLong,
    /// Contains a control character, which is not allowed in a topic.
    #[error("methodName must not contain control characters")]
    Control,
}

/// The name of a method: 1 to 100 bytes, no control characters.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MethodName(Arc<str>);

impl MethodName {
    /// Checks length and characters.
    pub fn new(text: &str) -> Result<Self, InvalidMethodName> {
        if text.trim().is_empty() {
            return Err(InvalidMethodName::Blank);
        }
        if text.len() > MAX_METHOD_NAME_LENGTH {
            return Err(InvalidMethodName::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidMethodName::Control);
        }
        Ok(Self(text.into()))
    }

    /// Returns the name as the caller wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// The body of `POST /twins/{id}/methods`. Borrows the payload, so that it is forwarded unchanged.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MethodInvocation<'a> {
    /// The method's name; checked by [`MethodName::new`].
    #[serde(default, borrow)]
    pub method_name: Option<std::borrow::Cow<'a, str>>,
    /// `None` when the field is missing; an explicit `null` is `Some`.
    #[serde(default, borrow, deserialize_with = "deserialize_some")]
    pub payload: Option<&'a RawValue>,
    /// Time-out of the device's response, 5 to 300.
    #[serde(default)]
    pub response_timeout_in_seconds: Option<Seconds>,
    /// Time-out of waiting until the device is connected, 0 to 300.
    #[serde(default)]
    pub connect_timeout_in_seconds: Option<Seconds>,
}

fn deserialize_some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A whole number of seconds. The Azure command line sends it as text, other clients as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seconds {
    /// The requested value; its range is not checked yet.
    Valid(i64),
    /// Not a whole number.
    Invalid,
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SecondsVisitor;
        impl Visitor<'_> for SecondsVisitor {
            type Value = Seconds;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of seconds")
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Seconds, E> {
                Ok(Seconds::Valid(value))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Seconds, E> {
                Ok(i64::try_from(value).map_or(Seconds::Invalid, Seconds::Valid))
            }
            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Seconds, E> {
                Ok(Seconds::Invalid)
            }
            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Seconds, E> {
                Ok(Seconds::Invalid)
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Seconds, E> {
                Ok(value.trim().parse().map_or(Seconds::Invalid, Seconds::Valid))
            }
        }
        deserializer.deserialize_any(SecondsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_payload_and_a_null_payload_differ() {
        let parse =
            |text| serde_json::from_str::<MethodInvocation<'_>>(text).unwrap().payload.map(RawValue::get);
        assert_eq!(parse(r#"{"methodName":"m"}"#), None);
        assert_eq!(parse(r#"{"methodName":"m","payload":null}"#), Some("null"));
        assert_eq!(parse(r#"{"payload":{ "a" : 1.50 },"x":[]}"#), Some(r#"{ "a" : 1.50 }"#));
    }

    #[test]
    fn seconds_come_as_numbers_and_as_text() {
        let parse = |text: &str| serde_json::from_str::<Seconds>(text).unwrap();
        assert_eq!(parse("30"), Seconds::Valid(30));
        assert_eq!(parse("\"30\""), Seconds::Valid(30));
        assert_eq!(parse("-1"), Seconds::Valid(-1));
        assert_eq!(parse("1.5"), Seconds::Invalid);
        assert_eq!(parse("\"abc\""), Seconds::Invalid);
        assert_eq!(parse("true"), Seconds::Invalid);
    }

    #[test]
    fn method_names_are_bounded() {
        assert!(MethodName::new(&"m".repeat(100)).is_ok());
        assert_eq!(MethodName::new(&"m".repeat(101)), Err(InvalidMethodName::TooLong));
        assert_eq!(MethodName::new(" "), Err(InvalidMethodName::Blank));
        assert_eq!(MethodName::new("a\nb"), Err(InvalidMethodName::Control));
    }
}
