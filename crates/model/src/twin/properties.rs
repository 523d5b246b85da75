//! The change of one section of a twin, and the numbers in it.
//!
//! `serde_json` reads an integer that does not fit 64 bits as a floating-point number, which is another number. The
//! text is examined first: such an integer is replaced by the nearest one that fits. Both are outside the range that a
//! twin accepts, so the limits of a twin refuse it and name its key.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::Properties;

/// The change of one section of a twin.
#[derive(Debug, Clone, PartialEq)]
pub enum SectionChange {
    /// `null`: removes every property of the section.
    Clear,
    /// An object: is merged into the section, or replaces it.
    Properties(Properties),
}

impl SectionChange {
    /// Returns the object; `None` for [`SectionChange::Clear`].
    #[must_use]
    pub fn properties(&self) -> Option<&Properties> {
        match self {
            Self::Clear => None,
            Self::Properties(properties) => Some(properties),
        }
    }

    /// Parses JSON text: an object or `null`.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        match text.trim_ascii() {
            "null" => Ok(Self::Clear),
            text => parse_properties(text.as_bytes()).map(Self::Properties),
        }
    }
}

impl From<Properties> for SectionChange {
    fn from(properties: Properties) -> Self {
        Self::Properties(properties)
    }
}

impl Serialize for SectionChange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.properties().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SectionChange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse(text.get()).map_err(serde::de::Error::custom)
    }
}

/// Reads a member that is present: `null` is a value, not a missing member.
pub(super) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SectionChange>, D::Error> {
    SectionChange::deserialize(deserializer).map(Some)
}

/// Parses a section or a change of one from JSON text. An integer that does not fit 64 bits becomes the nearest one that
/// does, instead of a floating-point number.
///
/// # Errors
/// If the text is not a JSON object.
pub fn parse_properties(text: &[u8]) -> Result<Properties, serde_json::Error> {
    serde_json::from_slice(&saturate_integers(text))
}

/// Parses a value of a section from JSON text, with integers as [`parse_properties`] reads them.
///
/// # Errors
/// If the text is not JSON.
pub fn parse_value(text: &[u8]) -> Result<serde_json::Value, serde_json::Error> {
    serde_json::from_slice(&saturate_integers(text))
}

/// Replaces integers outside the range of `i64` by `i64::MIN` or `i64::MAX`.
fn saturate_integers(text: &[u8]) -> Cow<'_, [u8]> {
    let mut out = Vec::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => at = end_of_string(text, at + 1),
            b'-' | b'0'..=b'9' => {
                let end = end_of_number(text, at);
                let number = text.get(at..end).unwrap_or_default();
                if let Some(limit) = saturated(number) {
                    out.extend_from_slice(text.get(copied..at).unwrap_or_default());
                    out.extend_from_slice(limit.to_string().as_bytes());
                    copied = end;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.extend_from_slice(text.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

/// Returns the nearest integer of 64 bits, if `number` is an integer that does not fit.
fn saturated(number: &[u8]) -> Option<i64> {
    let (negative, digits) = match number.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, number),
    };
    // Leading zeros are not JSON; the parser refuses them.
    if digits.first() == Some(&b'0') || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let fits = std::str::from_utf8(number).is_ok_and(|number| number.parse::<i64>().is_ok());
    (!fits && !digits.is_empty()).then_some(if negative { i64::MIN } else { i64::MAX })
}

/// Returns the position after a string whose content begins at `at`.
fn end_of_string(text: &[u8], mut at: usize) -> usize {
    loop {
        match text.get(at) {
            Some(b'\\') => at += 2,
            Some(b'"') | None => return at + 1,
            Some(_) => at += 1,
        }
    }
}

fn end_of_number(text: &[u8], from: usize) -> usize {
    let is_part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
    let rest = text.get(from..).unwrap_or_default();
    from + rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(text: &str) -> Value {
        parse_properties(text.as_bytes()).unwrap().into()
    }

    #[test]
    fn integers_beyond_64_bits_do_not_become_other_numbers() {
        assert_eq!(parse(r#"{"a":9223372036854775808}"#), json!({ "a": i64::MAX }));
        assert_eq!(
            parse(r#"{"a":[{"b":-123456789012345678901234567890}, 1 ]}"#),
            json!({ "a": [{ "b": i64::MIN }, 1] })
        );
        let all = r#"{"9223372036854775808":"9223372036854775808\"","b":9223372036854775808,"c":18446744073709551616}"#;
        assert_eq!(
            parse(all),
            json!({ "9223372036854775808": "9223372036854775808\"", "b": i64::MAX, "c": i64::MAX })
        );
    }

    #[test]
    fn all_other_text_is_parsed_as_before() {
        for text in [
            r#"{"a":9223372036854775807,"b":-9223372036854775808,"c":0,"d":-0,"e":1e300,"f":12345678901234567890.0}"#,
            r#"{"a":"\\","b":1e19,"c":[],"d":{"e":null},"f":"\"1"}"#,
            "{}",
        ] {
            assert_eq!(parse(text), serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
        for invalid in [
            "",
            "{",
            "null",
            "[]",
            "1",
            r#"{"a":1-1}"#,
            r#"{"a":-}"#,
            r#"{"a":099999999999999999999}"#,
            r#"{"a":"x"#,
            "{\"\\",
        ] {
            assert!(parse_properties(invalid.as_bytes()).is_err(), "{invalid}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_number_is_written_as_it_was_read(number in proptest::num::f64::NORMAL) {
            let text = json!({ "a": number }).to_string();
            proptest::prop_assert_eq!(parse(&text).to_string(), text);
        }
    }
}
