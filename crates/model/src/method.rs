//! The JSON of a direct method call in the REST API.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
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

impl Serialize for MethodName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for MethodName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
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

/// The same body as a client writes it. Values that are not set are left to the hub's defaults.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MethodInvocationBody {
    method_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_timeout_in_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_timeout_in_seconds: Option<u64>,
}

impl MethodInvocationBody {
    /// A call of this method without payload.
    #[must_use]
    pub fn new(method_name: String) -> Self {
        Self {
            method_name,
            payload: None,
            response_timeout_in_seconds: None,
            connect_timeout_in_seconds: None,
        }
    }

    /// The name of the method.
    #[must_use]
    pub fn method_name(&self) -> &str {
        &self.method_name
    }

    /// The payload, if there is one.
    #[must_use]
    pub fn payload(&self) -> Option<&RawValue> {
        self.payload.as_deref()
    }

    /// How long the device may take to respond, if it is set.
    #[must_use]
    pub fn response_timeout_in_seconds(&self) -> Option<u64> {
        self.response_timeout_in_seconds
    }

    /// How long the hub waits for a device that is not connected, if it is set.
    #[must_use]
    pub fn connect_timeout_in_seconds(&self) -> Option<u64> {
        self.connect_timeout_in_seconds
    }

    /// Sets the payload.
    pub fn set_payload(&mut self, payload: Box<RawValue>) {
        self.payload = Some(payload);
    }

    /// Sets how long the device may take to respond; rounded up to whole seconds.
    pub fn set_response_timeout(&mut self, timeout: Duration) {
        self.response_timeout_in_seconds = Some(whole_seconds(timeout));
    }

    /// Sets how long the hub waits for a device that is not connected; rounded up to whole seconds.
    pub fn set_connect_timeout(&mut self, timeout: Duration) {
        self.connect_timeout_in_seconds = Some(whole_seconds(timeout));
    }

    /// How long the hub may take in total: the sum of both time-outs, with the hub's default for the response.
    #[must_use]
    pub fn total_timeout(&self) -> Duration {
        let response = self.response_timeout_in_seconds.unwrap_or(DEFAULT_RESPONSE_TIMEOUT.into());
        Duration::from_secs(response.saturating_add(self.connect_timeout_in_seconds.unwrap_or(0)))
    }
}

/// Payloads may be large, and secret.
impl fmt::Debug for MethodInvocationBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MethodInvocation").field("method_name", &self.method_name).finish_non_exhaustive()
    }
}

/// Rounded up: half a second must not become zero.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
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

impl Seconds {
    /// Parses text, which may have blanks around the number.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        text.trim().parse().map_or(Self::Invalid, Self::Valid)
    }
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
                Ok(Seconds::parse(value))
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
    fn a_client_writes_what_the_hub_reads() {
        let mut body = MethodInvocationBody::new("m".to_owned());
        assert_eq!(serde_json::to_string(&body).unwrap(), r#"{"methodName":"m"}"#);
        assert_eq!(body.total_timeout().as_secs(), 30);
        body.set_payload(RawValue::from_string("[1.50]".to_owned()).unwrap());
        body.set_response_timeout(Duration::from_millis(5500));
        body.set_connect_timeout(Duration::ZERO);
        let text = serde_json::to_string(&body).unwrap();
        assert_eq!(
            text,
            r#"{"methodName":"m","payload":[1.50],"responseTimeoutInSeconds":6,"connectTimeoutInSeconds":0}"#
        );
        let read: MethodInvocation<'_> = serde_json::from_str(&text).unwrap();
        assert_eq!(read.response_timeout_in_seconds, Some(Seconds::Valid(6)));
        assert!(!format!("{body:?}").contains("1.50"));
    }

    #[test]
    fn the_longest_timeouts_do_not_overflow() {
        let mut body = MethodInvocationBody::new("m".to_owned());
        body.set_response_timeout(Duration::MAX);
        body.set_connect_timeout(Duration::MAX);
        assert_eq!(body.total_timeout(), Duration::from_secs(u64::MAX));
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
