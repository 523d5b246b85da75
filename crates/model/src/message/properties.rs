//! The properties of a message, and their form in an MQTT topic.

use std::collections::BTreeMap;
use std::fmt;

use super::SystemProperty;
use crate::percent::{self, BagText};

/// The properties of a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MessageProperties {
    /// The system properties.
    pub system: BTreeMap<SystemProperty, String>,
    /// The application properties by name.
    pub application: BTreeMap<String, String>,
}

/// The error of a malformed property bag: a malformed escape, an empty name, or bytes that are not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the property bag is malformed")]
pub struct MalformedPropertyBag;

impl MessageProperties {
    /// Parses a property bag, `name=value&name=value…`, with percent-encoded names and values. A name without a value
    /// has an empty value. If a name occurs twice, the last value is used. Unknown names that begin with `$.` are
    /// application properties.
    ///
    /// # Errors
    /// [`MalformedPropertyBag`]
    pub fn parse_property_bag(bag: &str) -> Result<Self, MalformedPropertyBag> {
        let mut properties = Self::default();
        for part in bag.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = percent::decode(name).filter(|name| !name.is_empty()).ok_or(MalformedPropertyBag)?;
            let value = percent::decode(value).ok_or(MalformedPropertyBag)?;
            match SystemProperty::from_mqtt_key(&name) {
                Some(property) => properties.system.insert(property, value),
                None => properties.application.insert(name, value),
            };
        }
        Ok(properties)
    }

    /// Returns the value of a system property.
    #[must_use]
    pub fn get(&self, property: SystemProperty) -> Option<&str> {
        self.system.get(&property).map(String::as_str)
    }

    /// Returns the bytes that count towards a message's size limit: all values, and the names of application
    /// properties.
    #[must_use]
    pub fn size(&self) -> usize {
        let system = self.system.values().map(String::len);
        let application = self.application.iter().map(|(name, value)| name.len() + value.len());
        system.chain(application).sum()
    }
}

/// Formats a property bag.
impl fmt::Display for MessageProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let system = self.system.iter().map(|(property, value)| (property.mqtt_key(), value));
        let application = self.application.iter().map(|(name, value)| (name.as_str(), value));
        for (index, (name, value)) in system.chain(application).enumerate() {
            let separator = if index == 0 { "" } else { "&" };
            write!(f, "{separator}{}={}", BagText(name), BagText(value))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn application(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn property_bags_are_parsed_in_every_valid_form() {
        let read = |bag| MessageProperties::parse_property_bag(bag).unwrap();
        assert_eq!(read(""), MessageProperties::default());
        let both = read("%24.mid=m%201&$.ct=application%2Fjson&a+b=1=2&empty=&none&%C3%A9=%20");
        assert_eq!(both.get(SystemProperty::MessageId), Some("m 1"));
        assert_eq!(both.get(SystemProperty::ContentType), Some("application/json"));
        assert_eq!(both.application, application(&[("a+b", "1=2"), ("empty", ""), ("none", ""), ("é", " ")]));
        assert_eq!(read("a=1&a=2&").application, application(&[("a", "2")]), "the last value is used");
        assert_eq!(read("$.unknown=x").application, application(&[("$.unknown", "x")]));
        for bag in ["a=%", "%zz=1", "=1", "a=%ff"] {
            assert_eq!(MessageProperties::parse_property_bag(bag), Err(MalformedPropertyBag), "{bag}");
        }
    }

    #[test]
    fn a_formatted_property_bag_is_parsed_back() {
        let properties = MessageProperties {
            system: [(SystemProperty::MessageId, "1/2".to_owned()), (SystemProperty::To, "/x".to_owned())]
                .into(),
            application: application(&[("a&b", "c=d"), ("$.x", "+~"), ("e", "")]),
        };
        let bag = properties.to_string();
        assert_eq!(bag, "%24.mid=1%2F2&%24.to=%2Fx&%24.x=%2B%7E&a%26b=c%3Dd&e=");
        assert_eq!(MessageProperties::parse_property_bag(&bag), Ok(properties.clone()));
        assert_eq!(properties.size(), 3 + 2 + 3 + 2 + 3 + 3 + 1);
    }
}
